"""Answers as a table for a person, or as CSV, JSON and JSON lines for a program.

Every writer is told rows one by one and closed at the end. CSV and JSON lines come out
row by row; a table and a JSON list come out whole.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any, Protocol

from lesionlens.labels import FULL_NAMES, IN_SCOPE
from lesionlens.records import Finding, Prediction
from lesionlens.verdicts import CONFIDENT, DISCLAIMER, OUT_OF_SCOPE, POOR_IMAGE

#: Explains the columns of those names.
SCOPE_LEGEND = "In scope: how probable it is that the image shows one of the three at all."
SET_LEGEND = "May be: what it may be, by the policy's share of images that keep their class."

COLUMNS: tuple[str, ...] = (
    "file",
    "label",
    "verdict",
    *(f"probability_{label}" for label in IN_SCOPE),
    "scope",
    "prediction_set",
    "quality",
    "policy",
    "views",
    "elapsed_ms",
    "error",
)

#: Symbol and colour of each verdict: never colour alone.
VERDICT_SIGNS: dict[str, tuple[str, str]] = {
    "confident": ("●", "green"),
    "uncertain": ("◐", "yellow"),
    "out_of_scope": ("○", "magenta"),
    "poor_image": ("✕", "red"),
}


#: How the likeliest class and its probability are set; others are dim.
LABEL_STYLES: dict[str, tuple[str, str]] = {"confident": ("bold", ""), "uncertain": ("", "")}


@dataclass(frozen=True)
class Failure:
    """An image that got no answer."""

    file: str  # as the caller named it
    error: str  # what is wrong, in a sentence that names the file


Answer = Prediction | Failure


class Format(StrEnum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    JSONL = "jsonl"

    @property
    def is_streamed(self) -> bool:
        """Whether each row comes out as soon as it is there."""
        return self in (Format.CSV, Format.JSONL)


class Writer(Protocol):
    """Takes answers one by one."""

    def write(self, answer: Answer, picture: str = "") -> None:
        """Take the next answer, and the path of the picture that explains it, if there is one."""

    def close(self) -> None:
        """Write what is still to be written; the stream stays open."""


def make_writer(form: Format, stream: IO[str], *, has_pictures: bool = False) -> Writer:
    """Return the writer of a format that writes to ``stream``.

    ``has_pictures`` gives CSV the column ``explanation``; the others need not know beforehand.
    """
    if form is Format.CSV:
        return CsvWriter(stream, has_pictures=has_pictures)
    writers: dict[Format, type[Any]] = {
        Format.TABLE: TableWriter,
        Format.JSON: JsonWriter,
        Format.JSONL: JsonLinesWriter,
    }
    writer: Writer = writers[form](stream)
    return writer


def as_record(answer: Answer, picture: str = "") -> dict[str, Any]:
    """Return an answer as JSON has it.

    ``explanation`` is the path of its picture, there only where there is one.
    """
    if isinstance(answer, Failure):
        return {"file": answer.file, "error": answer.error}
    return {**answer.as_json(), **({"explanation": picture} if picture else {})}


class JsonWriter:
    """A list of objects, written whole."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._records: list[dict[str, Any]] = []

    def write(self, answer: Answer, picture: str = "") -> None:
        """Keep the answer for the list."""
        self._records.append(as_record(answer, picture))

    def close(self) -> None:
        """Write the list."""
        self._stream.write(json.dumps(self._records, indent=2, ensure_ascii=False) + "\n")


class JsonLinesWriter:
    """An object a line, as soon as it is there."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, answer: Answer, picture: str = "") -> None:
        """Write a line."""
        self._stream.write(json.dumps(as_record(answer, picture), ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left to write."""


