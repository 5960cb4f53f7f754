"""Where the lesion is in a dermoscopy frame, and where there is surely none.

A classical segmentation, made to *avoid* lesions: healthy skin is cut out of what it leaves.
The colour of the skin is fitted as a plane over the frame (light falls off to the sides), each
pixel's distance from it in Lab is thresholded by Otsu's method, and the component with the most
colour near the middle is the lesion. Hair is closed away first; the dark corners of a
dermatoscope are never skin. A frame in which this may well be wrong (no contrast, a lesion that
reaches the border, several that compete) is ``doubtful``, and giving it up costs nothing.

It is no rival to a trained network: benchmarks/segmentation.py scores it against masks drawn
by people, and counts how often a crop beside it touches a lesion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Side in pixels of the square that a frame is squashed to for segmentation.
WORK_PX = 128

_HAIR_PX = 3  # radius of the closing that removes hair
_BLUR_PX = 1.2  # Gaussian before colours are compared
_DARK_CORNER = 70  # 0..255: corners whose brightest channel is below are not skin
_CORNER_MARGIN_PX = 5  # grown around dark corners, where light falls off
_OTSU_SHARE = 0.55  # of Otsu's threshold: it lies too high for lesions with a dark centre
_MIN_DISTANCE = 4.0  # Lab units: what differs less from the skin is skin
_REST_SHARE = 0.5  # of the lesion's threshold: what else in the frame may be a lesion
_MIN_REST_DISTANCE = 3.0  # Lab units
_MIN_REST_PX = 20  # smaller spots are pores, bubbles and hair stumps
_LIGHTER_WEIGHT = 0.3  # of lightness, where a pixel is lighter than the skin: glare, scale
_YELLOW_WEIGHT = 0.5  # of b* squared: tan varies more than lesions do
_MARGIN_PX = 10  # grown around the lesion: people draw masks wider than thresholds do
_MASK_MARGIN_PX = 5  # grown around a mask that a person drew
_COLD_SHARE = 0.2  # red weaker than blue or green by this share is pen, sticker or colour chart
_GLARE = 250  # 0..255: where two channels are above, nothing of the skin is left to see


@dataclass(frozen=True)
class Segmentation:
    """What is where in a frame; every array is bool, (WORK_PX, WORK_PX), of the squashed frame."""

    lesion: np.ndarray  # the lesion, as closely as it could be told
    forbidden: np.ndarray  # lesion with a margin, anything like it, what is not skin
    marks: np.ndarray  # thin dark marks: hair and rulers
    doubt: str  # why this may be wrong, a short phrase; empty if nothing speaks against it


def segment_lesion(rgb: np.ndarray, *, mask: np.ndarray | None = None) -> Segmentation:
    """Segment a frame.

    Args:
        rgb: uint8, (WORK_PX, WORK_PX, 3), the frame squashed to a square.
        mask: bool, (WORK_PX, WORK_PX), where the lesion is if somebody drew it; it then takes
            the place of what is found here, and there is no doubt left.

    Returns:
        The segmentation.
    """
    from scipy import ndimage
    from skimage.morphology import disk

    pixels = rgb.astype(np.float32)
    closed = np.stack(
        [ndimage.grey_closing(pixels[..., c], footprint=disk(_HAIR_PX)) for c in range(3)], axis=-1
    )
    marks = (closed - pixels).mean(axis=-1) > 20
    corners = _dark_corners(closed)
    distance, skin = _distance_from_skin(closed, corners)
    found, threshold = _main_component(distance, corners)
    lesion = found if mask is None else mask

    rest = ndimage.binary_opening(
        distance > max(_REST_SHARE * threshold, _MIN_REST_DISTANCE), iterations=1
    )
    labelled, n_spots = ndimage.label(rest)
    sizes = ndimage.sum_labels(rest, labelled, np.arange(n_spots + 1))
    rest = rest & (sizes > _MIN_REST_PX)[labelled]
    margin = _MARGIN_PX if mask is None else _MASK_MARGIN_PX
    grown = ndimage.binary_dilation(lesion, disk(margin))
    return Segmentation(
        lesion=lesion,
        forbidden=grown | rest | corners | _not_skin(pixels),
        marks=marks,
        doubt=_doubt(found, distance, skin) if mask is None else "",
    )


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Dice coefficient of two masks, 0..1; two empty masks agree (1)."""
    both = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / both if both else 1.0


