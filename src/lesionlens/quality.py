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

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from PIL import Image

from lesionlens.framing import LUMA, measure_framing
from lesionlens.imaging import INPUT_PX, Pixels
from lesionlens.ranking import greatest
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
    rgb, image = pixels.rgb, Image.fromarray(pixels.rgb)
    if image.size != (INPUT_PX, INPUT_PX):
        image = image.resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR)
        rgb = np.asarray(image)
    # The least and the greatest of whole planes take a tenth of the time of colours side by side.
    # Histograms are Pillow's, of bytes: twice as fast as np.bincount.
    red, green, blue = (rgb[..., channel].copy() for channel in range(3))
    low = np.minimum(np.minimum(red, green), blue)
    high = np.maximum(np.maximum(red, green), blue)
    grey = image.convert("L")
    dimmest = Image.fromarray(low).histogram()
    colour = Image.fromarray(high - low).histogram()
    return {
        "short_side_px": float(min(pixels.width_px, pixels.height_px)),
        "brightness": _quantile(grey.histogram(), 0.95),
        "whiteness": _quantile(dimmest, 0.5),
        "haze": max(0.0, _quantile(dimmest, 0.25) - _quantile(colour, 0.9)),
        "glare_share": _glare_share(dimmest),
        "skin_share": _skin_share(red[::2, ::2], green[::2, ::2], blue[::2, ::2]),
        "edge_width_px": _edge_width_px(rgb),
    } | measure_framing(image, grey)


def _quantile(histogram: Sequence[int], share: float) -> float:
    """Return the level that ``share`` of the pixels do not exceed."""
    reached = list(accumulate(histogram))
    return float(bisect_left(reached, share * reached[-1]))


def _glare_share(histogram: Sequence[int]) -> float:
    """Return the share of burnt-out pixels that skin in too much light does not explain.

    That would leave many more pixels nearly burnt out than a reflection with its narrow rim.
    """
    burnt, nearly = sum(histogram[_BURNT:]), sum(histogram[_NEARLY_BURNT:_BURNT])
    return max(0.0, (burnt - _NEARLY_BURNT_WEIGHT * nearly) / sum(histogram))


def _skin_share(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> float:
    """Return the share of lit pixels that are warm, or pink, and not grey.

    Under a dermatoscope skin is anything from ivory to purple, and melanin of every amount only
    takes more of blue than of green and more of green than of red. What is left out is green,
    blue and grey; the archives' grey and bluish skin passes by the lesion on it.
    """
    red, green, blue = (plane.astype(np.float32) for plane in (red, green, blue))
    least = np.minimum(green, blue)
    is_lit = np.maximum(np.maximum(red, green), blue) > _LIT
    is_skin = (red > 0.98 * green - 1) & (red > 0.85 * blue) & (red - least > 0.05 * red) & is_lit
    return int(np.count_nonzero(is_skin)) / max(1, int(np.count_nonzero(is_lit)))


# ---------------------------------------------------------------- sharpness


def _edge_width_px(rgb: np.ndarray) -> float:
    """Return how many pixels the sharper edges take, in the blurrier of two directions.

    Where brightness changes most over eight pixels, how much of that change happens in the
    steepest single step? A sharp edge does it in one or two, a blurred one needs them all; how
    much there is to see does not matter, so that smooth healthy skin is no worse than a network
    of pigment. The idea is that of Marziliano et al. 2002, https://doi.org/10.1109/ICIP.2002.1038902.
    """
    margin = (INPUT_PX - _WINDOW_PX) // 2
    luma = rgb[margin:-margin, margin:-margin] @ LUMA
    least = max(_LEAST_LEVELS, _LEAST_CHANGE * float(luma.mean()))
    return max(_width_along_rows(luma, least), _width_along_rows(luma.T, least))


def _width_along_rows(luma: np.ndarray, least_change: float) -> float:
    # The mean of three rows, at every other one: less grain, and edges across stay as they are.
    smooth = (luma[:-2:2] + luma[1:-1:2] + luma[2::2]) / 3
    change = np.abs(smooth[:, _SPAN_PX:] - smooth[:, :-_SPAN_PX]).ravel("K")
    steepest = np.abs(smooth[:, 1:] - smooth[:, :-1])
    for reach in (1, 2, 4):  # the maximum of 2, 4, then 8 steps
        steepest = np.maximum(steepest[:, reach:], steepest[:, :-reach])
    places = greatest(change, int(_STEEP_SHARE * change.size))
    change = change.take(places)
    if change.min() < least_change:
        return float(_SPAN_PX)
    sharpness = steepest.ravel("K").take(places) / change
    place = -max(1, int(_SHARP_SHARE * sharpness.size))
    width = float(1 / np.partition(sharpness, place)[place])
    return min(max(width, 1.0), float(_SPAN_PX))
