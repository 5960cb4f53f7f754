"""From logits to calibrated probabilities, and to a verdict about them (docs/verdicts.md).

The network has more outputs than answers: besides BCC, SCC and Normal it knows lesions
that are none of the three. Its *joint* probabilities run over all outputs; an answer is
given *conditional* on the image being one of the three, next to ``scope``, the joint
probability that it is.

Probabilities are the softmax of the logits, averaged over the views, divided by one
temperature fitted on held-out data (Guo, Pleiss, Sun and Weinberger 2017, "On Calibration
of Modern Neural Networks", https://arxiv.org/abs/1706.04599).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lesionlens.errors import DataError
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, UNCERTAIN

#: A threshold that no probability reaches: no answer is called confident.
NEVER = 1.01
#: An answer that is not likelier than all else together is never called confident.
LEAST_CONFIDENT = 0.5
#: Temperatures are looked for within these bounds.
TEMPERATURE_BOUNDS: tuple[float, float] = (0.05, 20.0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis.

    Args:
        logits: (..., K), any real numbers.

    Returns:
        (..., K), float64, 0..1, each row summing to 1.
    """
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def combine(view_logits: np.ndarray, temperature: float) -> np.ndarray:
    """Return the joint probabilities of one image from the logits of its views.

    Args:
        view_logits: (V, K), one row per view; (..., V, K) for several images.
        temperature: above 0; above 1 softens, below 1 sharpens.

    Returns:
        (K,), or (..., K): softmax(mean over views / temperature), float64, summing to 1.
    """
    return softmax(np.asarray(view_logits, dtype=np.float64).mean(axis=-2) / temperature)


def fit_temperature(logits: np.ndarray, y_index: np.ndarray) -> float:
    """Return the temperature that makes held-out labels likeliest.

    The mean negative log likelihood is convex in 1/T, so that its slope has one root,
    found by bisection.

    Args:
        logits: (N, K), of images that the model was not trained on, already averaged over
            the views that the temperature is meant for.
        y_index: (N,), the column of each true label, 0..K-1.

    Returns:
        The temperature, within 0.05..20; at a bound where every row is right (or wrong) by
        any margin, so that the likelihood has no minimum.

    Raises:
        DataError: shapes that do not match, no rows, or values that are not finite.
    """
    scores = np.asarray(logits, dtype=np.float64)
    truth = np.asarray(y_index)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or not len(scores):
        raise DataError(
            f"temperature: needs logits (N, K) and labels (N,), got {scores.shape}, {truth.shape}"
        )
    if not np.isfinite(scores).all():
        raise DataError("temperature: some logits are not finite")
    if truth.min() < 0 or truth.max() >= scores.shape[1]:
        raise DataError(f"temperature: labels must be columns 0..{scores.shape[1] - 1}")
    of_truth = scores[np.arange(len(scores)), truth]

    def slope(temperature: float) -> float:
        """Return the derivative of the mean negative log likelihood by 1/T: it rises."""
        expected = (softmax(scores / temperature) * scores).sum(axis=1)
        return float((expected - of_truth).mean())

    low, high = (float(np.log(bound)) for bound in TEMPERATURE_BOUNDS)
    if slope(np.exp(low)) <= 0:
        return TEMPERATURE_BOUNDS[0]
    if slope(np.exp(high)) >= 0:
        return TEMPERATURE_BOUNDS[1]
    for _ in range(60):
        middle = (low + high) / 2
        if slope(np.exp(middle)) > 0:  # 1/T is too large
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def split_scope(
    joint: np.ndarray, labels: Sequence[Label]
) -> tuple[dict[Label, float], float | None]:
    """Split joint probabilities into an answer among the three and how much they cover.

    Args:
        joint: (K,), summing to 1.
        labels: the K labels of the outputs, in order; all three of ``IN_SCOPE`` among them.

    Returns:
        ``(conditional, scope)``: the probabilities of BCC, SCC and Normal given that it is
        one of them, summing to 1; and their joint sum, 0..1, or None where the model has no
        other outputs and so cannot say.
    """
    values = np.asarray(joint, dtype=np.float64)[_columns(labels)]
    total = float(values.sum())
    # All three underflow only when another output is certain: then they are equally unlikely.
    conditional = values / total if total > 0 else np.full(len(values), 1 / len(values))
    answer = {label: float(value) for label, value in zip(IN_SCOPE, conditional, strict=True)}
    return answer, (min(total, 1.0) if len(labels) > len(IN_SCOPE) else None)


