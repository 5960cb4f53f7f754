"""Pieces of a mask, held in the bits of an integer, are those of its places one by one."""

from __future__ import annotations

import numpy as np

from lesionlens import framing


def test_a_piece_grows_as_it_would_place_by_place(rng: np.random.Generator) -> None:
    for share in (0.2, 0.42, 0.5, 0.8, 1.0):
        within = rng.random((56, 56)) < share
        within[0, 0] = within[-1, -1] = within[0, -1] = within[-1, 0] = True
        seeds = [(0, 0), (55, 55), (0, 55), (55, 0), tuple(rng.integers(0, 56, 2))]
        for row, column in seeds:
            seed = np.zeros((56, 56), bool)
            seed[row, column] = True
            expected, waiting = np.zeros((56, 56), bool), [(row, column)]
            while waiting:
                y, x = waiting.pop()
                if 0 <= y < 56 and 0 <= x < 56 and within[y, x] and not expected[y, x]:
                    expected[y, x] = True
                    waiting += [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            if within[row, column]:
                grown = framing._grown(framing._as_bits(seed), framing._as_bits(within))
                assert np.array_equal(framing._of_bits(grown), expected.ravel())


def test_a_mask_is_opened_as_it_would_be_place_by_place(rng: np.random.Generator) -> None:
    def around(mask: np.ndarray, border: bool) -> np.ndarray:
        padded = np.pad(mask, 1, constant_values=border)
        return np.lib.stride_tricks.sliding_window_view(padded, (3, 3))

    for share in (0.7, 0.9, 0.97, 1.0):
        mask = rng.random((56, 56)) < share
        opened = around(around(mask, True).all(axis=(2, 3)), False).any(axis=(2, 3))
        assert opened.any()
        found = framing._of_bits(framing._opened(framing._as_bits(mask)))
        assert np.array_equal(found, opened.ravel())
