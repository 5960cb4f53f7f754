"""What the history's screens show, as frozen records, and how each is read from the history.

The functions here read a database: they are called in a thread of their own
(``keeping.in_thread``), never where the screen is drawn.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lesionlens.errors import HistoryError
from lesionlens.history.records import ImportSummary, Lesion, Scan
from lesionlens.history.store import History
from lesionlens.labels import IN_SCOPE
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

#: Where the history's screens are.
HISTORY = "/history"
#: How many scans the list has at first, and how many more it gets each time.
PAGE = 50

#: SQLite's reason -> entry of history.json, ``error_`` before it.
ERROR_KINDS: dict[int, str] = {
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read_only",
    sqlite3.SQLITE_CANTOPEN: "read_only",
    sqlite3.SQLITE_PERM: "read_only",
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_IOERR: "disk",
}

#: What the list can be narrowed to -> what ``History.scans`` is asked for.
KINDS: dict[str, dict[str, str]] = {
    **{label.value: {"verdict": CONFIDENT, "label": label.value} for label in IN_SCOPE},
    **{verdict: {"verdict": verdict} for verdict in (UNCERTAIN, OUT_OF_SCOPE, POOR_IMAGE)},
}

_VISITS = count(1)


def next_visit() -> int:
    """Return a number that was not given out before: what is typed into begins anew with it."""
    return next(_VISITS)


@dataclass(frozen=True)
class Filter:
    """What the list is narrowed to."""

    search: str = ""  # words, all of which must be there
    kind: str | None = None  # one of KINDS
    body_site: str | None = None  # one of body_sites.BODY_SITES

    @property
    def is_on(self) -> bool:
        """Whether anything is left out."""
        return bool(self.search.strip() or self.kind or self.body_site)

    @property
    def arguments(self) -> dict[str, Any]:
        """As ``History.scans`` and ``History.count`` take it."""
        kind = {} if self.kind is None else KINDS[self.kind]
        return {"search": self.search, "body_site": self.body_site, **kind}


@dataclass(frozen=True)
class Tile:
    """A scan in a list."""

    scan: Scan
    thumbnail: bytes  # JPEG
    lesion_name: str | None


@dataclass(frozen=True)
class LesionTile:
    """A lesion in a list."""

    lesion: Lesion
    thumbnail: bytes | None  # JPEG of its newest scan


@dataclass(frozen=True)
class Browse:
    """The history as its first screen shows it."""

    filter: Filter = Filter()
    tiles: tuple[Tile, ...] = ()  # newest first, as far as they are loaded
    n_found: int = 0  # that match the filter, loaded or not
    n_all: int = 0
    sites: Mapping[str, int] = field(default_factory=dict)  # body site -> number of scans
    lesions: tuple[LesionTile, ...] = ()
    shows_lesions: bool = False  # instead of scans
    selected: frozenset[int] | None = None  # ids of scans; None: nothing is being selected
    summary: ImportSummary | None = None  # of an import, until it is put away
    visit: int = field(default_factory=next_visit, compare=False)  # of the search field


@dataclass(frozen=True)
class OpenScan:
    """A scan that is looked at."""

    scan: Scan
    photo: bytes  # JPEG
    overlay: bytes | None  # JPEG or PNG: where the model looked
    lesions: tuple[Lesion, ...]  # all there are, to choose from
    sites: Mapping[str, int]  # body site -> number of scans
    notes: str  # as typed; ``scan.notes`` are saved
    overlay_opacity: float = 0.0  # 0..1, as the slider stands
    chooses_site: bool = False
    new_lesion: str | None = None  # name of a lesion that is about to be made; None: it is not
    visit: int = field(default_factory=next_visit, compare=False)  # of its fields

    @property
    def lesion(self) -> Lesion | None:
        """The lesion that it is of."""
        return next((it for it in self.lesions if it.id == self.scan.lesion_id), None)


@dataclass(frozen=True)
class OpenLesion:
    """A lesion that is looked at."""

    lesion: Lesion
    tiles: tuple[Tile, ...]  # newest first
    sites: Mapping[str, int]
    name: str  # as typed; ``lesion.name`` is saved
    notes: str
    chooses_site: bool = False
    chosen: tuple[int, ...] | None = None  # ids of scans to compare, last chosen last
    visit: int = field(default_factory=next_visit, compare=False)  # of its fields


@dataclass(frozen=True)
class Opened:
    """What is open of the history; None stands for what is not there any more."""

    scans: Mapping[int, OpenScan | None] = field(default_factory=dict)
    lesions: Mapping[int, OpenLesion | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Trouble:
    """A history that cannot be used as it is; asked about before anything else."""

    kind: str  # damaged, newer, or another reason of ``kind_of``
    details: str  # what the history says, in English: for who helps


def read_browse(history: History, wanted: Filter, n_tiles: int) -> Browse:
    """Return the list with its first ``n_tiles`` scans.

    Raises:
        HistoryError: the history cannot be read.
    """
    lesions = history.lesions()
    newest = [it.last_scan_id for it in lesions if it.last_scan_id is not None]
    small = history.thumbnails(newest)
    n_all = history.count()
    return Browse(
        filter=wanted,
        tiles=read_tiles(history, wanted, limit=n_tiles, lesions=lesions),
        n_found=history.count(**wanted.arguments) if wanted.is_on else n_all,
        n_all=n_all,
        sites=history.count_by_site(),
        lesions=tuple(LesionTile(it, small.get(it.last_scan_id or 0)) for it in lesions),
    )


def read_tiles(
    history: History,
    wanted: Filter,
    *,
    limit: int,
    offset: int = 0,
    lesions: Iterable[Lesion] | None = None,
) -> tuple[Tile, ...]:
    """Return scans that match, newest first, with their thumbnails.

    Raises:
        HistoryError: the history cannot be read.
    """
    scans = history.scans(**wanted.arguments, limit=limit, offset=offset)
    return _tiles(history, scans, history.lesions() if lesions is None else lesions)


def read_scan(history: History, scan_id: int) -> OpenScan | None:
    """Return a scan with its pictures; None where it is not there any more.

    Raises:
        HistoryError: the history cannot be read.
    """
    try:
        scan = history.scan(scan_id)
        pictures = history.pictures(scan_id)
    except HistoryError as error:
        if is_missing(error):
            return None
        raise
    return OpenScan(
        scan=scan,
        photo=pictures.photo,
        overlay=pictures.overlay,
        lesions=tuple(history.lesions()),
        sites=history.count_by_site(),
        notes=scan.notes,
    )


def read_lesion(history: History, lesion_id: int) -> OpenLesion | None:
    """Return a lesion with its scans; None where it is not there any more.

    Raises:
        HistoryError: the history cannot be read.
    """
    try:
        lesion = history.lesion(lesion_id)
    except HistoryError as error:
        if is_missing(error):
            return None
        raise
    return OpenLesion(
        lesion=lesion,
        tiles=_tiles(history, history.scans(lesion_id=lesion_id), [lesion]),
        sites=history.count_by_site(),
        name=lesion.name,
        notes=lesion.notes,
    )


def is_missing(error: HistoryError) -> bool:
    """Whether the history can be read and does not have what was asked for.

    What SQLite raised is the cause of the others.
    """
    return error.__cause__ is None


def kind_of(error: HistoryError) -> str:
    """Return why the history will not: an entry of history.json, ``error_`` before it.

    ``unusable`` is a file of another kind or version, ``missing`` where the history is fine and
    does not have what was asked for: the same to who only has the error.
    """
    cause = error.__cause__
    if isinstance(cause, sqlite3.Error):
        return ERROR_KINDS.get((getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF, "other")
    return "missing" if is_missing(error) else "disk"


def trouble_of(error: HistoryError) -> Trouble:
    """Return what stands in the way of a history that could not be opened."""
    kind = kind_of(error)
    return Trouble("unusable" if kind == "missing" else kind, str(error))


def keep_equal(old: Browse | None, new: Browse) -> Browse:
    """Return ``new`` with the tiles of ``old`` where they say the same.

    A picture that is the same object is not compared, drawn or sent again.
    """
    if old is None:
        return new
    known = {tile.scan.id: tile for tile in old.tiles}
    places = {tile.lesion.id: tile for tile in old.lesions}
    return Browse(
        **{
            **vars(new),
            "tiles": tuple(_same(known.get(tile.scan.id), tile) for tile in new.tiles),
            "lesions": tuple(_same(places.get(tile.lesion.id), tile) for tile in new.lesions),
        }
    )


def _same(old: Any, new: Any) -> Any:
    return old if old == new else new


def _tiles(history: History, scans: list[Scan], lesions: Iterable[Lesion]) -> tuple[Tile, ...]:
    small = history.thumbnails(scan.id for scan in scans)
    names = {lesion.id: lesion.name for lesion in lesions}
    return tuple(
        Tile(scan, small[scan.id], names.get(scan.lesion_id or 0))
        for scan in scans
        if scan.id in small  # deleted by another program in between
    )
