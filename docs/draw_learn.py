"""Draw the pictures of the app's Learn pages: `python docs/draw_learn.py`.

What doctors look for in a dermoscopic picture, one structure at a time and larger than life, after
the consensus terms (Kittler et al. 2016, https://doi.org/10.1016/j.jaad.2015.12.038). No photograph
of a person is among them, and the app says so beside each. The same pictures come out on every run;
``tests/test_app_learn.py`` compares.
"""

from __future__ import annotations

import argparse
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lesionlens import phantoms
from lesionlens.painting import Canvas, Stroke, branches, lay_skin

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "src/lesionlens/app/assets/learn"

SIZE_PX = (480, 360)
QUALITY = 82  # of the JPEG: 10 to 40 kB a picture
_ZOOM = 2  # drawn so much larger, then reduced

_Point = tuple[float, float]
_BLOOD = (0.30, 0.04, 0.05)
_VESSEL = (0.70, 0.11, 0.15)
_BLUE_GREY = (0.36, 0.39, 0.50)


def draw(name: str) -> Image.Image:
    """Draw one figure, RGB, ``SIZE_PX``.

    Args:
        name: one of ``FIGURES``.
    """
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return FIGURES[name](rng)


def _painted(paint: Callable[[Canvas], None]) -> Callable[[np.random.Generator], Image.Image]:
    def figure(rng: np.random.Generator) -> Image.Image:
        canvas = Canvas((SIZE_PX[0] * _ZOOM, SIZE_PX[1] * _ZOOM), rng)
        paint(canvas)
        return canvas.to_image().reduce(_ZOOM)

    return figure


def _phantom(kind: str) -> Callable[[np.random.Generator], Image.Image]:
    return lambda rng: phantoms.draw(kind, size_px=SIZE_PX, rng=rng)


def _lay_pink(canvas: Canvas, strength: float = 0.6) -> None:
    """Fill with the inside of a lesion: pink, with pearly clouds."""
    lay_skin(canvas)
    canvas.blend((0.88, 0.60, 0.57), strength)
    canvas.blend((0.96, 0.84, 0.82), 0.5 * np.clip(0.3 + canvas.noise(0.16, octaves=3), 0, 1))


def _places(canvas: Canvas, n: int, apart: float, reach: _Point) -> list[_Point]:
    """Return up to ``n`` places within ``reach`` of the middle, no two nearer than ``apart``."""
    found: list[_Point] = []
    for _ in range(60 * n):
        x, y = canvas.rng.uniform(-1, 1) * reach[0], canvas.rng.uniform(-1, 1) * reach[1]
        if len(found) < n and all(math.hypot(x - a, y - b) >= apart for a, b in found):
            found.append((x, y))
    return found


