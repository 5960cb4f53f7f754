"""The formulas behind ``metrics``: scores of weighted rows, many weightings at a time.

Every score takes ``weights`` of shape (B, N): how often each of N rows counts in each of B
samples. Ones give the score of the table itself; the counts of a bootstrap draw give its
replicates, so that a value and its interval come out of the same line of code. What cannot
be said (a class without a row) is NaN here; ``metrics`` turns it into words.

Definitions are those of scikit-learn, against which the tests hold every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Bins of the calibration error. Ten keep 10 rows in each even of a test set of 100 images.
CALIBRATION_BINS = 10


def confusion_counts(
    weights: np.ndarray, true_index: np.ndarray, answer_index: np.ndarray, n_classes: int
) -> np.ndarray:
    """Count the rows of each true class (axis 1) that got each answer (axis 2).

    Args:
        weights: (B, N), non-negative.
        true_index: (N,) int, 0..n_classes-1.
        answer_index: (N,) int, 0..n_classes-1.
        n_classes: how many classes there are.

    Returns:
        (B, n_classes, n_classes) float.
    """
    cell = true_index * n_classes + answer_index
    one_hot = np.zeros((len(cell), n_classes * n_classes))
    one_hot[np.arange(len(cell)), cell] = 1
    return (weights @ one_hot).reshape(-1, n_classes, n_classes)


@dataclass(frozen=True)
class ClassRates:
    """Per-class rates of B confusion matrices, each (B, K); NaN where a rate has no rows."""

    support: np.ndarray  # rows of the class
    precision: np.ndarray  # right among the answers that name the class
    recall: np.ndarray  # right among the rows of the class: sensitivity
    specificity: np.ndarray  # not named among the rows of other classes
    f1: np.ndarray  # harmonic mean of precision and recall


def class_rates(confusion: np.ndarray) -> ClassRates:
    """Return the per-class rates of confusion matrices of shape (B, K, K).

    A class that has rows but is never answered has precision 0 (scikit-learn's
    ``zero_division=0``): in an average it must not vanish. A class without rows has no rates.
    """
    right = np.diagonal(confusion, axis1=1, axis2=2)
    support = confusion.sum(axis=2)
    answered = confusion.sum(axis=1)
    total = confusion.sum(axis=(1, 2))[:, np.newaxis]
    others = total - support
    present = support > 0
    return ClassRates(
        support=support,
        precision=np.where(present, right / np.maximum(answered, 1e-300), np.nan),
        recall=ratio(right, support),
        specificity=ratio(others - (answered - right), others),
        f1=np.where(present, 2 * right / np.maximum(support + answered, 1e-300), np.nan),
    )


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide element by element; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def mean_over_classes(rates: np.ndarray, class_weights: np.ndarray | None = None) -> np.ndarray:
    """Average (B, K) rates over the classes that have one: plain (macro) or weighted, (B,)."""
    weights = np.ones_like(rates) if class_weights is None else class_weights
    defined = ~np.isnan(rates)
    return ratio(
        (np.where(defined, rates, 0) * weights).sum(axis=1), (defined * weights).sum(axis=1)
    )


def ranking_scores(
    weights: np.ndarray, is_positive: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the area under the ROC curve and the average precision of a score.

    Rows of equal score count as one step of the curve, so that the order of the rows of a
    table never matters. Average precision is the step-wise sum of scikit-learn, without
    interpolation.

    Args:
        weights: (B, N), non-negative.
        is_positive: (N,) bool.
        score: (N,), the higher the more likely positive.

    Returns:
        Two (B,) arrays in 0..1; NaN where there is no positive (both) or no negative (ROC).
    """
    n_samples = len(weights)
    if not is_positive.any():
        return np.full(n_samples, np.nan), np.full(n_samples, np.nan)
    order = np.argsort(-score, kind="stable")
    ranked = weights[:, order]
    step_start, step_end = _steps(score[order])
    seen = np.cumsum(ranked, axis=1)
    n_rows = seen[:, -1]

    # Only steps with a positive add to either area.
    positives = np.flatnonzero(is_positive[order])
    step_of = np.searchsorted(step_end, positives)
    steps, first = np.unique(step_of, return_index=True)
    hits = np.add.reduceat(ranked[:, positives], first, axis=1)
    hits_so_far = np.cumsum(hits, axis=1)
    n_positive = hits_so_far[:, -1]
    n_negative = n_rows - n_positive
    seen_after = seen[:, step_end[steps]]
    starts = step_start[steps]
    seen_before = np.where(starts > 0, seen[:, np.maximum(starts - 1, 0)], 0)
    misses_before = seen_before - (hits_so_far - hits)
    misses = seen_after - seen_before - hits

    area = (hits * (n_negative[:, np.newaxis] - misses_before - misses / 2)).sum(axis=1)
    precision = np.where(seen_after > 0, hits_so_far / np.maximum(seen_after, 1e-300), 0)
    return (
        ratio(area, n_positive * n_negative),
        ratio((hits * precision).sum(axis=1), n_positive),
    )


