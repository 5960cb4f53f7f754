"""What is quicker than NumPy gives what NumPy gives."""

from __future__ import annotations

import numpy as np

from lesionlens.ranking import greatest, histogram, median


def test_shortcuts_give_what_numpy_gives_to_the_last_bit(rng: np.random.Generator) -> None:
    for n in (56, 57, 1000, 3135, 3136):
        for values in (
            rng.gamma(2, 5, n),
            rng.integers(0, 7, n) * 1.5,  # many alike, and some on the edges of bins
            rng.integers(0, 65, n) * 0.1,
            np.sort(rng.random(n)),
            np.tile([9.0, *[1.0] * 12], n)[:n],  # every thirteenth stands out
            np.tile([0.0, *np.arange(1.0, 13)], n)[:n],  # every thirteenth is the least
            np.full(n, 2.5),
        ):
            assert median(values) == np.median(values)
            counts, edges = histogram(values, 64)
            expected_counts, expected_edges = np.histogram(values, 64)
            assert np.array_equal(counts, expected_counts)
            assert np.array_equal(edges, expected_edges)
            for rank in (1, n // 100 + 1, n // 10):
                expected = np.flatnonzero(values >= np.sort(values)[-rank])
                assert np.array_equal(greatest(values, rank), expected)
    assert median(np.array([255, 254], np.uint8)) == 254.5
