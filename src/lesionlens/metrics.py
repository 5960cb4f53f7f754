"""From a prediction table to numbers, each with a 95 % interval.

Two questions are asked of a table. *Closed set*: of the images that are BCC, SCC or healthy
skin, which did the model tell apart, going by its probabilities given that it is one of the
three? *Open set* (``open_set``): with other lesions among the images, does it still find each
class, and does it notice that the others are none of the three? Where answers may be withheld,
``selective`` says how wrong the rest is, and ``judging`` what verdicts and sets come to.

Proportions (accuracy, recall, specificity, precision) carry Wilson's score interval; all
else carries the percentiles of a bootstrap that draws whole groups (lesions or patients),
since images of one lesion are not independent. A metric is never a bare number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lesionlens import scoring
from lesionlens.intervals import (
    MIN_REPLICATES,
    WILSON,
    Metric,
    Scores,
    bootstrap,
    group_index,
    proportion,
    to_plain,
)
from lesionlens.judging import MIN_SOURCE_ROWS, Judgement, evaluate_judgement
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.open_set import OpenSet, evaluate_open_set
from lesionlens.prediction_table import PredictionTable, load_predictions
from lesionlens.selective import Selective, evaluate_selective

#: Names of the metrics of one class, in the order of every table.
CLASS_METRICS = ("precision", "recall", "specificity", "f1", "roc_auc", "average_precision")

__all__ = [
    "CLASS_METRICS",
    "Evaluation",
    "Metric",
    "OpenSet",
    "PredictionTable",
    "SourceResult",
    "evaluate",
    "load_predictions",
    "paired_differences",
    "proportion",
]


@dataclass(frozen=True)
class SourceResult:
    """How the images of one institution or collection fared (closed set)."""

    source: str
    n: int  # images
    accuracy: Metric
    recall: dict[Label, Metric]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that is said about a prediction table."""

    table: PredictionTable = field(repr=False)
    seed: int
    n_bootstrap: int
    n: int  # images of the closed set
    n_groups: int  # groups among them
    confusion: np.ndarray  # (3, 3) int, true class by answer, in the order of IN_SCOPE
    overall: dict[str, Metric]  # accuracy, balanced_accuracy, macro_*, weighted_*, brier...
    by_class: dict[Label, dict[str, Metric]]  # CLASS_METRICS of each class
    by_source: tuple[SourceResult, ...]  # largest first
    open_set: OpenSet | None  # None where neither images nor model know of other lesions
    selective: Selective  # error among the answers that are not withheld
    judgement: Judgement  # verdicts and prediction sets, where the table holds them

    def summary(self) -> dict[str, Metric]:
        """Return every metric under one flat name, such as ``accuracy`` or ``recall_SCC``."""
        flat = dict(self.overall)
        for label, metrics in self.by_class.items():
            flat |= {f"{name}_{label}": metric for name, metric in metrics.items()}
        if self.open_set is not None:
            flat |= self.open_set.summary()
        return flat | self.selective.summary() | self.judgement.summary()

    def to_json(self) -> dict[str, Any]:
        """Return all of it but the table as plain values for JSON."""
        return {
            "n_images": self.n,
            "n_groups": self.n_groups,
            "seed": self.seed,
            "n_bootstrap": self.n_bootstrap,
            "remarks": list(self.table.remarks),
            "labels": [label.value for label in IN_SCOPE],
            "confusion": self.confusion.tolist(),
            "overall": to_plain(self.overall),
            "by_class": {label.value: to_plain(found) for label, found in self.by_class.items()},
            "by_source": [
                {
                    "source": result.source,
                    "n_images": result.n,
                    "accuracy": result.accuracy.to_json(),
                    "recall": to_plain(result.recall),
                }
                for result in self.by_source
            ],
            "open_set": self.open_set and self.open_set.to_json(),
            "selective": self.selective.to_json(),
            **self.judgement.to_json(),
        }


