"""Pictures of explanations: the photo, and beside it where the answer came from.

They must be readable without telling red from green, or any colour from another. The colours
are cividis, made for people with colour-vision deficiencies (Nuñez, Anderton and Renslow 2018,
https://doi.org/10.1371/journal.pone.0199239): dark blue to bright yellow, each step lighter
than the last. The photo under them is grey and of little contrast, so that what is hot is
lighter than what is cold whatever lies beneath. Lines at one half and three quarters of the
peak say the same without colour.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, features

from lesionlens.files import atomic_write
from lesionlens.labels import FULL_NAMES
from lesionlens.saliency import Explanation

#: Stands on every picture and in the metadata of its file.
NOTE = "Not a diagnosis."
#: Longer side of each of the two panels, unless told.
PANEL_PX = 480
#: Where lines are drawn, in shares of the peak, and how wide, in pixels.
CONTOURS: tuple[tuple[float, float], ...] = ((0.5, 1.2), (0.75, 2.6))

# 17 of the 256 colours of cividis, evenly spaced; between them linearly.
_CIVIDIS = np.array(
    [
        (0, 34, 78), (0, 46, 106), (26, 56, 111), (50, 67, 109), (67, 78, 108), (83, 90, 109),
        (97, 101, 111), (111, 112, 115), (125, 124, 120), (140, 136, 120), (155, 148, 118),
        (171, 160, 114), (188, 174, 108), (205, 187, 99), (222, 201, 88), (240, 216, 70),
        (254, 232, 56),
    ],
    np.float32,
)  # fmt: skip
# The photo under the colours: its greys squeezed into this range, and its share of the mixture.
_GREY_RANGE = (50.0, 180.0)
_PHOTO_SHARE = 0.4

_INK, _FAINT, _PAPER = (17, 24, 39), (75, 85, 99), (255, 255, 255)
_MARGIN_PX = 16
_LEAST_WIDTH_PX = 660  # of the whole picture: the words need that
_CAUTION = (
    "Coarse: where the model found evidence. Not the outline of a lesion, no proof that the "
    "answer is right."
)
#: How an answer is introduced, by its verdict.
_OPENINGS = {
    "uncertain": "Uncertain: ",
    "out_of_scope": "None of the three; likeliest of them: ",
    "poor_image": "Poor photo; likeliest: ",
}


def colours(values: np.ndarray) -> np.ndarray:
    """Return the colours of values.

    Args:
        values: (...), 0..1; what lies outside takes the colour of the nearer end.

    Returns:
        (..., 3), float32, RGB 0..255.
    """
    place = np.clip(values, 0, 1) * (len(_CIVIDIS) - 1)
    stops = np.arange(len(_CIVIDIS))
    channels = [np.interp(place, stops, _CIVIDIS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def overlay(picture: Image.Image, values: np.ndarray) -> Image.Image:
    """Lay a map over a picture, in colours and lines.

    Args:
        picture: of any size and shape.
        values: (rows, columns), 0..1, over the whole picture, stretched as it may be.

    Returns:
        RGB image of the picture's size.
    """
    large = np.asarray(
        Image.fromarray(np.asarray(values, np.float32)).resize(
            picture.size, Image.Resampling.BICUBIC
        )
    )
    low, high = _GREY_RANGE
    grey = low + np.asarray(picture.convert("L"), np.float32) * ((high - low) / 255)
    mixed = (1 - _PHOTO_SHARE) * colours(large) + _PHOTO_SHARE * grey[..., np.newaxis]
    for level, width in CONTOURS:
        distance = _distance_px(large, level)
        for colour, half in ((0.0, width / 2 + 1.5), (255.0, width / 2)):  # a halo, then the line
            cover = np.clip(half + 0.5 - distance, 0, 1)[..., np.newaxis]
            mixed += cover * (colour - mixed)
    return Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))


def draw_explanation(
    picture: Image.Image, explanation: Explanation, *, name: str = "", panel_px: int = PANEL_PX
) -> Image.Image:
    """Draw the photo and, beside it, where the evidence for a class was, with a legend.

    Args:
        picture: the photo as ``imaging.load_picture`` gives it: upright, not squashed.
        explanation: of the same image.
        name: what to call the image in the picture; as a rule its file name.
        panel_px: longer side of each of the two panels.

    Returns:
        RGB image, at least 660 pixels wide.
    """
    scale = panel_px / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    photo = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    # Each panel in its half, so that a narrow photo leaves room for the words.
    half = max(width, (_LEAST_WIDTH_PX - 3 * _MARGIN_PX) // 2)
    left, right, top = _MARGIN_PX, half + 2 * _MARGIN_PX, 92
    below = top + height + 12
    page = Image.new("RGB", (right + half + _MARGIN_PX, below + 74), _PAPER)
    page.paste(photo, (left, top))
    page.paste(overlay(photo, explanation.map), (right, top))
    pen = _Pen(page)
    whole = 2 * half + _MARGIN_PX
    pen.write((left, 12), _answer(explanation), 22, _INK, whole)
    pen.write((left, 42), _circumstances(explanation), 14, _FAINT, whole)
    pen.write((left, top - 22), name or "The photo", 14, _INK, half)
    pen.write((right, top - 22), _subject(explanation), 14, _INK, half)
    pen.write((left, below - 2), NOTE, 16, _INK, half)
    _draw_legend(page, pen, (right, below), half)
    pen.write((left, below + 46), _CAUTION, 12, _FAINT, whole)
    return page


def save_picture(picture: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write a picture of an explanation as PNG, atomically, ``NOTE`` in its metadata."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "LesionLens")
    text.add_text("Description", NOTE)
    with atomic_write(path, "wb") as file:
        picture.save(file, "PNG", pnginfo=text, compress_level=3)
    return Path(path)


def _distance_px(values: np.ndarray, level: float) -> np.ndarray:
    """Return about how far each pixel is from the line where the values are ``level``."""
    if min(values.shape) < 2:  # no slope, no line
        return np.full(values.shape, np.inf, np.float32)
    slope = np.hypot(*np.gradient(values))
    none = np.full_like(values, np.inf)  # a plateau has no line on it
    return np.divide(np.abs(values - level), slope, out=none, where=slope > 1e-5)


class _Pen:
    """Writes lines of text that fit."""

    def __init__(self, page: Image.Image) -> None:
        self.draw = ImageDraw.Draw(page)
        self._has_sizes = features.check("freetype2")

    def write(
        self,
        place: tuple[int, int],
        text: str,
        size: int,
        colour: tuple[int, int, int],
        room_px: int,
        *,
        anchor: float = 0,
    ) -> None:
        """Write a line at ``place``; what has no room gives way to an ellipsis.

        ``anchor`` is the share of its width that stands left of ``place``.
        """
        font = ImageFont.load_default(size if self._has_sizes else None)
        text = _plain(text)
        if font.getlength(text) > room_px:
            while text and font.getlength(text + "...") > room_px:
                text = text[:-1]
            text += "..."
        left = place[0] - round(anchor * font.getlength(text))
        self.draw.text((left, place[1]), text, fill=colour, font=font)


def _plain(text: str) -> str:
    """Return text in what the built-in font can write: ASCII and the middle dot."""
    parts = unicodedata.normalize("NFKD", text)
    kept = "".join(sign for sign in parts if not unicodedata.combining(sign))
    return "".join(sign if sign == "·" or " " <= sign <= "~" else "?" for sign in kept)


def _answer(explanation: Explanation) -> str:
    prediction = explanation.prediction
    opening = _OPENINGS.get(prediction.verdict, "")
    return f"{opening}{FULL_NAMES[prediction.label]}, {_percent(prediction.probability)}"


def _circumstances(explanation: Explanation) -> str:
    prediction = explanation.prediction
    parts = [] if prediction.verdict in _OPENINGS else [prediction.verdict.replace("_", " ")]
    if prediction.scope is not None:
        parts.append(f"one of the three: {_percent(prediction.scope)}")
    if len(prediction.prediction_set) > 1:
        parts.append(f"may be {' or '.join(prediction.prediction_set)}")
    views = prediction.views
    parts.append("one view" if views == 1 else f"mean of {views} views")
    return " · ".join(parts)


def _subject(explanation: Explanation) -> str:
    name = FULL_NAMES[explanation.label]
    if explanation.against is not None:
        name += f" rather than {FULL_NAMES[explanation.against]}"
    return f"{'Nothing' if explanation.is_empty else 'What'} spoke for: {name}"


def _percent(share: float) -> str:
    """Return a share in whole percent that never says 0 or 100 of what is not quite that."""
    if 0 < share < 0.005:
        return "<1 %"
    return ">99 %" if 0.995 <= share < 1 else f"{min(share, 1.0):.0%}".replace("%", " %")


def _draw_legend(page: Image.Image, pen: _Pen, place: tuple[int, int], width_px: int) -> None:
    """Draw a bar from nothing to the peak, with the lines that stand for shares of it."""
    left, top = place
    height_px = 16
    values = np.linspace(0, 1, width_px, dtype=np.float32)
    # As over a photo of middle grey, so that the bar has the colours of the panel.
    bar = overlay(Image.new("L", (width_px, height_px), 128), np.tile(values, (height_px, 1)))
    page.paste(bar, place)
    shares = [(level, f"{level:.0%}".replace("%", " %")) for level, _ in CONTOURS]
    for level, words in ((0.0, "nothing"), *shares, (1.0, "its peak")):
        x = left + round(level * (width_px - 1))
        anchor = level if level in (0, 1) else 0.5
        pen.write((x, top + height_px + 4), words, 12, _FAINT, width_px, anchor=anchor)
