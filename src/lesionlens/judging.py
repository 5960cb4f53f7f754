"""What verdicts and prediction sets come to: who is answered, who is sent on, at what price.

Rows are truths: each label, images of the three classes together, other lesions together.
Pictures of what is not skin have a row of their own and are in neither sum. Shares carry
Wilson's interval, mean sizes a bootstrap by group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lesionlens import scoring
from lesionlens.confidence import top_in_scope
from lesionlens.intervals import (
    WILSON,
    Metric,
    Scores,
    bootstrap,
    group_index,
    proportion,
    to_plain,
)
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, VERDICTS

#: The classes that must not be lost.
CANCERS: tuple[Label, ...] = (Label.BCC, Label.SCC)
#: Fewest images of a source, or of a class in it, of which a share is told.
MIN_SOURCE_ROWS = 10


@dataclass(frozen=True)
class VerdictRow:
    """What was said of the images of one truth, or of several."""

    n: int  # images
    counts: dict[str, int]  # verdict -> images
    shares: dict[str, Metric]  # verdict -> share
    confident_right: Metric  # share that is confident and right; out of scope, none is
    right_of_confident: Metric  # share of the confident answers that is right


@dataclass(frozen=True)
class Verdicts:
    """Verdicts by truth, and what they do for the two cancers."""

    by_label: dict[Label, VerdictRow]  # of labels that have images
    in_scope: VerdictRow
    other_lesions: VerdictRow  # not skin is not among them
    kept_cancer: Metric  # BCC and SCC not sent away, and labelled rightly or in their set
    sensitivity_cancer: Metric  # BCC and SCC not sent away, with either as label or in the set
    specificity_cancer: dict[Label, Metric]  # of each other label: share not pointed to so


@dataclass(frozen=True)
class SetRow:
    """The prediction sets of the images of one truth, or of several."""

    n: int  # images
    coverage: Metric | None  # share whose set holds the truth; None out of scope
    mean_size: Metric  # labels in a set, 0..3
    empty: Metric  # share of sets that hold nothing
    single: Metric  # share of sets that hold one label


@dataclass(frozen=True)
class SourceSets:
    """The prediction sets of the images of one source (closed set)."""

    source: str
    n: int
    coverage: dict[Label, Metric]  # by class
    mean_size: Metric


@dataclass(frozen=True)
class Sets:
    """Prediction sets by truth and by source."""

    by_label: dict[Label, SetRow]
    in_scope: SetRow
    other_lesions: SetRow
    by_source: tuple[SourceSets, ...]  # largest first


@dataclass(frozen=True)
class Judgement:
    """What is said of verdicts and sets; either is None where the table holds none."""

    verdicts: Verdicts | None
    sets: Sets | None

    def summary(self) -> dict[str, Metric]:
        """Return the metrics under flat names, such as ``confident_MEL`` or ``coverage_BCC``."""
        flat: dict[str, Metric] = {}
        if self.verdicts is not None:
            rows = {
                "in_scope": self.verdicts.in_scope,
                "other_lesions": self.verdicts.other_lesions,
            }
            rows |= {label.value: row for label, row in self.verdicts.by_label.items()}
            flat |= {f"confident_{name}": row.shares[CONFIDENT] for name, row in rows.items()}
            flat["kept_cancer"] = self.verdicts.kept_cancer
            flat["sensitivity_cancer"] = self.verdicts.sensitivity_cancer
            for label, metric in self.verdicts.specificity_cancer.items():
                flat[f"specificity_cancer_{label}"] = metric
        if self.sets is not None:
            for label, found in self.sets.by_label.items():
                if found.coverage is not None:
                    flat[f"coverage_{label}"] = found.coverage
            flat["mean_set_size"] = self.sets.in_scope.mean_size
            flat["empty_sets_other_lesions"] = self.sets.other_lesions.empty
        return flat

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        verdicts, sets = self.verdicts, self.sets
        return {
            "verdicts": verdicts
            and {
                "by_label": {k.value: _verdict_json(row) for k, row in verdicts.by_label.items()},
                "in_scope": _verdict_json(verdicts.in_scope),
                "other_lesions": _verdict_json(verdicts.other_lesions),
                "kept_cancer": verdicts.kept_cancer.to_json(),
                "sensitivity_cancer": verdicts.sensitivity_cancer.to_json(),
                "specificity_cancer": to_plain(verdicts.specificity_cancer),
            },
            "sets": sets
            and {
                "by_label": {k.value: _set_json(row) for k, row in sets.by_label.items()},
                "in_scope": _set_json(sets.in_scope),
                "other_lesions": _set_json(sets.other_lesions),
                "by_source": [
                    {
                        "source": found.source,
                        "n_images": found.n,
                        "coverage": to_plain(found.coverage),
                        "mean_size": found.mean_size.to_json(),
                    }
                    for found in sets.by_source
                ],
            },
        }


def _verdict_json(row: VerdictRow) -> dict[str, Any]:
    return {
        "n_images": row.n,
        "counts": dict(row.counts),
        "shares": to_plain(row.shares),
        "confident_right": row.confident_right.to_json(),
        "right_of_confident": row.right_of_confident.to_json(),
    }


def _set_json(row: SetRow) -> dict[str, Any]:
    return {
        "n_images": row.n,
        "coverage": row.coverage and row.coverage.to_json(),
        "mean_size": row.mean_size.to_json(),
        "empty": row.empty.to_json(),
        "single": row.single.to_json(),
    }


def evaluate_judgement(
    table: PredictionTable, n_bootstrap: int, rng: np.random.Generator
) -> Judgement:
    """Score the verdicts and prediction sets that a table holds.

    Args:
        table: answers and truth.
        n_bootstrap: replicates of whole groups.
        rng: draws them.
    """
    return Judgement(
        verdicts=_verdicts(table) if table.verdicts else None,
        sets=None if table.sets is None else _sets(table, table.sets, n_bootstrap, rng),
    )


def _truths(table: PredictionTable) -> np.ndarray:
    """Return (N,) str; not the enum, whose members numpy would make strings of some length."""
    return np.array([label.value for label in table.y_true])


def _verdicts(table: PredictionTable) -> Verdicts:
    truths, said = _truths(table), np.array(table.verdicts)
    answers = np.array([label.value for label in IN_SCOPE])[
        top_in_scope(table.joint, table.labels)[0]
    ]
    is_right = answers == truths

    def row(chosen: np.ndarray) -> VerdictRow:
        n = int(chosen.sum())
        counts = {verdict: int((said[chosen] == verdict).sum()) for verdict in VERDICTS}
        n_right = int((is_right & (said == CONFIDENT))[chosen].sum())
        right_of_confident = proportion(n_right, counts[CONFIDENT])
        if n and not counts[CONFIDENT]:
            right_of_confident = Metric(None, None, None, 0, WILSON, "no confident answer")
        return VerdictRow(
            n=n,
            counts=counts,
            shares={verdict: proportion(count, n) for verdict, count in counts.items()},
            confident_right=proportion(n_right, n),
            right_of_confident=right_of_confident,
        )

    in_scope = table.is_in_scope
    is_cancer = np.isin(truths, CANCERS)
    is_shown = (said != OUT_OF_SCOPE) & (said != POOR_IMAGE)
    holds_truth, holds_cancer = is_right.copy(), np.isin(answers, CANCERS)
    if table.sets is not None:
        holds_truth |= _holds_truth(table, table.sets)
        holds_cancer |= table.sets[:, [IN_SCOPE.index(label) for label in CANCERS]].any(axis=1)
    points_to_cancer = is_shown & holds_cancer
    return Verdicts(
        by_label={label: row(truths == label) for label in _present(table)},
        in_scope=row(in_scope),
        other_lesions=row(~in_scope & (truths != Label.NOT_SKIN)),
        kept_cancer=proportion(
            int((is_shown & holds_truth)[is_cancer].sum()), int(is_cancer.sum())
        ),
        sensitivity_cancer=proportion(int(points_to_cancer[is_cancer].sum()), int(is_cancer.sum())),
        specificity_cancer={
            label: proportion(
                int((~points_to_cancer)[truths == label].sum()), int((truths == label).sum())
            )
            for label in _present(table)
            if label not in CANCERS
        },
    )


def _present(table: PredictionTable) -> tuple[Label, ...]:
    return tuple(label for label in Label if label in table.y_true)


def _holds_truth(table: PredictionTable, sets: np.ndarray) -> np.ndarray:
    """Return (N,) bool: the set holds the true label; never so out of scope."""
    return (sets & (_truths(table)[:, np.newaxis] == np.array(IN_SCOPE))).any(axis=1)


def _sets(
    table: PredictionTable, sets: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> Sets:
    truths, in_scope = _truths(table), table.is_in_scope
    sources = np.array(table.sources)
    size, holds_truth = sets.sum(axis=1), _holds_truth(table, sets)
    names = [str(name) for name in np.unique(sources[in_scope])]
    rows: dict[str, np.ndarray] = {label.value: truths == label for label in _present(table)}
    rows |= {"in scope": in_scope, "others": ~in_scope & (truths != Label.NOT_SKIN)}
    rows |= {f"source {name}": in_scope & (sources == name) for name in names}
    mean_size = _mean_sizes(table.groups, rows, size, n_bootstrap, rng)

    def row(name: str, *, has_truth: bool) -> SetRow:
        chosen = rows[name]
        n = int(chosen.sum())
        return SetRow(
            n=n,
            coverage=proportion(int(holds_truth[chosen].sum()), n) if has_truth else None,
            mean_size=mean_size[name],
            empty=proportion(int((size == 0)[chosen].sum()), n),
            single=proportion(int((size == 1)[chosen].sum()), n),
        )

    def share(chosen: np.ndarray) -> Metric:
        n = int(chosen.sum())
        if 0 < n < MIN_SOURCE_ROWS:
            return Metric(None, None, None, n, WILSON, "too few to say")
        return proportion(int(holds_truth[chosen].sum()), n)

    by_source = [
        SourceSets(
            source=name,
            n=int(rows[f"source {name}"].sum()),
            coverage={
                label: share(rows[f"source {name}"] & (truths == label)) for label in IN_SCOPE
            },
            mean_size=mean_size[f"source {name}"],
        )
        for name in names
    ]
    return Sets(
        by_label={
            label: row(label.value, has_truth=label in IN_SCOPE) for label in _present(table)
        },
        in_scope=row("in scope", has_truth=True),
        other_lesions=row("others", has_truth=False),
        by_source=tuple(sorted(by_source, key=lambda found: (-found.n, found.source))),
    )


def _mean_sizes(
    groups: Sequence[str],
    rows: dict[str, np.ndarray],
    size: np.ndarray,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> dict[str, Metric]:
    """Return the mean of ``size`` over the rows of each name."""
    is_row = np.column_stack(list(rows.values())).astype(np.float64)
    total = is_row * size[:, np.newaxis]

    def scores(weights: np.ndarray) -> Scores:
        means = scoring.ratio(weights @ total, weights @ is_row)
        return {name: means[:, k] for k, name in enumerate(rows)}

    found = bootstrap(scores, group_index(groups), n_bootstrap, rng)
    counts = {name: int(chosen.sum()) for name, chosen in rows.items()}
    return {
        name: replace(metric, n=counts[name], note=metric.note if counts[name] else "no such image")
        for name, metric in found.items()
    }
