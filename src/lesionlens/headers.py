"""What an image's header says of its decoding: whether it can be scaled, and what memory it takes.

Pillow decodes into one buffer, of four bytes a pixel for everything with several colours, 16-bit
values aside. What its decoders take on top was read in their sources (Pillow 13, libjpeg-turbo 3,
libtiff 4.7, libwebp 1.6) and is held against measured peaks by tests/test_headers.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image

_START_OF_IMAGE, END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
#: A frame begins, of any process: C4, C8 and CC mean other things.
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})  # nothing follows these markers
_BLOCK_BYTES = 64 * 2  # of 8 x 8 coefficients of 16 bits
#: TIFF 6.0, section 8 and following.
_BITS, _PHOTOMETRIC, _SAMPLES, _STRIP_ROWS, _TILE_WIDTH, _TILE_HEIGHT = 258, 262, 277, 278, 322, 323
_YCBCR = 6
_DICTIONARY_BYTES = 16 << 20  # of LZMA and Zstandard, as programs that write TIFF choose them
#: Modes that take another number of bytes a pixel than four.
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}


@dataclass(frozen=True)
class Decoding:
    """How an image that was opened, but not decoded, will be."""

    can_scale: bool = False  # to 1/2, 1/4 or 1/8: a JPEG made of cosines
    is_unconverted: bool = False  # a lossless JPEG in YCbCr, which its decoder leaves so
    extra_bytes: int = 0  # that the decoder takes, beyond the file and the pixels


def pixel_bytes(size: tuple[int, int], mode: str) -> int:
    """Return what Pillow's pixels of this (width, height) and mode take in memory."""
    return size[0] * size[1] * _BYTES.get(mode, 4)


def decoding_of(image: Image.Image) -> Decoding:
    """Return how ``image`` will be decoded; its file is at another place then.

    Args:
        image: opened by one of imaging's plugins and not decoded yet.
    """
    n_pixels = image.size[0] * image.size[1]
    if image.format in ("JPEG", "MPO"):
        return _of_jpeg(image)
    if image.format == "WEBP":
        # Two canvases and a copy as bytes, four each; and what lossless decoding works in.
        return Decoding(extra_bytes=14 * n_pixels)
    decoder = image.tile[0][0] if getattr(image, "tile", None) else ""  # type: ignore[attr-defined]
    if decoder == "libtiff":
        return Decoding(extra_bytes=_strip_bytes(image.tag_v2, image.size))  # type: ignore[attr-defined]
    if decoder == "bmp_rle":  # in Python: an array that grows, and a copy of it
        return Decoding(extra_bytes=3 * n_pixels)
    return Decoding()


def _of_jpeg(image: Image.Image) -> Decoding:
    process, frame, n_in_scan = 0, b"", 0
    file = image.fp  # type: ignore[attr-defined]
    file.seek(0)
    for marker, content in jpeg_segments(file):
        if marker in START_OF_FRAME and not process:
            process, frame = marker, content
        elif marker == _START_OF_SCAN and content:
            n_in_scan = content[0]
    components = [(n >> 4 or 1, n & 15 or 1) for n in frame[7::3]]  # sampling across and down
    is_lossless = process in LOSSLESS
    extra_bytes = 0
    if components and (process in _PROGRESSIVE or n_in_scan < len(components)):
        # Of several scans each adds to all of the image, whose coefficients are kept until then.
        height, width = (int.from_bytes(frame[n : n + 2], "big") for n in (1, 3))
        most_across, most_down = (max(n[axis] for n in components) for axis in (0, 1))
        blocks = sum(
            -(-width // (8 * most_across)) * across * -(-height // (8 * most_down)) * down
            for across, down in components
        )
        extra_bytes = blocks * _BLOCK_BYTES
    # JFIF means YCbCr, as does Adobe's marker where it does not say 0.
    is_ycbcr = "jfif" in image.info or image.info.get("adobe_transform", 0) != 0
    return Decoding(
        can_scale=not is_lossless,
        is_unconverted=is_lossless and is_ycbcr,
        extra_bytes=extra_bytes,
    )


def _strip_bytes(tags: Any, size: tuple[int, int]) -> int:
    """Return what libtiff needs for the part, strip or tile, that it decodes at a time."""

    def number(tag: int, default: int) -> int:
        value = tags.get(tag, default)
        return value if isinstance(value, int) and value > 0 else default

    width = number(_TILE_WIDTH, size[0])
    height = number(_TILE_HEIGHT, min(number(_STRIP_ROWS, size[1]), size[1]))
    bits = tags.get(_BITS, 1)
    depths = bits if isinstance(bits, tuple) else (bits,) * number(_SAMPLES, 1)
    per_pixel = sum(n for n in depths if isinstance(n, int)) / 8
    if tags.get(_PHOTOMETRIC) == _YCBCR:
        per_pixel += 4  # turned into RGBA by libtiff
    return int(width * height * per_pixel) + _DICTIONARY_BYTES


def jpeg_segments(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the markers of a JPEG before its data, each with what it says; the scan's is the last.

    Args:
        file: at the start of the JPEG; of one that is none, nothing is yielded.
    """
    if file.read(2) != bytes((0xFF, _START_OF_IMAGE)):
        return
    while True:
        byte = file.read(1)
        while byte and byte != b"\xff":  # decoders look for the next marker, too
            byte = file.read(1)
        while byte == b"\xff":  # filling
            byte = file.read(1)
        if not byte or byte[0] == END_OF_IMAGE:
            return
        marker = byte[0]
        if marker in _WITHOUT_LENGTH:
            continue
        length = int.from_bytes(file.read(2), "big")
        if length < 2:
            return
        yield marker, file.read(length - 2)
        if marker == _START_OF_SCAN:
            return
