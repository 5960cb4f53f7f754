"""Where images come from: folders, patterns, lists, tables, archives, addresses; one idea of all.

A source is iterated for items, as often as needed: each time it is looked at anew, lazily, in
the same order, in memory that does not grow with what it holds. Whatever is found and can be no
image, or cannot be listed on, comes as an item too: reading it says why (``places.Unusable``).
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from glob import has_magic
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lesionlens.errors import LesionLensError
from lesionlens.screening.dividing import Divider
from lesionlens.screening.items import Item
from lesionlens.screening.members import CostlyError, Listing, members_of
from lesionlens.screening.places import (
    HEAD_BYTES,
    Unusable,
    is_dicomdir,
    is_hidden,
    is_url,
    kind_of,
    kind_of_bytes,
    path_of,
    public_url,
    refusal,
)
from lesionlens.screening.tables import STDIN, Table, is_table
from lesionlens.screening.walking import Closed, Walk, Wanted


@dataclass(frozen=True)
class SourceOptions:
    """How sources are looked through."""

    all_files: bool = False  # files without an image's suffix are opened: DICOM often has none
    images_root: str = ""  # folder that paths in lists and tables start from; empty: their own
    path_column: str = ""  # of tables; empty: the first of tables.PATH_COLUMNS
    keep: tuple[str, ...] = ()  # columns of tables that are carried along
    keep_dicom: tuple[str, ...] = ()  # the same of DICOM files: attributes by keyword
    skip: tuple[str, ...] = ()  # folders that are left out: that of the run


@dataclass(frozen=True)
class _Place:
    """A file to look at: an image, or an archive of them."""

    location: str  # absolute path or URL
    kind: str  # as Item.kind
    name: str = ""  # below the root, of what is listed from an address
    size: int | None = None
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """One source: the folder that its names start from ("": it has addresses), and its files."""

    root: str
    places: Callable[[], Iterator[_Place | Closed]]


class ImageSource:
    """The images that a number of sources name; iterate for items, as often as needed.

    A name (``Item.uri``) is the path below the source's folder; with several sources, below the
    folder that holds them all, so that a file has one name whichever of them finds it, and two
    files have two. What lies elsewhere (a list's absolute paths) has its absolute path for a
    name, and what has an address and is not the only source, that.

    Args:
        sources: as typed. A folder and all below it; a pattern (``*``, ``?``, ``**``); an image, a
            ZIP or a TAR; a list (.txt, ``-``: standard input, once), CSV or Parquet of paths;
            ``s3://``, ``gs://``, ``http(s)://`` of a file or of what is to be listed.
        options: how to look.

    Raises:
        LesionLensError: a path that is not there, or an address that is not known.
    """

    def __init__(self, sources: Sequence[str], options: SourceOptions | None = None) -> None:
        self.sources = tuple(sources)
        self.options = options or SourceOptions()
        self._fetched: list[tempfile.TemporaryDirectory[str]] = []  # lists from an address
        self._listing = Listing(self.options.all_files)
        self._divider = Divider(self.options.keep_dicom)
        self._parts = [self._part(source) for source in self.sources]
        if not self._parts:
            raise LesionLensError("no source was given: a folder, a list, an archive, an address")
        roots = [part.root for part in self._parts if part.root]
        try:
            self._base = os.path.commonpath(roots) if roots else ""
        except ValueError:  # on several drives
            self._base = ""

    def __iter__(self) -> Iterator[Item]:
        return self._items(self._listing)

    def count(self, is_wanted: Callable[[Item], bool] = lambda item: True) -> int | None:
        """Return how many items there are, by looking at all of them; no image is read.

        Args:
            is_wanted: which ones count.

        Returns:
            The number; None where counting takes as long as the run: of standard input, and of
            TARs that are packed as a whole.
        """
        if STDIN in self.sources:
            return None
        try:
            items = self._items(Listing(self.options.all_files, is_count=True))
            return sum(1 for item in items if is_wanted(item))
        except CostlyError:
            return None

    def quickly(self) -> Iterator[Item]:
        """Yield the items again for who wants to know where they are, in no time of a run.

        What is in TARs that are packed as a whole is left out, and so is standard input.
        """
        if STDIN in self.sources:
            return iter(())
        return self._items(Listing(self.options.all_files, is_quick=True))

    def _items(self, listing: Listing) -> Iterator[Item]:
        return self._divider.divide(self._files(listing))

    def _files(self, listing: Listing) -> Iterator[Item]:
        for part in self._parts:
            for place in part.places():
                uri = self._uri(place.location, getattr(place, "name", ""))
                if isinstance(place, Closed):
                    refused = refusal(place.error, uri)
                    yield Unusable(uri, place.location, reason=refused.reason, error=str(refused))
                elif place.kind in ("zip", "tar"):
                    yield from members_of(
                        place.location, uri, place.kind, listing, extra=place.extra
                    )
                else:
                    yield Item(
                        uri, place.location, kind=place.kind, size=place.size, extra=place.extra
                    )

    def _uri(self, location: str, name: str) -> str:
        if is_url(location):
            return name if name and len(self._parts) == 1 else public_url(location)
        below = location.removeprefix(self._base.rstrip(os.sep) + os.sep)
        return (below if self._base else location).replace(os.sep, "/")

    def _part(self, source: str) -> _Part:
        if source.startswith("file://"):
            source = url2pathname(urlsplit(source).path)
        if is_url(source):
            return self._remote_part(source)
        if source == STDIN or (os.path.isfile(source) and is_table(source)):
            table = Table(
                source,
                root=self.options.images_root,
                column=self.options.path_column,
                keep=self.options.keep,
            )
            return _Part(table.root, lambda: _listed(table))
        path = os.path.abspath(os.path.expanduser(source))
        if source and os.path.isdir(path):
            return self._folder_part(path)
        if source and not os.path.lexists(path) and has_magic(source):
            return self._pattern_part(path)
        if not source or not os.path.lexists(path):
            raise LesionLensError(
                f"{source!r}: no such file or folder; a folder, a pattern, an image, a ZIP or TAR, "
                "a list (.txt, or - for standard input), CSV or Parquet of paths, and an address "
                "(s3://, gs://, http://, https://) are accepted"
            )
        if is_dicomdir(path):
            return _Part(os.path.dirname(path), lambda: _listed_in_dicomdir(path))
        return _Part(os.path.dirname(path), lambda: iter((_Place(path, _kind(path)),)))

    def _folder_part(self, root: str, wanted: Wanted | None = None) -> _Part:
        all_files = self.options.all_files

        def is_taken(path: str) -> bool:
            return (wanted is None or wanted(path)) and (
                all_files or path.endswith("/") or bool(kind_of(path)) or is_dicomdir(path)
            )

        walk = Walk(root, is_taken, skip=self.options.skip)

        def places() -> Iterator[_Place | Closed]:
            for found in walk:
                if isinstance(found, Closed):
                    yield found
                elif is_dicomdir(found.location):
                    if not all_files:  # with it, all that is listed is found where it lies
                        listed = _listed_in_dicomdir(found.location)
                        yield from (place for place in listed if not kind_of(place.location))
                elif kind := kind_of(found.location) or _sniffed(found.location):
                    yield _Place(found.location, kind)

        return _Part(walk.root, places)

    def _pattern_part(self, pattern: str) -> _Part:
        parts = pattern.replace(os.sep, "/").split("/")
        n_plain = next(n for n, part in enumerate(parts) if has_magic(part))
        root = "/".join(parts[:n_plain]) or "/"
        if not os.path.isdir(root):
            raise LesionLensError(f"{pattern}: there is no folder {root} to look in")
        return self._folder_part(root, _matcher(parts[n_plain:]))

    def _remote_part(self, url: str) -> _Part:
        from lesionlens.screening.listings import is_pattern
        from lesionlens.screening.services import file_system

        file_system(url)  # a scheme that is not known, or not installed
        path = path_of(url)
        if is_pattern(url):
            parts = path[1:].split("/")
            n_plain = next(n for n, part in enumerate(parts) if has_magic(part))
            root = url.removesuffix("/".join(parts[n_plain:]))
            begins = re.split(r"[*?[]", parts[n_plain])[0]
            return _Part("", lambda: _below(root, _matcher(parts[n_plain:]), begins))
        if is_table(path):
            return self._remote_table_part(url)
        if kind := kind_of(path):
            kind = kind if kind in ("zip", "tar") else "remote"
            place = _Place(url, kind, path.rpartition("/")[2])
            return _Part("", lambda: iter((place,)))
        return _Part("", lambda: _below(url))

    def _remote_table_part(self, url: str) -> _Part:
        from lesionlens.screening import remote

        folder = tempfile.TemporaryDirectory(prefix="lesionlens-", ignore_cleanup_errors=True)
        self._fetched.append(folder)
        copy = Path(folder.name) / Path(path_of(url)).name
        copy.write_bytes(remote.fetch(url, uri=public_url(url)))
        table = Table(
            str(copy), address=url, column=self.options.path_column, keep=self.options.keep
        )
        return _Part("", lambda: _listed(table))


def _kind(location: str) -> str:
    """Return how a file is read that is taken whatever its name."""
    if is_url(location):
        kind = kind_of(path_of(location))
        return kind if kind in ("zip", "tar") else "remote"
    return kind_of(location) or _sniffed(location) or "file"


def _below(url: str, is_meant: Wanted = lambda name: True, begins: str = "") -> Iterator[_Place]:
    """Yield what is listed below an address and meant, by its name there."""
    from lesionlens.screening.listings import listing

    for name, address, size in listing(url, begins=begins):
        if is_meant(name) and not is_hidden(name) and (kind := kind_of(name)):
            yield _Place(address, kind if kind in ("zip", "tar") else "remote", name, size)


def _listed_in_dicomdir(path: str) -> Iterator[_Place]:
    from lesionlens.screening.dicom import listed_in

    return (_Place(location, "dicom") for location in listed_in(path))


def _listed(table: Table) -> Iterator[_Place]:
    for entry in table:
        yield _Place(entry.location, _kind(entry.location), extra=entry.extra)


def _sniffed(location: str) -> str:
    """Return what a file is by its content: file, dicom, or nothing: no image."""
    try:
        if not stat.S_ISREG(os.stat(location).st_mode):
            return ""
        with open(location, "rb", buffering=0) as file:
            return kind_of_bytes(file.read(HEAD_BYTES))
    except OSError:
        return "file"  # whoever reads it says what is wrong


def _matcher(parts: Sequence[str]) -> Wanted:
    """Return what tells the paths that a pattern means: what matches, and all below that.

    Args:
        parts: of the pattern, between slashes.
    """
    from fsspec.utils import glob_translate

    whole = re.compile(glob_translate("/".join(parts)))
    is_deep = "**" in parts

    def is_meant(path: str) -> bool:
        names = path.rstrip("/").split("/")
        if any(whole.match("/".join(names[: n + 1])) for n in range(len(names))):
            return True
        return path.endswith("/") and (is_deep or len(names) < len(parts))

    return is_meant
