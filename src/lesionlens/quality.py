"""Whether a photo is good enough to be answered: light, sharpness, skin, framing.

A network answers whatever it is shown. Ours calls a lesion behind a bright haze healthy skin,
and is sure of it. So a photo is measured first, and what is wrong with it is said in words of
what to do about it. Everything is measured on the pixels that the model sees, besides the size
of the file, in a few milliseconds: NumPy and Pillow, as on a phone.

Where each gate stands was found by damaging good dermoscopy step by step and asking, out of
fold, when answers turn wrong, within what untouched dermoscopy allows (docs/quality.md):

    python benchmarks/quality.py ARCHIVE --cache cache --run RUN --splits folds.json

What passes is not proven good. The gates leave alone what dermoscopy is full of (black corners,
rulers, hair, lesions that fill the frame) and would rather let a carpet through than refuse
skin of any colour: the network turns away most of what is no skin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops

from lesionlens.imaging import INPUT_PX, Pixels
from lesionlens.records import Finding, Quality


@dataclass(frozen=True)
class Gate:
    """One thing that may be wrong, and from where on it is."""

    name: str  # of the finding
    measure: str  # which measure it looks at
    threshold: float
    is_floor: bool  # whether values below the threshold are wrong; else those above
    unit: str  # of measure and threshold
    advice: str  # to the person with the camera
    hides: tuple[str, ...] = ()  # later gates that mean nothing where this one is not passed

    def is_wanting(self, value: float) -> bool:
        """Whether a measured value is on the wrong side."""
        return value < self.threshold if self.is_floor else value > self.threshold


_UNSEEN = ("blur", "lesion_cut", "lesion_small")  # what cannot be judged of what is not seen

#: Every gate, in the order in which findings are told.
GATES: tuple[Gate, ...] = (
    Gate(
        "too_small", "short_side_px", 80, True, "pixels on the photo's shorter side",
        "The picture has too few pixels: use the original photo, not a thumbnail of it.",
    ),
    Gate(
        "too_dark", "brightness", 70, True, "brightness of the lit parts, 0 to 255",
        "Too dark: take the photo again with more light.",
        hides=("no_skin", "washed_out", *_UNSEEN),
    ),
    Gate(
        "too_bright", "whiteness", 218, False, "whiteness of the picture's middle tone, 0 to 255",
        "Too bright: take the photo again with less light.",
        hides=("no_skin", "washed_out", *_UNSEEN),
    ),
    Gate(
        "no_skin", "skin_share", 0.04, True, "share of the picture in a colour of skin",
        "No skin to be seen: point the camera at the spot, without a colour filter.",
        hides=("washed_out", "glare", *_UNSEEN),
    ),
    Gate(
        "washed_out", "haze", 165, False, "white that lies over all colours, 0 to 255",
        "Pale and hazy: wipe the lens, keep other light out, and take the photo again.",
        hides=_UNSEEN,
    ),
    Gate(
        "glare", "glare_share", 0.0002, False, "share of the picture in pure white spots",
        "The light is reflected: tilt the camera or move the lamp until no white spots are left.",
    ),
    Gate(
        "blur", "edge_width_px", 3.5, False, "width of the sharper edges, pixels of 224",
        "Out of focus or shaken: hold still, let the camera focus, and take the photo again.",
    ),
    Gate(
        "lesion_cut", "lesion_cut", 0.8, False, "share of the spot's width at the picture's edge",
        "Part of the spot is outside the picture: move the camera until it is in the middle.",
    ),
    Gate(
        "lesion_small", "lesion_share", 0.016, True, "share of the picture that the spot fills",
        "The spot is tiny in the picture: move closer, or use a dermatoscope.",
    ),
)  # fmt: skip

_BURNT = 250  # 0..255: from where on nothing of the skin is left, in every channel
_NEARLY_BURNT = 225  # 0..255: skin in too much light lies here, a reflection jumps over it
_NEARLY_BURNT_WEIGHT = 0.25
_LIT = 30  # 0..255: what is darker in every channel has no colour to speak of
_WINDOW_PX = 168  # side of the square in the middle whose edges count: vignettes lie outside
_SPAN_PX = 8  # over which a change of brightness is followed
_STEEP_SHARE = 0.1  # of the places, those with the greatest change, count
_SHARP_SHARE = 0.1  # of these, the sharper ones, whose width is told
_LEAST_CHANGE = 0.011  # of the brightness, over the span: with less there is no edge at all
_LEAST_LEVELS = 1.0  # nor with less than this, of 255

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
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG has it

_ROWS, _COLUMNS = np.mgrid[-1 : 1 : _GRID_PX * 1j, -1 : 1 : _GRID_PX * 1j]
_RADIUS = np.hypot(_ROWS, _COLUMNS)  # 1 in the middle of a side
_EDGE_DISTANCE = np.maximum(abs(_ROWS), abs(_COLUMNS))
#: What skin may look like without a lesion: one colour, light falling off to a side or all sides.
_BASIS = np.stack([np.ones_like(_ROWS), _ROWS, _COLUMNS, _RADIUS**2], axis=-1)


def assess(pixels: Pixels) -> Quality:
    """Measure a photo and say what is wrong with it.

    Args:
        pixels: as ``imaging.load_pixels`` gives it.

    Returns:
        Every measure, and a finding for each gate that it does not pass.
    """
    measures = measure(pixels)
    return Quality(findings=find(measures), measures=measures)


def find(measures: Mapping[str, float]) -> tuple[Finding, ...]:
    """Return what is wrong by these measures, in the order of ``GATES``."""
    findings: list[Finding] = []
    hidden: set[str] = set()
    for gate in GATES:
        value = measures.get(gate.measure)
        if value is None or gate.name in hidden or not gate.is_wanting(value):
            continue
        hidden.update(gate.hides)
        findings.append(Finding(gate.name, value, gate.threshold, gate.unit, gate.advice))
    return tuple(findings)


def measure(pixels: Pixels) -> dict[str, float]:
    """Measure a photo.

    Args:
        pixels: as ``imaging.load_pixels`` gives it.

    Returns:
        ``short_side_px`` of the file; ``brightness``, 0..255, that the brightest twentieth
        reaches (black corners and dark lesions do not matter); ``whiteness``, 0..255, the median
        of each pixel's dimmest channel; ``haze``, 0..255, what most pixels have at least in every
        channel, less the differences between channels that the more colourful tenth reaches:
        light that lies over all raises the one and flattens the other; ``glare_share``, 0..1, of
        pixels in white reflections; ``skin_share``, 0..1, of lit pixels in a colour of skin;
        ``edge_width_px``, 1..8, pixels of 224 that the sharper edges take; and where a lesion
        stands out clearly from the skin,
        ``lesion_share``, 0..1, of the picture, and ``lesion_cut``, 0..1: the lesion's width at
        the border it touches, as a share of its greatest width along that border.
    """
    image = Image.fromarray(pixels.rgb)
    if image.size != (INPUT_PX, INPUT_PX):
        image = image.resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR)
    red, green, blue = image.split()
    low = ImageChops.darker(ImageChops.darker(red, green), blue)
    high = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    dimmest = np.array(low.histogram())
    colour = np.array(ImageChops.subtract(high, low).histogram())
    return {
        "short_side_px": float(min(pixels.width_px, pixels.height_px)),
        "brightness": _quantile(np.array(image.convert("L").histogram()), 0.95),
        "whiteness": _quantile(dimmest, 0.5),
        "haze": max(0.0, _quantile(dimmest, 0.25) - _quantile(colour, 0.9)),
        "glare_share": _glare_share(dimmest),
        "skin_share": _skin_share(np.asarray(image)[::2, ::2]),
        "edge_width_px": _edge_width_px(np.asarray(image)),
    } | _lesion_measures(image)


def _quantile(histogram: np.ndarray, share: float) -> float:
    """Return the level that ``share`` of the pixels do not exceed."""
    return float(np.searchsorted(histogram.cumsum(), share * histogram.sum()))


def _glare_share(histogram: np.ndarray) -> float:
    """Return the share of burnt-out pixels that skin in too much light does not explain.

    That would leave many more pixels nearly burnt out than a reflection with its narrow rim.
    """
    burnt, nearly = histogram[_BURNT:].sum(), histogram[_NEARLY_BURNT:_BURNT].sum()
    return max(0.0, float((burnt - _NEARLY_BURNT_WEIGHT * nearly) / histogram.sum()))


def _skin_share(rgb: np.ndarray) -> float:
    """Return the share of lit pixels that are warm, or pink, and not grey.

    Under a dermatoscope skin is anything from ivory to purple, and melanin of every amount only
    takes more of blue than of green and more of green than of red. What is left out is green,
    blue and grey; the archives' grey and bluish skin passes by the lesion on it.
    """
    red, green, blue = (rgb[..., channel].astype(np.float32) for channel in range(3))
    least = np.minimum(green, blue)
    is_lit = np.maximum(np.maximum(red, green), blue) > _LIT
    is_skin = (red > 0.98 * green - 1) & (red > 0.85 * blue) & (red - least > 0.05 * red) & is_lit
    return float(is_skin.sum() / max(1, is_lit.sum()))


# ---------------------------------------------------------------- sharpness


def _edge_width_px(rgb: np.ndarray) -> float:
    """Return how many pixels the sharper edges take, in the blurrier of two directions.

    Where brightness changes most over eight pixels, how much of that change happens in the
    steepest single step? A sharp edge does it in one or two, a blurred one needs them all; how
    much there is to see does not matter, so that smooth healthy skin is no worse than a network
    of pigment. The idea is that of Marziliano et al. 2002, https://doi.org/10.1109/ICIP.2002.1038902.
    """
    margin = (INPUT_PX - _WINDOW_PX) // 2
    luma = rgb[margin:-margin, margin:-margin] @ _LUMA
    return max(_width_along_rows(luma), _width_along_rows(luma.T))


def _width_along_rows(luma: np.ndarray) -> float:
    # The mean of three rows, at every other one: less grain, and edges across stay as they are.
    smooth = (luma[:-2:2] + luma[1:-1:2] + luma[2::2]) / 3
    change = np.abs(smooth[:, _SPAN_PX:] - smooth[:, :-_SPAN_PX])
    steepest = np.abs(np.diff(smooth, axis=1))
    for reach in (1, 2, 4):  # the maximum of 2, 4, then 8 steps
        steepest = np.maximum(steepest[:, reach:], steepest[:, :-reach])
    least = np.partition(change, -int(_STEEP_SHARE * change.size), axis=None)[
        -int(_STEEP_SHARE * change.size)
    ]
    if least < max(_LEAST_LEVELS, _LEAST_CHANGE * float(luma.mean())):
        return float(_SPAN_PX)
    counts = change >= least
    sharpness = steepest[counts] / change[counts]
    place = -max(1, int(_SHARP_SHARE * sharpness.size))
    return float(np.clip(1 / np.partition(sharpness, place)[place], 1, _SPAN_PX))


# ---------------------------------------------------------------- framing


@dataclass(frozen=True, eq=False)
class Lesion:
    """What stands out from the skin, on a grid of INPUT_PX / 4 squared."""

    core: np.ndarray  # bool, (rows, columns): what surely stands out; empty where nothing does
    whole: np.ndarray  # bool: that, and what is around it that is halfway skin
    contrast: float  # mean distance of the core from the skin, levels of 0..255
    unrest: float  # median distance of all else


def _lesion_measures(image: Image.Image) -> dict[str, float]:
    """Return ``lesion_share`` and ``lesion_cut``; nothing where no lesion stands out."""
    lesion = find_lesion(image)
    if lesion.contrast < max(_CLEAR_CONTRAST, _CLEAR_RATIO * lesion.unrest):
        return {}
    grey = np.asarray(image.convert("L").reduce(4))
    if grey[lesion.core].mean() >= np.median(grey[~lesion.core]):
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
    pixels = _of_neighbours(np.minimum, _of_neighbours(np.maximum, small)).astype(np.float64)
    # Three maxima of planes are fifteen times faster than one along the short axis.
    brightest = np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])
    is_corner = (brightest < _DARK_CORNER) & (_RADIUS > 0.95)
    distance = _distance_from_skin(pixels, is_corner)
    none = np.zeros_like(is_corner)
    if distance is None:
        return Lesion(none, none, 0.0, 0.0)
    threshold = _threshold(distance[~is_corner])
    above = _opened((distance > threshold) & ~is_corner)
    if not above.any():
        return Lesion(none, none, 0.0, 0.0)
    seed = none.copy()
    seed.flat[np.where(above, distance * np.exp(-2 * _RADIUS**2), 0).argmax()] = True
    core = _grow(seed, above)
    halfway = max(_HALO_SHARE * threshold, _LEAST_DISTANCE)
    whole = _grow(core, core | _opened((distance > halfway) & ~is_corner))
    rest = distance[~core & ~is_corner]
    unrest = float(np.median(rest)) if rest.size else 0.0
    return Lesion(core, whole, float(distance[core].mean()), unrest)


def _opened(grid: np.ndarray) -> np.ndarray:
    """Return a mask without what is less than three places wide."""
    return _of_neighbours(np.logical_or, _of_neighbours(np.logical_and, grid))


def _distance_from_skin(pixels: np.ndarray, is_corner: np.ndarray) -> np.ndarray | None:
    """Return how far each place's colour is from that of the skin; None: no skin to go by."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    colours = np.stack(
        [pixels @ _LUMA, 0.7 * (red - green), 0.5 * ((red + green) / 2 - blue)], axis=-1
    )
    # Where skin is likeliest: along the border, or around the middle of a round frame.
    ring = (_RADIUS > 0.6 if is_corner.mean() > 0.02 else _EDGE_DISTANCE > 0.75) & ~is_corner
    least = _GRID_PX
    if ring.sum() < least:
        return None
    difference = colours - np.median(colours[ring], axis=0)
    skin = ring
    for step in range(1, 5):
        # One colour first, then with light that falls off, fitted to what the last fit explained.
        size = _length(difference)
        limit = max(3 * float(np.median(size[skin])), _LEAST_DISTANCE)
        closer = (ring if step == 1 else ~is_corner) & (size < limit)
        if closer.sum() < least:
            break
        skin = closer
        basis = _BASIS if step > 1 else _BASIS[..., :1]
        places = np.flatnonzero(skin)  # taking rows by number is three times faster than by mask
        known = basis.reshape(skin.size, -1).take(places, axis=0)
        seen = colours.reshape(skin.size, -1).take(places, axis=0)
        fit = np.linalg.lstsq(known.T @ known, known.T @ seen, rcond=None)[0]
        difference = colours - basis @ fit
    difference[..., 0] *= np.where(difference[..., 0] < 0, 1, _LIGHTER_WEIGHT)
    return _length(difference)


