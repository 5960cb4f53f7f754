"""How sure a number is: a metric with its 95 % interval, by Wilson or by bootstrap.

Wilson's score interval is for shares of independent images. Everything else is drawn again:
whole groups (lesions or patients), with replacement, since images of one lesion are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WILSON = "Wilson score"
BOOTSTRAP = "bootstrap by group"
#: Fewest bootstrap replicates that make a 95 % interval (2.5 of 100 lie outside each end).
MIN_REPLICATES = 100

_Z_95 = 1.959963984540054
_BATCH_CELLS = 4_000_000  # weights held at a time: 32 MB

#: Scores by name, each (B,): one value per weighting of the rows.
Scores = dict[str, np.ndarray]


@dataclass(frozen=True)
class Metric:
    """A number, what is known of its precision, and how."""

    value: float | None  # None: it cannot be said; ``note`` tells why
    low: float | None  # lower end of the 95 % interval
    high: float | None  # upper end
    n: int  # images it rests on
    method: str  # of the interval
    note: str = ""  # what a reader must know to read it rightly

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON; ``note`` only where there is one."""
        plain = {name: getattr(self, name) for name in ("value", "low", "high", "n", "method")}
        return plain | ({"note": self.note} if self.note else {})


def to_plain(metrics: Mapping[Any, Metric]) -> dict[str, Any]:
    """Return plain values for JSON, a metric per name."""
    return {str(name): metric.to_json() for name, metric in metrics.items()}


def group_index(groups: Sequence[str]) -> np.ndarray:
    """Return (N,) int, the group of each row, 0..G-1, as ``bootstrap`` wants it."""
    return np.unique(np.array(groups, dtype=str), return_inverse=True)[1]


def proportion(successes: float, n: int) -> Metric:
    """Return a share with Wilson's score interval.

    Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953; recommended for small samples
    by Newcombe 1998. It stays within 0..1 and does not collapse at 0 or n successes.

    Args:
        successes: how many of ``n``.
        n: trials; with 0 the metric has no value.
    """
    if n == 0:
        return Metric(None, None, None, 0, WILSON, "no such image")
    share = successes / n
    z2 = _Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    low = 0.0 if successes == 0 else min(float(centre - half), share)
    high = 1.0 if successes == n else max(float(centre + half), share)
    return Metric(float(share), low, high, int(n), WILSON)


def bootstrap(
    scores: Callable[[np.ndarray], Scores],
    group_of: np.ndarray,
    n_bootstrap: int,
    rng: np.random.Generator,
) -> dict[str, Metric]:
    """Return each score with the 2.5th and 97.5th percentile over draws of whole groups.

    Efron and Tibshirani 1993, chapter 13; groups drawn whole as in Field and Welsh 2007,
    https://doi.org/10.1111/j.1467-9868.2007.00593.x.

    Args:
        scores: from row weights (B, N) to scores, each (B,); NaN where one is undefined.
        group_of: (N,) int, group of each row, 0..G-1.
        n_bootstrap: how many draws.
        rng: draws the groups.

    Returns:
        A metric per score. Without an interval, and with a note, where there is one group, a
        tenth of the draws leave the score undefined, or no draw changes it.
    """
    n_rows = len(group_of)
    values = scores(np.ones((1, n_rows)))
    n_groups = int(group_of.max()) + 1 if n_rows else 0
    batches: list[Scores] = []
    if n_groups > 1:
        batches = [scores(weights) for weights in _draws(group_of, n_groups, n_bootstrap, rng)]
    none = np.empty(0)
    return {
        name: _interval(
            float(value[0]), np.concatenate([none, *(batch[name] for batch in batches)]), n_rows
        )
        for name, value in values.items()
    }


def _draws(
    group_of: np.ndarray, n_groups: int, n_bootstrap: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Draw ``n_groups`` groups with replacement, many times; yield row weights (B, N)."""
    size = max(1, _BATCH_CELLS // max(len(group_of), n_groups))
    for start in range(0, n_bootstrap, size):
        batch = min(size, n_bootstrap - start)
        drawn = rng.integers(0, n_groups, (batch, n_groups))
        drawn += np.arange(batch)[:, np.newaxis] * n_groups
        counts = np.bincount(drawn.ravel(), minlength=batch * n_groups)
        yield counts.reshape(batch, n_groups)[:, group_of].astype(np.float64)


def _interval(value: float, replicates: np.ndarray, n: int) -> Metric:
    if np.isnan(value):
        return Metric(None, None, None, n, BOOTSTRAP, "no such image" if n == 0 else "undefined")
    defined = replicates[~np.isnan(replicates)]
    if not len(defined) or len(defined) < 0.9 * len(replicates):
        words = "too few groups for an interval"
        return Metric(value, None, None, n, BOOTSTRAP, words)
    low, high = np.percentile(defined, [2.5, 97.5])
    if high - low < 1e-12:
        words = "no replicate differed: the images are too few or too easy for an interval"
        return Metric(value, None, None, n, BOOTSTRAP, words)
    # Resampling adds to a score that is biased upward, as the calibration error is; the
    # interval is then widened to hold the value rather than shown beside it.
    return Metric(value, min(float(low), value), max(float(high), value), n, BOOTSTRAP)
