"""Lesion masks, and pictures in which only the lesion or only its surroundings are left.

A network that names the disease from the skin around a lesion has learned something about a
collection (Bissoto et al. 2019, https://arxiv.org/abs/1904.08818). To see whether ours does, the
lesion is taken out and the hole filled: with the median colour of the skin that is left, or
with a smooth continuation of it that carries the skin's own grain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lesionlens.errors import DataError
from lesionlens.imaging import INPUT_PX

#: Grown around a mask before the lesion is taken out: people draw close to what they see.
MARGIN_PX = 8
#: Least share of the frame that must be left of skin, and of lesion, for the test to mean anything.
MIN_SHARE = 0.05
#: A light skin and a brown lesion, for pictures in which only shapes are told.
SKIN_COLOUR: tuple[int, int, int] = (214, 168, 152)
LESION_COLOUR: tuple[int, int, int] = (142, 92, 74)

_SUFFIXES = ("", "_segmentation", "_Segmentation", "_mask")
_FEATHER_PX = 1.5
_ASPECT_TOLERANCE = 0.03
_RELAXED_PX, _RELAXATIONS = 56, 24  # finer levels gain nothing that can be seen


def find_masks(directory: Path, image_ids: Iterable[str]) -> dict[str, Path]:
    """Return the mask file of each image that has one.

    Args:
        directory: holds ``<image_id>.png``, or with ``_segmentation`` or ``_mask`` behind the id
            as the ISIC challenges and HAM10000 name them; also .jpg, .bmp and .tif.
        image_ids: which are wanted.

    Raises:
        DataError: no such folder.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: no such folder; --masks wants a folder of lesion masks")
    kinds = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
    by_stem = {p.stem: p for p in sorted(directory.iterdir()) if p.suffix.lower() in kinds}
    found = {}
    for image_id in image_ids:
        names = (image_id + suffix for suffix in _SUFFIXES)
        path = next((by_stem[name] for name in names if name in by_stem), None)
        if path is not None:
            found[image_id] = path
    return found


def load_mask(
    path: Path, *, side_px: int = INPUT_PX, image_size_px: tuple[int, int] | None = None
) -> np.ndarray:
    """Read a lesion mask and squash it as its frame is squashed.

    A mask of another size than its frame is scaled: archives keep full-size masks beside small
    frames. Of another *shape* it may only be where the frame has been squashed to a square, as
    archives' own small copies are; else it belongs to another picture.

    Args:
        path: an image that is dark outside of the lesion and light inside.
        side_px: of the square to return.
        image_size_px: width and height of the frame's file, where known.

    Returns:
        bool, (side_px, side_px), True in the lesion.

    Raises:
        DataError: unreadable, not a mask (it has greys or colours), or of another shape than
            its frame.
    """
    try:
        with Image.open(path) as image:
            size = image.size
            grey = np.asarray(image.convert("L"))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a mask ({error})") from error
    light = int(grey.max())
    middle = (grey > light * 0.2) & (grey < light * 0.8)
    if light and middle.mean() > 0.05:
        raise DataError(
            f"{path}: is not a mask: {100 * middle.mean():.0f} % of it is grey; a picture that is "
            "black outside of the lesion and white inside is needed"
        )
    if image_size_px is not None and image_size_px[0] != image_size_px[1]:
        aspect = size[0] / size[1] * image_size_px[1] / image_size_px[0]
        if abs(aspect - 1) > _ASPECT_TOLERANCE:
            raise DataError(
                f"{path}: is {size[0]} x {size[1]}, its image {image_size_px[0]} x "
                f"{image_size_px[1]}: another shape, so another picture; a mask may be larger "
                "or smaller than its image, not wider"
            )
    inside = Image.fromarray(np.where(grey > light / 2, 255, 0).astype(np.uint8))
    small = inside.resize((side_px, side_px), Image.Resampling.BOX)
    return np.asarray(small) >= 128 if light else np.zeros((side_px, side_px), dtype=bool)


def grow(mask: np.ndarray, margin_px: float) -> np.ndarray:
    """Return a mask grown by ``margin_px`` in every direction."""
    from scipy import ndimage

    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask) <= margin_px)


def is_usable(mask: np.ndarray) -> bool:
    """Whether enough of both lesion and surroundings is left to show either alone."""
    left = 1 - grow(mask, MARGIN_PX).mean()
    return bool(mask.mean() >= MIN_SHARE / 5 and left >= MIN_SHARE)


def without_lesion(rgb: np.ndarray, mask: np.ndarray, *, grain: bool) -> np.ndarray:
    """Take the lesion out of a picture and fill the hole.

    Args:
        rgb: uint8, (side, side, 3).
        mask: bool, (side, side), the lesion; it is grown by ``MARGIN_PX``.
        grain: continue the surroundings smoothly and lay their own grain over; False fills with
            their median colour.

    Returns:
        uint8, (side, side, 3).
    """
    hole = grow(mask, MARGIN_PX)
    pixels = rgb.astype(np.float32)
    if not hole.any():
        return rgb.copy()
    if hole.all():
        return np.full_like(rgb, SKIN_COLOUR)
    if grain:
        smooth = _pull_push(pixels, ~hole)
        fill = smooth + _grain(pixels, ~hole)
    else:
        fill = np.broadcast_to(np.median(pixels[~hole], axis=0), pixels.shape)
    return _blend(pixels, fill, hole)