def evaluate(table: PredictionTable, *, seed: int = 0, n_bootstrap: int = 2000) -> Evaluation:
    """Score a prediction table.

    Args:
        table: answers and truth.
        seed: of the bootstrap; the same seed gives the same intervals.
        n_bootstrap: replicates, at least ``MIN_REPLICATES``.

    Returns:
        The evaluation. Metrics of a class without images, and intervals that the images are
        too few for, are None with a note; so is everything of the closed set if no image
        belongs to it.

    Raises:
        ValueError: ``n_bootstrap`` is too small.
    """
    if n_bootstrap < MIN_REPLICATES:
        raise ValueError(f"n_bootstrap is {n_bootstrap}; at least {MIN_REPLICATES} are needed")
    closed_rng, open_rng, selective_rng, sets_rng = np.random.default_rng(seed).spawn(4)
    in_scope = table.is_in_scope
    true_index, answer, conditional = _closed_rows(table)
    confusion = np.zeros((3, 3), dtype=int)
    np.add.at(confusion, (true_index, answer), 1)
    group_of = _group_index(table, in_scope)
    metrics = bootstrap(
        _closed_scores(true_index, answer, conditional), group_of, n_bootstrap, closed_rng
    )
    metrics |= _closed_proportions(confusion)
    n_closed = len(true_index)
    n_groups = len(np.unique(group_of))
    if n_groups == n_closed:
        metrics.pop("accuracy_by_group")  # says nothing that Wilson's interval does not
    missing = [label for i, label in enumerate(IN_SCOPE) if not confusion[i].sum()]
    overall = {name: metric for name, metric in metrics.items() if "/" not in name}
    by_class = {
        label: {
            name: _about_class(metrics[f"{name}/{label}"], label, confusion)
            for name in CLASS_METRICS
        }
        for label in IN_SCOPE
    }
    if missing and n_closed:
        words = f"over the classes that have images: none is {' or '.join(missing)}"
        overall = {
            name: _with_note(metric, words) if _is_average(name) else metric
            for name, metric in overall.items()
        }
    return Evaluation(
        table=table,
        seed=seed,
        n_bootstrap=n_bootstrap,
        n=n_closed,
        n_groups=n_groups,
        confusion=confusion,
        overall=overall,
        by_class=by_class,
        by_source=_by_source(table, true_index, answer),
        open_set=evaluate_open_set(table, n_bootstrap, open_rng)
        if table.has_other_outputs or not in_scope.all()
        else None,
        selective=evaluate_selective(table, n_bootstrap, selective_rng),
        judgement=evaluate_judgement(table, n_bootstrap, sets_rng),
    )


def paired_differences(first: Evaluation, second: Evaluation) -> dict[str, Metric] | None:
    """Return by how much ``second`` exceeds ``first`` on the same images, or None.

    Both are drawn together in each replicate, so the interval is that of the difference: two
    models can differ surely although their own intervals overlap.

    Returns:
        The differences of accuracy, balanced accuracy, macro F1 and macro ROC-AUC, each -1..1
        with a bootstrap interval; None unless both hold the same images with the same truth
        and groups.
    """
    rows = {image_id: row for row, image_id in enumerate(second.table.image_ids)}
    if rows.keys() != set(first.table.image_ids):
        return None
    other = second.table.subset(np.array([rows[name] for name in first.table.image_ids]))
    if (other.y_true, other.groups) != (first.table.y_true, first.table.groups):
        return None
    score_first = _closed_scores(*_closed_rows(first.table))
    score_second = _closed_scores(*_closed_rows(other))
    names = ("accuracy_by_group", "balanced_accuracy", "macro_f1", "macro_roc_auc")

    def differences(weights: np.ndarray) -> Scores:
        one, two = score_first(weights), score_second(weights)
        return {name.removesuffix("_by_group"): two[name] - one[name] for name in names}

    group_of = _group_index(first.table, first.table.is_in_scope)
    rng = np.random.default_rng(first.seed)
    return bootstrap(differences, group_of, first.n_bootstrap, rng)


