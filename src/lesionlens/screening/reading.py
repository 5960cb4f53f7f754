"""From an item to what ``imaging.load_pixels`` reads, and the hash of it: one read, no second.

>>> from lesionlens.screening.items import Item
>>> read_item(Item("lesion.jpg", "/photos/lesion.jpg")).sha256  # doctest: +SKIP
'2f1c...'
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass
from typing import IO

import numpy as np

from lesionlens.errors import ImageError
from lesionlens.screening import tars, zips
from lesionlens.screening.archives import read_member
from lesionlens.screening.items import Item
from lesionlens.screening.places import MAX_BYTES, Member, Unusable, kind_of_bytes, refusal

#: How long a file that is being written is given before it is read a second time.
_SETTLE_S = 0.2


@dataclass(frozen=True)
class Reading:
    """What was read of an item."""

    source: bytes | np.ndarray  # for imaging.load_pixels: encoded bytes, or pixels
    sha256: str  # of the encoded file, or of a DICOM frame's pixel data


def read_item(item: Item) -> Reading:
    """Read an item's bytes, once.

    DICOM, by its content, is read by ``dicom``.

    Raises:
        ImageError: it cannot be read; ``reason`` is one of ``items.REASONS``.
    """
    if isinstance(item, Unusable):
        raise ImageError(item.error, reason=item.reason)
    if item.frame is not None:
        from lesionlens.screening import dicom

        return dicom.read_frame(item)
    content = content_of(item)
    if kind_of_bytes(content) == "dicom":
        from lesionlens.screening import dicom

        return dicom.read_content(item.uri, content)
    return Reading(content, hashlib.sha256(content).hexdigest())


def content_of(item: Item) -> bytes:
    """Return the bytes of the file that an item is, or is a frame of.

    Raises:
        ImageError: as ``read_item``.
    """
    if isinstance(item, Member):
        return _read_zip(item) if item.kind == "zip" else _read_tar(item)
    if item.kind == "remote":
        from lesionlens.screening import remote

        return remote.fetch(item.location, uri=item.uri, size=item.size)
    return _read_file(item)


def beginning_of(item: Item, n_bytes: int) -> tuple[bytes, int]:
    """Return the first bytes of a file in an archive or at an address, and how many it has.

    Of an archive no more is unpacked, and of a server no more asked. What it has is as announced
    there; where a server does not tell, ``MAX_BYTES``.

    Raises:
        ImageError: as ``read_item``.
    """
    if isinstance(item, Member):
        read = _read_zip if item.kind == "zip" else _read_tar
        return read(item, n_bytes), item.size or 0
    from lesionlens.screening import remote

    content, size = remote.fetch_beginning(item.location, n_bytes, uri=item.uri)
    return content, size or item.size or MAX_BYTES


def _read_zip(member: Member, n_bytes: int | None = None) -> bytes:
    entry = zips.Entry(
        member.member, member.offset, member.packed, member.size or 0, member.method, member.crc,
        is_encrypted=False,
    )  # fmt: skip
    return read_member(member, lambda file: zips.read(file, entry, n_bytes=n_bytes))


def _read_tar(member: Member, n_bytes: int | None = None) -> bytes:
    size = member.size or 0
    if n_bytes is not None:
        size = min(size, n_bytes)
    if member.spool:
        content = tars.read_spooled(member.spool, member.spool_offset, size)
        if content is not None:
            return content
    return read_member(member, lambda file: tars.read(file, member.offset, size))


def _read_file(item: Item) -> bytes:
    """Read a file; once more where it changes meanwhile."""
    for _ in range(2):
        try:
            content, is_settled = _read_once(item)
        except (OSError, ValueError) as error:
            raise refusal(error, item.uri) from error
        if is_settled:
            return content
        time.sleep(_SETTLE_S)
    raise ImageError(
        f"{item.uri}: changed while it was read; run again when it is written",
        reason="changed_while_read",
    )


def _read_once(item: Item) -> tuple[bytes, bool]:
    """Return a file's bytes, and whether they are all of one state of it."""
    path = os.fsencode(item.location)
    # Asked before it is opened: opening a pipe waits for its other end, a device may act.
    _check_plain(os.stat(path), item)
    with open(path, "rb", buffering=0) as file:
        before = os.fstat(file.fileno())
        _check_plain(before, item)
        content = _read_all(file, before.st_size)
        after = os.fstat(file.fileno())
    is_same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return content, is_same and len(content) == after.st_size


def _read_all(file: IO[bytes], size: int) -> bytes:
    """Return the file's bytes, one more than ``size`` where it has grown."""
    content = file.read(size + 1)
    while len(content) < size and (more := file.read(size + 1 - len(content))):
        content += more  # a network's file system may give less than it was asked for
    return content


def _check_plain(status: os.stat_result, item: Item) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{item.uri}: is a folder, not an image", reason="not_an_image")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(
            f"{item.uri}: is a pipe, a socket or a device, not a file; it was not opened",
            reason="not_an_image",
        )
    if status.st_size > MAX_BYTES:
        raise ImageError(
            f"{item.uri}: has {status.st_size / 1e6:,.0f} MB, more than the "
            f"{MAX_BYTES / 1e6:,.0f} MB that an image may have",
            reason="too_large",
        )
