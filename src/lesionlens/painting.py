"""How phantoms are painted: a canvas with a few brushes, and a painter for each kind of skin.

The structures follow the consensus terms of dermoscopy (Kittler et al. 2016,
https://doi.org/10.1016/j.jaad.2015.12.038). Lengths are in units of the frame's short side,
origin in the centre; colours are RGB in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

_Colour = tuple[float, float, float]
_Point = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    """A line to draw: points in short sides from the centre, width in short sides."""

    points: Sequence[_Point]
    width: float


class Canvas:
    """A float RGB picture in 0..1 with the few brushes that dermoscopy needs."""

    def __init__(self, size_px: tuple[int, int], rng: np.random.Generator) -> None:
        self.size = size_px
        self.rng = rng
        width, height = size_px
        short = min(size_px)
        self.short = short
        self.x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / short)[None, :]
        self.y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / short)[:, None]
        self.rgb = np.ones((height, width, 3), dtype=np.float32)

    def to_image(self) -> Image.Image:
        """Return the picture as 8-bit RGB."""
        return Image.fromarray((np.clip(self.rgb, 0, 1) * 255 + 0.5).astype(np.uint8))

    def fill(self, colour: _Colour) -> None:
        """Cover everything with one colour."""
        self.rgb[:] = colour

    def blend(self, colour: _Colour | np.ndarray, mask: np.ndarray | float) -> None:
        """Lay ``colour`` over the picture where ``mask`` (0..1, (H, W)) says."""
        weight = np.clip(np.asarray(mask, dtype=np.float32), 0, 1)[..., None]
        paint = np.asarray(colour, dtype=np.float32)
        if weight.shape[:2] == self.rgb.shape[:2]:  # most masks are small: touch only their box
            painted = weight[..., 0] > 0
            rows, columns = np.atleast_1d(painted.any(axis=1)), np.atleast_1d(painted.any(axis=0))
            if not rows.any():
                return
            box = np.s_[
                rows.argmax() : len(rows) - rows[::-1].argmax(),
                columns.argmax() : len(columns) - columns[::-1].argmax(),
            ]
            paint = paint[box] if paint.ndim == 3 else paint
            self.rgb[box] += (paint - self.rgb[box]) * weight[box]
        else:
            self.rgb += (paint - self.rgb) * weight

    def shade(self, factor: np.ndarray) -> None:
        """Multiply the light by ``factor``, (H, W) or (H, W, 3)."""
        self.rgb *= factor if factor.ndim == 3 else factor[..., None]

    def noise(self, cell: float, *, octaves: int = 1) -> np.ndarray:
        """Return smooth noise, mean 0, deviation about 0.5, details ``cell`` short sides wide."""
        width, height = self.size
        total = np.zeros((height, width), dtype=np.float32)
        for octave in range(octaves):
            step = max(cell * self.short / 2**octave, 1.0)
            columns, rows = math.ceil(width / step) + 3, math.ceil(height / step) + 3
            grid = self.rng.standard_normal((rows, columns)).astype(np.float32)
            box = (1.0, 1.0, 1.0 + width / step, 1.0 + height / step)
            smooth = Image.fromarray(grid).resize(self.size, Image.Resampling.BICUBIC, box=box)
            total += np.asarray(smooth) * np.float32(0.6 / 1.6**octave)
        return total

    def blob(
        self,
        centre: _Point,
        radius: float,
        *,
        aspect: float = 1.0,
        wobble: float = 0.1,
        soft: float = 0.15,
    ) -> np.ndarray:
        """Return the mask of a roundish patch; ``wobble`` and ``soft`` are shares of its radius."""
        angle = self.rng.uniform(0, math.pi)
        # Computed in a window that holds it; a lesion has dozens of these.
        reach = 2 * radius * math.sqrt(aspect) * (1 + soft)
        columns = slice(*np.searchsorted(self.x[0], (centre[0] - reach, centre[0] + reach)))
        rows = slice(*np.searchsorted(self.y[:, 0], (centre[1] - reach, centre[1] + reach)))
        dx, dy = self.x[:, columns] - centre[0], self.y[rows] - centre[1]
        along = (dx * math.cos(angle) + dy * math.sin(angle)) / math.sqrt(aspect)
        across = (dy * math.cos(angle) - dx * math.sin(angle)) * math.sqrt(aspect)
        theta = np.arctan2(across, along)
        edge = np.ones_like(theta)
        for wave in range(2, 8):
            swing = wobble * self.rng.normal() / wave**0.7
            edge += swing * np.cos(wave * theta + self.rng.uniform(0, 2 * math.pi))
        distance = np.hypot(along, across) / (radius * np.maximum(edge, 0.3))
        t = np.clip((1 - distance) / soft + 0.5, 0, 1)
        mask = np.zeros(self.rgb.shape[:2], dtype=np.float32)
        mask[rows, columns] = t * t * (3 - 2 * t)
        return mask

    def strokes(self, strokes: Sequence[Stroke], *, blur: float = 0.001) -> np.ndarray:
        """Return the mask of round-ended lines; ``blur`` is a radius in short sides."""
        zoom = 3 if max(self.size) <= 1100 else 2  # drawn larger, then averaged: smooth edges
        width, height = self.size
        layer = Image.new("L", (width * zoom, height * zoom), 0)
        pen = ImageDraw.Draw(layer)
        unit = self.short * zoom
        for stroke in strokes:
            points = [
                (x * unit + width * zoom / 2, y * unit + height * zoom / 2)
                for x, y in stroke.points
            ]
            thick = max(1, round(stroke.width * unit))
            pen.line(points, fill=255, width=thick, joint="curve")
            if thick > 2:
                half = thick / 2
                for x, y in (points[0], points[-1]):
                    pen.ellipse((x - half, y - half, x + half, y + half), fill=255)
        layer = layer.resize(self.size, Image.Resampling.BOX)
        layer = layer.filter(ImageFilter.GaussianBlur(blur * self.short))
        return np.asarray(layer, dtype=np.float32) / 255

    def cells(self, cell: float) -> np.ndarray:
        """Return a honeycomb: about 0 on the walls of cells ``cell`` wide, towards 1 inside."""
        warp = 0.35 * cell
        x = self.x / cell + self.noise(3 * cell) * warp / cell
        y = self.y / cell + self.noise(3 * cell) * warp / cell
        column, row = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
        jitter = self.rng.uniform(0.15, 0.85, (64, 64, 2)).astype(np.float32)
        nearest = np.full(x.shape, 9.0, dtype=np.float32)
        second = nearest.copy()
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                at = jitter[(row + j) % 64, (column + i) % 64]
                distance = np.hypot(column + i + at[..., 0] - x, row + j + at[..., 1] - y)
                second = np.minimum(second, np.maximum(nearest, distance))
                nearest = np.minimum(nearest, distance)
        return np.clip((second - nearest) * 1.8, 0, 1)

    def spot(self, reach: float) -> _Point:
        """Return a random point at most ``reach`` from the centre, evenly spread."""
        angle, distance = self.rng.uniform(0, 2 * math.pi), reach * math.sqrt(self.rng.uniform())
        return distance * math.cos(angle), distance * math.sin(angle)


def lay_skin(canvas: Canvas) -> None:
    """Fill with skin: tone, mottling, furrows, pores."""
    rng = canvas.rng
    fair = np.array((0.94, 0.79, 0.74))
    olive = np.array((0.80, 0.60, 0.49))
    tone = fair + (olive - fair) * rng.beta(1.3, 2.2) + rng.normal(0, 0.012, 3)
    canvas.fill(tuple(tone))
    canvas.shade(1 + 0.035 * canvas.noise(0.45, octaves=3))
    flush = np.clip(0.22 + 0.35 * canvas.noise(0.22, octaves=2), 0, 1)
    canvas.blend((0.86, 0.52, 0.48), 0.28 * flush)
    furrows = np.clip(1 - canvas.cells(rng.uniform(0.028, 0.04)) * 3.2, 0, 1)
    canvas.shade(1 - 0.055 * furrows * np.clip(0.45 + canvas.noise(0.16, octaves=2), 0.05, 1.3))
    canvas.shade(1 + 0.016 * canvas.noise(0.007, octaves=2))
    pores = [
        Stroke((p := canvas.spot(0.75), (p[0] + 1e-4, p[1])), rng.uniform(0.003, 0.007))
        for _ in range(40)
    ]
    canvas.blend((0.72, 0.50, 0.42), 0.3 * canvas.strokes(pores, blur=0.003))


def _finish_frame(canvas: Canvas, *, n_hairs: tuple[int, int] = (1, 7)) -> None:
    """Lay hairs over the picture and darken it towards its corners, as a lens does."""
    rng = canvas.rng
    hairs = []
    for _ in range(int(rng.integers(*n_hairs))):
        heading, bend = rng.uniform(0, 2 * math.pi), rng.normal(0, 0.05)
        x, y = canvas.spot(0.7)
        points = [(x, y)]
        for _ in range(int(rng.integers(9, 26))):
            heading += bend
            x, y = x + 0.035 * math.cos(heading), y + 0.035 * math.sin(heading)
            points.append((x, y))
        hairs.append(Stroke(points, rng.uniform(0.0025, 0.0055)))
    if hairs:
        shadow = canvas.strokes(
            [
                Stroke([(x + 0.004, y + 0.005) for x, y in hair.points], hair.width)
                for hair in hairs
            ],
            blur=0.004,
        )
        canvas.shade(1 - 0.18 * shadow)
        canvas.blend((0.20, 0.12, 0.09), 0.82 * canvas.strokes(hairs))
    radius = np.hypot(canvas.x, canvas.y) / math.hypot(canvas.x.max(), canvas.y.max())
    canvas.shade(1 - rng.uniform(0.12, 0.34) * np.clip(radius - 0.35, 0, 1) ** 1.6 / 0.5)


def paint_skin(canvas: Canvas) -> None:
    """Paint healthy skin with a few hairs."""
    lay_skin(canvas)
    _finish_frame(canvas, n_hairs=(3, 9))


def branches(
    rng: np.random.Generator, start: _Point, heading: float, width: float, length: float
) -> list[Stroke]:
    """Grow an arborizing vessel: a thick trunk, ever finer branches."""
    strokes: list[Stroke] = []
    (x, y), step = start, 0.014
    bend = rng.normal(0, 0.10)
    for _ in range(max(3, round(length / step))):
        bend = 0.7 * bend + rng.normal(0, 0.11)
        heading += bend
        following = (x + step * math.cos(heading), y + step * math.sin(heading))
        strokes.append(Stroke([(x, y), following], width))
        x, y = following
        width *= 0.955
        if width > 0.0021 and rng.uniform() < 0.17:
            side = rng.choice((-1, 1)) * rng.uniform(0.45, 1.0)
            strokes += branches(rng, (x, y), heading + side, width * 0.66, length * 0.55)
    return strokes


def paint_bcc(canvas: Canvas) -> None:
    """Paint a pink-white shining patch, arborizing vessels, blue-grey nests, a small ulcer."""
    rng = canvas.rng
    lay_skin(canvas)
    centre, radius = canvas.spot(0.05), rng.uniform(0.27, 0.35)
    patch = canvas.blob(centre, radius, aspect=rng.uniform(1.0, 1.35), wobble=0.07, soft=0.30)
    canvas.blend((0.87, 0.60, 0.58), 0.72 * patch)
    pearly = patch * np.clip(0.45 + 0.9 * canvas.noise(0.09, octaves=3), 0, 1)
    canvas.blend((0.95, 0.83, 0.82), 0.6 * pearly)

    def within(reach: float) -> _Point:
        x, y = canvas.spot(radius * reach)
        return centre[0] + x, centre[1] + y

    nests = np.zeros_like(patch)
    for size in rng.uniform(0.035, 0.085, int(rng.integers(2, 5))):
        nest = canvas.blob(within(0.72), size, aspect=rng.uniform(1.1, 1.7), soft=0.5)
        nests = np.maximum(nests, nest * rng.uniform(0.75, 1))
    for size in rng.uniform(0.008, 0.02, int(rng.integers(8, 18))):
        nests = np.maximum(nests, 0.85 * canvas.blob(within(0.85), size, soft=0.7))
    mottled = np.clip(0.86 + 0.25 * canvas.noise(0.03, octaves=2), 0, 1)
    canvas.blend((0.36, 0.39, 0.50), 0.88 * nests * mottled)

    strokes: list[Stroke] = []
    for angle in rng.uniform(0, 2 * math.pi, int(rng.integers(3, 6))):
        rim = (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
        inward = angle + math.pi + rng.normal(0, 0.45)
        strokes += branches(rng, rim, inward, rng.uniform(0.0075, 0.0105), rng.uniform(0.3, 0.45))
    inside = np.clip(canvas.blob(centre, radius * 1.2, soft=0.3), 0, 1)
    canvas.blend((0.88, 0.45, 0.44), 0.35 * canvas.strokes(strokes, blur=0.006) * inside)
    canvas.blend((0.70, 0.13, 0.17), 0.9 * canvas.strokes(strokes) * inside)

    if rng.uniform() < 0.8:
        ulcer_at, size = within(0.5), rng.uniform(0.03, 0.055)
        crust = canvas.blob(ulcer_at, size, aspect=1.3, wobble=0.16, soft=0.35)
        canvas.blend((0.50, 0.17, 0.11), 0.85 * crust)
        canvas.blend((0.80, 0.47, 0.20), 0.75 * crust * np.clip(canvas.noise(0.014) + 0.3, 0, 1))
    glints = [
        Stroke(
            (p := within(0.9), (p[0] + rng.normal(0, 0.01), p[1] + rng.normal(0, 0.01))),
            rng.uniform(0.002, 0.005),
        )
        for _ in range(14)
    ]
    canvas.blend((1.0, 0.98, 0.97), 0.7 * canvas.strokes(glints))
    _finish_frame(canvas, n_hairs=(0, 5))


def _coil(rng: np.random.Generator, at: _Point, heading: float) -> list[Stroke]:
    """Draw a hairpin loop, or a small coil like a ball of yarn."""
    size, width = rng.uniform(0.010, 0.019), rng.uniform(0.0028, 0.0042)
    points: list[_Point] = []
    if rng.uniform() < 0.6:
        tip = size * rng.uniform(1.6, 2.4)
        outline = [
            (0.0, -0.32 * size),
            (tip * 0.5, -0.38 * size),
            (tip * 0.9, -0.36 * size),
            (tip * 1.1, 0.0),
            (tip * 0.9, 0.36 * size),
            (tip * 0.5, 0.34 * size),
            (tip * 0.1, 0.5 * size),
        ]
    else:
        outline = [
            (size * (0.25 + t / 16) * math.cos(t) * 0.7, size * (0.25 + t / 16) * math.sin(t))
            for t in np.arange(0, 12, 0.5)
        ]
    for along, across in outline:
        points.append(
            (
                at[0] + along * math.cos(heading) - across * math.sin(heading),
                at[1] + along * math.sin(heading) + across * math.cos(heading),
            )
        )
    return [Stroke(points, width)]


def paint_scc(canvas: Canvas) -> None:
    """Paint a pink base, a keratin mass with scale and blood, white circles, looped vessels."""
    rng = canvas.rng
    lay_skin(canvas)
    centre, radius = canvas.spot(0.04), rng.uniform(0.28, 0.35)
    patch = canvas.blob(centre, radius, aspect=rng.uniform(1.0, 1.3), wobble=0.1, soft=0.22)
    canvas.blend((0.84, 0.47, 0.45), 0.75 * patch)
    canvas.blend((0.93, 0.74, 0.71), 0.6 * patch * np.clip(canvas.noise(0.05, octaves=2), 0, 1))

    loops: list[Stroke] = []
    for _ in range(int(rng.integers(28, 46))):
        angle, reach = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0.62, 0.97)
        at = (centre[0] + reach * math.cos(angle), centre[1] + reach * math.sin(angle))
        loops += _coil(rng, at, angle + math.pi + rng.normal(0, 0.5))
    canvas.blend((0.96, 0.84, 0.80), 0.5 * canvas.strokes(loops, blur=0.010))
    canvas.blend((0.66, 0.10, 0.13), 0.88 * canvas.strokes(loops, blur=0.0008))

    for _ in range(int(rng.integers(7, 13))):
        angle, reach = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0.35, 0.85)
        at = (centre[0] + reach * math.cos(angle), centre[1] + reach * math.sin(angle))
        size = rng.uniform(0.013, 0.022)
        disc = canvas.blob(at, size, wobble=0.04, soft=0.35)
        canvas.blend((0.97, 0.94, 0.90), 0.9 * disc)
        plug = canvas.blob(at, size * 0.55, wobble=0.05, soft=0.4)
        canvas.blend((0.85, 0.66, 0.38), 0.9 * plug)

    keratin = canvas.blob(
        centre, radius * rng.uniform(0.42, 0.56), aspect=1.25, wobble=0.17, soft=0.2
    )
    crumbs = canvas.noise(0.035, octaves=3)
    ochre, cream = np.array((0.78, 0.58, 0.32)), np.array((0.94, 0.86, 0.70))
    tint = np.clip(0.45 + 0.6 * crumbs, 0, 1)[..., None]
    canvas.blend(np.asarray(ochre + (cream - ochre) * tint), 0.95 * keratin)
    # Light from the upper left: the slope of the crumbs gives the mass its relief.
    relief = np.gradient(crumbs, axis=0) + np.gradient(crumbs, axis=1)
    canvas.shade(1 + np.clip(relief * canvas.short * 0.005, -0.20, 0.12) * keratin)
    scale = patch * np.clip(1.5 * (canvas.noise(0.03, octaves=3) - 0.35), 0, 1)
    canvas.blend((0.98, 0.94, 0.89), 0.8 * scale)
    for size in rng.uniform(0.008, 0.024, int(rng.integers(5, 10))):
        x, y = canvas.spot(radius * 0.5)
        blood = canvas.blob((centre[0] + x, centre[1] + y), size, aspect=1.4, wobble=0.2, soft=0.4)
        canvas.blend((0.30, 0.04, 0.05), 0.9 * blood)
    _finish_frame(canvas, n_hairs=(0, 5))


def paint_nevus(canvas: Canvas) -> None:
    """Paint an even, symmetric brown patch with a network that fades out, darker in the middle."""
    rng = canvas.rng
    lay_skin(canvas)
    centre, radius = canvas.spot(0.03), rng.uniform(0.20, 0.26)
    aspect = rng.uniform(1.0, 1.25)
    patch = canvas.blob(centre, radius, aspect=aspect, wobble=0.035, soft=0.5)
    canvas.blend((0.66, 0.43, 0.28), 0.8 * patch * (1 + 0.15 * canvas.noise(0.06, octaves=2)))
    walls = np.clip(1 - canvas.cells(rng.uniform(0.022, 0.028)) * 1.7, 0, 1)
    canvas.blend((0.36, 0.19, 0.11), 0.6 * walls * patch * np.clip(0.8 + canvas.noise(0.07), 0, 1))
    core = canvas.blob(centre, radius * 0.52, aspect=aspect, wobble=0.06, soft=0.9)
    canvas.blend((0.31, 0.17, 0.11), 0.72 * core)
    for _ in range(int(rng.integers(6, 16))):
        x, y = canvas.spot(radius * 0.7)
        dot = canvas.blob((centre[0] + x, centre[1] + y), rng.uniform(0.005, 0.010), soft=0.6)
        canvas.blend((0.25, 0.13, 0.09), 0.8 * dot)
    _finish_frame(canvas)
