"""ZIP: members listed from the central directory as it is read, and read by where they lie.

The standard library's ``ZipFile`` keeps half a kilobyte for each member and reads the whole
directory before the first is known: 600 MB and 20 s for a million, in each worker. Here a member
is a few numbers that travel with its item. Format: PKWARE APPNOTE 6.3.10.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from lesionlens.screening.archives import ArchiveError, Seekable, check_ratio

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")  # of the central directory
_LOCAL = struct.Struct("<4s5H3L2H")  # before a member's bytes
_COMMENT_BYTES = 1 << 16  # of the longest comment behind the end
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11  # flags
_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14  # methods
#: What others are called: APPNOTE, 4.4.5.
_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 20: "Zstandard", 93: "Zstandard", 94: "MP3",
    95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd", 99: "AES",
}  # fmt: skip
_LZMA_HEAD = struct.Struct("<2sHBL")  # version, bytes of what follows, properties, dictionary
_LEAST_DICTIONARY = 1 << 12
_ZIP64_EXTRA, _FULL = 0x0001, 0xFFFFFFFF
#: A member's name and extra fields may be longer before its bytes than in the directory.
_SLACK = 256


@dataclass(frozen=True)
class Entry:
    """A member as the central directory has it."""

    name: str  # as written, bytes that are no text as surrogates; a folder's ends with a slash
    offset: int  # of the local header
    packed: int  # bytes
    size: int  # unpacked bytes, as announced
    method: int
    crc: int
    is_encrypted: bool


def entries(file: Seekable) -> Iterator[Entry]:
    """Yield the members of a ZIP in the order of its directory.

    Raises:
        ArchiveError: it is no ZIP, or damaged; what was yielded before is good.
        OSError: it cannot be read.
    """
    start, size, shift = _directory(file)
    file.seek(start)
    directory = io.BufferedReader(_Part(file, size), 1 << 18)  # type: ignore[type-var]
    while True:
        head = directory.read(_ENTRY.size)
        if not head:
            return
        if len(head) < _ENTRY.size or head[:4] != b"PK\1\2":
            raise ArchiveError("is damaged: its directory cannot be read to the end")
        (_, _, _, flags, method, _, _, crc, packed, unpacked, n_name, n_extra, n_comment, _, _, _,
         offset) = _ENTRY.unpack(head)  # fmt: skip
        rest = directory.read(n_name + n_extra + n_comment)
        if len(rest) < n_name + n_extra + n_comment:
            raise ArchiveError("is damaged: its directory is cut off")
        if _FULL in (packed, unpacked, offset):
            extra = rest[n_name : n_name + n_extra]
            unpacked, packed, offset = _wide(extra, (unpacked, packed, offset))
        yield Entry(
            _named(rest[:n_name], flags), offset + shift, packed, unpacked, method, crc,
            bool(flags & _ENCRYPTED),
        )  # fmt: skip


def read(file: Seekable, entry: Entry, *, n_bytes: int | None = None) -> bytes:
    """Return a member's bytes, checked.

    Args:
        file: the ZIP.
        entry: the member; of a size that is all right.
        n_bytes: only its first, then without a check.

    Raises:
        ArchiveError: encrypted, packed in an unknown way, damaged, or a decompression bomb.
        OSError: the file cannot be read.
    """
    if entry.is_encrypted:
        raise ArchiveError(
            "is encrypted; unpack the archive with its password and screen the folder",
            reason="encrypted",
        )
    if entry.method not in (_STORED, _DEFLATED, _BZIP2, _LZMA):
        name = _METHODS.get(entry.method, "an unknown way")
        raise ArchiveError(
            f"is packed by {name} (method {entry.method}); stored, Deflate, BZip2 and LZMA are "
            "read. Unpack the archive and screen the folder, or pack it anew by Deflate",
            reason="unsupported_format",
        )
    check_ratio(entry.size, entry.packed)
    length = file.seek(0, io.SEEK_END)
    if entry.offset + entry.packed > length:
        raise ArchiveError("is damaged or cut off: it is not where the directory says")
    wanted = entry.packed
    if n_bytes is not None:
        # BZip2 gives nothing of a block, of up to 900 kB, before it has all of it.
        wanted = min(wanted, n_bytes + (1 << 20 if entry.method == _BZIP2 else 4096))
    file.seek(entry.offset)
    content = file.read(_LOCAL.size + len(entry.name) + _SLACK + wanted)
    if len(content) < _LOCAL.size or content[:4] != b"PK\3\4":
        raise ArchiveError("is damaged: it is not where the directory says")
    *_, n_name, n_extra = _LOCAL.unpack_from(content)
    begin = _LOCAL.size + n_name + n_extra
    if len(content) < begin + wanted:
        content += file.read(begin + wanted - len(content))
    packed = memoryview(content)[begin : begin + wanted]
    if len(packed) < wanted:
        raise ArchiveError("is cut off: the archive ends before this member does")
    if n_bytes is not None:
        return _unpacked(packed, entry, n_bytes)[0]
    unpacked, is_whole = _unpacked(packed, entry, entry.size + 1)
    if not is_whole or len(unpacked) != entry.size or zlib.crc32(unpacked) != entry.crc:
        raise ArchiveError("is damaged: its bytes do not match the archive's size and checksum")
    return unpacked


def _unpacked(packed: memoryview, entry: Entry, most: int) -> tuple[bytes, bool]:
    """Return no more than ``most`` bytes, and whether they may end there."""
    try:
        if entry.method == _STORED:
            return bytes(packed[:most]), True
        if entry.method == _LZMA:  # may have no mark at its end: size and checksum tell it
            return _of_lzma(packed, entry, most), True
        is_deflated = entry.method == _DEFLATED
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS) if is_deflated else bz2.BZ2Decompressor()
        return unpacker.decompress(packed, most), unpacker.eof
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError, struct.error) as error:
        raise ArchiveError(f"is damaged: it cannot be unpacked ({error})") from error


def _of_lzma(packed: memoryview, entry: Entry, most: int) -> bytes:
    """Return no more than ``most`` bytes of what is packed by LZMA: APPNOTE, 5.8.8."""
    _, size, properties, dictionary = _LZMA_HEAD.unpack_from(packed)
    if size != 5:
        raise ArchiveError("is damaged: it is not packed as LZMA in a ZIP is")
    rest, literals = divmod(properties, 9)
    positions, low = divmod(rest, 5)
    # A dictionary is set aside whole. It needs to be no larger than what it is made of.
    dictionary = max(_LEAST_DICTIONARY, min(dictionary, entry.size))
    unpacker = lzma.LZMADecompressor(
        lzma.FORMAT_RAW,
        filters=[
            {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": literals, "lp": low,
             "pb": positions},
        ],
    )  # fmt: skip
    return unpacker.decompress(packed[_LZMA_HEAD.size :], most)


def _directory(file: Seekable) -> tuple[int, int, int]:
    """Return where the central directory starts, its bytes, and what offsets are short of."""
    length = file.seek(0, io.SEEK_END)
    tail_start = max(0, length - _END.size - _COMMENT_BYTES)
    file.seek(tail_start)
    tail = file.read()
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < _END.size:
        raise ArchiveError("is no ZIP, or is cut off: it has no directory at its end; copy it anew")
    end = tail_start + found
    *_, size, start, _ = _END.unpack_from(tail, found)
    if end >= _END64_LOCATOR.size:
        file.seek(end - _END64_LOCATOR.size)
        sign, _, end64, _ = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
        if sign == b"PK\6\7":
            file.seek(min(end64, length))
            record = file.read(_END64.size)
            if len(record) < _END64.size or record[:4] != b"PK\6\6":
                raise ArchiveError("is damaged: its ZIP64 directory cannot be found")
            *_, size, start = _END64.unpack(record)
            end = end64
    shift = end - size - start  # bytes before the archive proper, of one that unpacks itself
    if shift < 0 or start + shift < 0:
        raise ArchiveError("is damaged or cut off: its directory is not where its end says")
    return start + shift, size, shift


class _Part(io.RawIOBase):
    """The next ``size`` bytes of a file."""

    def __init__(self, file: Seekable, size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._file.read(min(self._left, len(buffer)))
        buffer[: len(content)] = content
        self._left -= len(content)
        return len(content)


def _wide(extra: bytes, values: tuple[int, int, int]) -> list[int]:
    """Return size, packed size and offset with those that are full from the ZIP64 field."""
    place, found = 0, b""
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, place)
        if kind == _ZIP64_EXTRA:
            found = extra[place + 4 : place + 4 + size]
        place += 4 + size
    wide = []
    for value in values:
        if value == _FULL:
            if len(found) < 8:
                raise ArchiveError("is damaged: a member's ZIP64 sizes are missing")
            wide.append(struct.unpack_from("<Q", found)[0])
            found = found[8:]
        else:
            wide.append(value)
    return wide


def _named(name: bytes, flags: int) -> str:
    """Return a member's name: UTF-8 where it says so or can be read so, else code page 437."""
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("utf-8", "surrogateescape") if flags & _UTF8 else name.decode("cp437")