def _steps(ranked_score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last index of each run of equal values."""
    changes = np.flatnonzero(ranked_score[1:] != ranked_score[:-1]) + 1
    starts = np.concatenate(([0], changes))
    ends = np.concatenate((changes - 1, [len(ranked_score) - 1]))
    return starts, ends


def roc_curve(is_positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC curve's points, from (0, 0) to (1, 1).

    Args:
        is_positive: (N,) bool, with at least one of each kind.
        score: (N,).

    Returns:
        False-positive rate and true-positive rate, each ascending, a point per distinct score.
    """
    hits, seen = _hits_and_seen(is_positive, score)
    misses = seen - hits
    return (
        np.concatenate(([0.0], misses / misses[-1])),
        np.concatenate(([0.0], hits / hits[-1])),
    )


def precision_recall_curve(
    is_positive: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return recall (ascending) and precision, a point per distinct score, highest first.

    Args:
        is_positive: (N,) bool, with at least one True.
        score: (N,).
    """
    hits, seen = _hits_and_seen(is_positive, score)
    return hits / hits[-1], hits / seen


def _hits_and_seen(is_positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-score, kind="stable")
    _, ends = _steps(score[order])
    return np.cumsum(is_positive[order])[ends].astype(float), ends + 1.0


def brier_scores(
    weights: np.ndarray, probabilities: np.ndarray, y_one_hot: np.ndarray
) -> np.ndarray:
    """Return the multiclass Brier score, the squared error summed over classes: 0..2, (B,).

    Brier 1950, https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Args:
        weights: (B, N).
        probabilities: (N, K), rows sum to 1.
        y_one_hot: (N, K), 1 at the true class.
    """
    return ratio(weights @ ((probabilities - y_one_hot) ** 2).sum(axis=1), weights.sum(axis=1))


def log_losses(weights: np.ndarray, true_probability: np.ndarray) -> np.ndarray:
    """Return the mean negative natural logarithm of the true class's probability, (B,).

    Args:
        weights: (B, N).
        true_probability: (N,) in 0..1, clipped at the float's resolution as scikit-learn does.
    """
    clipped = np.clip(true_probability, np.finfo(float).eps, 1)
    return ratio(weights @ -np.log(clipped), weights.sum(axis=1))


def calibration_bin_of(
    confidence: np.ndarray, n_bins: int = CALIBRATION_BINS, weights: np.ndarray | None = None
) -> np.ndarray:
    """Sort rows into bins of equal mass by confidence; equal confidences share a bin.

    Equal mass rather than equal width, because most answers of a good model crowd near 1
    (Nixon et al. 2019, https://arxiv.org/abs/1904.01685).

    Args:
        confidence: (N,).
        n_bins: how many.
        weights: (N,), the mass of each row; None: all alike.

    Returns:
        (N,) int, 0..n_bins-1; with many ties some bins stay empty.
    """
    shares = np.arange(1, n_bins) / n_bins
    if weights is None or not weights.sum() > 0:
        # "higher" puts each edge on a row, so that no edge is a rounding error away from a tie.
        edges = np.quantile(confidence, shares, method="higher")
    else:
        order = np.argsort(confidence, kind="stable")
        mass = np.cumsum(weights[order])
        first = np.searchsorted(mass, shares * mass[-1], side="right")
        edges = confidence[order][np.minimum(first, len(order) - 1)]
    return np.searchsorted(edges, confidence, side="right")


def calibration_errors(
    weights: np.ndarray, confidence: np.ndarray, is_right: np.ndarray, bin_of: np.ndarray
) -> np.ndarray:
    """Return the expected calibration error of the top answer, 0..1, (B,).

    The gap between mean confidence and share of right answers in each bin, averaged over bins
    by their rows (Guo et al. 2017, https://arxiv.org/abs/1706.04599).

    Args:
        weights: (B, N).
        confidence: (N,), probability of the answer.
        is_right: (N,) bool.
        bin_of: (N,) int, from ``calibration_bin_of``.
    """
    gap = np.zeros((len(confidence), int(bin_of.max()) + 1))
    gap[np.arange(len(confidence)), bin_of] = confidence - is_right
    return ratio(np.abs(weights @ gap).sum(axis=1), weights.sum(axis=1))


def half_and_half(weights: np.ndarray, is_in_scope: np.ndarray) -> np.ndarray:
    """Weigh the rows out of scope so that they count as much as those in scope, together.

    Archives hold ten nevi to a carcinoma, a clinic's camera some other share. What depends on
    that share is told at one half, a stated convention, whatever a table holds.

    Args:
        weights: (B, N), non-negative.
        is_in_scope: (N,) bool.

    Returns:
        (B, N); a sample without a row of one kind has weights that sum to 0 or NaN, so that
        whatever is made of it is NaN.
    """
    factor = ratio(weights @ is_in_scope, weights @ ~is_in_scope)
    return np.where(is_in_scope, weights, weights * factor[:, np.newaxis])


def risk_coverage_curve(
    score: np.ndarray, is_wrong: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many answers are wrong among those given, as fewer and fewer are withheld.

    El-Yaniv and Wiener 2010, https://www.jmlr.org/papers/v11/el-yaniv10a.html: the answers of
    highest score are given first; rows of equal score are given together.

    Args:
        score: (N,), N at least 1.
        is_wrong: (N,) bool.
        weights: (N,), how much each row counts; None: all alike.

    Returns:
        Share of rows answered (ascending, ending at 1) and share wrong among them, a point per
        distinct score.
    """
    mass = np.ones(len(score)) if weights is None else weights
    order = np.argsort(-score, kind="stable")
    _, ends = _steps(score[order])
    seen = np.cumsum(mass[order])[ends]
    wrong = np.cumsum((mass * is_wrong)[order])[ends]
    return seen / seen[-1], wrong / seen


def risk_coverage_areas(weights: np.ndarray, score: np.ndarray, is_wrong: np.ndarray) -> np.ndarray:
    """Return the area under the risk-coverage curve (AURC), 0 best, 1 worst, (B,).

    The mean over rows of the share wrong among the answers of no lower score (Geifman, Uziel
    and El-Yaniv 2019, https://arxiv.org/abs/1805.08206).

    Args:
        weights: (B, N).
        score: (N,).
        is_wrong: (N,) bool.
    """
    order = np.argsort(-score, kind="stable")
    _, ends = _steps(score[order])
    ranked = weights[:, order]
    seen = np.cumsum(ranked, axis=1)[:, ends]
    wrong = np.cumsum(ranked * is_wrong[order], axis=1)[:, ends]
    step = np.diff(seen, axis=1, prepend=0)
    return ratio((step * wrong / np.maximum(seen, 1e-300)).sum(axis=1), seen[:, -1])