def top_in_scope(joint: np.ndarray, labels: Sequence[Label]) -> tuple[np.ndarray, np.ndarray]:
    """Return the likeliest of the three classes and its joint probability, row by row.

    Args:
        joint: (N, K) or (K,).
        labels: the K labels of the outputs.

    Returns:
        ``(index, probability)``, each (N,) or scalar: index into ``IN_SCOPE``, and the joint
        probability (scope times conditional), 0..1.
    """
    values = np.asarray(joint, dtype=np.float64)[..., _columns(labels)]
    return values.argmax(axis=-1), values.max(axis=-1)


def judge(
    joint: np.ndarray,
    labels: Sequence[Label],
    sets: np.ndarray,
    wider_sets: np.ndarray,
    confident_at: float,
) -> list[str]:
    """Return the verdict on each answer, its photo being good enough.

    ``confident``: no other class than the likeliest is in the set, and the joint probability of
    that reaches ``confident_at``. Being joint, it is low both when the three are hard to tell
    apart and when the image is probably none of them. Else ``out_of_scope`` where even the wider
    set is empty: the image is unlike every class that is answered with. ``uncertain``: all else.

    Args:
        joint: (N, K), calibrated joint probabilities.
        labels: the K labels of the outputs.
        sets: (N, 3) bool, from ``conformal.ConformalSets.sets``.
        wider_sets: (N, 3) bool, the same at the policy's scope coverage.
        confident_at: 0..1, or ``NEVER``.

    Returns:
        N of ``verdicts.VERDICTS``.
    """
    index, probability = top_in_scope(joint, labels)
    is_confident = _has_no_other(sets, index) & (probability >= confident_at)
    return [
        CONFIDENT if confident else UNCERTAIN if members.any() else OUT_OF_SCOPE
        for confident, members in zip(is_confident, sets | wider_sets, strict=True)
    ]


def is_unrivalled(joint: np.ndarray, labels: Sequence[Label], sets: np.ndarray) -> np.ndarray:
    """Return whether no class but the likeliest of the three is in each set, (N,) bool.

    The likeliest itself may be missing from it: of an easy class 90 % sets leave out the lowest
    tenth, however sure the model is of that.
    """
    return _has_no_other(sets, top_in_scope(joint, labels)[0])


def _has_no_other(sets: np.ndarray, index: np.ndarray) -> np.ndarray:
    others = sets.copy()
    others[np.arange(len(sets)), index] = False
    return np.logical_not(others.any(axis=1))


def choose_confident_at(
    joint: np.ndarray,
    labels: Sequence[Label],
    y_true: Sequence[Label],
    *,
    sets: np.ndarray,
    precision: float = 0.9,
) -> float:
    """Choose the threshold for ``judge`` on held-out data.

    Args:
        joint: (N, K), calibrated joint probabilities of images the model was not trained on,
            out-of-scope lesions included in the share that is expected in use.
        labels: the K labels of the outputs.
        y_true: the N true labels; one out of scope makes any confident answer wrong.
        sets: (N, 3) bool, the prediction sets; only an unrivalled answer may be confident.
        precision: the share of confident answers that must be right, 0..1.

    Returns:
        The smallest observed probability, not below ``LEAST_CONFIDENT``, at which at least that
        share of the confident answers at or above it is right; ``NEVER`` where there is none.

    Raises:
        DataError: shapes that do not match, or no rows.
    """
    values = np.asarray(joint, dtype=np.float64)
    shape = (len(y_true), len(IN_SCOPE))
    if values.ndim != 2 or len(values) != len(y_true) or sets.shape != shape or not len(values):
        raise DataError(
            f"confident_at: needs joint probabilities (N, {len(labels)}), N labels and N sets, "
            f"got {values.shape}, {len(y_true)} and {sets.shape}"
        )
    index, score = top_in_scope(values, labels)
    right = np.array(
        [IN_SCOPE[i] == truth for i, truth in zip(index, y_true, strict=True)], dtype=np.float64
    )
    eligible = is_unrivalled(values, labels, sets) & (score >= LEAST_CONFIDENT)
    score, right = score[eligible], right[eligible]
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    share = np.cumsum(right) / np.arange(1, len(right) + 1)
    is_last_of_tie = np.append(score[1:] != score[:-1], True)
    good = np.flatnonzero(is_last_of_tie & (share >= precision))
    return float(score[good[-1]]) if len(good) else NEVER


def _columns(labels: Sequence[Label]) -> list[int]:
    missing = [label.value for label in IN_SCOPE if label not in labels]
    if missing:
        raise DataError(f"labels: the model has no output for {', '.join(missing)}")
    return [list(labels).index(label) for label in IN_SCOPE]
