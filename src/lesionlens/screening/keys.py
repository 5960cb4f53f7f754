"""Which items are done already, by their keys, in little memory."""

from __future__ import annotations

import numpy as np


class Keys:
    """A set of 64-bit keys that takes 8 bytes each: 80 MB for ten million items."""

    def __init__(self, keys: np.ndarray | None = None) -> None:
        self._sorted = np.unique(np.empty(0, np.uint64) if keys is None else keys)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __contains__(self, key: int) -> bool:
        if key in self._recent:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key

    def add(self, key: int) -> bool:
        """Add a key; return whether it is new."""
        if key in self:
            return False
        self._recent.add(key)
        if len(self._recent) > max(16_384, len(self._sorted) // 16):
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._sorted = np.union1d(self._sorted, recent)
            self._recent.clear()
        return True
