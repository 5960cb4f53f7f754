"""Damage that files come with, and damage made on purpose: bytes in, bytes out, by a seed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np

#: Numbers at which programs that read sizes and lengths go wrong.
NUMBERS = (
    0, 1, 2, 7, 8, 16, 24, 31, 32, 33, 64, 127, 128, 255, 256, 1000, 4096, 10_000, 10_953, 32_767,
    32_768, 65_535, 65_536, 120_000, 1 << 20, (1 << 24) - 1, 1 << 24, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1,
)  # fmt: skip
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # markers that say a size
#: Elements of group 0028 (image pixel) and the length of the pixels, as they stand in a file.
_DICOM_TAGS = tuple(
    struct.pack("<HH", group, element)
    for group, element in [
        *((0x0028, n) for n in (2, 4, 6, 8, 0x10, 0x11, 0x100, 0x101, 0x102, 0x103)),
        *((0x0028, n) for n in (0x1101, 0x1102, 0x1103, 0x1201, 0x1202, 0x1203)),
        (0x0002, 0x0010),
        (0x7FE0, 0x0010),
        (0xFFFE, 0xE000),
    ]
)
#: Above this, what a mutation made longer is cut.
_MOST_BYTES = 400_000


def mutate(seeds: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """Return a damaged copy of one of ``seeds``; the same state of ``rng`` gives the same.

    Args:
        seeds: whole files.
        rng: source of everything that varies.
    """
    data = bytearray(seeds[int(rng.integers(len(seeds)))])
    for _ in range(int(rng.integers(1, 6))):
        how = _HOW[int(rng.choice(len(_HOW), p=_ODDS))]
        data = how(data, rng, seeds)[:_MOST_BYTES]
    if data[:8] == _PNG and rng.random() < 0.7:  # else nothing but the checksum is ever tried
        data = with_checksums(data)
    return bytes(data)


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """Return where to change something: half of the time in the head, where structure is."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 400)
    return int(rng.integers(max(1, end)))


