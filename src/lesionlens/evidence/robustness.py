"""How much of the answers is left when a picture is worse than the archive's?

Every picture is blurred, compressed, darkened, coloured, turned, or has hair, a ruler or ink
drawn over it, at five strengths each (``perturbations``), and shown, one view, to a model that
never saw it. A model may lose accuracy then; what it must not do is stay sure of itself.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def audit_robustness(cohort: Cohort, answers: Answers, *, n_bootstrap: int, seed: int) -> Section:
    """Ask about every kind and strength."""
    rows = np.flatnonzero(cohort.is_in_scope | cohort.is_other_lesion)
    tables = tuple(
        _table(kind, cohort, answers, rows, n_bootstrap=n_bootstrap, seed=seed)
        for kind in PERTURBATIONS
    )
    return Section(
        key=KEY,
        title="Robustness",
        question="What does blur, compression, bad light, a colour cast, a turn, hair, a ruler or "
        "ink do to the answers, and does the model notice?",
        tables=tables,
        findings=tuple(_told(tables)),
        remarks=(
            "changes are made to the 224 x 224 pixels that the model sees, one view; hair, rulers "
            "and ink are drawn, and cover lesion and skin alike",
            "accuracy and confidence are of all pictures, those that the quality gate would stop "
            "among them; what it stops, and what then is left of confident errors, stands beside",
        ),
    )


def _table(
    kind: Perturbation,
    cohort: Cohort,
    answers: Answers,
    rows: np.ndarray,
    *,
    n_bootstrap: int,
    seed: int,
) -> Table:
    strengths = (kind.untouched, *kind.strengths)

    def changed(strength: float) -> Change:
        if strength == kind.untouched:
            return lambda rgb, row: rgb
        return lambda rgb, row: kind.apply(rgb, strength, row)

    key = f"{KEY}-{kind.key}-{strengths}"
    changes = [changed(strength) for strength in strengths]
    logits = answers.ask(key, changes, rows)
    tables = [cohort.table(part, rows, views=1) for part in logits]
    stopped = _stopped(key, cohort, answers, changes, rows)
    names = [_UNTOUCHED, *(f"{strength:g}" for strength in kind.strengths)]
    closed = [table.subset(table.is_in_scope) for table in tables]
    found = measures.compare(
        {name: measures.closed_score(table) for name, table in zip(names, closed, strict=True)},
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
                name=name,
                metrics=found[name] | _proportions(table, at_gate),
                n=len(table),
                n_groups=measures.n_groups(table.groups),
                strength=strength,
            )
            for name, strength, table, at_gate in zip(
                names, strengths, tables, stopped, strict=True
            )
        ),
    )


def _stopped(
    key: str, cohort: Cohort, answers: Answers, changes: Sequence[Change], rows: np.ndarray
) -> np.ndarray:
    """Return which pictures the quality gate stops under each change, (C, n) bool."""

    def of_image(row: int, rgb: np.ndarray) -> list[bool]:
        width, height = cohort.size_px(row)
        return [not assess(Pixels(change(rgb, row), width, height)).is_good for change in changes]

    def make(advance: Advance | None) -> np.ndarray:
        return np.array(cohort.map(of_image, rows, advance), dtype=bool).T

    return answers.remember(f"gate-{key}", rows, make)


def _proportions(table: PredictionTable, stopped: np.ndarray) -> dict[str, Metric]:
    inside, confident = table.is_in_scope, measures.is_confident(table)
    right = measures.is_right(table)
    return {
        "accuracy": measures.share(right[inside]),
        "confident": measures.share(confident[inside]),
        "confident_and_wrong": measures.share((confident & ~right)[inside]),
        "others_confident": measures.share(confident[~inside]),
        "stopped": measures.share(stopped[inside]),
        "confident_and_wrong_behind_gate": measures.share((confident & ~right & ~stopped)[inside]),
    }


def _told(tables: tuple[Table, ...]) -> list[str]:
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