class CsvWriter:
    """A row an image under a header, as soon as it is there; ``error`` is its last column."""

    def __init__(self, stream: IO[str], *, has_pictures: bool = False) -> None:
        self._stream = stream
        columns = [*COLUMNS[:-1], "explanation", COLUMNS[-1]] if has_pictures else COLUMNS
        self._rows = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        self._rows.writeheader()

    def write(self, answer: Answer, picture: str = "") -> None:
        """Write a row."""
        row = as_record(answer, picture)
        for label, probability in row.pop("probabilities", {}).items():
            row[f"probability_{label}"] = probability
        if isinstance(answer, Prediction):
            row["prediction_set"] = "|".join(answer.prediction_set)
            row["quality"] = "|".join(finding.name for finding in answer.quality.findings)
        self._rows.writerow(row)
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left to write."""


class TableWriter:
    """A table for a person; failures are told on stderr and have no row here."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._answers: list[Prediction] = []

    def write(self, answer: Answer, picture: str = "") -> None:
        """Keep the answer for the table."""
        if isinstance(answer, Prediction):
            self._answers.append(answer)

    def close(self) -> None:
        """Write the table, unless there is no answer to show."""
        if not self._answers:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        folder = _common_folder([answer.file for answer in self._answers])
        names = [os.path.relpath(a.file, folder) if folder else a.file for a in self._answers]
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column(f"Image in {folder}" if folder else "Image", overflow="fold")
        table.add_column("Likeliest")
        for label in IN_SCOPE:
            table.add_column(label.value, justify="right", no_wrap=True)
        has_scope = any(answer.scope is not None for answer in self._answers)
        if has_scope:
            table.add_column("In scope", justify="right", no_wrap=True)
        table.add_column("May be", no_wrap=True)
        table.add_column("Verdict", no_wrap=True)
        for answer, name in zip(self._answers, names, strict=True):
            symbol, colour = VERDICT_SIGNS.get(answer.verdict, ("?", ""))
            # What is like none of the three, or a poor photo, has no likeliest class to stress.
            strong, plain = LABEL_STYLES.get(answer.verdict, ("dim", "dim"))
            cells = [Text(name)]
            cells.append(Text(answer_words(answer), style=strong))
            for label in IN_SCOPE:
                style = plain if label is answer.label else "dim"
                cells.append(Text(percent(answer.probabilities[label]), style=style))
            if has_scope:
                cells.append(Text("–" if answer.scope is None else percent(answer.scope)))
            cells.append(Text(set_words(answer)))
            cells.append(Text(f"{symbol} {verdict_words(answer)}", style=colour))
            table.add_row(*cells)
        console = Console(file=self._stream, highlight=False)
        width = Console(file=self._stream, width=10_000).measure(table).maximum
        if not console.is_terminal:  # a file is as wide as it needs to be
            console.width = max(width, len(SCOPE_LEGEND))
        elif width > console.width:  # break between the words of a diagnosis before file names
            names_of_three = [FULL_NAMES[label] for label in IN_SCOPE]
            shortest = max(len(word) for name in names_of_three for word in name.split())
            longest = max(len(answer_words(answer)) for answer in self._answers)
            table.columns[1].width = max(shortest, longest - (width - console.width))
        console.print(table)
        if has_scope:
            console.print(SCOPE_LEGEND, style="dim")
        console.print(SET_LEGEND, style="dim")
        for answer, name in zip(self._answers, names, strict=True):
            for finding in answer.quality.findings:
                words = f"{name}: {finding_words(finding)} {finding.advice}"
                console.print(Text(words, style="red"), soft_wrap=True)
        console.print(DISCLAIMER, style="dim")


def _common_folder(files: Sequence[str]) -> str:
    """Return the folder that all of several files lie in, or nothing worth naming."""
    parents = {os.path.dirname(file) for file in files}
    return parents.pop() if len(files) > 1 and len(parents) == 1 else ""


def answer_words(answer: Prediction) -> str:
    """Return the likeliest class as people read it; where it may not be read, what stands there."""
    instead = {OUT_OF_SCOPE: "None of the three", POOR_IMAGE: "Not judged"}
    return instead.get(answer.verdict, FULL_NAMES[answer.label])


def set_words(answer: Prediction) -> str:
    """Return a prediction set as people read it.

    Where it is empty and the answer confident all the same (an easy class, docs/verdicts.md),
    that is the answer: nothing else comes into question.
    """
    members = answer.prediction_set
    if not members and answer.verdict == CONFIDENT:
        members = (answer.label,)
    return " or ".join(members) or "none"


def finding_words(finding: Finding) -> str:
    """Return what is wrong with a photo: its name, what was measured, and the threshold."""
    name = finding.name.replace("_", " ")
    return f"{name} ({finding.value:.3g}, threshold {finding.threshold:.3g} {finding.unit})."


def verdict_words(answer: Prediction) -> str:
    """Return a verdict as people read it."""
    return answer.verdict.replace("_", " ")


def percent(probability: float) -> str:
    """Return a share in whole percent that never says 0 or 100 of what is not quite that."""
    if 0 < probability < 0.005:
        return "<1 %"
    if 0.995 <= probability < 1:
        return ">99 %"
    return f"{min(probability, 1.0) * 100:.0f} %"  # sums may exceed 1 by a rounding
