"""How much of the answers is left when a picture is worse than the archive's?

Every picture is blurred, compressed, darkened, coloured, turned, or has hair, a ruler or ink
drawn over it, at five strengths each (``perturbations``), and shown, one view, to a model that
never saw it. A model may lose accuracy then; what it must not do is stay sure of itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lesionlens.evidence import measures
from lesionlens.evidence.answers import Answers
from lesionlens.evidence.cohort import Advance, Change, Cohort
from lesionlens.evidence.perturbations import PERTURBATIONS, Perturbation
from lesionlens.evidence.sections import Column, Row, Section, Table
from lesionlens.imaging import Pixels
from lesionlens.intervals import Metric
from lesionlens.prediction_table import PredictionTable
from lesionlens.quality import assess

KEY = "robustness"

_COLUMNS = {
    "accuracy": Column("Accuracy"),
    "accuracy_difference": Column("against untouched", is_difference=True),
    "macro_f1": Column("F1, macro"),
    "mean_confidence": Column("Mean confidence"),
    "expected_calibration_error": Column("Calibration error"),
    "confident": Column("Called confident"),
    "confident_and_wrong": Column("Confident and wrong"),
    "others_confident": Column("Other lesions called confident"),
    "stopped": Column("Stopped by the gate"),
    "confident_and_wrong_behind_gate": Column("Confident and wrong behind the gate"),
}
_UNTOUCHED = "untouched"


@dataclass(frozen=True, eq=False)
class _Shown:
    """What came of showing every picture in one way."""

    name: str
    strength: float
    table: PredictionTable
    stopped: np.ndarray  # (n,) bool: the quality gate stops it; of pictures in scope


def audit_robustness(cohort: Cohort, answers: Answers, *, n_bootstrap: int, seed: int) -> Section:
    """Ask about every kind and strength."""
    rows = np.flatnonzero(cohort.is_in_scope | cohort.is_other_lesion)
    untouched = _show(_UNTOUCHED, [(_UNTOUCHED, 0.0, lambda rgb, row: rgb)], cohort, answers, rows)
    tables = []
    for kind in PERTURBATIONS:
        ways = [(f"{strength:g}", strength, _change(kind, strength)) for strength in kind.strengths]
        first = dataclasses.replace(untouched[0], strength=kind.untouched)
        shown = _show(f"{kind.key}-{kind.strengths}", ways, cohort, answers, rows)
        tables.append(_table(kind, [first, *shown], n_bootstrap=n_bootstrap, seed=seed))
    return Section(
        key=KEY,
        title="Robustness",
        question="What does blur, compression, bad light, a colour cast, a turn, hair, a ruler or "
        "ink do to the answers, and does the model notice?",
        tables=tuple(tables),
        findings=tuple(_told(tables)),
        remarks=(
            "changes are made to the 224 x 224 pixels that the model sees, one view; hair, rulers "
            "and ink are drawn, and cover lesion and skin alike",
            "accuracy and confidence are of all pictures, those that the quality gate would stop "
            "among them; what it stops, and what then is left of confident errors, stands beside",
        ),
    )


def _change(kind: Perturbation, strength: float) -> Change:
    return lambda rgb, row: kind.apply(rgb, strength, row)


def _show(
    key: str,
    ways: Sequence[tuple[str, float, Change]],
    cohort: Cohort,
    answers: Answers,
    rows: np.ndarray,
) -> list[_Shown]:
    """Show every picture in several ways, to its model and to the quality gate."""
    changes = [change for _, _, change in ways]
    logits = answers.ask(f"{KEY}-{key}", changes, rows)
    inside = rows[cohort.is_in_scope[rows]]

    def of_image(row: int, rgb: np.ndarray) -> list[bool]:
        width, height = cohort.size_px(row)
        return [not assess(Pixels(change(rgb, row), width, height)).is_good for change in changes]

    def make(advance: Advance | None) -> np.ndarray:
        return np.array(cohort.map(of_image, inside, advance), dtype=bool).T

    stopped = answers.remember(f"{KEY}-gate-{key}", inside, make, modules=("quality",))
    return [
        _Shown(name, strength, cohort.table(logits[k], rows, views=1), stopped[k])
        for k, (name, strength, _) in enumerate(ways)
    ]


def _table(kind: Perturbation, shown: Sequence[_Shown], *, n_bootstrap: int, seed: int) -> Table:
    closed = [way.table.subset(way.table.is_in_scope) for way in shown]
    found = measures.compare(
        {way.name: measures.closed_score(table) for way, table in zip(shown, closed, strict=True)},
        closed[0].groups,
        n_bootstrap=n_bootstrap,
        seed=seed,
    )
    return Table(
        key=kind.key,
        caption=f"{kind.title}: {kind.unit}",
        columns=_COLUMNS,
        rows=tuple(
            Row(
                name=way.name,
                metrics=found[way.name] | _proportions(way.table, way.stopped),
                n=len(way.table),
                n_groups=measures.n_groups(way.table.groups),
                strength=way.strength,
            )
            for way in shown
        ),
    )


def _proportions(table: PredictionTable, stopped: np.ndarray) -> dict[str, Metric]:
    inside, confident = table.is_in_scope, measures.is_confident(table)
    right = measures.is_right(table)
    return {
        "accuracy": measures.share(right[inside]),
        "confident": measures.share(confident[inside]),
        "confident_and_wrong": measures.share((confident & ~right)[inside]),
        "others_confident": measures.share(confident[~inside]),
        "stopped": measures.share(stopped),
        "confident_and_wrong_behind_gate": measures.share((confident & ~right)[inside] & ~stopped),
    }


def _told(tables: Sequence[Table]) -> list[str]:
    """Say which change costs most at its strongest, and where confident errors grow most."""
    costs, errors = [], []
    for table in tables:
        first, last = table.rows[0].metrics, table.rows[-1].metrics
        lost = last["accuracy_difference"]
        if lost.value is not None:
            costs.append((lost.value, table, last))
        before, after = first["confident_and_wrong"].value, last["confident_and_wrong"].value
        if before is not None and after is not None:
            errors.append((after - before, before, after, table))
    sentences = []
    if costs:
        value, table, last = min(costs, key=lambda item: item[0])
        sentences.append(
            f"The change that costs most at its strongest is {_strongest(table)}: accuracy "
            f"{last['accuracy'].value:.3f}, {100 * value:+.0f} points, at a mean confidence of "
            f"{last['mean_confidence'].value:.3f}."
        )
    if errors:
        _, before, after, table = max(errors, key=lambda item: item[0])
        sentences.append(
            f"Confident errors grow most under {_strongest(table)}: from {100 * before:.1f} % to "
            f"{100 * after:.1f} % of the images."
        )
    return sentences


def _strongest(table: Table) -> str:
    title, _, unit = table.caption.partition(": ")
    return f"“{title}” ({unit}: {table.rows[-1].name})"
