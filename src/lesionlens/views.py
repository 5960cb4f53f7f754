"""Deterministic views of one image, whose answers are averaged (test-time augmentation).

A lesion has no upright position, so the eight symmetries of the square show the network
the same lesion honestly; centre zooms answer for the distance it was taken from. Distances
are what pays (docs/training.md): two views at two zooms have a lower log loss than all eight
symmetries of the whole frame. Nothing is drawn at random: the same image always gives the same
answer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lesionlens.errors import LesionLensError
from lesionlens.zooms import MAX_VIEWS, ZOOMS

#: The symmetries of the square, taken in turn, too: as it is, mirrored left-right, upside down,
#: half a turn, transposed and the transpose's three (quarter turns both ways, the other diagonal).
N_SYMMETRIES = 8


#: How Pillow turns an image so: twice as fast as copying a turned view of an array.
_TRANSPOSES: tuple[Image.Transpose | None, ...] = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_90,
    Image.Transpose.TRANSVERSE,
)


def check_views(n: int) -> int:
    """Return ``n`` if so many views can be made.

    Raises:
        LesionLensError: not a whole number in 1..10.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= MAX_VIEWS:
        raise LesionLensError(f"views: must be a whole number from 1 to {MAX_VIEWS}, not {n!r}")
    return int(n)


def turn_back(square: np.ndarray, symmetry: int) -> np.ndarray:
    """Return a square array as it was before the view of it was turned, as a view of it.

    Args:
        square: (side, side, ...), under one of the eight symmetries.
        symmetry: 0..7, see ``N_SYMMETRIES``.
    """
    turned = square[::-1] if symmetry & 2 else square
    if symmetry & 1:
        turned = turned[:, ::-1]
    return turned.swapaxes(0, 1) if symmetry & 4 else turned


def view_plan(n: int, zooms: Sequence[float] = ZOOMS) -> list[tuple[int, float]]:
    """Return ``(symmetry, zoom)`` of each of the first ``n`` views.

    The numbers of symmetries and of zooms have no common divisor, so that no view repeats.
    """
    return [(index % N_SYMMETRIES, zooms[index % len(zooms)]) for index in range(check_views(n))]


def make_views(rgb: np.ndarray, n: int, zooms: Sequence[float] = ZOOMS) -> np.ndarray:
    """Return the first ``n`` views of an image; the first is the image itself.

    Args:
        rgb: (side, side, 3), uint8, 0..255, as ``imaging.load_pixels`` gives it.
        n: 1..10.
        zooms: shares of the side about the centre that views keep, in turn, enlarged
            bilinearly; above 0, at most 1.

    Returns:
        (n, side, side, 3), uint8, contiguous.

    Raises:
        LesionLensError: ``n`` out of range, or ``rgb`` is not a square uint8 RGB image.
    """
    plan = view_plan(n, zooms)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.shape[0] != rgb.shape[1]:
        raise LesionLensError(
            f"views: need a square (side, side, 3) uint8 image, not {rgb.dtype} {rgb.shape}"
        )
    side = rgb.shape[0]
    views = np.empty((n, side, side, 3), np.uint8)
    image = Image.fromarray(rgb)
    enlarged = {1.0: image}
    for view, (symmetry, zoom) in zip(views, plan, strict=True):
        if zoom not in enlarged:
            margin = side * (1 - zoom) / 2
            box = (margin, margin, side - margin, side - margin)
            enlarged[zoom] = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
        turning = _TRANSPOSES[symmetry]
        zoomed = enlarged[zoom]
        view[:] = np.asarray(zoomed if turning is None else zoomed.transpose(turning))
    return views
