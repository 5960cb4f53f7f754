"""The images below a folder: in the order of their names, one at a time, in flat memory.

A folder of a million files is read in parts that are sorted and put aside on disk, then merged:
the order is that of the whole paths' bytes, whatever order the file system lists them in, and
memory holds 65,536 names. Only names are kept and nothing is opened, so a listing costs some
microseconds a file.
"""

from __future__ import annotations

import heapq
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from lesionlens.screening.places import is_hidden

#: Names sorted in memory at a time.
_SORTED_NAMES = 65_536
#: What tells a folder from a file in a listing; below every character of a name but NUL's.
_FOLDER = b"/"

#: Says of a path below the root, a folder's with a slash at its end, whether it is wanted: of a
#: file, taken; of a folder, looked into.
Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class Found:
    """A file that a walk came by."""

    path: str  # from the root, '/'-separated; bytes that are no text as surrogates
    location: str  # absolute


@dataclass(frozen=True)
class Closed:
    """A folder that cannot be read."""

    path: str  # from the root; empty: the root itself
    location: str  # absolute
    error: OSError


class Walk:
    """The files below a folder, in the order of their names' bytes; iterate as often as needed.

    Symbolic links to files count as files. Those to folders are followed where they lead out of
    the tree (what they lead to inside it is found at its own place), every real folder once, so
    that no loop is endless. Hidden files and folders are left out.

    Args:
        root: the folder.
        wanted: which paths are taken and looked into.
        skip: folders that are left out wherever they are met.

    Yields (by iteration):
        ``Found`` for a file; ``Closed`` for a folder that cannot be read.
    """

    def __init__(
        self, root: str, wanted: Wanted = lambda path: True, *, skip: Iterable[str] = ()
    ) -> None:
        self.root = os.path.abspath(root)
        self._wanted = wanted
        self._skip = tuple(skip)

    def __iter__(self) -> Iterator[Found | Closed]:
        seen = {identity for folder in self._skip if (identity := _identity(folder))}
        real_root = os.path.realpath(self.root)
        stack = [("", self._listing("", seen, real_root))]
        while stack:
            below, listing = stack[-1]
            entry = next(listing, None)
            if entry is None:
                stack.pop()
            elif isinstance(entry, Closed):
                yield entry
            elif entry.endswith(_FOLDER):
                path = below + os.fsdecode(entry)
                stack.append((path, self._listing(path, seen, real_root)))
            else:
                path = below + os.fsdecode(entry)
                yield Found(path, os.path.join(self.root, path))

    def _listing(
        self, below: str, seen: set[tuple[int, int]], real_root: str
    ) -> Iterator[bytes | Closed]:
        """Yield the sorted names in a folder below the root, those of folders with a slash."""
        folder = os.path.join(self.root, below) if below else self.root
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                return
            seen.add((status.st_dev, status.st_ino))
            yield from _merged(self._names(folder, below, real_root))
        except OSError as error:
            yield Closed(below.rstrip("/"), folder.rstrip(os.sep), error)

    def _names(self, folder: str, below: str, real_root: str) -> Iterator[bytes]:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                is_folder = _is_folder(entry)
                if is_folder and entry.is_symlink() and _is_elsewhere_anyway(entry.path, real_root):
                    continue
                path = below + name + ("/" if is_folder else "")
                if self._wanted(path):
                    yield os.fsencode(name) + (_FOLDER if is_folder else b"")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where we may not look: whoever opens it says so
        return False


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_elsewhere_anyway(link: str, real_root: str) -> bool:
    """Whether what a link to a folder leads to is found without it, or holds the root itself."""
    target = os.path.realpath(link)
    if (real_root + os.sep).startswith(target.rstrip(os.sep) + os.sep):
        return True
    below = target.removeprefix(real_root.rstrip(os.sep) + os.sep)
    return below != target and not is_hidden(below.replace(os.sep, "/"))


def _merged(names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield names sorted, with no more than ``_SORTED_NAMES`` of them in memory."""
    parts: list[IO[bytes]] = []
    held: list[bytes] = []
    try:
        for name in names:
            held.append(name)
            if len(held) == _SORTED_NAMES:
                parts.append(_put_aside(sorted(held)))
                held.clear()
        held.sort()
        yield from heapq.merge(held, *map(_taken_up, parts)) if parts else held
    finally:
        for part in parts:
            part.close()


def _put_aside(names: list[bytes]) -> IO[bytes]:
    part = tempfile.TemporaryFile(prefix="lesionlens-")  # noqa: SIM115 - closed by who merges
    part.write(b"".join(name.replace(b"\n", b"\0") + b"\n" for name in names))
    part.seek(0)
    return part


def _taken_up(part: IO[bytes]) -> Iterator[bytes]:
    # A name may have a line end in it, and has never NUL.
    return (line[:-1].replace(b"\0", b"\n") for line in part)