def _length(vectors: np.ndarray) -> np.ndarray:
    """Return the lengths of vectors of three, (..., 3); added in the order that ``sum`` has."""
    first, second, third = (vectors[..., axis] ** 2 for axis in range(3))
    length: np.ndarray = np.sqrt(first + second + third)
    return length


def _threshold(distance: np.ndarray) -> float:
    """Return from which distance on a place is no skin: Otsu's, lowered."""
    top = np.partition(distance, int(0.99 * distance.size))[int(0.99 * distance.size)]
    counts, edges = np.histogram(np.minimum(distance, top), 64)
    centres = (edges[1:] + edges[:-1]) / 2
    below, mass = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    n = distance.size
    between = (mass[-1] * below / n - mass[:-1]) ** 2 / np.maximum(below * (n - below), 1)
    return max(_OTSU_SHARE * float(centres[between.argmax()]), _LEAST_DISTANCE)


def _grow(seed: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Return the piece of ``within`` that holds ``seed``, corners joining.

    Every place is a bit of one large integer, in which a step to all neighbours is four shifts:
    ten times faster than on arrays.
    """
    row = _ROW_BITS
    piece, allowed = _as_bits(seed), _as_bits(within)
    while True:
        wide = piece | piece << 1 | piece >> 1
        grown = (wide | wide << row | wide >> row) & allowed
        if grown == piece:
            break
        piece = grown
    packed = np.frombuffer(piece.to_bytes(_GRID_PX * row // 8, "big"), np.uint8)
    return np.unpackbits(packed).reshape(_GRID_PX, row)[:, :_GRID_PX].astype(bool)


#: Bits of a row: those of the grid, and at least one that stays 0, so that rows do not join.
_ROW_BITS = _GRID_PX + 8


def _as_bits(grid: np.ndarray) -> int:
    padded = np.zeros((_GRID_PX, _ROW_BITS), bool)
    padded[:, :_GRID_PX] = grid
    return int.from_bytes(np.packbits(padded).tobytes(), "big")


def _of_neighbours(combine: np.ufunc, grid: np.ndarray) -> np.ndarray:
    """Return each place combined with its eight neighbours; the border has none outside."""
    tall = grid.copy()
    combine(tall[1:], grid[:-1], out=tall[1:])
    combine(tall[:-1], grid[1:], out=tall[:-1])
    wide: np.ndarray = tall.copy()
    combine(wide[:, 1:], tall[:, :-1], out=wide[:, 1:])
    combine(wide[:, :-1], tall[:, 1:], out=wide[:, :-1])
    return wide
