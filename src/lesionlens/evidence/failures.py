"""The answers that are worst to be given: wrong, and sure of it.

Three galleries: errors among BCC, SCC and healthy skin; other lesions that were answered with
confidence; things that are not skin that were. Pictures go into the page alone, which whoever
has the archive writes for themselves.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lesionlens.evidence import measures
from lesionlens.evidence.answers import Answers
from lesionlens.evidence.cohort import Cohort
from lesionlens.evidence.sections import Column, Row, Section, Table
from lesionlens.labels import FULL_NAMES, IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable

KEY = "failures"
#: Pictures of each gallery, at most.
N_SHOWN = 12

_THUMBNAIL_PX = 168


@dataclass(frozen=True)
class Failure:
    """An answer that should not have been given so."""

    row: int  # of the cohort
    image_id: str
    source: str
    truth: Label
    answer: Label
    verdict: str
    probabilities: dict[Label, float]  # of the three, given that it is one of them
    scope: float | None  # probability that it is one of the three; None: the model cannot say

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "image_id": self.image_id,
            "source": self.source,
            "truth": self.truth.value,
            "answer": self.answer.value,
            "verdict": self.verdict,
            "probabilities": {label.value: p for label, p in self.probabilities.items()},
            "scope": self.scope,
        }


@dataclass(frozen=True)
class Gallery:
    """Failures of one kind, the most confident first."""

    key: str
    title: str
    failures: tuple[Failure, ...]
    n: int  # of them in all
    n_asked: int  # images among which they were looked for


def find_galleries(cohort: Cohort, answers: Answers) -> tuple[Gallery, ...]:
    """Return the galleries, at the number of views that answers are given with."""
    rows = np.arange(len(cohort))
    logits = answers.ask_views(cohort.views, rows)
    table = cohort.table(logits.mean(axis=1), rows, views=cohort.views)
    inside, right = table.is_in_scope, measures.is_right(table)
    confident = measures.is_confident(table)
    is_skin = np.array([label is not Label.NOT_SKIN for label in table.y_true], dtype=bool)
    return (
        _gallery(
            "errors", "BCC, SCC and healthy skin named wrongly", table, inside, inside & ~right
        ),
        _gallery(
            "others", "Other lesions answered with confidence", table,
            ~inside & is_skin, ~inside & is_skin & confident,
        ),
        _gallery(
            "not_skin", "Not skin, and answered with confidence", table,
            ~is_skin, ~is_skin & confident,
        ),
    )  # fmt: skip


def audit_failures(cohort: Cohort, answers: Answers, galleries: tuple[Gallery, ...]) -> Section:
    """Count confident and wrong answers by diagnosis; the galleries show the worst."""
    rows = np.arange(len(cohort))
    logits = answers.ask_views(cohort.views, rows)
    table = cohort.table(logits.mean(axis=1), rows, views=cohort.views)
    confident, right = measures.is_confident(table), measures.is_right(table)
    truth = np.array([label.value for label in table.y_true])
    lines = []
    for label in Label:
        mine = truth == label.value
        if not mine.any():
            continue
        groups = [table.groups[row] for row in np.flatnonzero(mine)]
        metrics = {"confident": measures.share(confident[mine])}
        metrics["confident_and_wrong"] = measures.share((confident & ~right)[mine])
        if label in IN_SCOPE:
            metrics["wrong"] = measures.share(~right[mine])
        lines.append(Row(FULL_NAMES[label], metrics, int(mine.sum()), measures.n_groups(groups)))
    columns = {
        "wrong": Column("Named wrongly"),
        "confident": Column("Called confident"),
        "confident_and_wrong": Column("Confident and wrong"),
    }
    caption = "By diagnosis. Of what is none of the three, every confident answer is wrong."
    return Section(
        key=KEY,
        title="Failures",
        question="Which answers were wrong, and sure of it?",
        tables=(Table("diagnoses", caption, columns, tuple(lines)),),
        remarks=(f"{cohort.views} views; policy “{cohort.policy}”; no quality gate in front",),
        extra={
            "galleries": {
                gallery.key: {
                    "n": gallery.n,
                    "n_asked": gallery.n_asked,
                    "shown": [failure.to_json() for failure in gallery.failures],
                }
                for gallery in galleries
            }
        },
    )


def thumbnail(rgb: np.ndarray) -> str:
    """Return a picture as a small JPEG in a data URI."""
    stream = io.BytesIO()
    size = (_THUMBNAIL_PX, _THUMBNAIL_PX)
    Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS).save(stream, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _gallery(
    key: str, title: str, table: PredictionTable, asked: np.ndarray, failed: np.ndarray
) -> Gallery:
    # By the joint probability, which verdicts go by: sure both of the class and of the scope.
    conditional, sure = table.conditional, table.joint_in_scope.max(axis=1)
    order = sorted(np.flatnonzero(failed), key=lambda row: (-sure[row], table.image_ids[row]))
    scope = table.scope
    failures = tuple(
        Failure(
            row=int(row),
            image_id=table.image_ids[row],
            source=table.sources[row],
            truth=table.y_true[row],
            answer=IN_SCOPE[int(conditional[row].argmax())],
            verdict=table.verdicts[row],
            probabilities={label: float(conditional[row, k]) for k, label in enumerate(IN_SCOPE)},
            scope=float(scope[row]) if table.has_other_outputs else None,
        )
        for row in order[:N_SHOWN]
    )
    return Gallery(key, title, failures, int(failed.sum()), int(asked.sum()))