def _closed_rows(table: PredictionTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true class (N,), answer (N,) and conditional (N, 3) of the rows in scope."""
    chosen = table.is_in_scope
    truths = [IN_SCOPE.index(label) for label in table.y_true if label in IN_SCOPE]
    conditional = table.conditional[chosen]
    return np.array(truths, dtype=int), conditional.argmax(axis=1), conditional


def _group_index(table: PredictionTable, chosen: np.ndarray) -> np.ndarray:
    return group_index([table.groups[row] for row in np.flatnonzero(chosen)])


def _closed_scores(
    true_index: np.ndarray, answer: np.ndarray, conditional: np.ndarray
) -> Callable[[np.ndarray], Scores]:
    """Return the function from weights (B, N) to every closed-set score that is bootstrapped."""
    if not len(true_index):
        return lambda weights: dict.fromkeys(_CLOSED_NAMES, np.full(len(weights), np.nan))
    one_hot = np.eye(len(IN_SCOPE))[true_index]
    is_right = true_index == answer
    confidence = conditional.max(axis=1)
    bin_of = scoring.calibration_bin_of(confidence)
    rows = np.arange(len(true_index))

    def scores(weights: np.ndarray) -> Scores:
        rates = scoring.class_rates(
            scoring.confusion_counts(weights, true_index, answer, len(IN_SCOPE))
        )
        ranking = [
            scoring.ranking_scores(weights, true_index == k, conditional[:, k])
            for k in range(len(IN_SCOPE))
        ]
        by_class = {
            "precision": rates.precision,
            "recall": rates.recall,
            "specificity": np.where(rates.support > 0, rates.specificity, np.nan),
            "f1": rates.f1,
            "roc_auc": np.column_stack([auc for auc, _ in ranking]),
            "average_precision": np.column_stack([precision for _, precision in ranking]),
        }
        found = {
            "accuracy_by_group": scoring.ratio(weights @ is_right, weights.sum(axis=1)),
            "balanced_accuracy": scoring.mean_over_classes(rates.recall),
        }
        for name, values in by_class.items():
            found[f"macro_{name}"] = scoring.mean_over_classes(values)
        for name in ("precision", "recall", "specificity", "f1"):
            found[f"weighted_{name}"] = scoring.mean_over_classes(by_class[name], rates.support)
        found["brier"] = scoring.brier_scores(weights, conditional, one_hot)
        found["log_loss"] = scoring.log_losses(weights, conditional[rows, true_index])
        found["expected_calibration_error"] = scoring.calibration_errors(
            weights, confidence, is_right, bin_of
        )
        for name in ("f1", "roc_auc", "average_precision"):
            for k, label in enumerate(IN_SCOPE):
                found[f"{name}/{label}"] = by_class[name][:, k]
        return found

    return scores


_CLOSED_NAMES = (
    "accuracy_by_group",
    "balanced_accuracy",
    *(f"macro_{name}" for name in CLASS_METRICS),
    *(f"weighted_{name}" for name in ("precision", "recall", "specificity", "f1")),
    "brier",
    "log_loss",
    "expected_calibration_error",
    *(f"{name}/{label}" for name in ("f1", "roc_auc", "average_precision") for label in IN_SCOPE),
)


def _closed_proportions(confusion: np.ndarray) -> dict[str, Metric]:
    total = int(confusion.sum())
    metrics = {"accuracy": proportion(np.trace(confusion), total)}
    for k, label in enumerate(IN_SCOPE):
        right, support, answered = confusion[k, k], confusion[k].sum(), confusion[:, k].sum()
        metrics[f"precision/{label}"] = proportion(right, answered)
        metrics[f"recall/{label}"] = proportion(right, support)
        others = total - support
        metrics[f"specificity/{label}"] = proportion(others - (answered - right), others)
    return metrics


def _is_average(name: str) -> bool:
    return name.startswith(("macro_", "weighted_", "balanced_"))


def _with_note(metric: Metric, words: str) -> Metric:
    note = f"{metric.note}; {words}" if metric.note else words
    return Metric(metric.value, metric.low, metric.high, metric.n, metric.method, note)


def _about_class(metric: Metric, label: Label, confusion: np.ndarray) -> Metric:
    k = IN_SCOPE.index(label)
    if not confusion[k].sum():
        return Metric(None, None, None, 0, metric.method, f"no image is {label}")
    if metric.value is None:
        words = "no image is of another class" if confusion[:, k].sum() else f"never said {label}"
        return Metric(None, None, None, metric.n, metric.method, words)
    return metric


def _by_source(
    table: PredictionTable, true_index: np.ndarray, answer: np.ndarray
) -> tuple[SourceResult, ...]:
    sources = np.array(table.sources)[table.is_in_scope]

    def share(chosen: np.ndarray) -> Metric:
        n = int(chosen.sum())
        if 0 < n < MIN_SOURCE_ROWS:
            return Metric(None, None, None, n, WILSON, "too few to say")
        return proportion(int((true_index == answer)[chosen].sum()), n)

    results = [
        SourceResult(
            source=str(source),
            n=int((sources == source).sum()),
            accuracy=share(sources == source),
            recall={
                label: share((sources == source) & (true_index == k))
                for k, label in enumerate(IN_SCOPE)
            },
        )
        for source in np.unique(sources)
    ]
    return tuple(sorted(results, key=lambda result: (-result.n, result.source)))
