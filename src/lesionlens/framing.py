"""Where the lesion lies in a photo, roughly: how much of it is in the frame, and how large it is.

Two of the measures of ``lesionlens.quality``; its constants were set with the others'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from lesionlens.imaging import INPUT_PX
from lesionlens.ranking import greatest, histogram, median

#: Weights of red, green and blue in brightness: ITU-R BT.601, as JPEG has it.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

_GRID_PX = INPUT_PX // 4  # side of the small picture in which the lesion is looked for
_DARK_CORNER = 70  # 0..255: corners whose brightest channel is below are the dermatoscope's
_CLEAR_CONTRAST = 25.0  # levels between lesion and skin; paler lesions are not judged
_CLEAR_RATIO = 4.0  # and so many times what the rest of the picture differs from the skin
_CUT_SHARE = 0.02  # of the frame: smaller lesions at the border are freckles
_LEAST_DISTANCE = 8.0  # levels: what differs less from the skin is skin
_OTSU_SHARE = 0.6  # of Otsu's threshold: it lies too high for lesions with a dark centre
_HALO_SHARE = 0.5  # of that threshold: halfway to the skin, around a lesion
_WIDE_HALO = 2.0  # times the core
_LIGHTER_WEIGHT = 0.3  # of brightness where a place is lighter than the skin: scale, glare

_ROWS, _COLUMNS = np.mgrid[-1 : 1 : _GRID_PX * 1j, -1 : 1 : _GRID_PX * 1j].reshape(2, -1)
_RADIUS = np.hypot(_ROWS, _COLUMNS)  # 1 in the middle of a side
_EDGE_DISTANCE = np.maximum(abs(_ROWS), abs(_COLUMNS))
#: What skin may look like without a lesion: one colour, light falling off to a side or all sides.
_BASIS = np.stack([np.ones_like(_ROWS), _ROWS, _COLUMNS, _RADIUS**2])
_IS_OUTER = _RADIUS > 0.95  # where the corners of a dermatoscope's round frame are
_BORDER = _EDGE_DISTANCE > 0.75  # where skin is likeliest
_ROUND_BORDER = _RADIUS > 0.6  # the same, in a round frame
_MIDDLE = np.exp(-2 * _RADIUS**2)  # weights of the places in which a lesion is looked for


@dataclass(frozen=True, eq=False)
class Lesion:
    """What stands out from the skin, on a grid of INPUT_PX / 4 squared."""

    core: np.ndarray  # bool, (rows, columns): what surely stands out; empty where nothing does
    whole: np.ndarray  # bool: that, and what is around it that is halfway skin
    contrast: float  # mean distance of the core from the skin, levels of 0..255
    unrest: float  # median distance of all else


def measure_framing(image: Image.Image, grey: Image.Image) -> dict[str, float]:
    """Return ``lesion_share`` and ``lesion_cut``; nothing where no lesion stands out.

    Args:
        image: RGB, INPUT_PX squared.
        grey: the same as ``L``.

    Returns:
        What ``quality.measure`` says of them.
    """
    lesion = find_lesion(image)
    if lesion.contrast < max(_CLEAR_CONTRAST, _CLEAR_RATIO * lesion.unrest):
        return {}
    levels = np.asarray(grey.reduce(4))
    rest = levels[~lesion.core]
    if rest.size and levels[lesion.core].mean() >= median(rest):
        return {}  # paler than the rest: as likely skin at the rim of a lesion that fills the frame
    core, whole = float(lesion.core.mean()), float(lesion.whole.mean())
    # A core in a wide halo is a dark spot of a larger, paler lesion.
    return {
        "lesion_share": whole if whole > _WIDE_HALO * core else core,
        "lesion_cut": _cut(lesion.core) if core > _CUT_SHARE else 0.0,
    }


def _cut(lesion: np.ndarray) -> float:
    """Return how wide the lesion is at the border that it leaves the picture by, 0..1.

    As a share of its greatest width along that border; near 1, its middle may well lie outside.
    A lesion that touches two opposite borders fills the picture, as it may.
    """
    widths = lesion.sum(axis=1), lesion.sum(axis=0)
    ends = [(width[first], width[last], width.max()) for width in widths for first, last in _ENDS]
    return max((float(here / most) for here, there, most in ends if there == 0), default=0.0)


_ENDS = ((0, -1), (-1, 0))


def find_lesion(image: Image.Image) -> Lesion:
    """Find the lesion by its colour, roughly: a test of framing, not of shape.

    The skin's colour is fitted over the frame, the distance from it split by Otsu's method, and
    of what stands out the piece is taken that holds the greatest distance near the middle; after
    ``data.segment``, without its libraries and its scruples.

    Args:
        image: RGB, INPUT_PX squared.
    """
    small = np.asarray(image.reduce(4))
    # Hair is closed away.
    small = _of_neighbours(np.minimum, _of_neighbours(np.maximum, small))
    planes = small.reshape(-1, 3).T.astype(np.float64, order="C")
    brightest = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    is_corner = (brightest < _DARK_CORNER) & _IS_OUTER
    distance = _distance_from_skin(planes, is_corner)
    none = np.zeros((_GRID_PX, _GRID_PX), bool)
    if distance is None:
        return Lesion(none, none, 0.0, 0.0)
    is_inside = ~is_corner
    threshold = _threshold(distance[is_inside])
    above = _opened(_as_bits((distance > threshold) & is_inside))
    if not above:
        return Lesion(none, none, 0.0, 0.0)
    seed = np.zeros_like(is_corner)
    seed[(distance * _MIDDLE * _of_bits(above)).argmax()] = True
    core_bits = _grown(_as_bits(seed), above)
    halfway = max(_HALO_SHARE * threshold, _LEAST_DISTANCE)
    around = _opened(_as_bits((distance > halfway) & is_inside))
    core, whole = _of_bits(core_bits), _of_bits(_grown(core_bits, core_bits | around))
    rest = distance[is_inside & ~core]
    unrest = median(rest) if rest.size else 0.0
    contrast = float(distance[core].mean())
    return Lesion(core.reshape(none.shape), whole.reshape(none.shape), contrast, unrest)


def _of_neighbours(combine: np.ufunc, grid: np.ndarray) -> np.ndarray:
    """Return each place combined with its eight neighbours; the border has none outside."""
    tall = grid.copy()
    combine(tall[1:], grid[:-1], out=tall[1:])
    combine(tall[:-1], grid[1:], out=tall[:-1])
    wide: np.ndarray = tall.copy()
    combine(wide[:, 1:], tall[:, :-1], out=wide[:, 1:])
    combine(wide[:, :-1], tall[:, 1:], out=wide[:, :-1])
    return wide


def _distance_from_skin(planes: np.ndarray, is_corner: np.ndarray) -> np.ndarray | None:
    """Return how far each place's colour is from that of the skin; None: no skin to go by."""
    red, green, blue = planes
    colours = np.stack([LUMA @ planes, 0.7 * (red - green), 0.5 * ((red + green) / 2 - blue)])
    # Where skin is likeliest: along the border, or around the middle of a round frame.
    is_round = np.count_nonzero(is_corner) > 0.02 * is_corner.size
    ring = (_ROUND_BORDER if is_round else _BORDER) & ~is_corner
    places = np.flatnonzero(ring)
    least = _GRID_PX
    if places.size < least:
        return None
    difference = colours - [[median(plane)] for plane in colours.take(places, axis=1)]
    skin, room = ring, np.empty_like(_BASIS)
    for step in range(1, 5):
        # One colour first, then with light that falls off, fitted to what the last fit explained.
        size = _length(difference)
        limit = max(3 * median(size[skin]), _LEAST_DISTANCE)
        closer = (size < limit) & (ring if step == 1 else ~is_corner)
        if np.count_nonzero(closer) < least:
            break
        skin = closer
        basis = _BASIS if step > 1 else _BASIS[:1]
        # The normal equations of all places, those of no skin with a weight of nothing: taking
        # the others out of the arrays is slower.
        known = np.multiply(basis, skin, out=room[: len(basis)])
        fit = np.linalg.lstsq(known @ basis.T, known @ colours.T, rcond=None)[0]
        np.subtract(colours, np.matmul(fit.T, basis, out=difference), out=difference)
    difference[0] *= np.where(difference[0] < 0, 1, _LIGHTER_WEIGHT)
    return _length(difference)


