"""TAR: members listed by walking from header to header, and read by where they lie.

A TAR that is packed as a whole (``.tar.gz``) has no places: to get at its last member all before
it has to be unpacked. It is unpacked once, by who lists it, and what images it holds is put into
a spool of bounded size, from where workers take them; who comes too late, or works on another
machine, unpacks as far as he needs, which is slow and gives the same.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from lesionlens.screening.archives import ArchiveError, Seekable

#: Names and attributes that stand before a member, at most: tarfile reads them whole.
_MAX_HEADER_BYTES = 1 << 20
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
#: Bytes of a file of a spool, and of all of them, beyond which the oldest is deleted.
_SEGMENT_BYTES, _SPOOL_BYTES = 64 << 20, 2 << 30
_STEP = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A member as its header has it."""

    name: str  # as written, bytes that are no text as surrogates
    offset: int  # of its bytes
    size: int
    link: str = ""  # of a link: where it leads
    is_plain: bool = True  # whether its bytes are its content; not so: sparse, a pipe, a device


class _Info(tarfile.TarInfo):
    """A header; ``tarfile`` takes one that is damaged for the end, and any size for true."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _Info:
        try:
            return super().fromtarfile(tarfile)
        except (_TruncatedHeader, _InvalidHeader) as error:
            raise ArchiveError(f"is damaged or cut off after {tarfile.offset:,} bytes") from error

    def _proc_member(self, tarfile: tarfile.TarFile) -> _Info:
        if self.type in _HEADERS and self.size > _MAX_HEADER_BYTES:
            raise ArchiveError(f"is damaged: a name in it has {self.size:,} bytes")
        return super()._proc_member(tarfile)  # type: ignore[misc, no-any-return]


_TruncatedHeader = tarfile.TruncatedHeaderError  # type: ignore[attr-defined]
_InvalidHeader = tarfile.InvalidHeaderError  # type: ignore[attr-defined]


def entries(file: Seekable) -> Iterator[Entry]:
    """Yield the members of a TAR, folders left out, in their order.

    Args:
        file: the TAR; unpacked, see ``archives.Unpacking``. Read on only when asked for more.

    Raises:
        ArchiveError: it is no TAR, damaged or cut off; what was yielded before is good.
        OSError: it cannot be read.
    """
    any_file: Any = file
    try:
        with tarfile.open(fileobj=any_file, mode="r:", tarinfo=_Info) as archive:
            while True:
                info = archive.next()
                if info is None:
                    return
                archive.members.clear()  # type: ignore[attr-defined] # tarfile remembers all of them otherwise
                if info.isdir():
                    continue
                link = info.linkname if info.issym() or info.islnk() else ""
                is_plain = info.isreg() and not info.issparse()
                yield Entry(info.name, info.offset_data, info.size, link, is_plain)
    except tarfile.TarError as error:
        raise ArchiveError(f"is no TAR, or is damaged or cut off ({error})") from error


def read(file: Seekable, offset: int, size: int) -> bytes:
    """Return the ``size`` bytes at ``offset`` of a TAR.

    Raises:
        ArchiveError: it ends before.
    """
    file.seek(offset)
    content = file.read(size)
    if len(content) < size:
        raise ArchiveError("is cut off: the archive ends before this member does")
    return content


class Spool:
    """What was unpacked last, in files of a temporary folder that goes when this does."""

    def __init__(self, most_bytes: int = _SPOOL_BYTES) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lesionlens-", ignore_cleanup_errors=True)
        self._most_bytes = min(most_bytes, shutil.disk_usage(self._folder.name).free // 2)
        self._segments: deque[tuple[str, int]] = deque()  # path, bytes
        self._file: IO[bytes] | None = None
        self._n = 0

    def add(self, file: Seekable, size: int, *, head: bytes = b"") -> tuple[str, int]:
        """Copy the next ``size`` bytes of ``file``; return the path and place they are at.

        An empty path where they found no place: the disk is full.

        Args:
            file: where they are.
            size: how many.
            head: the first of them, where they were read already.

        Raises:
            ArchiveError: ``file`` is damaged or ends before.
        """
        path, place = self._room()
        left = size
        while left:
            part, head = head or file.read(min(_STEP, left)), b""
            if not part:
                raise ArchiveError("is cut off: the archive ends before its last member does")
            left -= len(part)
            if path:
                path = self._write(path, part)
        return path, place

    def _room(self) -> tuple[str, int]:
        if self._file is not None and self._file.tell() < _SEGMENT_BYTES:
            return self._segments[-1][0], self._file.tell()
        self.close()
        while self._segments and sum(n for _, n in self._segments) > self._most_bytes:
            with suppress(OSError):
                os.unlink(self._segments.popleft()[0])
        path = os.path.join(self._folder.name, f"{self._n:08}")
        self._n += 1
        try:
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - written to in turns
        except OSError:
            return "", 0
        self._segments.append((path, 0))
        return path, 0

    def _write(self, path: str, part: bytes) -> str:
        assert self._file is not None
        try:
            if self._file.write(part) < len(part):
                raise OSError("full")  # noqa: TRY301 - as the next write would say
        except OSError:
            self.close()
            return ""
        self._segments[-1] = (path, self._file.tell())
        return path

    def close(self) -> None:
        """End the file that is written to."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_spooled(path: str, offset: int, size: int) -> bytes | None:
    """Return ``size`` bytes of a spool's file; None where they are not there (any more)."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError:
        return None
    return content if len(content) == size else None
