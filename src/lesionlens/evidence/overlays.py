"""What lies on skin and is no part of it, drawn over a picture: hair, a ruler, ink.

Drawn with the brushes of ``painting`` as layers of cover and light, of which a picture gets one;
a layer knows nothing of the picture. Each kind has a few layers, taken in turn, so that no
result hangs on one drawing. Hairs and marks of one strength are also there at the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lesionlens.imaging import INPUT_PX
from lesionlens.painting import Canvas, Stroke

#: Drawings of each kind.
N_DRAWINGS = 12

_SEED = 20240229
_HAIR_COLOURS = ((0.10, 0.07, 0.06), (0.22, 0.13, 0.09), (0.34, 0.23, 0.15))
_TICK_COLOUR = (0.09, 0.09, 0.10)
#: Gentian violet and the blue of skin markers: what of red, green and blue they let through.
_INKS = ((0.42, 0.30, 0.66), (0.30, 0.36, 0.70))


@dataclass(frozen=True, eq=False)
class Layer:
    """What a drawing does to a picture: first it filters its light, then it covers it."""

    light: np.ndarray  # float32, (side, side, 3), factor of the picture's light, 0..1
    cover: np.ndarray  # float32, (side, side, 1), share that is covered, 0..1
    colour: np.ndarray  # float32, (side, side, 3), of the cover, 0..255

    def lay_over(self, rgb: np.ndarray) -> np.ndarray:
        """Return a uint8 picture of the layer's size with the layer over it."""
        lit = rgb * self.light
        return (lit + (self.colour - lit) * self.cover + 0.5).astype(np.uint8)


@lru_cache(maxsize=256)
def hair_layer(n_hairs: int, drawing: int) -> Layer:
    """Draw dark hairs with the shadow they throw.

    Args:
        n_hairs: how many.
        drawing: which of the ``N_DRAWINGS``.
    """
    rng = np.random.default_rng((_SEED, 1, drawing))
    canvas = Canvas((INPUT_PX, INPUT_PX), rng)
    colour = _HAIR_COLOURS[drawing % len(_HAIR_COLOURS)]
    combed = rng.uniform(0, 2 * math.pi)  # hair lies more or less one way
    hairs = []
    for _ in range(n_hairs):
        heading = combed + rng.normal(0, 0.55)
        bend = rng.normal(0, 0.045)
        x, y = rng.uniform(-0.62, 0.62, 2)
        length = rng.uniform(0.35, 1.1)
        points = [(x, y)]
        for _ in range(max(4, round(length / 0.04))):
            heading += bend
            x, y = x + 0.04 * math.cos(heading), y + 0.04 * math.sin(heading)
            points.append((x, y))
        hairs.append(Stroke(points, rng.uniform(0.0045, 0.0095)))
    shadows = [Stroke([(x + 0.006, y + 0.008) for x, y in h.points], h.width * 1.3) for h in hairs]
    light = 1 - 0.22 * canvas.strokes(shadows, blur=0.005)
    return _layer(light=light[..., np.newaxis], cover=0.88 * canvas.strokes(hairs), colour=colour)


@lru_cache(maxsize=256)
def ruler_layer(reach: float, drawing: int) -> Layer:
    """Draw the scale of a dermatoscope's plate: ticks along a side, longer every fifth and tenth.

    Args:
        reach: how far in from the side the longest ticks end, share of the side, 0..0.5.
        drawing: which of the ``N_DRAWINGS``; decides on the side and on the spacing.
    """
    rng = np.random.default_rng((_SEED, 2, drawing))
    canvas = Canvas((INPUT_PX, INPUT_PX), rng)
    spacing = rng.uniform(0.030, 0.048)  # of a millimetre
    start = rng.uniform(0, spacing)
    tilt = rng.normal(0, 0.02)
    width = rng.uniform(0.005, 0.008)
    longest = min(0.11, 0.8 * reach)
    baseline = -0.5 + reach - longest  # the ticks stand on it and point inwards
    strokes = []
    for index in range(math.ceil(1 / spacing) + 1):
        along = -0.5 + start + index * spacing
        share = 1.0 if index % 10 == 0 else 0.72 if index % 5 == 0 else 0.45
        foot = baseline + tilt * along
        strokes.append(Stroke([(along, foot), (along, foot + share * longest)], width))
    cover = 0.85 * canvas.strokes(strokes, blur=0.0012)
    cover = np.rot90(cover, drawing % 4)
    return _layer(light=None, cover=np.ascontiguousarray(cover), colour=_TICK_COLOUR)


@lru_cache(maxsize=256)
def ink_layer(n_marks: int, drawing: int) -> Layer:
    """Draw marks of a surgical pen around the middle: dashes, dots, and a circle that closes.

    Args:
        n_marks: how many.
        drawing: which of the ``N_DRAWINGS``.
    """
    rng = np.random.default_rng((_SEED, 3, drawing))
    canvas = Canvas((INPUT_PX, INPUT_PX), rng)
    ink = np.array(_INKS[drawing % len(_INKS)], np.float32)
    radius = rng.uniform(0.36, 0.43)
    turn = rng.uniform(0, 2 * math.pi)
    uneven = np.clip(0.86 + 0.35 * canvas.noise(0.035, octaves=2), 0.35, 1)
    strokes = []
    for index in range(n_marks):
        # Opposite each other first, then between: as a surgeon marks the ends of a cut.
        angle = turn + math.pi * (index % 2) + math.pi / 4 * (index // 2) * (1.0, 1.02)[index % 2]
        away = radius * rng.uniform(0.94, 1.08)
        x, y = away * math.cos(angle), away * math.sin(angle)
        if drawing % 3 == 2:  # a dot, pressed
            reach, heading, width = 0.012, rng.uniform(0, 6.3), rng.uniform(0.030, 0.045)
        else:  # a dash along the circle, or across it
            heading = angle + math.pi / 2 * (drawing % 3 == 0) + rng.normal(0, 0.2)
            reach, width = rng.uniform(0.07, 0.12), rng.uniform(0.016, 0.026)
        ends = [
            (x + s * reach * math.cos(heading), y + s * reach * math.sin(heading))
            for s in (-1, -0.3, 0.4, 1)
        ]
        wobbled = [(a + rng.normal(0, 0.004), b + rng.normal(0, 0.004)) for a, b in ends]
        strokes.append(Stroke(wobbled, width))
    laid = (canvas.strokes(strokes, blur=0.003) * uneven)[..., np.newaxis]
    return _layer(light=1 - laid * (1 - ink), cover=None, colour=(0, 0, 0))


def _layer(
    *, light: np.ndarray | None, cover: np.ndarray | None, colour: tuple[float, float, float]
) -> Layer:
    shape = (INPUT_PX, INPUT_PX)
    factor = np.ones((*shape, 1), np.float32) if light is None else light.astype(np.float32)
    covered = np.zeros(shape, np.float32) if cover is None else cover.astype(np.float32)
    paint = np.broadcast_to(np.array(colour, np.float32) * 255, (*shape, 3))
    return Layer(factor, covered[..., np.newaxis], paint)
