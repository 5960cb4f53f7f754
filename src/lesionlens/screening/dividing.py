"""DICOM files of several frames become an item for each, while a source is listed.

How many frames a file has stands in its header. Of a file here, or in an archive here, that is
read in a fraction of a millisecond. From an address it takes a request, so several are asked at
once, and what they said is remembered: a source is gone through more than once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from lesionlens.parallel import map_ahead
from lesionlens.screening.items import Item
from lesionlens.screening.places import Member, Unusable, is_url, kind_of, path_of

if TYPE_CHECKING:
    from lesionlens.screening.dicom import Look

#: Headers that are asked for at once, and begun before the first of them is there.
_WORKERS, _AHEAD = 16, 64
#: Headers that are remembered, some 400 bytes each.
_REMEMBERED = 1 << 16
#: What an item is: no DICOM file; one here, or in an archive here; one that a server has.
_AS_IT_IS, _HERE, _FAR = range(3)


class Divider:
    """Puts the frames of DICOM files in the place of these.

    Args:
        keep: attributes of DICOM files that items carry along, by keyword.
    """

    def __init__(self, keep: Sequence[str] = ()) -> None:
        self._keep = tuple(keep)
        self._looks: dict[tuple[object, ...], Look] = {}  # of what has an address, oldest first
        self._lock = threading.Lock()

    def divide(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield items in their order, frames for files that have several."""
        for way, group in groupby(items, _way):
            if way == _AS_IT_IS:
                yield from group
            elif way == _HERE:
                for item in group:
                    yield from self._frames(item)
            else:
                asked = map_ahead(self._frames, group, workers=_WORKERS, ahead=_AHEAD)
                for _, frames in asked:
                    yield from frames

    def _frames(self, item: Item) -> Iterable[Item]:
        from lesionlens.screening.dicom import frames_of, look_at

        look = self._remembered if is_url(item.location) else look_at
        return frames_of(item, keep=self._keep, look=look)

    def _remembered(self, item: Item, keep: Sequence[str]) -> Look:
        """Look at what has an address, unless that was done before."""
        from lesionlens.screening.dicom import look_at

        place = (item.offset, item.stamp) if isinstance(item, Member) else ()
        key = (item.location, item.size, *place)
        look = self._looks.get(key)
        if look is None:
            look = look_at(item, keep)
            with self._lock:
                while len(self._looks) >= _REMEMBERED:
                    del self._looks[next(iter(self._looks))]
                self._looks[key] = look
        return look


def _way(item: Item) -> int:
    """Return how to find out what frames an item has, by its name and place."""
    if item.kind == "dicom":
        return _HERE
    if isinstance(item, Member):
        name = item.member
    elif item.kind == "remote" and not isinstance(item, Unusable):
        name = path_of(item.location)
    else:
        return _AS_IT_IS
    if kind_of(name) not in ("dicom", ""):  # without a suffix it may be one
        return _AS_IT_IS
    return _FAR if is_url(item.location) else _HERE
