"""A reader in whose process the disk is full after a few chunks: a small limit on file sizes."""

from __future__ import annotations

import errno
import os

from lesionlens.screening.items import Item
from lesionlens.screening.reading import Reading, read_item

_state = {"n": 0}


def _fail(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_until_full(item: Item) -> Reading:
    """Read an item; from the 20th of this process on nothing reaches the disk any more."""
    _state["n"] += 1
    if _state["n"] >= 20:
        os.fsync = _fail
    return read_item(item)