def _flip_bits(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    for _ in range(int(rng.integers(1, 17)) if data else 0):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return data


def _set_bytes(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    for _ in range(int(rng.integers(1, 9)) if data else 0):
        data[_place(data, rng)] = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)[int(rng.integers(6))]
    return data


def _set_number(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place = _place(data, rng)
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    size = (2, 4)[int(rng.integers(2))]
    order = ("little", "big")[int(rng.integers(2))]
    data[place : place + size] = (number & ((1 << 8 * size) - 1)).to_bytes(size, order)
    return data


def _noise(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place, n = _place(data, rng), int(rng.integers(1, 257))
    data[place : place + n] = rng.bytes(n)
    return data


def _blank(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place, n = _place(data, rng), int(rng.integers(1, 2049))
    data[place : place + n] = bytes(len(data[place : place + n]))
    return data


def _delete(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place = _place(data, rng)
    del data[place : place + int(rng.integers(1, 513))]
    return data


def _repeat(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    place, n = _place(data, rng), int(rng.integers(1, 1025))
    data[place:place] = data[place : place + n] * int(rng.integers(1, 20))
    return data


def _truncate(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    return data[: _place(data, rng)]


def _splice(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    """Go on with the rest of another file."""
    other = seeds[int(rng.integers(len(seeds)))]
    return data[: _place(data, rng)] + other[int(rng.integers(len(other))) :]


def _lie(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    """Change what a header says of the size, the depth or a length."""
    fields = header_fields(data)
    if not fields:
        return _set_number(data, rng, seeds)
    for _ in range(int(rng.integers(1, 4))):
        place, size, order = fields[int(rng.integers(len(fields)))]
        number = NUMBERS[int(rng.integers(len(NUMBERS)))]
        data[place : place + size] = (number & ((1 << 8 * size) - 1)).to_bytes(size, order)
    return data


def _damage_packed(data: bytearray, rng: np.random.Generator, seeds: Sequence[bytes]) -> bytearray:
    """Damage a PNG's pixels below their compression; what is no PNG gets its bits flipped."""
    chunks = png_chunks(data)
    packed = b"".join(data[start:end] for name, start, end in chunks if name == b"IDAT")
    try:
        plain = bytearray(zlib.decompress(packed)) if packed else bytearray()
    except zlib.error:
        plain = bytearray()
    if not plain:
        return _flip_bits(data, rng, seeds)
    plain = (_flip_bits, _delete, _repeat, _truncate)[int(rng.integers(4))](plain, rng, seeds)
    new = zlib.compress(bytes(plain))
    first = next(start for name, start, _ in chunks if name == b"IDAT") - 8
    rest = b"".join(
        data[start - 8 : end + 4] for name, start, end in chunks if start > first + 8
        and name != b"IDAT"
    )  # fmt: skip
    return data[:first] + struct.pack(">I4s", len(new), b"IDAT") + new + bytes(4) + rest


_HOW: tuple[
    Callable[[bytearray, np.random.Generator, Sequence[bytes]], bytearray], ...
] = (
    _flip_bits, _set_bytes, _set_number, _noise, _blank, _delete, _repeat, _truncate, _splice,
    _lie, _damage_packed,
)  # fmt: skip
_ODDS = np.array([4, 3, 3, 1, 1, 1, 1, 1, 1, 5, 1]) / 22


def header_fields(data: bytes | bytearray) -> list[tuple[int, int, str]]:
    """Return (place, bytes, byte order) of what a file's headers say in numbers."""
    for magic, place, fields in _FORMATS:
        if data[place : place + len(magic)] == magic:
            return fields(data)
    return []


def _png_fields(data: bytes | bytearray) -> list[tuple[int, int, str]]:
    sizes = [(start - 8, 4, "big") for _, start, _ in png_chunks(data)]
    return [(16, 4, "big"), (20, 4, "big"), *((n, 1, "big") for n in range(24, 29)), *sizes]


def _bmp_fields(data: bytes | bytearray) -> list[tuple[int, int, str]]:
    fields = [(n, 4, "little") for n in (2, 10, 14, 18, 22, 30, 34, 46, 50)]
    return [*fields, (26, 2, "little"), (28, 2, "little")]


def _webp_fields(data: bytes | bytearray) -> list[tuple[int, int, str]]:
    inner = [(n, size, "little") for n in (21, 24, 26, 27, 28) for size in (2, 3)]
    return [(4, 4, "little"), (16, 4, "little"), (20, 1, "little"), *inner]


def _jpeg_fields(data: bytes | bytearray) -> list[tuple[int, int, str]]:
    fields: list[tuple[int, int, str]] = []
    place = 2
    while place + 10 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        fields.append((place + 2, 2, "big"))
        if marker in _JPEG_FRAMES:
            sizes = [(place + 5, 2, "big"), (place + 7, 2, "big")]
            fields += sizes * 4 + [(place + n, 1, "big") for n in (4, 9, 10, 11, 12)]
        if marker == 0xDA:
            break
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return fields


def _tiff_fields(data: bytes | bytearray) -> list[tuple[int, int, str]]:
    order = "little" if data[:2] == b"II" else "big"

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], order)

    fields: list[tuple[int, int, str]] = [(4, 4, order)]
    first = number(4, 4)
    for entry in range(min(number(first, 2), 64)):
        place = first + 2 + 12 * entry
        if place + 12 <= len(data):
            fields += [(place, 2, order), (place + 2, 2, order), (place + 4, 4, order)]
            fields += [(place + 8, 4, order), (place + 8, 2, order)] * 2
    return fields


def _dicom_fields(data: bytes | bytearray) -> list[tuple[int, int, str]]:
    fields: list[tuple[int, int, str]] = []
    for tag in _DICOM_TAGS:
        place = data.find(tag, 132)
        if place > 0:
            fields += [(place + 8, 2, "little"), (place + 6, 2, "little"), (place + 4, 2, "little")]
            fields += [(place + 8, 4, "little")]
    return fields


_FORMATS = (
    (b"\xff\xd8", 0, _jpeg_fields),
    (_PNG, 0, _png_fields),
    (b"BM", 0, _bmp_fields),
    (b"WEBP", 8, _webp_fields),
    (b"II", 0, _tiff_fields),
    (b"MM", 0, _tiff_fields),
    (b"DICM", 128, _dicom_fields),
)


def png_chunks(data: bytes | bytearray) -> list[tuple[bytes, int, int]]:
    """Return (name, start, end) of the content of each chunk of a PNG, as far as they are whole."""
    chunks = []
    place = 8
    while data[:8] == _PNG and place + 12 <= len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        if place + 12 + size > len(data):
            break
        chunks.append((bytes(data[place + 4 : place + 8]), place + 8, place + 8 + size))
        place += 12 + size
    return chunks


def with_checksums(data: bytearray) -> bytearray:
    """Return a PNG whose chunks' checksums fit again, so that its decoder looks at them."""
    for _, start, end in png_chunks(data):
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[start - 4 : end]))
    return data
