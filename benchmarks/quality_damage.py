"""What goes wrong with a photo, step by step, for ``quality.py`` and the tests of the gate.

Each ladder takes the model's own pixels, uint8 (224, 224, 3), from hardly to hopelessly
damaged. The same image at the same strength is always the same picture: what varies from image
to image (where the glare lies, which way the camera moved) hangs on the row alone.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from lesionlens.evidence.perturbations import PERTURBATIONS, Apply
from lesionlens.imaging import INPUT_PX

#: Shorter side of a phone's photo.
PHONE_PX = 3024


@dataclass(frozen=True)
class Ladder:
    """One kind of damage from weak to strong."""

    key: str
    title: str
    unit: str  # of the strengths
    strengths: tuple[float, ...]
    apply: Apply
    source_px: Callable[[float], int] = lambda strength: PHONE_PX  # shorter side of the file


def _move(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Blur along a line of ``strength`` pixels, in a direction of the row's own."""
    angle = np.random.default_rng([1, row]).uniform(0, np.pi)
    side, margin = len(rgb), math.ceil(strength / 2)
    padded = np.pad(rgb, ((margin, margin), (margin, margin), (0, 0)), "edge")
    steps = np.linspace(-strength / 2, strength / 2, math.ceil(strength) + 1)
    total = np.zeros(rgb.shape, np.uint32)
    for step in steps:
        top = margin + round(step * np.sin(angle))
        left = margin + round(step * np.cos(angle))
        total += padded[top : top + side, left : left + side]
    return ((total + len(steps) // 2) // len(steps)).astype(np.uint8)


def _veil(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Lay white light over everything, as fog on the lens or a lamp beside it does."""
    return (rgb * (1 - strength) + 255 * strength + 0.5).astype(np.uint8)


def _fade(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Take colour away, up to grey."""
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    return (rgb * (1 - strength) + grey[..., None] * strength + 0.5).astype(np.uint8)


def _glare(
    rgb: np.ndarray, strength: float, row: int, radius_px: tuple[float, float], soft_px: float
) -> np.ndarray:
    """Burn out ``strength`` of the frame in spots, most of them near the middle."""
    rng = np.random.default_rng([2, row])
    side = len(rgb)
    light = Image.new("L", (side, side))
    draw = ImageDraw.Draw(light)
    while light.histogram()[255] < strength * side**2:
        x, y = side / 2 + rng.normal(0, side / 5, 2)
        wide, high = rng.uniform(*radius_px, 2)
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill=255)
    share = np.asarray(light.filter(ImageFilter.GaussianBlur(soft_px)), np.float32)[..., None] / 255
    return (rgb + (255 - rgb) * share + 0.5).astype(np.uint8)


def _flash(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    return _glare(rgb, strength, row, (0.03 * INPUT_PX, 0.12 * INPUT_PX), 2.5)


def _dots(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    return _glare(rgb, strength, row, (0.7, 2.5), 0.5)


def _small(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Keep ``strength`` pixels a side, then enlarge again."""
    size = (round(strength), round(strength))
    small = Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(small.resize(rgb.shape[1::-1], Image.Resampling.BILINEAR))


def _far(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Move the camera away: the frame takes ``strength`` of the side, plain skin around it.

    In the colour of the frame's own border, dark corners aside, with a camera's grain.
    """
    side = len(rgb)
    inner = max(8, round(side * strength))
    small = np.asarray(Image.fromarray(rgb).resize((inner, inner), Image.Resampling.BILINEAR))
    border = np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])
    lit = border[border.max(axis=1) >= 70]
    skin = np.median(lit if len(lit) else small.reshape(-1, 3), axis=0)
    ground = skin + np.random.default_rng([3, row]).normal(0, 1.5, (side, side, 1))
    y, x = np.mgrid[-1 : 1 : inner * 1j, -1 : 1 : inner * 1j]
    share = np.clip((1 - np.maximum(abs(x), abs(y))) / 0.3, 0, 1)[..., None]
    start = (side - inner) // 2
    inside = ground[start : start + inner, start : start + inner]
    inside += (small - inside) * share
    return np.clip(ground + 0.5, 0, 255).astype(np.uint8)


def cut_lesion(rgb: np.ndarray, lesion: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Move the camera until ``strength`` of the lesion lies outside, over a side by the row.

    What comes into view on the far side is the skin there, mirrored.

    Args:
        rgb: uint8, (side, side, 3).
        lesion: bool, (side, side).
        strength: 0..1.
        row: which of the four sides.
    """
    turns = int(np.random.default_rng([4, row]).integers(4))
    picture, mask = np.rot90(rgb, turns), np.rot90(lesion, turns)
    gone = np.cumsum(mask.sum(axis=1)) / max(1, mask.sum())
    shift = int(np.searchsorted(gone, strength)) + 1 if strength else 0
    moved = np.concatenate([picture[shift:], picture[::-1][:shift]])
    return np.ascontiguousarray(np.rot90(moved, -turns))


def darken_skin(rgb: np.ndarray, angle: float) -> np.ndarray:
    """Give the picture's middle tone a typology angle (ITA) in degrees, the rest in proportion.

    ITA = arctan((L* - 50) / b*). The camera's exposure stays as it was, where a camera would open
    up: a test of what a gate makes of dark skin's brightness and colour, the hardest case of it,
    made of light skin for want of anything better.
    """
    from skimage.color import lab2rgb, rgb2lab

    lab = rgb2lab(rgb)
    yellow = float(np.clip(np.median(lab[..., 2]), 8, 15))
    lab[..., 0] *= (50 + yellow * math.tan(math.radians(angle))) / np.median(lab[..., 0])
    lab[..., 2] += yellow - np.median(lab[..., 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # colours that sRGB has not are clipped
        return (np.clip(lab2rgb(lab), 0, 1) * 255 + 0.5).astype(np.uint8)


_KINDS = {kind.key: kind.apply for kind in PERTURBATIONS}

LADDERS: tuple[Ladder, ...] = (
    Ladder(
        "blur", "Out of focus", "Gaussian, px of 224",
        (1, 1.5, 2, 2.5, 3, 4, 6), _KINDS["blur"],
    ),
    Ladder("motion", "Moved", "px of 224", (5, 9, 12, 16, 24), _move),
    Ladder("darker", "Darker", "stops", (-1, -2, -2.5, -3, -3.5, -4, -5), _KINDS["darker"]),
    Ladder(
        "brighter", "Overexposed", "stops", (0.5, 1, 1.25, 1.5, 2, 2.5), _KINDS["brighter"]
    ),
    Ladder(
        "veil", "Veiled by stray light", "share of white",
        (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85), _veil,
    ),
    Ladder(
        "flash", "Glare, few large spots", "share of the frame",
        (0.002, 0.02, 0.07, 0.2), _flash,
    ),
    Ladder(
        "dots", "Glare, many small dots", "share of the frame",
        (0.001, 0.002, 0.005, 0.01, 0.04), _dots,
    ),
    Ladder("fade", "Colours taken away", "share of grey", (0.5, 0.75, 0.9, 1), _fade),
    Ladder("small", "Few pixels", "px a side", (112, 80, 64, 48, 32), _small, round),
    Ladder("far", "Camera further away", "share of the side", (0.8, 0.5, 0.3, 0.2), _far),
    Ladder("jpeg", "JPEG of 224 px", "quality", (60, 30, 15, 7), _KINDS["jpeg"]),
)  # fmt: skip
