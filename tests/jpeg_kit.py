"""JPEGs that Pillow reads and does not write."""

from __future__ import annotations

import struct

import numpy as np


def lossless_jpeg(pixels: np.ndarray, *, marker: bytes = b"") -> bytes:
    """A lossless JPEG (ITU-T T.81, annex H): each value is told by its left neighbour.

    Args:
        pixels: (H, W, 1) or (H, W, 3), uint8.
        marker: of an application, to stand before the frame.
    """

    def segment(kind: int, content: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content

    values = pixels.astype(np.int32)
    guess = np.empty_like(values)
    guess[0, 0], guess[1:, 0], guess[:, 1:] = 128, values[:-1, 0], values[:, :-1]
    difference = (values - guess).reshape(-1)
    n_bits = np.frexp(np.abs(difference))[1]
    low = np.where(difference < 0, difference - 1, difference) & ((1 << n_bits) - 1)
    word = (n_bits << n_bits) | low  # the number of bits, in four bits of its own, and the bits
    place = np.arange(12)
    bits = (word[:, None] >> np.maximum(n_bits[:, None] + 3 - place, 0)) & 1
    bits = bits[place < n_bits[:, None] + 4]
    packed = np.packbits(np.append(bits, np.ones(-bits.size % 8, np.int64)).astype(np.uint8))
    height, width, n = pixels.shape
    frame = struct.pack(">BHHB", 8, height, width, n)
    frame += b"".join(bytes((number, 0x11, 0)) for number in range(n))
    nine_codes_of_four_bits = bytes((0, 0, 0, 0, 9, *bytes(12), *range(9)))
    scan = bytes((n, *(byte for number in range(n) for byte in (number, 0)), 1, 0, 0))
    return (
        b"\xff\xd8" + marker + segment(0xC3, frame) + segment(0xC4, nine_codes_of_four_bits)
        + segment(0xDA, scan) + packed.tobytes().replace(b"\xff", b"\xff\0") + b"\xff\xd9"
    )  # fmt: skip
