"""DICOM files as files to look things up in, wherever they lie.

One on disk is opened where it is. Of one in an archive or at an address the header is read from
its first bytes, and for its frames the whole is copied into a temporary file: once for all that a
thread reads in turn, as an archive's members have no places inside and a server asks its price
for each request.
"""

from __future__ import annotations

import io
import os
import stat
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from lesionlens.errors import ImageError
from lesionlens.screening.dicom_headers import MAGIC, MAGIC_AT, DicomImage, library, read_header
from lesionlens.screening.items import Item
from lesionlens.screening.places import MAX_BYTES, Member
from lesionlens.screening.reading import beginning_of, content_of

if TYPE_CHECKING:
    from pydicom import Dataset

_BUFFER_BYTES = 1 << 14
#: Bytes that are read of a file for its header: as a rule the first are enough; longer are those
#: with a colour profile, a preview or a table of many frames.
_BEGINNINGS = (1 << 14, 1 << 20, 1 << 26)


@dataclass(frozen=True)
class Headed:
    """A DICOM file that is open and whose header is read."""

    file: BinaryIO  # from the file's first byte; it ends behind the header where that is enough
    size: int  # of the whole file in bytes; where a server does not tell, what it may have at most
    header: Dataset  # the wanted attributes
    image: DicomImage | None  # None: it has no pixels


@contextmanager
def headed(item: Item, keep: Sequence[str] = ()) -> Iterator[Headed]:
    """Open a file and read its header, and no more of it than that takes.

    Args:
        item: the file.
        keep: more attributes to read, by keyword.

    Raises:
        ImageError: it cannot be had, or is no DICOM file, or a damaged one.
        OSError: it is not there, or may not be read.
    """
    if not _is_elsewhere(item):
        with opened(item) as file:
            size = os.fstat(file.fileno()).st_size
            yield Headed(file, size, *read_header(file, item.uri, keep))
        return
    library()  # says whether it is there before anything is fetched
    for n_bytes in _BEGINNINGS:
        content, size = beginning_of(item, n_bytes)
        is_whole = len(content) == size
        is_dicom = content[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC
        try:
            header, image = read_header(io.BytesIO(content), item.uri, keep)
        except ImageError:  # it may go on behind what was read
            if is_whole or not is_dicom:
                raise
            continue
        if image is not None or is_whole:
            yield Headed(io.BytesIO(content), size, header, image)
            return
    raise ImageError(
        f"{item.uri}: its header has more than {_BEGINNINGS[-1] / 1e6:,.0f} MB, or is damaged; "
        "unpack or download it, and screen the file"
    )


@contextmanager
def opened(item: Item) -> Iterator[_File]:
    """Open a file, or a copy of what is no file of its own.

    Raises:
        ImageError: it is a folder, a pipe or a device, or cannot be copied.
        OSError: it is not there, or may not be read.
    """
    if _is_elsewhere(item):
        yield _copies.get(item)
        return
    path = os.fsencode(item.location)
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ImageError(f"{item.uri}: is no plain file", reason="not_an_image")
    with _File(io.FileIO(path)) as file:
        yield file


def _is_elsewhere(item: Item) -> bool:
    return isinstance(item, Member) or item.kind == "remote"


class _File(io.BufferedReader):
    """A file that sets no more memory aside for a read than it has bytes left, or a frame may.

    Args:
        raw: the file, not buffered.
    """

    def __init__(self, raw: Any) -> None:
        super().__init__(raw, _BUFFER_BYTES)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, fewer at the end only."""
        if size is None or not 0 <= size <= _BUFFER_BYTES:
            left = max(0, os.fstat(self.fileno()).st_size - self.tell())
            size = min(left if size is None or size < 0 else min(size, left), MAX_BYTES)
        return super().read(size)


class _Copies(threading.local):
    """The copy that a thread has, of the file that it read last; no name leads to it."""

    def __init__(self) -> None:
        self._of: Item | None = None
        self._file: _File | None = None

    def get(self, item: Item) -> _File:
        """Return the copy of an item's file."""
        wanted = replace(item, uri="", frame=None, extra={})
        if self._file is None or wanted != self._of:
            content = content_of(item)
            self.drop()
            try:
                raw = tempfile.TemporaryFile(buffering=0, prefix="lesionlens-")  # noqa: SIM115 - kept
                self._file = _File(raw)
                if raw.write(content) < len(content):
                    raise OSError(0, "it is full")  # noqa: TRY301 - as the next write would say
            except OSError as error:
                self.drop()
                raise ImageError(
                    f"{item.uri}: {len(content) / 1e6:,.1f} MB of it find no place in "
                    f"{tempfile.gettempdir()} ({error.strerror or error}), from where its frames "
                    "are read; make room there, or set TMPDIR"
                ) from error
            self._of = wanted
        self._file.seek(0)
        return self._file

    def drop(self) -> None:
        """Forget the copy."""
        self._of = None
        if self._file is not None:
            self._file.close()
            self._file = None


_copies = _Copies()
