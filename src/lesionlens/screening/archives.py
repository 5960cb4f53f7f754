"""Archives as places of images: opened seldom, never unpacked to disk, never trusted.

``zips`` and ``tars`` list and read one kind each; here is what they share: files kept open by
those who read many members of few archives, streams that unpack as they are read, and limits on
what may come out.
"""

from __future__ import annotations

import io
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from lesionlens.errors import ImageError
from lesionlens.screening.items import key_of, spelled
from lesionlens.screening.keys import Keys
from lesionlens.screening.places import MAX_BYTES, Member, is_url, refusal

#: Archives that a thread keeps open.
_OPEN = 4
#: What unpacks to more than this and to so many times its size is no image: photos that are
#: stored without compression pack to a third at best.
_BOMB_BYTES, _BOMB_RATIO = 32 << 20, 100
_STEP = 1 << 20
_NOWHERE = 1 << 62


class ArchiveError(Exception):
    """An archive, or a member of it, cannot be read; the words follow its name."""

    def __init__(self, words: str, *, reason: str = "bad_archive") -> None:
        super().__init__(words)
        self.reason = reason


class Seekable(Protocol):
    """What archives are read from: a file, a part of the network, a stream that unpacks."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...  # noqa: D102 - as of any file

    def tell(self) -> int: ...  # noqa: D102

    def read(self, size: int = ..., /) -> bytes: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True)
class Opened:
    """An archive that is open for reading."""

    file: Seekable
    stamp: Callable[[], str]  # size and time of change, as they are now


def open_archive(location: str, *, is_listed: bool = False) -> Opened:
    """Open an archive.

    Args:
        location: absolute path or URL.
        is_listed: whether it is read from end to end rather than here and there.

    Raises:
        OSError: not there, not allowed, no file, not to be had; ValueError: no name of a file.
    """
    if is_url(location):
        from lesionlens.screening import remote

        file, stamp = remote.open_seekable(location, is_listed=is_listed)
        return Opened(file, lambda: stamp)
    if not stat.S_ISREG(os.stat(os.fsencode(location)).st_mode):
        raise OSError(0, "it is no file")
    local = open(os.fsencode(location), "rb")  # noqa: SIM115 - kept open by who asked

    def stamp_now() -> str:
        status = os.fstat(local.fileno())
        return f"{status.st_size}-{status.st_mtime_ns}"

    return Opened(local, stamp_now)


class _Kept(threading.local):
    """The archives that a thread has open, the latest last."""

    def __init__(self) -> None:
        self.archives: OrderedDict[str, Opened] = OrderedDict()

    def get(self, member: Member) -> Opened:
        key = f"{member.packing}:{member.location}"
        opened = self.archives.pop(key, None)
        if opened is None:
            opened = open_archive(member.location)
            if member.packing:
                opened = Opened(Unpacking(opened.file, member.packing), opened.stamp)
        self.archives[key] = opened
        while len(self.archives) > _OPEN:
            self.archives.popitem(last=False)[1].file.close()
        return opened

    def drop(self, member: Member) -> None:
        opened = self.archives.pop(f"{member.packing}:{member.location}", None)
        if opened is not None:
            with suppress(OSError):
                opened.file.close()


_kept = _Kept()


def read_member(member: Member, read: Callable[[Seekable], bytes]) -> bytes:
    """Return a member's bytes.

    Args:
        member: as it was listed.
        read: takes the open archive and gets at the bytes.

    Raises:
        ImageError: the archive has changed since it was listed, is not there any more, or the
            member cannot be unpacked or is too large; ``reason`` says which.
    """
    if (member.size or 0) > MAX_BYTES:
        raise ImageError(
            f"{member.uri}: has {(member.size or 0) / 1e6:,.0f} MB, more than the "
            f"{MAX_BYTES / 1e6:,.0f} MB that an image may have",
            reason="too_large",
        )
    try:
        for _ in range(2):
            opened = _kept.get(member)
            if opened.stamp() == member.stamp:
                return read(opened.file)
            _kept.drop(member)  # perhaps a file that was at this place before
        raise ImageError(
            f"{member.uri}: the archive has changed since it was listed; run again when nobody "
            "writes it",
            reason="changed_while_read",
        )
    except ArchiveError as error:
        raise ImageError(f"{member.uri}: {error}", reason=error.reason) from error
    except (OSError, ValueError) as error:
        _kept.drop(member)
        raise refusal(error, member.uri) from error


def check_ratio(unpacked: int, packed: int) -> None:
    """Raise ArchiveError where ``unpacked`` bytes out of ``packed`` are what no image gives."""
    if unpacked > _BOMB_BYTES and unpacked > _BOMB_RATIO * max(1, packed):
        raise ArchiveError(
            f"unpacks to {unpacked // max(1, packed):,} times its size, as no image does: a "
            "decompression bomb, which was not unpacked"
        )


class Names:
    """Gives each member of an archive a name of its own, at 8 bytes a member.

    >>> names = Names()
    >>> names.unique("a.zip!/1.jpg"), names.unique("a.zip!/1.jpg")
    ('a.zip!/1.jpg', 'a.zip!/1.jpg~2')
    """

    def __init__(self) -> None:
        self._keys = Keys()
        self._n: dict[str, int] = {}  # of names that came more than once

    def unique(self, uri: str) -> str:
        """Return ``uri``, with ``~2`` and so on behind it where it came before."""
        name = uri
        while not self._keys.add(key_of(spelled(name))):
            self._n[uri] = self._n.get(uri, 1) + 1
            name = f"{uri}~{self._n[uri]}"
        return name


class Unpacking(io.RawIOBase):
    """A packed file as the stream that it unpacks to; going back begins anew.

    Args:
        packed: the file; closed with this.
        packing: gzip, bz2, xz or zstd.
    """

    def __init__(self, packed: Seekable, packing: str) -> None:
        self._packed = packed
        self._packing = packing
        self._position = 0
        self._stream = _unpacked(packed, packing)

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether one can go to any place in it: yes, at a price."""
        return True

    def tell(self) -> int:
        """Return the place in the unpacked stream."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to ``offset`` from the start of the unpacked stream, or to its end."""
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation("only from the start")
        if offset < self._position:
            self._packed.seek(0)
            self._stream = _unpacked(self._packed, self._packing)
            self._position = 0
        while self._position < offset:
            if not self.read(min(_STEP, offset - self._position)):
                break
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Return the next ``size`` bytes, fewer at the end only.

        Raises:
            ArchiveError: what is packed is damaged, ends early, or is a decompression bomb.
        """
        parts = []
        wanted = size if size >= 0 else MAX_BYTES
        while wanted > 0:
            try:
                part = self._stream.read(min(_STEP, wanted))
            except unpacking_errors() as error:
                # Where it is, is not known any more: whoever asks next begins anew.
                self._position = _NOWHERE
                raise ArchiveError(
                    f"is damaged or cut off: it cannot be unpacked further ({error})"
                ) from error
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
            self._position += len(part)
            check_ratio(self._position, self._packed.tell())
        return b"".join(parts)

    def close(self) -> None:
        """Close the packed file, too."""
        self._packed.close()
        super().close()


def _unpacked(packed: Any, packing: str) -> Any:
    import bz2
    import gzip
    import lzma

    if packing == "gzip":
        return gzip.GzipFile(fileobj=packed, mode="rb")
    if packing == "bz2":
        return bz2.BZ2File(packed)
    if packing == "xz":
        return lzma.LZMAFile(packed)
    import pyarrow as pa  # Python has Zstandard from 3.14 on

    return pa.CompressedInputStream(pa.PythonFile(_Lent(packed), "r"), "zstd")


class _Lent(io.RawIOBase):
    """A file for who closes what he was given."""

    def __init__(self, file: Seekable) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def unpacking_errors() -> tuple[type[Exception], ...]:
    """Return what the libraries that unpack raise on damaged input."""
    import lzma
    import zlib

    return (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