def lesion_only(
    rgb: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] | None = None
) -> np.ndarray:
    """Replace everything but the lesion by one colour.

    Args:
        rgb: uint8, (side, side, 3).
        mask: bool, (side, side), the lesion; half of ``MARGIN_PX`` around it stays, for the
            border is a part of what one looks at.
        colour: of the surroundings; None takes their own median.
    """
    outside = ~grow(mask, MARGIN_PX / 2)
    pixels = rgb.astype(np.float32)
    if not outside.any():
        return rgb.copy()
    paint = np.median(pixels[outside], axis=0) if colour is None else np.array(colour, np.float32)
    return _blend(pixels, np.broadcast_to(paint, pixels.shape), outside)


def silhouette(mask: np.ndarray) -> np.ndarray:
    """Return a picture of the mask's shape alone: one brown on one skin colour."""
    flat = np.full((*mask.shape, 3), SKIN_COLOUR, np.float32)
    return _blend(flat, np.full_like(flat, LESION_COLOUR), mask)


def borrow_masks(
    masks: Mapping[int, np.ndarray], rows: Iterable[int], rng: np.random.Generator
) -> dict[int, np.ndarray]:
    """Lend masks of lesions to images that have no lesion, drawn by lot.

    So that having a hole, or its size and shape, does not tell healthy skin from lesions.
    """
    lenders = sorted(masks)
    return {row: masks[lenders[int(rng.integers(len(lenders)))]] for row in rows}


def _blend(pixels: np.ndarray, fill: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Lay ``fill`` over ``pixels`` where told, with a soft edge."""
    from scipy import ndimage

    weight = ndimage.gaussian_filter(where.astype(np.float32), _FEATHER_PX)
    # The edge is softened outwards only: nothing of what is to go may shine through.
    weight = np.maximum(weight, where)[..., np.newaxis]
    mixed = pixels * (1 - weight) + fill * weight
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _pull_push(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill unknown pixels smoothly from what surrounds them, from coarse to fine.

    The pull-push pyramid of Gortler et al. 1996, section 3.4 ("The Lumigraph"): at each level
    pixels without a value take that of the level above.
    """
    from scipy import ndimage

    weight = known.astype(np.float32)[..., np.newaxis]
    if weight.all() or min(pixels.shape[:2]) < 2:
        total = max(float(weight.sum()), 1e-6)
        mean = (pixels * weight).sum(axis=(0, 1)) / total
        return np.where(weight > 0, pixels, mean).astype(np.float32)
    height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2

    def halved(values: np.ndarray) -> np.ndarray:
        shape = (height // 2, 2, width // 2, 2, values.shape[2])
        return np.asarray(values[:height, :width].reshape(shape).sum(axis=(1, 3)))

    n_known = halved(weight)
    coarse = halved(pixels * weight) / np.maximum(n_known, 1)
    filled = _pull_push(coarse, n_known[..., 0] > 0)
    zoom = (pixels.shape[0] / filled.shape[0], pixels.shape[1] / filled.shape[1], 1)
    finer = ndimage.zoom(filled, zoom, order=1, mode="nearest", grid_mode=True)
    found = np.where(weight > 0, pixels, finer).astype(np.float32)
    if len(pixels) <= _RELAXED_PX:
        # Towards the membrane that is spanned by the border: a slope of light goes on.
        for _ in range(_RELAXATIONS):
            padded = np.pad(found, ((1, 1), (1, 1), (0, 0)), "edge")
            mean = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
            found = np.where(weight > 0, pixels, mean / 4).astype(np.float32)
    return found


def _grain(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the fine detail of the known pixels, moved into the unknown ones; zero elsewhere."""
    from scipy import ndimage

    weight = known.astype(np.float32)
    around = np.maximum(ndimage.gaussian_filter(weight, 4), 1e-3)[..., np.newaxis]
    low = np.stack([ndimage.gaussian_filter(pixels[..., c] * weight, 4) for c in range(3)], axis=-1)
    detail = (pixels - low / around) * weight[..., np.newaxis]
    detail = np.clip(detail, -12, 12)  # a hair or a glint is to leave no copies
    moved = np.zeros_like(detail)
    missing = ~known
    side = len(known)
    # Shifts by ever more of the frame, in four directions in turn, until every hole is filled.
    for step in range(1, 41):
        shift = round(side * 0.618 * step) % side
        offset = ((shift, 0), (0, shift), (shift, shift), (shift, -shift))[step % 4]
        source = np.roll(known, offset, axis=(0, 1)) & missing
        moved[source] = np.roll(detail, offset, axis=(0, 1))[source]
        missing = missing & ~source
        if not missing.any():
            break
    return moved