def _axes() -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of every pixel, -1..1."""
    y, x = np.mgrid[-1 : 1 : WORK_PX * 1j, -1 : 1 : WORK_PX * 1j]
    return x, y


def _dark_corners(pixels: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    labelled, _ = ndimage.label(pixels.max(axis=-1) < _DARK_CORNER)
    at_corners = np.unique(labelled[[0, 0, -1, -1], [0, -1, 0, -1]])
    corners = np.isin(labelled, at_corners[at_corners > 0])
    if not corners.any():
        return corners
    return ndimage.binary_dilation(corners, iterations=_CORNER_MARGIN_PX)


def _distance_from_skin(pixels: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's colour distance from the skin in Lab units, and the skin it took."""
    from scipy import ndimage
    from skimage.color import rgb2lab

    smooth = np.stack([ndimage.gaussian_filter(pixels[..., c], _BLUR_PX) for c in range(3)], -1)
    lab = rgb2lab(smooth / 255)
    x, y = _axes()
    plane = np.stack([np.ones_like(x), x, y], axis=-1)
    # Where skin is likeliest: along the border, or around the middle of a round frame.
    is_round = corners.mean() > 0.02
    near_border = np.hypot(x, y) > 0.6 if is_round else np.maximum(abs(x), abs(y)) > 0.75
    start = near_border & ~corners
    skin = start if start.any() else np.ones_like(start)
    difference = np.zeros_like(lab)
    for step in range(5):
        # A constant first, then a plane, fitted to the pixels that the last fit explained.
        basis = plane if step > 1 else plane[..., :1]
        fit, *_ = np.linalg.lstsq(basis[skin], lab[skin], rcond=None)
        difference = lab - basis @ fit
        size = np.sqrt((difference**2).sum(axis=-1))
        limit = max(3 * float(np.median(size[skin])), 5.0)
        closer = (start if step < 2 else ~corners) & (size < limit)
        if closer.sum() < 150:
            break
        skin = closer
    lightness, red, yellow = np.moveaxis(difference, -1, 0)
    lightness = np.where(lightness < 0, lightness, _LIGHTER_WEIGHT * lightness)
    return np.sqrt(lightness**2 + red**2 + _YELLOW_WEIGHT * yellow**2), skin


def _main_component(distance: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, float]:
    from scipy import ndimage
    from skimage.filters import threshold_otsu

    inside = distance[~corners]
    if inside.size == 0:
        return np.zeros_like(corners), _MIN_DISTANCE
    capped = np.minimum(inside, np.percentile(inside, 99))  # a black pen mark may not decide
    threshold = max(float(threshold_otsu(capped)) * _OTSU_SHARE, _MIN_DISTANCE)
    above = ndimage.binary_opening((distance > threshold) & ~corners, iterations=1)
    labelled, n_found = ndimage.label(ndimage.binary_fill_holes(above), structure=np.ones((3, 3)))
    if n_found == 0:
        return np.zeros_like(corners), threshold
    x, y = _axes()
    weight = distance * np.exp(-2 * (x**2 + y**2))
    scores = ndimage.sum_labels(weight, labelled, np.arange(1, n_found + 1))
    return labelled == 1 + int(np.argmax(scores)), threshold


def _not_skin(pixels: np.ndarray) -> np.ndarray:
    """Return where colours are none of skin: ink, stickers, burnt-out light; grown a little."""
    from scipy import ndimage

    red, brightest = pixels[..., 0], pixels.max(axis=-1)
    is_cold = (brightest - red > _COLD_SHARE * brightest) & (brightest > 40)
    is_glare = np.median(pixels, axis=-1) > _GLARE
    return ndimage.binary_dilation(
        ndimage.binary_opening(is_cold | is_glare), iterations=_CORNER_MARGIN_PX
    )


def _doubt(lesion: np.ndarray, distance: np.ndarray, skin: np.ndarray) -> str:
    """Return what speaks against a segmentation; the limits are those of the benchmark."""
    area = float(lesion.mean())
    if area < 0.01:
        return "no lesion found"
    if area > 0.5:
        return "lesion fills the frame"
    colour = float(distance[lesion].mean())
    if colour < 9 or colour < 3 * (float(np.median(distance[skin])) + 0.5):
        return "too little contrast"
    border = np.concatenate([lesion[0], lesion[-1], lesion[:, 0], lesion[:, -1]])
    if border.mean() > 0.02:
        return "lesion reaches the border"
    y, x = (np.argwhere(lesion).mean(axis=0) / ((WORK_PX - 1) / 2) - 1).tolist()
    if np.hypot(x, y) > 0.45:
        return "lesion is far from the middle"
    return ""
