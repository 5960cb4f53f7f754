"""A source looked at again and again, for files that come while a run goes on.

A file that is still being written is not taken yet: it must have stayed as it is for a while.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from lesionlens.screening.items import Item
from lesionlens.screening.progress import Pause, Stop

#: How long a file must have stayed as it is to be taken for whole.
STABLE_S = 2.0


def watch(source: Iterable[Item], stop: Stop, *, every_s: float = 2.0) -> Iterator[Item | Pause]:
    """Yield the items of a source, look after look, with a pause behind each, until the stop.

    Every look yields what the earlier ones did: ``Job.pending`` leaves it out. What is no file on
    this machine is taken as soon as it is seen.

    Args:
        source: iterated once a look.
        stop: ends it.
        every_s: seconds between two looks, at least; never shorter than a look itself takes.
    """
    unsettled: dict[str, tuple[tuple[int, int], float]] = {}
    while not stop.is_requested:
        began = time.monotonic()
        seen: dict[str, tuple[tuple[int, int], float]] = {}
        for item in source:
            if stop.is_requested:
                return
            if is_settled(item, unsettled, seen):
                yield item
        unsettled = seen
        yield Pause()
        stop.wait(max(every_s, time.monotonic() - began))


def is_settled(
    item: Item,
    before: dict[str, tuple[tuple[int, int], float]],
    seen: dict[str, tuple[tuple[int, int], float]],
) -> bool:
    """Return whether an item's file has stayed as it is for ``STABLE_S``.

    By its times, which a write sets; where these lie in the future, as a clock on another machine
    may have it, by what an earlier look saw.

    Args:
        item: what to look at.
        before: of an earlier look, by location: size and time of change, and since when.
        seen: the same of this look; added to.
    """
    wall, now = time.time(), time.monotonic()  # first: a pause behind the look is no age of a file
    try:
        status = os.stat(item.location)
    except OSError:  # no file of this machine, or gone: whoever reads it says so
        return True
    changed = max(status.st_mtime, status.st_ctime)
    if wall - changed < STABLE_S:
        mark = (status.st_size, status.st_mtime_ns)
        known = before.get(item.location)
        # Not `now`: it may have stood so for no longer than since the look.
        since = known[1] if known and known[0] == mark else time.monotonic()
        seen[item.location] = (mark, since)
        return now - since >= STABLE_S
    return True
