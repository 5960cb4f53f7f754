"""Scores of answers under several conditions at once, each difference on the same draws.

The formulas are those of ``scoring``, the intervals those of ``intervals``; here they are put
together so that one bootstrap gives every condition's score and its distance from the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lesionlens import scoring
from lesionlens.intervals import WILSON, Metric, Scores, bootstrap, proportion
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable
from lesionlens.verdicts import CONFIDENT

#: From row weights (B, N) to scores by name, each (B,).
Score = Callable[[np.ndarray], Scores]
#: Fewest lesions that anything is said about.
MIN_GROUPS = 10
TOO_FEW = f"too few to say: fewer than {MIN_GROUPS} lesions"
#: Between the name of a score and that of the condition it is of.
_OF = "\x1f"


def closed_score(table: PredictionTable) -> Score:
    """Return the function that scores the answers among BCC, SCC and Normal.

    Names: accuracy, balanced_accuracy, macro_f1, mean_confidence, expected_calibration_error,
    recall_BCC, recall_SCC, recall_Normal. Every image of the table must be one of the three.
    """
    truth = np.array([IN_SCOPE.index(label) for label in table.y_true], dtype=int)
    conditional = table.conditional
    answer, confidence = conditional.argmax(axis=1), conditional.max(axis=1)
    is_right = truth == answer
    bin_of = scoring.calibration_bin_of(confidence)

    def score(weights: np.ndarray) -> Scores:
        counts = scoring.confusion_counts(weights, truth, answer, len(IN_SCOPE))
        rates = scoring.class_rates(counts)
        total = weights.sum(axis=1)
        return {
            "accuracy": scoring.ratio(weights @ is_right, total),
            "balanced_accuracy": scoring.mean_over_classes(rates.recall),
            "macro_f1": scoring.mean_over_classes(rates.f1),
            "mean_confidence": scoring.ratio(weights @ confidence, total),
            "expected_calibration_error": scoring.calibration_errors(
                weights, confidence, is_right, bin_of
            ),
            **{f"recall_{label}": rates.recall[:, k] for k, label in enumerate(IN_SCOPE)},
        }

    return score


def pair_score(table: PredictionTable, one: Label, other: Label) -> Score:
    """Return the function that scores two classes told apart, whatever else is possible.

    Names: pair_balanced_accuracy (the likelier of the two is the answer; chance is 0.5) and
    pair_roc_auc. Rows of other labels do not count.
    """
    columns = [table.labels.index(one), table.labels.index(other)]
    joint = table.joint[:, columns]
    total = joint.sum(axis=1)
    share = np.where(total > 0, joint[:, 0] / np.maximum(total, 1e-300), 0.5)
    is_one = np.array([label == one for label in table.y_true])
    counts_in = is_one | np.array([label == other for label in table.y_true])
    truth, answer = np.where(is_one, 0, 1), np.where(share > 0.5, 0, 1)

    def score(weights: np.ndarray) -> Scores:
        chosen = weights[:, counts_in]
        counts = scoring.confusion_counts(chosen, truth[counts_in], answer[counts_in], 2)
        area, _ = scoring.ranking_scores(chosen, is_one[counts_in], share[counts_in])
        recall = scoring.class_rates(counts).recall
        # One of the two missing from a draw: nothing is told apart.
        return {"pair_balanced_accuracy": recall.mean(axis=1), "pair_roc_auc": area}

    return score


def open_score(table: PredictionTable) -> Score:
    """Return the function that scores BCC, SCC and Normal found among everything else.

    Name: open_macro_roc_auc, of the joint probabilities.
    """
    joint = table.joint_in_scope
    is_class = [np.array([y == label for y in table.y_true]) for label in IN_SCOPE]

    def score(weights: np.ndarray) -> Scores:
        areas = [scoring.ranking_scores(weights, is_class[k], joint[:, k])[0] for k in range(3)]
        return {"open_macro_roc_auc": scoring.mean_over_classes(np.column_stack(areas))}

    return score


def share_score(name: str, holds: np.ndarray) -> Score:
    """Return the function that gives the share of the rows for which something holds."""

    def score(weights: np.ndarray) -> Scores:
        return {name: scoring.ratio(weights @ holds, weights.sum(axis=1))}

    return score


def together(*scores: Score) -> Score:
    """Return one function that gives all scores of several."""

    def score(weights: np.ndarray) -> Scores:
        found: Scores = {}
        for part in scores:
            found |= part(weights)
        return found

    return score


def compare(
    conditions: Mapping[str, Score],
    groups: Sequence[str],
    *,
    n_bootstrap: int,
    seed: int,
    also: Callable[[Mapping[str, Scores]], Mapping[str, Scores]] | None = None,
) -> dict[str, dict[str, Metric]]:
    """Score several conditions of the same images; each also against the first, paired.

    Args:
        conditions: by name, the first being the one compared with.
        groups: N, lesion or patient of each row; drawn whole.
        n_bootstrap: draws.
        seed: of the draws.
        also: gives further scores by condition, from those of all conditions.

    Returns:
        condition -> score -> metric. ``<score>_difference`` is by how much the condition exceeds
        the first, drawn together with it.
    """
    names = list(conditions)

    def scores(weights: np.ndarray) -> Scores:
        by_condition = {name: score(weights) for name, score in conditions.items()}
        first = by_condition[names[0]]
        found: Scores = {}
        for name, values in by_condition.items():
            for key, value in values.items():
                found[f"{key}{_OF}{name}"] = value
                if name != names[0] and key in first:
                    found[f"{key}_difference{_OF}{name}"] = value - first[key]
        for name, values in (also(by_condition) if also else {}).items():
            for key, value in values.items():
                found[f"{key}{_OF}{name}"] = value
        return found

    group_of = np.unique(np.array(groups), return_inverse=True)[1]
    metrics = bootstrap(scores, group_of, n_bootstrap, np.random.default_rng(seed))
    sorted_out: dict[str, dict[str, Metric]] = {name: {} for name in names}
    for key, metric in metrics.items():
        score, name = key.split(_OF)
        sorted_out[name][score] = metric
    return sorted_out


def n_groups(groups: Sequence[str]) -> int:
    """Return how many lesions or patients there are."""
    return len(set(groups))


def share(holds: np.ndarray, groups: Sequence[str] | None = None) -> Metric:
    """Return the share of rows for which something holds, with Wilson's interval.

    Args:
        holds: (n,) bool.
        groups: of the rows; below ``MIN_GROUPS`` of them nothing is said. None asks no such
            thing.
    """
    n = len(holds)
    if groups is not None and 0 < n_groups(groups) < MIN_GROUPS:
        return Metric(None, None, None, n, WILSON, TOO_FEW)
    return proportion(int(np.count_nonzero(holds)), n)


def is_right(table: PredictionTable) -> np.ndarray:
    """(N,) bool: the likeliest of the three is the truth; False for a truth out of scope."""
    answer = table.conditional.argmax(axis=1)
    return np.array([IN_SCOPE[k] == y for k, y in zip(answer, table.y_true, strict=True)])


def is_confident(table: PredictionTable) -> np.ndarray:
    """(N,) bool: the verdict is ``confident``."""
    return np.array([verdict == CONFIDENT for verdict in table.verdicts], dtype=bool)
