"""Near-duplicates: the same picture filed twice, re-encoded, resized, flipped or turned.

Candidates come from a perceptual hash, the 64-bit DCT hash that imagehash calls ``phash``,
computed here for all images and for their eight flips and turns at once; each pair of
candidates is then verified on pixels. The hash alone will not do: dermoscopy puts a dark blob
on a pale ground, often in a round black frame, so that plain pixel correlation of *different*
lesions reaches 0.98. What tells pictures apart is their fine detail: the middle of the frame
with its low frequencies taken out. On 11,217 frames of the ISIC archive, every pair within
10 bits whose detail correlates above 0.7 was of one lesion or was known as a duplicate (see
``benchmarks/duplicates.py``); the highest correlation of two different lesions was 0.62.

Two photographs of one lesion taken minutes apart are not near-duplicates in this sense. They
share a ``lesion_id``, which is what keeps them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from lesionlens.data.prepare import Cache
from lesionlens.records import Frame

#: Pairs whose hashes differ in more of the 64 bits are not looked at further.
MAX_DISTANCE_BITS = 10
#: Pairs whose fine detail correlates at least this much are the same picture.
MIN_CORRELATION = 0.7

_HASH_PX = 32  # side of the thumbnail that is hashed, as in imagehash
_HASH_SIDE = 8  # low frequencies kept per axis: 64 bits
_DETAIL_PX = 72  # side of the thumbnail whose detail is compared
_CENTRE = 9 / 14  # share of each side that is compared: inside the black corners of a dermatoscope
_BLUR_PX = 3  # Gaussian that is taken out of the detail thumbnail
_BLOCK = 512  # images compared against all others at once


@dataclass(frozen=True)
class NearDuplicate:
    """Two images that show the same picture."""

    first_id: str
    second_id: str
    distance_bits: int  # of 64, between the perceptual hashes
    correlation: float  # -1..1, of the fine detail
    transform: int  # 0..7: what turns the second into the first, 0 nothing; see ``dihedral``


def find_near_duplicates(
    images: Sequence[np.ndarray] | np.ndarray,
    image_ids: Sequence[str],
    *,
    max_distance_bits: int = MAX_DISTANCE_BITS,
    min_correlation: float = MIN_CORRELATION,
    advance: Callable[..., None] | None = None,
) -> tuple[NearDuplicate, ...]:
    """Return every pair of images that show the same picture.

    Args:
        images: uint8 RGB, each (S, S, 3) with one S, as in ``Cache.images``.
        image_ids: what to call them.
        max_distance_bits: candidates differ in at most this many of 64 hash bits.
        min_correlation: -1..1, of the fine detail; pairs below are not duplicates.
        advance: called after each image is hashed, for a progress bar.

    Returns:
        Pairs in the order of ``images``, the best of the eight flips and turns for each.
    """
    thumbnails = np.empty((len(images), _HASH_PX, _HASH_PX), np.uint8)
    for row, rgb in enumerate(images):
        thumbnails[row] = _thumbnail(rgb)
        if advance is not None:
            advance(1)
    hashes = np.stack([perceptual_hash(dihedral(thumbnails, t)) for t in range(8)])
    details: dict[int, np.ndarray] = {}

    def detail(row: int) -> np.ndarray:
        if row not in details:
            details[row] = _detail(images[row])
        return details[row]

    best: dict[tuple[int, int], NearDuplicate] = {}
    for first, second, transform, distance in _candidates(hashes, max_distance_bits):
        turned = dihedral(detail(second)[None], transform)[0]
        correlation = float(np.vdot(detail(first).astype(np.float32), turned.astype(np.float32)))
        if transform == distance == 0 and np.array_equal(images[first], images[second]):
            correlation = 1.0  # pictures without any detail have none that could correlate
        known = best.get((first, second))
        if correlation >= min_correlation and (known is None or correlation > known.correlation):
            best[first, second] = NearDuplicate(
                image_ids[first], image_ids[second], distance, min(correlation, 1.0), transform
            )
    return tuple(best[pair] for pair in sorted(best))


def find_in_cache(
    cache: Cache, frames: Sequence[Frame], *, advance: Callable[..., None] | None = None
) -> tuple[NearDuplicate, ...]:
    """Return the near-duplicates among those of ``frames`` that are in the cache."""
    ids = [frame.image_id for frame in frames if frame.image_id in cache.row_of]
    images = [cache.images[cache.row_of[image_id]] for image_id in ids]  # views, nothing is read
    return find_near_duplicates(images, ids, advance=advance)


def perceptual_hash(thumbnails: np.ndarray) -> np.ndarray:
    """Return the 64-bit DCT hash of each thumbnail, the bits of ``imagehash.phash``.

    Args:
        thumbnails: uint8, (N, 32, 32), greyscale.

    Returns:
        uint64, (N,); two hashes are compared by the number of bits that differ.
    """
    frequency = np.arange(_HASH_SIDE)[:, None]
    position = np.arange(_HASH_PX)[None, :]
    basis = 2 * np.cos(np.pi * frequency * (2 * position + 1) / (2 * _HASH_PX))
    low = basis @ thumbnails.astype(np.float64) @ basis.T
    low = low.reshape(len(low), _HASH_SIDE * _HASH_SIDE)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def dihedral(stack: np.ndarray, transform: int) -> np.ndarray:
    """Flip and turn each picture of ``stack``.

    Args:
        stack: (N, S, S).
        transform: 0 leaves it; 1 flips top to bottom, 2 left to right, 3 both; 4 to 7 are
            those, then rows and columns swapped.
    """
    if transform & 1:
        stack = stack[:, ::-1]
    if transform & 2:
        stack = stack[:, :, ::-1]
    return stack.transpose(0, 2, 1) if transform & 4 else stack


def _thumbnail(rgb: np.ndarray) -> np.ndarray:
    grey = Image.fromarray(np.asarray(rgb)).convert("L")
    return np.asarray(grey.resize((_HASH_PX, _HASH_PX), Image.Resampling.LANCZOS))


def _detail(rgb: np.ndarray) -> np.ndarray:
    """Return the middle of a picture without its low frequencies, of unit length."""
    side = len(rgb)
    margin = round(side * (1 - _CENTRE) / 2)
    middle = Image.fromarray(np.ascontiguousarray(rgb[margin:-margin, margin:-margin]))
    small = middle.convert("L").resize((_DETAIL_PX, _DETAIL_PX), Image.Resampling.BOX)
    blurred = small.filter(ImageFilter.GaussianBlur(_BLUR_PX))
    detail = np.asarray(small, np.float32) - np.asarray(blurred, np.float32)
    # Clipped, so that the one strong edge around a dark lesion does not outvote the texture.
    limit = 2 * detail.std() + 0.5
    detail = np.clip(detail / limit, -1, 1)
    detail -= detail.mean()
    unit = detail / (np.sqrt((detail**2).sum()) + 1e-6)
    return unit.astype(np.float16)  # one is kept for every image that has a candidate


def _candidates(hashes: np.ndarray, max_distance_bits: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first, second, transform, distance) of pairs with first < second."""
    n_images = hashes.shape[1]
    for start in range(0, n_images, _BLOCK):
        stop = min(start + _BLOCK, n_images)
        for transform in range(8):
            # Only images after the start of this block can be the second of a pair.
            difference = hashes[0, start:stop, None] ^ hashes[transform, None, start:]
            distance = np.bitwise_count(difference)
            for first, second in np.argwhere(distance <= max_distance_bits).tolist():
                if first < second:
                    yield (
                        start + first,
                        start + second,
                        transform,
                        int(distance[first, second]),
                    )
