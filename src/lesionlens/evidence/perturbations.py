"""What may happen to a picture between the skin and the model, each at five strengths.

Every change takes the model's own pixels, uint8 (224, 224, 3), and gives as many back. The same
image under the same change is always the same picture: what varies from image to image (which
hairs, which way a frame is turned) hangs on the row it is asked about in, and on nothing else.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from lesionlens.evidence.overlays import N_DRAWINGS, hair_layer, ink_layer, ruler_layer

#: (pixels, strength, row) -> pixels.
Apply = Callable[[np.ndarray, float, int], np.ndarray]


@dataclass(frozen=True)
class Perturbation:
    """One kind of change, and how strong it is tried."""

    key: str
    title: str
    unit: str  # of the strengths, as an axis is labelled
    strengths: tuple[float, ...]  # five, from weak to strong
    untouched: float  # the strength that changes nothing
    apply: Apply


def _blur(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    return np.asarray(Image.fromarray(rgb).filter(ImageFilter.GaussianBlur(strength)))


def _jpeg(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=round(strength))
    with Image.open(stream) as image:
        return np.asarray(image.convert("RGB"))


def _light(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Change the exposure by ``strength`` stops: light is scaled, then coded as sRGB again."""
    return _coded(_LINEAR[rgb] * np.float32(2.0**strength))


def _cast(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Scale red against blue, in light: above 1 warmer, below 1 cooler."""
    half = np.float32(np.sqrt(strength))
    gain = np.array([half, 1.0, 1 / half], np.float32)
    gain /= np.float32(gain @ np.array([0.2126, 0.7152, 0.0722], np.float32))  # as bright as before
    return _coded(_LINEAR[rgb] * gain)


def _rotation(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    """Turn by ``strength`` degrees, every other image the other way; corners are mirrored."""
    side = len(rgb)
    margin = math.ceil(0.21 * side)  # half of what a diagonal is longer than a side
    padded = np.pad(rgb, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    angle = strength if row % 2 == 0 else -strength
    turned = Image.fromarray(padded).rotate(angle, Image.Resampling.BICUBIC)
    return np.asarray(turned.crop((margin, margin, margin + side, margin + side)))


def _hair(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    return hair_layer(round(strength), row % N_DRAWINGS).lay_over(rgb)


def _ruler(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    return ruler_layer(strength / 100, row % N_DRAWINGS).lay_over(rgb)


def _ink(rgb: np.ndarray, strength: float, row: int) -> np.ndarray:
    return ink_layer(round(strength), row % N_DRAWINGS).lay_over(rgb)


def _coded(light: np.ndarray) -> np.ndarray:
    """Return linear light, 0..1 and above, as 8-bit sRGB; what is too bright is burnt out."""
    steps = np.minimum(light, 1) * (len(_CODES) - 1) + 0.5
    return _CODES[steps.astype(np.int32)]


def _linear_of(codes: np.ndarray) -> np.ndarray:
    """Return the light of sRGB codes 0..1 (IEC 61966-2-1)."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


def _code_of(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


_LINEAR = _linear_of(np.arange(256) / 255).astype(np.float32)
_CODES = (_code_of(np.linspace(0, 1, 4096 * 4)) * 255 + 0.5).astype(np.uint8)

#: Every kind, in the order of the report.
PERTURBATIONS: tuple[Perturbation, ...] = (
    Perturbation("blur", "Blur", "Gaussian, pixels of 224", (0.5, 1, 2, 3, 5), 0, _blur),
    Perturbation("jpeg", "JPEG", "quality", (60, 40, 20, 10, 5), 100, _jpeg),
    Perturbation("darker", "Darker", "stops", (-0.5, -1, -1.5, -2, -3), 0, _light),
    Perturbation("brighter", "Brighter", "stops", (0.25, 0.5, 0.75, 1, 1.5), 0, _light),
    Perturbation("warm", "Warm cast", "red / blue", (1.15, 1.3, 1.5, 1.8, 2.4), 1, _cast),
    Perturbation("cool", "Cool cast", "red / blue", (0.87, 0.77, 0.67, 0.56, 0.42), 1, _cast),
    Perturbation("rotation", "Rotation", "degrees", (9, 18, 27, 36, 45), 0, _rotation),
    Perturbation("hair", "Hair", "hairs drawn", (5, 10, 20, 40, 80), 0, _hair),
    Perturbation("ruler", "Ruler", "% of the side it reaches in", (6, 12, 20, 30, 45), 0, _ruler),
    Perturbation("ink", "Ink", "pen marks drawn", (1, 2, 4, 6, 8), 0, _ink),
)


def draw_contact_sheet(rgb: np.ndarray, *, row: int = 0, gap_px: int = 6) -> Image.Image:
    """Draw a picture under every kind and strength, a row for each kind, untouched on the left.

    Args:
        rgb: uint8, (224, 224, 3).
        row: which hairs, ruler and marks.
        gap_px: between two pictures.

    Returns:
        An RGB picture, six columns wide.
    """
    side = len(rgb)
    columns = 1 + max(len(kind.strengths) for kind in PERTURBATIONS)
    size = (
        columns * (side + gap_px) - gap_px,
        len(PERTURBATIONS) * (side + gap_px) - gap_px,
    )
    sheet = Image.new("RGB", size, "white")
    for line, kind in enumerate(PERTURBATIONS):
        shown = [rgb, *(kind.apply(rgb, strength, row) for strength in kind.strengths)]
        for column, picture in enumerate(shown):
            place = (column * (side + gap_px), line * (side + gap_px))
            sheet.paste(Image.fromarray(picture), place)
    return sheet
