"""Draw the app's icon and splash screens: `make assets`.

All of it is drawn here, in code, four times as large as it is written and then reduced, so that
any size can be made again and a change of a colour is a change of one line. The same file comes
out on every run; ``tests/test_app_assets.py`` compares.

The mark is an aperture, the part of a lens that decides how much light comes in, and through it
one looks at a spot on skin. No cross, no tick: the app judges a picture and does not heal.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "src/lesionlens/app/assets"

TEAL = "#006468"  # primary of the app on light ground, and behind the adaptive icon
BLADES = "#CDEBE8"
SKIN = "#EFC7A6"
SPOT = "#8A5A3B"
CORE = "#5B3523"
#: Behind the splash, as behind the first screen. pyproject.toml has them again; a test compares.
SPLASH_LIGHT = "#F8FAFA"
SPLASH_DARK = "#151819"

OVERSAMPLING = 4
N_BLADES = 6
#: Of the canvas' half width: what an Android launcher shows, whatever shape it cuts out, is a
#: circle of 66 of the 108 units of an adaptive icon
#: (https://developer.android.com/develop/ui/views/launch/icon_design_adaptive).
ADAPTIVE_SAFE = 66 / 108
#: And of an Android 12 splash icon without a background of its own: a circle of 192 of 288 dp.
SPLASH_SAFE = 192 / 288


def _on_circle(radius: float, degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees)
    return radius * math.cos(angle), radius * math.sin(angle)


def _spot_outline(radius: float, *, wobble: float, turn: float) -> list[tuple[float, float]]:
    """Return a closed outline that is almost round: two waves, whole ones, along the circle."""
    points = []
    for degrees in range(0, 360, 3):
        angle = math.radians(degrees)
        wave = math.sin(3 * angle + turn) + 0.6 * math.sin(5 * angle - 2 * turn)
        points.append(_on_circle(radius * (1 + wobble * wave), degrees))
    return points


def mark(size_px: int, *, radius: float, blades: str = BLADES, edge: str = TEAL) -> Image.Image:
    """Return the mark on nothing.

    Args:
        size_px: width and height.
        radius: of the whole mark, as a share of half the width, 0..1.
        blades: colour of the aperture.
        edge: colour of the lines between its blades: that of what lies behind.

    Returns:
        RGBA, transparent outside the mark.
    """
    large = size_px * OVERSAMPLING
    image = Image.new("RGBA", (large, large), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    unit = large / 2 * radius  # 1 is the rim of the mark

    def place(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(large / 2 + x * unit, large / 2 + y * unit) for x, y in points]

    def disc(share: float, colour: str) -> None:
        draw.ellipse(place([(-share, -share), (share, share)]), fill=colour)

    disc(1.0, blades)
    opening, width = 0.60, max(1, round(0.045 * unit))
    corners = [_on_circle(opening, 360 / N_BLADES * n - 75) for n in range(N_BLADES)]
    for n, (x, y) in enumerate(corners):
        # A blade's edge runs along one side of the opening and on to the rim.
        before_x, before_y = corners[n - 1]
        step_x, step_y = x - before_x, y - before_y
        along = math.hypot(step_x, step_y)
        far = math.sqrt(1 - (opening * math.cos(math.pi / N_BLADES)) ** 2) - along / 2
        end = (x + step_x / along * far, y + step_y / along * far)
        draw.line(place([(x, y), end]), fill=edge, width=width)
    draw.polygon(place(corners), fill=SKIN)
    draw.line(place([*corners, corners[0], corners[1]]), fill=edge, width=width, joint="curve")
    draw.polygon(place(_spot_outline(0.27, wobble=0.07, turn=0.8)), fill=SPOT)
    inner = [(x + 0.04, y + 0.03) for x, y in _spot_outline(0.13, wobble=0.10, turn=2.1)]
    draw.polygon(place(inner), fill=CORE)
    return image.resize((size_px, size_px), Image.Resampling.LANCZOS)


def tile(size_px: int, *, corner: float, radius: float) -> Image.Image:
    """Return the mark on its teal tile, RGBA.

    Args:
        size_px: width and height.
        corner: radius of the rounded corners, as a share of the width; 0 is a full square.
        radius: of the mark, as a share of half the width.
    """
    large = size_px * OVERSAMPLING
    image = Image.new("RGBA", (large, large), (0, 0, 0, 0))
    ImageDraw.Draw(image).rounded_rectangle(
        (0, 0, large - 1, large - 1), radius=corner * large, fill=TEAL
    )
    image = image.resize((size_px, size_px), Image.Resampling.LANCZOS)
    image.alpha_composite(mark(size_px, radius=radius))
    return image


def draw_all() -> dict[str, Image.Image]:
    """Return every drawn asset by its file name."""
    splash_radius = SPLASH_SAFE * 0.8
    return {
        # Desktop, browser (which is sent it in the sizes that it asks for), the About page.
        "icon.png": tile(1024, corner=0.22, radius=0.76),
        # Foreground of the adaptive icon; adaptive_icon_background in pyproject.toml is TEAL.
        "icon_android.png": mark(1024, radius=ADAPTIVE_SAFE * 0.92),
        "splash_android.png": mark(1152, radius=splash_radius, blades=TEAL, edge=SPLASH_LIGHT),
        "splash_dark_android.png": mark(1152, radius=splash_radius, edge=SPLASH_DARK),
    }


def main() -> None:
    """Write the assets."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=ASSETS, help="folder to write to")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    for name, image in draw_all().items():
        image.save(output / name, optimize=True)
        print(f"{output / name}: {image.width} px, {(output / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