def _turned(points: Sequence[_Point], at: _Point, angle: float) -> list[_Point]:
    """Turn points about the origin, then move them to ``at``."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(at[0] + x * cos - y * sin, at[1] + x * sin + y * cos) for x, y in points]


# ---------------------------------------------------------------- basal cell carcinoma


def paint_bcc_vessels(canvas: Canvas) -> None:
    """Paint arborising vessels: thick trunks, ever finer branches, all in focus."""
    _lay_pink(canvas)
    strokes: list[Stroke] = []
    for start, heading in (((-0.72, -0.22), 0.35), ((0.72, 0.30), 3.5), ((-0.1, 0.56), -1.2)):
        strokes += branches(canvas.rng, start, heading, 0.026, 1.0)
    canvas.blend((0.86, 0.44, 0.43), 0.4 * canvas.strokes(strokes, blur=0.012))
    canvas.blend(_VESSEL, 0.92 * canvas.strokes(strokes))


def paint_bcc_leaf(canvas: Canvas) -> None:
    """Paint leaf-like areas: bulbs that spread from a common base off centre."""
    _lay_pink(canvas, 0.35)
    mask = np.zeros_like(canvas.rgb[..., 0])
    for base, heading in (((-0.26, -0.06), 2.9), ((0.20, -0.12), -0.5), ((0.10, 0.18), 1.3)):
        fingers = []
        for spread in np.linspace(-0.95, 0.95, 5):
            length = canvas.rng.uniform(0.20, 0.25) * (1.15 - 0.3 * abs(spread))
            tip = _turned([(length, 0.0)], base, heading + spread)[0]
            fingers.append(Stroke([base, tip], 0.05))
            bulb = canvas.blob(tip, canvas.rng.uniform(0.046, 0.058), wobble=0.08, soft=0.3)
            mask = np.maximum(mask, bulb)
        mask = np.maximum(mask, canvas.strokes(fingers, blur=0.006))
    mottled = np.clip(0.85 + 0.2 * canvas.noise(0.04, octaves=2), 0, 1)
    canvas.blend((0.42, 0.33, 0.33), 0.9 * mask * mottled)
    canvas.blend((0.36, 0.36, 0.46), 0.5 * mask * np.clip(canvas.noise(0.25) + 0.3, 0, 1))


def paint_bcc_nests(canvas: Canvas) -> None:
    """Paint blue-grey ovoid nests, and a few globules."""
    _lay_pink(canvas)
    mask = np.zeros_like(canvas.rgb[..., 0])
    for at in _places(canvas, 6, 0.27, (0.5, 0.32)):
        radius = canvas.rng.uniform(0.075, 0.12)
        nest = canvas.blob(at, radius, aspect=1.5, wobble=0.05, soft=0.35)
        mask = np.maximum(mask, nest)
    for at in _places(canvas, 14, 0.08, (0.6, 0.42)):
        mask = np.maximum(mask, 0.8 * canvas.blob(at, canvas.rng.uniform(0.010, 0.018), soft=0.6))
    canvas.blend(_BLUE_GREY, 0.92 * mask * np.clip(0.88 + 0.2 * canvas.noise(0.05), 0, 1))


def paint_bcc_ulcer(canvas: Canvas) -> None:
    """Paint an ulcer: raw red under a brown-yellow crust, vessels at its rim."""
    _lay_pink(canvas)
    strokes = branches(canvas.rng, (-0.7, 0.3), -0.4, 0.014, 0.6)
    strokes += branches(canvas.rng, (0.68, -0.3), 2.8, 0.014, 0.6)
    canvas.blend(_VESSEL, 0.85 * canvas.strokes(strokes))
    raw = canvas.blob((0.02, 0.0), 0.27, aspect=1.35, wobble=0.16, soft=0.15)
    canvas.blend((0.62, 0.14, 0.13), 0.9 * raw)
    crust = np.clip(1.6 * canvas.noise(0.10, octaves=3) + 0.25, 0, 1)
    canvas.blend((0.80, 0.52, 0.22), 0.9 * raw * crust)
    clot = np.clip(2.2 * canvas.noise(0.13, octaves=2) - 0.5, 0, 1)
    canvas.blend(_BLOOD, 0.85 * raw * clot)


def paint_bcc_wheel(canvas: Canvas) -> None:
    """Paint spoke wheels: a darker hub, radial lines that swell towards their ends."""
    _lay_pink(canvas, 0.35)
    spokes, hubs = [], np.zeros_like(canvas.rgb[..., 0])
    for hub, size in (((-0.36, -0.12), 0.19), ((0.32, -0.16), 0.15), ((0.08, 0.24), 0.17)):
        for angle in np.linspace(0, 2 * math.pi, 12, endpoint=False):
            heading = angle + canvas.rng.normal(0, 0.08)
            inner, middle, outer = _turned(
                [(0.0, 0.0), (0.6 * size, 0.0), (size * canvas.rng.uniform(0.8, 1.0), 0.0)],
                hub, heading,
            )  # fmt: skip
            spokes += [Stroke([inner, outer], 0.010), Stroke([middle, outer], 0.020)]
        hubs = np.maximum(hubs, canvas.blob(hub, 0.28 * size, wobble=0.05, soft=0.35))
    canvas.blend((0.52, 0.38, 0.33), 0.85 * canvas.strokes(spokes, blur=0.004))
    canvas.blend((0.27, 0.22, 0.24), 0.95 * hubs)


# ---------------------------------------------------------------- squamous cell carcinoma


def _keratin(canvas: Canvas, mask: np.ndarray) -> None:
    crumbs = canvas.noise(0.06, octaves=4)
    ochre, cream = np.array((0.80, 0.60, 0.34)), np.array((0.97, 0.91, 0.77))
    tint = np.clip(0.5 + 0.7 * crumbs, 0, 1)[..., None]
    canvas.blend(np.asarray(ochre + (cream - ochre) * tint), 0.95 * mask)
    relief = np.gradient(crumbs, axis=0) + np.gradient(crumbs, axis=1)
    canvas.shade(1 + np.clip(relief * canvas.short * 0.006, -0.22, 0.12) * mask)


def paint_scc_keratin(canvas: Canvas) -> None:
    """Paint a keratin mass and white scale around it."""
    _lay_pink(canvas)
    _keratin(canvas, canvas.blob((-0.03, 0.0), 0.30, aspect=1.3, wobble=0.18, soft=0.2))
    scale = np.clip(2.4 * (canvas.noise(0.05, octaves=3) - 0.25), 0, 1)
    canvas.blend((0.99, 0.96, 0.92), 0.85 * scale)


def paint_scc_circles(canvas: Canvas) -> None:
    """Paint white circles around yellow plugs."""
    _lay_pink(canvas)
    for at in _places(canvas, 12, 0.20, (0.56, 0.38)):
        size = canvas.rng.uniform(0.055, 0.075)
        canvas.blend((0.98, 0.96, 0.93), 0.95 * canvas.blob(at, size, wobble=0.03, soft=0.2))
        canvas.blend((0.86, 0.68, 0.40), 0.95 * canvas.blob(at, 0.56 * size, wobble=0.05, soft=0.3))


def paint_scc_coils(canvas: Canvas) -> None:
    """Paint glomerular vessels in groups, with a little scale."""
    _lay_pink(canvas, 0.5)
    strokes = []
    for at in _places(canvas, 34, 0.125, (0.58, 0.42)):
        if math.hypot(at[0] + 0.1, at[1]) > 0.55:
            continue  # grouped, not everywhere
        size = canvas.rng.uniform(0.032, 0.042)
        turns = np.arange(0, 15, 0.3)
        spiral = [
            (size * (0.2 + t / 17) * math.cos(t), size * (0.2 + t / 17) * math.sin(t) * 0.85)
            for t in turns
        ]
        strokes.append(Stroke(_turned(spiral, at, canvas.rng.uniform(0, 6.28)), 0.0095))
    canvas.blend((0.92, 0.66, 0.62), 0.5 * canvas.strokes(strokes, blur=0.015))
    canvas.blend((0.66, 0.10, 0.13), 0.9 * canvas.strokes(strokes, blur=0.0015))
    scale = np.clip(2.4 * (canvas.noise(0.06, octaves=3) - 0.55), 0, 1)
    canvas.blend((0.99, 0.96, 0.92), 0.8 * scale)


def paint_scc_hairpins(canvas: Canvas) -> None:
    """Paint hairpin vessels, each in a white halo, around a keratin mass at one side."""
    _lay_pink(canvas, 0.5)
    loops = []
    for at in _places(canvas, 20, 0.18, (0.58, 0.42)):
        length, half = canvas.rng.uniform(0.075, 0.105), canvas.rng.uniform(0.017, 0.023)
        bend = [
            (length + half * math.cos(t), half * math.sin(t)) for t in np.linspace(-1.57, 1.57, 9)
        ]
        outline = [(-0.2 * length, -1.2 * half), (0.4 * length, -half), *bend]
        outline += [(0.4 * length, 0.8 * half), (0.1 * length, 1.3 * half)]
        heading = math.atan2(at[1], at[0]) + canvas.rng.normal(0, 0.5)
        loops.append(Stroke(_turned(outline, at, heading), 0.011))
    halo = canvas.strokes([Stroke(loop.points, 0.07) for loop in loops], blur=0.014)
    canvas.blend((0.98, 0.90, 0.87), 0.75 * halo)
    canvas.blend((0.68, 0.10, 0.13), 0.92 * canvas.strokes(loops, blur=0.0015))


def paint_scc_blood(canvas: Canvas) -> None:
    """Paint blood spots in a keratin mass."""
    _lay_pink(canvas)
    mass = canvas.blob((0.0, 0.0), 0.38, aspect=1.3, wobble=0.12, soft=0.15)
    _keratin(canvas, mass)
    for at in _places(canvas, 12, 0.10, (0.24, 0.24)):
        spot = canvas.blob(at, canvas.rng.uniform(0.014, 0.042), aspect=1.4, wobble=0.2, soft=0.35)
        canvas.blend(_BLOOD, 0.92 * spot)


# ---------------------------------------------------------------- melanoma


def paint_melanoma(canvas: Canvas) -> None:
    """Paint two unlike halves, a ragged edge, five colours."""
    lay_skin(canvas)
    mask = canvas.blob((-0.05, 0.0), 0.24, aspect=1.35, wobble=0.22, soft=0.14)
    mask = np.maximum(mask, canvas.blob((0.17, -0.10), 0.15, aspect=1.2, wobble=0.28, soft=0.14))
    mask = np.maximum(mask, canvas.blob((-0.22, 0.15), 0.09, wobble=0.35, soft=0.18))
    canvas.blend((0.52, 0.31, 0.19), 0.9 * mask)
    mottled = canvas.noise(0.07, octaves=3)
    canvas.blend((0.24, 0.13, 0.09), 0.8 * mask * np.clip(0.2 + 1.2 * mottled, 0, 1))
    for at, radius, colour in (
        ((0.17, -0.12), 0.13, (0.12, 0.08, 0.08)),
        ((0.0, 0.06), 0.11, (0.33, 0.38, 0.48)),
        ((-0.20, -0.04), 0.10, (0.74, 0.42, 0.36)),
        ((-0.02, -0.13), 0.07, (0.93, 0.85, 0.82)),
    ):
        patch = canvas.blob(at, radius, aspect=1.3, wobble=0.25, soft=0.5)
        canvas.blend(colour, 0.85 * patch * mask)
    for at in _places(canvas, 26, 0.04, (0.42, 0.30)):
        dot = canvas.blob(at, canvas.rng.uniform(0.006, 0.014), soft=0.4)
        near = canvas.blob((0.02, 0.0), 0.36, aspect=1.2, soft=0.2)
        canvas.blend((0.12, 0.08, 0.08), 0.85 * dot * near)


# ---------------------------------------------------------------- diagrams


def draw_dermatoscope(rng: np.random.Generator) -> Image.Image:
    """Draw skin in section, a dermatoscope on it, and the light that comes back through its lens.

    Args:
        rng: unused; a diagram does not vary.
    """
    zoom = 4
    width, height = SIZE_PX[0] * zoom, SIZE_PX[1] * zoom
    image = Image.new("RGB", (width, height), "#EAF4F3")
    pen = ImageDraw.Draw(image)

    def box(corners: tuple[float, float, float, float], colour: str, *, radius: float = 0) -> None:
        pen.rounded_rectangle([value * zoom for value in corners], radius * zoom, fill=colour)

    def shape(points: Sequence[_Point], colour: str) -> None:
        pen.polygon([(x * zoom, y * zoom) for x, y in points], fill=colour)

    box((0, 236, 480, 360), "#F2B9A3")  # below the surface
    box((0, 236, 480, 254), "#E9C6AC")  # the outer layer
    box((0, 234, 480, 238), "#C99A7C")
    pen.ellipse((178 * zoom, 240 * zoom, 302 * zoom, 292 * zoom), fill="#8A5A3B")  # the spot
    pen.ellipse((208 * zoom, 250 * zoom, 262 * zoom, 282 * zoom), fill="#5B3523")
    for start in (30, 330):
        points = [(start + 3 * t, 318 + 9 * math.sin(t / 5)) for t in range(42)]
        pen.line([(x * zoom, y * zoom) for x, y in points], fill="#B3262E", width=6 * zoom)
    # The body, cut open: two walls, lamps in them, a lens between.
    shape([(120, 60), (140, 60), (176, 230), (150, 230)], "#2F4A4C")
    shape([(360, 60), (340, 60), (304, 230), (330, 230)], "#2F4A4C")
    shape([(141, 70), (339, 70), (304, 230), (176, 230)], "#D4E8E6")
    box((150, 226, 330, 236), "#9CC9CB", radius=3)  # the glass on the skin
    for x, to in ((160, 196), (320, 284)):  # light goes down
        shape([(x, 150), (to - 16, 262), (to + 16, 262)], "#FBE7A1")
        box((x - 10, 138, x + 10, 154), "#F5C542", radius=5)
    shape([(226, 258), (254, 258), (266, 92), (214, 92)], "#FFF4CF")  # and comes back
    pen.ellipse((168 * zoom, 78 * zoom, 312 * zoom, 108 * zoom), fill="#7FB9BD")
    pen.ellipse((180 * zoom, 82 * zoom, 300 * zoom, 100 * zoom), fill="#B9DEDF")
    # The eye that looks through it.
    pen.ellipse((196 * zoom, 12 * zoom, 284 * zoom, 60 * zoom), fill="#FFFFFF",
                outline="#2F4A4C", width=4 * zoom)  # fmt: skip
    pen.ellipse((222 * zoom, 18 * zoom, 258 * zoom, 54 * zoom), fill="#00696D")
    pen.ellipse((232 * zoom, 28 * zoom, 248 * zoom, 44 * zoom), fill="#0E1514")
    return image.reduce(zoom)


def draw_views(rng: np.random.Generator) -> Image.Image:
    """Draw six views of one drawn spot: near and far, turned and flipped."""
    spot = phantoms.draw("bcc", size_px=(600, 600), rng=rng)
    tile, gap = 150, 7
    sheet = Image.new("RGB", (3 * tile + 4 * gap, 2 * tile + 3 * gap), "#EAF4F3")
    turns = (
        None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE,
    )  # fmt: skip
    for place, (turn, cut) in enumerate(zip(turns, (0, 40, 80, 120, 60, 20), strict=True)):
        view = spot.crop((cut, cut, 600 - cut, 600 - cut)).resize((tile, tile))
        view = view.transpose(turn) if turn is not None else view
        row, column = divmod(place, 3)
        sheet.paste(view, (gap + column * (tile + gap), gap + row * (tile + gap)))
    whole = Image.new("RGB", SIZE_PX, "#EAF4F3")
    whole.paste(sheet, ((SIZE_PX[0] - sheet.width) // 2, (SIZE_PX[1] - sheet.height) // 2))
    return whole


FIGURES: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "dermatoscope": draw_dermatoscope,
    "bcc": _phantom("bcc"),
    "bcc_vessels": _painted(paint_bcc_vessels),
    "bcc_leaf": _painted(paint_bcc_leaf),
    "bcc_nests": _painted(paint_bcc_nests),
    "bcc_ulcer": _painted(paint_bcc_ulcer),
    "bcc_wheel": _painted(paint_bcc_wheel),
    "scc": _phantom("scc"),
    "scc_keratin": _painted(paint_scc_keratin),
    "scc_circles": _painted(paint_scc_circles),
    "scc_coils": _painted(paint_scc_coils),
    "scc_hairpins": _painted(paint_scc_hairpins),
    "scc_blood": _painted(paint_scc_blood),
    "skin": _phantom("skin"),
    "melanoma": _painted(paint_melanoma),
    "mole": _phantom("nevus"),
    "app": draw_views,
}


def main() -> None:
    """Write every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for the pictures")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        note = phantoms.NOTE.encode()  # as a comment in the file: what it is
        draw(name).save(folder / f"{name}.jpg", quality=QUALITY, optimize=True, comment=note)


if __name__ == "__main__":
    main()
