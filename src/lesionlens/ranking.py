"""The greatest, the middle, the histogram of a row of numbers: NumPy's to the bit, in less time.

For the quality gate, which bulk screening pays for every image.
"""

from __future__ import annotations

import numpy as np


def greatest(values: np.ndarray, n: int) -> np.ndarray:
    """Return the places, in order, of the n greatest values and of what equals the least of them.

    One value in thirteen tells about how great these are, so that few are left to be set apart:
    a third of the time of ``np.partition`` of all, where that has no fast instructions to use.
    """
    sample = values[::13]
    rank = int(1.2 * sample.size * n / values.size) + 3
    places = np.flatnonzero(values >= np.partition(sample, -rank)[-rank])
    if places.size < n:  # not a fair sample, of a regular pattern
        places = np.arange(values.size)
    found = values.take(places)
    return places[found >= np.partition(found, -n)[-n]]


def median(values: np.ndarray) -> float:
    """Return what ``np.median`` does, of numbers in a row, in a quarter to four fifths of the time.

    NumPy has vector instructions for setting one place apart, not for the three that it asks for.
    """
    middle = values.size // 2
    ordered = np.partition(values, middle)
    if values.size % 2:
        return float(ordered[middle])
    return (float(ordered[:middle].max()) + float(ordered[middle])) / 2


def histogram(values: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and edges as ``np.histogram`` does, in half the time."""
    low, high = values.min(), values.max()
    if low == high:
        return np.histogram(values, n_bins)
    edges = low + np.arange(n_bins + 1) * ((high - low) / n_bins)
    bins = ((values - low) / (high - low) * n_bins).astype(np.intp)
    np.minimum(bins, n_bins - 1, out=bins)
    # Rounding may have put a value next to its bin; the last one has no end.
    edges[-1] = np.inf
    bins -= values < edges.take(bins)
    bins += values >= edges[1:].take(bins)
    edges[-1] = high
    return np.bincount(bins, minlength=n_bins), edges