def _length(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors of three, (3, ...)."""
    squares = vectors * vectors
    length: np.ndarray = np.sqrt(squares[0] + squares[1] + squares[2])
    return length


def _threshold(distance: np.ndarray) -> float:
    """Return from which distance on a place is no skin: Otsu's, lowered."""
    n = distance.size
    top = distance.take(greatest(distance, n - int(0.99 * n))).min()
    counts, edges = histogram(np.minimum(distance, top), 64)
    centres = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    between = (mass[-1] * below / n - mass[:-1]) ** 2 / np.maximum(below * (n - below), 1)
    return max(_OTSU_SHARE * float(centres[between.argmax()]), _LEAST_DISTANCE)


# A mask of the grid as one large integer, a bit for each place: a step to all neighbours is four
# shifts, ten times faster than on arrays.

#: Bits of a row: those of the grid, and at least one that stays 0, so that rows do not join.
_ROW_BITS = _GRID_PX + 8


def _as_bits(mask: np.ndarray) -> int:
    padded = np.zeros((_GRID_PX, _ROW_BITS), bool)
    padded[:, :_GRID_PX] = mask.reshape(_GRID_PX, _GRID_PX)
    return int.from_bytes(np.packbits(padded).tobytes(), "big")


def _of_bits(bits: int) -> np.ndarray:
    """Return the mask of these bits, bool, flat."""
    packed = np.frombuffer(bits.to_bytes(_GRID_PX * _ROW_BITS // 8, "big"), np.uint8)
    return np.unpackbits(packed).reshape(_GRID_PX, _ROW_BITS)[:, :_GRID_PX].astype(bool).ravel()


_FRAME = _as_bits(np.ones(_GRID_PX**2, bool))


def _widened(bits: int) -> int:
    """Return these places and all their neighbours, corners joining."""
    wide = bits | bits << 1 | bits >> 1
    return (wide | wide << _ROW_BITS | wide >> _ROW_BITS) & _FRAME


def _opened(bits: int) -> int:
    """Return what is left without what is less than three places wide."""
    return _widened(_FRAME ^ _widened(_FRAME ^ bits))


def _grown(piece: int, within: int) -> int:
    """Return the pieces of ``within`` that ``piece``, a part of it, lies in."""
    while True:
        grown = _widened(piece) & within
        if grown == piece:
            return piece
        piece = grown
