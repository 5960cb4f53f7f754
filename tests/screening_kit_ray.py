"""A reader for tests that need time to do something to a run."""

from __future__ import annotations

import time

from lesionlens.screening.items import Item
from lesionlens.screening.reading import Reading, read_item


def read_slowly(item: Item) -> Reading:
    time.sleep(0.02)
    return read_item(item)
