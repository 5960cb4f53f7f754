"""The prediction table: what a model said about images whose truth is known.

The one thing that ``metrics`` and ``reporting`` look at. They never see a model, so the
answers of Keras, of a converted model and of a phone are judged by the same code. The file
is CSV: ``image_id, group_id, source, y_true, probability_<LABEL>...`` (docs/design.md), or
the output of ``lesionlens predict --format csv`` beside a file that tells the truth.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from lesionlens.errors import DataError
from lesionlens.files import read_csv, write_csv
from lesionlens.labels import IN_SCOPE, Label, from_folder
from lesionlens.verdicts import VERDICTS

#: A row of probabilities may miss 1 by this much (rounding on the way through text).
SUM_TOLERANCE = 1e-3

_PREFIX = "probability_"
_VERDICT, _SET, _SET_SEPARATOR = "verdict", "prediction_set", "|"
_ACCEPTED_LABELS = ", ".join(label.value for label in Label)


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Answers and truth of N images; checked when it is made.

    Raises:
        DataError: no rows, lengths that differ, an image twice, a label twice, an in-scope
            label without a column, or probabilities that are not finite, not within 0..1 or
            do not sum to 1 within ``SUM_TOLERANCE``; a verdict that is none.
    """

    image_ids: tuple[str, ...]  # N, unique
    groups: tuple[str, ...]  # N; rows of one lesion or patient share one
    sources: tuple[str, ...]  # N; institution or collection, empty where unknown
    y_true: tuple[Label, ...]  # N; may be a label out of scope
    labels: tuple[Label, ...]  # K outputs of the model, in its order
    joint: np.ndarray  # (N, K) float64, probability of each output; rows sum to 1
    remarks: tuple[str, ...] = ()  # what a reader of the numbers must know about the rows
    verdicts: tuple[str, ...] = ()  # N of verdicts.VERDICTS, or none where nobody judged
    sets: np.ndarray | None = None  # (N, 3) bool: prediction sets, in the order of IN_SCOPE

    def __post_init__(self) -> None:
        """Check the rows and make each sum to 1 exactly."""
        joint = np.array(self.joint, dtype=np.float64)
        if not self.image_ids:
            raise DataError("has no rows; at least one image is needed")
        n_rows = len(self.image_ids)
        lengths = {len(self.groups), len(self.sources), len(self.y_true)}
        if lengths != {n_rows} or joint.shape != (n_rows, len(self.labels)):
            raise DataError(
                f"{n_rows} images do not go with {len(self.groups)} groups, "
                f"{len(self.sources)} sources, {len(self.y_true)} true labels and "
                f"probabilities of shape {joint.shape}; one of each per image is needed"
            )
        _check_unique(self.image_ids, "image_id")
        _check_unique(self.labels, "output")
        missing = [label.value for label in IN_SCOPE if label not in self.labels]
        if missing:
            raise DataError(f"has no column {', '.join(_PREFIX + name for name in missing)}")
        total = joint.sum(axis=1)
        with np.errstate(invalid="ignore"):
            wrong = ~np.isfinite(joint).all(axis=1) | (joint < 0).any(axis=1)
            wrong |= (joint > 1 + SUM_TOLERANCE).any(axis=1)
            wrong |= ~(np.abs(total - 1) <= SUM_TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong))
            shown = ", ".join(f"{value:g}" for value in joint[row])
            raise DataError(
                f"{int(wrong.sum())} of {n_rows} rows are not probabilities that sum to 1, "
                f"the first being {self.image_ids[row]} ({shown}, sum {total[row]:g})"
            )
        joint /= total[:, np.newaxis]
        joint.flags.writeable = False
        object.__setattr__(self, "joint", joint)
        if self.verdicts and len(self.verdicts) != n_rows:
            raise DataError(f"{n_rows} images do not go with {len(self.verdicts)} verdicts")
        for image_id, verdict in zip(self.image_ids, self.verdicts, strict=False):
            if verdict not in VERDICTS:
                raise DataError(
                    f"verdict of {image_id} is {verdict or 'empty'!r}; one of "
                    f"{', '.join(VERDICTS)} is needed"
                )
        if self.sets is not None:
            sets = np.array(self.sets, dtype=bool)
            if sets.shape != (n_rows, len(IN_SCOPE)):
                raise DataError(f"{n_rows} images do not go with sets of shape {sets.shape}")
            sets.flags.writeable = False
            object.__setattr__(self, "sets", sets)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def is_in_scope(self) -> np.ndarray:
        """(N,) bool: the truth is one of ``IN_SCOPE``."""
        return np.array([label in IN_SCOPE for label in self.y_true])

    @property
    def has_other_outputs(self) -> bool:
        """Whether the model can say "none of the three"."""
        return any(label not in IN_SCOPE for label in self.labels)

    @property
    def joint_in_scope(self) -> np.ndarray:
        """(N, 3) joint probability of BCC, SCC and Normal."""
        return self.joint[:, [self.labels.index(label) for label in IN_SCOPE]]

    @property
    def scope(self) -> np.ndarray:
        """(N,) probability in 0..1 that the image is one of the three."""
        return self.joint_in_scope.sum(axis=1)

    @property
    def conditional(self) -> np.ndarray:
        """(N, 3) probability of BCC, SCC and Normal given that it is one of them.

        Rows sum to 1. A row whose in-scope mass is zero to the last bit says nothing about
        the three: a third each.
        """
        scope = self.scope[:, np.newaxis]
        return np.where(scope > 0, self.joint_in_scope / np.maximum(scope, 1e-300), 1 / 3)

    def subset(self, chosen: np.ndarray) -> PredictionTable:
        """Return the rows at ``chosen``, a (N,) bool mask or int indices."""
        rows = np.arange(len(self))[chosen]
        return PredictionTable(
            image_ids=tuple(self.image_ids[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
            sources=tuple(self.sources[row] for row in rows),
            y_true=tuple(self.y_true[row] for row in rows),
            labels=self.labels,
            joint=self.joint[rows],
            remarks=self.remarks,
            verdicts=tuple(self.verdicts[row] for row in rows) if self.verdicts else (),
            sets=None if self.sets is None else self.sets[rows],
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table as CSV, probabilities with six significant digits."""
        names = [_PREFIX + label.value for label in self.labels]

        def record(row: int) -> dict[str, str]:
            found = {
                "image_id": self.image_ids[row],
                "group_id": self.groups[row],
                "source": self.sources[row],
                "y_true": self.y_true[row].value,
            }
            values = zip(names, self.joint[row], strict=True)
            found |= {name: f"{value:.6g}" for name, value in values}
            if self.verdicts:
                found[_VERDICT] = self.verdicts[row]
            if self.sets is not None:
                members = zip(IN_SCOPE, self.sets[row], strict=True)
                found[_SET] = _SET_SEPARATOR.join(label for label, member in members if member)
            return found

        columns = ["image_id", "group_id", "source", "y_true", *names]
        columns += [_VERDICT] if self.verdicts else []
        columns += [_SET] if self.sets is not None else []
        write_csv(path, columns, (record(row) for row in range(len(self))))


def load_predictions(
    path: str | os.PathLike[str], *, truth: str | os.PathLike[str] | None = None
) -> PredictionTable:
    """Read a prediction table.

    Args:
        path: CSV with ``image_id, y_true, probability_<LABEL>...`` and, where known,
            ``group_id`` (without one an image is its own group) and ``source``; or, with
            ``truth``, the output of ``lesionlens predict --format csv``.
        truth: CSV with ``file`` or ``image_id``, ``y_true`` and perhaps ``group_id`` and
            ``source``; its rows are matched by path, else by file name without suffix.

    Returns:
        The table. Answers without a truth, truths without an answer and images that could
        not be read are left out and counted in ``remarks``.

    Raises:
        DataError: names the file and what is wrong: missing columns, labels that are unknown,
            a value that is no number, rows that do not sum to 1, an image twice, no rows.
    """
    rows = read_csv(path)
    if not rows:
        raise DataError(f"{path}: has a header but no rows; at least one image is needed")
    columns = rows[0].keys()
    labels = _labels_of(path, columns)
    if truth is None:
        _check_columns(path, columns)
        image_ids = [row["image_id"] for row in rows]
        truths: Sequence[Mapping[str, str]] = rows
        remarks: tuple[str, ...] = ()
    else:
        rows, image_ids, truths, remarks = _join(path, rows, truth)
    joint = np.array([_probabilities(path, row, labels) for row in rows])
    if "scope" in columns and labels and set(labels) <= set(IN_SCOPE):
        joint, labels = _with_scope(path, rows, joint, labels)
    blamed = path if truth is None else truth
    try:
        return PredictionTable(
            image_ids=tuple(image_ids),
            groups=tuple(
                row.get("group_id") or image_id
                for row, image_id in zip(truths, image_ids, strict=True)
            ),
            sources=tuple(row.get("source", "") for row in truths),
            y_true=tuple(_true_label(blamed, row) for row in truths),
            labels=tuple(labels),
            joint=joint,
            remarks=remarks,
            verdicts=tuple(row[_VERDICT] for row in rows) if _VERDICT in columns else (),
            sets=np.array([_members(path, row) for row in rows]) if _SET in columns else None,
        )
    except DataError as error:
        if str(error).startswith((f"{path}: ", f"{blamed}: ")):
            raise
        raise DataError(f"{path}: {error}") from error


def _check_unique(values: Sequence[str], what: str) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
        raise DataError(
            f"names {what} {', '.join(twice[:3])}{more} more than once; each may stand in one row"
        )


def _check_columns(path: str | os.PathLike[str], columns: Collection[str]) -> None:
    missing = [name for name in ("image_id", "y_true") if name not in columns]
    if missing:
        hint = (
            "; it looks like the output of `lesionlens predict`: give the truth with --truth"
            if "file" in columns
            else "; image_id, group_id, source, y_true and probability_<LABEL> are expected"
        )
        raise DataError(f"{path}: has no column {', '.join(missing)}{hint}")


def _labels_of(path: str | os.PathLike[str], columns: Collection[str]) -> list[Label]:
    labels = []
    for name in columns:
        if not name.startswith(_PREFIX):
            continue
        try:
            labels.append(Label(name.removeprefix(_PREFIX)))
        except ValueError as error:
            raise DataError(
                f"{path}: column {name} names no known label; known are {_ACCEPTED_LABELS}"
            ) from error
    missing = [_PREFIX + label.value for label in IN_SCOPE if label not in labels]
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)}")
    return labels


def _probabilities(
    path: str | os.PathLike[str], row: Mapping[str, str], labels: Sequence[Label]
) -> list[float]:
    return [_number(path, row, _PREFIX + label.value) for label in labels]


def _number(path: str | os.PathLike[str], row: Mapping[str, str], column: str) -> float:
    """Return the probability in a cell; whether it fits the others is the table's business."""
    text = row[column]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (column == "scope" and not 0 <= value <= 1):
        raise DataError(
            f"{path}: {column} of {_name_of(row)} is {text or 'empty'!r}; "
            "a number from 0 to 1 is needed"
        )
    return value


def _name_of(row: Mapping[str, str]) -> str:
    return row.get("image_id") or row.get("file") or "an image without a name"


def _members(path: str | os.PathLike[str], row: Mapping[str, str]) -> list[bool]:
    names = [name for name in row[_SET].split(_SET_SEPARATOR) if name]
    unknown = [name for name in names if name not in list(IN_SCOPE)]
    if unknown:
        raise DataError(
            f"{path}: {_SET} of {_name_of(row)} names {unknown[0]!r}; "
            f"{_SET_SEPARATOR.join(IN_SCOPE)} or a part of it is needed"
        )
    return [label.value in names for label in IN_SCOPE]


def _true_label(path: str | os.PathLike[str], row: Mapping[str, str]) -> Label:
    label = from_folder(row["y_true"])
    if label is None:
        raise DataError(
            f"{path}: y_true of {_name_of(row)} is {row['y_true'] or 'empty'!r}, "
            f"which is no known label; known are {_ACCEPTED_LABELS}"
        )
    return label


def _with_scope(
    path: str | os.PathLike[str],
    rows: Sequence[Mapping[str, str]],
    conditional: np.ndarray,
    labels: Sequence[Label],
) -> tuple[np.ndarray, list[Label]]:
    """Undo what ``predict`` shows: conditional times scope, and all that is left as UNK."""
    if not any(row["scope"] for row in rows):
        return conditional, list(labels)
    scope = np.array([_number(path, row, "scope") for row in rows])
    joint = np.column_stack([conditional * scope[:, np.newaxis], 1 - scope])
    return joint, [*labels, Label.UNK]


def _join(
    path: str | os.PathLike[str],
    rows: Sequence[dict[str, str]],
    truth: str | os.PathLike[str],
) -> tuple[list[dict[str, str]], list[str], list[dict[str, str]], tuple[str, ...]]:
    """Match answers with truths by path, else by file name without folder and suffix."""
    truths = read_csv(truth, required=["y_true"])
    key = next((name for name in ("file", "image_id") if truths and name in truths[0]), None)
    own = next((name for name in ("file", "image_id") if name in rows[0]), None)
    if key is None or own is None:
        blamed = truth if key is None else path
        raise DataError(f"{blamed}: needs rows with a column file or image_id to be matched by")
    by_path = {row[key]: row for row in truths}
    stems = [PurePath(row[key].replace("\\", "/")).stem for row in truths]
    try:
        _check_unique([row[key] for row in truths], key)
    except DataError as error:
        raise DataError(f"{truth}: {error}") from error
    by_stem = dict(zip(stems, truths, strict=True))
    ambiguous = {stem for stem, count in Counter(stems).items() if count > 1}

    kept: list[dict[str, str]] = []
    image_ids: list[str] = []
    matched: list[dict[str, str]] = []
    n_unread = n_unknown = 0
    for row in rows:
        if row.get("error"):
            n_unread += 1
            continue
        stem = PurePath(row[own].replace("\\", "/")).stem
        found = by_path.get(row[own])
        if found is None and stem in ambiguous:
            raise DataError(
                f"{truth}: {row[own]} fits several rows by its name {stem}; "
                "name the paths as they stand in the predictions"
            )
        found = found or by_stem.get(stem)
        if found is None:
            n_unknown += 1
            continue
        kept.append(row)
        matched.append(found)
        image_ids.append(stem if stem not in ambiguous else row[own])
    if not kept:
        raise DataError(
            f"{truth}: names none of the {len(rows)} images of {path}; "
            f"it begins with {truths[0][key]}, they with {rows[0][own]}"
        )
    n_unanswered = len(truths) - len({id(row) for row in matched})
    remarks = (
        (n_unread, "of the images could not be read and were not scored"),
        (n_unknown, "of the answers have no truth and were not scored"),
        (n_unanswered, "of the images of known truth have no answer and were not scored"),
    )
    return (
        kept,
        image_ids,
        matched,
        tuple(f"{count} {words}" for count, words in remarks if count),
    )
