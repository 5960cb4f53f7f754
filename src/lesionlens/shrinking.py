"""From a decoded image of any kind to 8-bit RGB of the size that is wanted, in little memory.

Part of the pixel path, used by ``imaging`` alone: what is large is converted in bands, and scaled
in the smallest mode that gives the same bits as RGB or RGBA.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from lesionlens.errors import ImageError
from lesionlens.headers import pixel_bytes

#: Pixels that are converted at a time, and what that takes at most, on the way as floats.
_BAND_PIXELS = 1 << 20
_BAND_BYTES = 24 * _BAND_PIXELS


def shrink(
    image: Image.Image,
    size: tuple[int, int],
    name: str,
    part: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Return ``image`` as 8-bit RGB of ``size``; transparency lies on white, as viewers show it.

    Args:
        image: as stored.
        size: (width, height) in pixels of the result.
        name: for messages.
        part: what of it to take, in its pixels: left, top, right, bottom; None: all.

    Raises:
        ImageError: its values are of no known range.
        OSError: its palette is missing.
    """
    if image.mode == "P" and image.palette is None:
        raise OSError("its palette is missing")  # Pillow asserts that there is one
    _check_values(image, name)
    mode = _scaled_mode(image.mode, image.has_transparency_data)
    if mode != "RGBa":
        small = _as_mode(image, mode).resize(size, Image.Resampling.BILINEAR, part)
        return _as_mode(small, "RGB")
    # Scaled premultiplied, as Pillow scales RGBA, laying it on white may wait until it is small.
    if image.size == size and part in (None, (0, 0, *size)):
        rgba = image.convert("RGBA")
    else:
        rgba = _as_mode(image, mode).resize(size, Image.Resampling.BILINEAR, part).convert("RGBA")
    ground = Image.new("RGBA", size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, rgba).convert("RGB")


def from_array(array: np.ndarray, mode: str, name: str) -> Image.Image:
    """Return an array of pixels, uint8, uint16 or float 0..1, as an 8-bit image of this mode.

    Raises:
        ImageError: its values are of another type or range.
    """
    if np.issubdtype(array.dtype, np.floating):
        _check_floats(float(array.min()), float(array.max()), name)  # NaN if there is any
    elif array.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"{name}: an array of {array.dtype} is not accepted; use uint8 (0..255), "
            "uint16 (0..65535) or float (0..1)"
        )
    image = Image.new(mode, (array.shape[1], array.shape[0]))
    for start, end in _bands(image.size):
        band = np.ascontiguousarray(_as_8_bits(array[start:end]))
        image.paste(Image.fromarray(band), (0, start))
    return image


def _scaled_mode(mode: str, is_clear: bool) -> str:
    """Return the mode to scale an image in: of the same bits as RGB or RGBA, and no larger."""
    if _is_deep(mode):
        return "L"
    if is_clear:
        return "RGBa"
    return "L" if mode in ("1", "L") else "RGB"


def shrinking_bytes(
    size: tuple[int, int], mode: str, is_clear: bool, wanted: tuple[int, int]
) -> int:
    """Return what ``shrink`` takes beyond the pixels of this size and mode.

    Args:
        size: (width, height) of the image.
        mode: its, in Pillow's words.
        is_clear: whether any of it is transparent.
        wanted: (width, height) to shrink it to.
    """
    scaled = _scaled_mode(mode, is_clear)
    # Scaled in one direction first; in which, Pillow chooses.
    between = ((wanted[0], size[1]), (size[0], wanted[1]))
    n_bytes = max(pixel_bytes(one, scaled) for one in between)
    return n_bytes + (mode != scaled) * (pixel_bytes(size, scaled) + _BAND_BYTES)


def _is_deep(mode: str) -> bool:
    """Return whether this is greyscale of 16 or 32 bits."""
    return mode.startswith("I") or mode == "F"


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an image of this mode: itself where it is one, as converting would copy it whole.

    A large one is converted in bands: on the way are copies, of up to four times its memory.
    """
    if image.mode == mode != "RGBa":
        return image
    bands = list(_bands(image.size))
    if len(bands) == 1:
        return _converted(image, mode)
    whole = Image.new(mode, image.size)
    for start, end in bands:
        whole.paste(_converted(image.crop((0, start, image.width, end)), mode), (0, start))
    return whole


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if _is_deep(image.mode):
        values = np.asarray(image)
        image = Image.fromarray(_as_8_bits(values if image.mode == "F" else values.astype("u2")))
    elif mode == "RGBa":  # there is no way to it from most others
        image = image.convert("RGBA")
    return image.convert(mode)


def _bands(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield first row and end of each band of an image, from above."""
    n_rows = max(1, _BAND_PIXELS // size[0])
    for start in range(0, size[1], n_rows):
        yield start, min(size[1], start + n_rows)


def _check_values(image: Image.Image, name: str) -> None:
    """Raise ImageError where a greyscale image of 32 bits has values of no known range."""
    if image.mode not in ("I", "F"):
        return
    spans = []
    for start, end in _bands(image.size):
        values = np.asarray(image.crop((0, start, image.width, end)))
        spans.append((values.min(), values.max()))
    low, high = np.min(spans), np.max(spans)  # NaN if there is any
    if image.mode == "F":
        _check_floats(float(low), float(high), name)
    elif low < 0 or high > 65535:
        raise ImageError(
            f"{name}: its pixels span {low}..{high}; save it with 8 or 16 bits a channel"
        )


def _check_floats(low: float, high: float, name: str) -> None:
    if not 0 <= low <= high <= 1:
        raise ImageError(
            f"{name}: float pixels must be finite and within 0..1, these span "
            f"{low:g}..{high:g}; pass 0..255 as uint8"
        )


def _as_8_bits(values: np.ndarray) -> np.ndarray:
    """Return pixels of one of the accepted types, checked, as uint8."""
    if values.dtype == np.uint16:
        return (values.astype(np.float32) / 257.0 + 0.5).astype(np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        return (values * 255 + 0.5).astype(np.uint8)
    return values
