"""The pixel path: from an image file to the pixels that the model sees.

Training, prediction, bulk screening and the phone all decode and resize here and nowhere
else, so that a model is never asked about pixels of another making. The path is: header
checked, JPEG decoded at the smallest DCT scale that keeps both sides at ``DRAFT_PX`` or
more, colours brought to 8-bit RGB, resized with an antialiased bilinear filter to
``INPUT_PX`` squared (the frame is squashed, as the archives' own small copies are, so
that nothing at the border is lost), and only then turned upright by its EXIF orientation,
which commutes with squashing and is cheaper on the small image.

Scaled decoding and a full decode differ by less than 1 of 255 grey levels on average and
the former takes a third of the time on a 12-megapixel photo (benchmarks/imaging.py).
"""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lesionlens.errors import ImageError

#: Side in pixels of the square that the model takes.
INPUT_PX = 224
#: A JPEG is decoded at a reduced scale as long as both sides stay at least this long.
DRAFT_PX = 2 * INPUT_PX
#: Refuse more pixels than this from the header alone. A 108-megapixel phone photo passes;
#: Pillow's own error limit, which stays untouched, is 179 million.
MAX_PIXELS = 120_000_000
#: Refuse images with a shorter side than this: nothing of a lesion is left to see.
MIN_SIDE_PX = 32
#: What the path reads. On Android, Pillow comes with JPEG and PNG only.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "MPO")
#: Suffixes that a folder search takes for images.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp"})

_ACCEPTED = "JPEG, PNG, WebP, TIFF and BMP are accepted"

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray
)


@dataclass(frozen=True)
class Pixels:
    """An image as the model sees it, and the size it came in."""

    rgb: np.ndarray  # uint8, (INPUT_PX, INPUT_PX, 3), upright RGB
    width_px: int  # of the source, upright
    height_px: int  # of the source, upright


def name_of(source: ImageSource) -> str:
    """Return what to call ``source`` in messages and tables: its path, or ``-`` without one."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name else "-"


def load_pixels(source: ImageSource, *, size_px: int = INPUT_PX, full: bool = False) -> Pixels:
    """Read an image and bring it to the model's input.

    Args:
        source: path, encoded bytes, binary file object, PIL image, or array of pixels:
            (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey; uint8 0..255, uint16 0..65535
            or float 0..1.
        size_px: side in pixels of the square to return.
        full: decode at full scale; for measuring what the scaled decode costs.

    Returns:
        Pixels with ``rgb`` of shape (size_px, size_px, 3), uint8, 0..255.

    Raises:
        ImageError: unreadable, of an unknown format, animated, too small or too large.
    """
    name = name_of(source)
    if isinstance(source, np.ndarray):
        return _finish(_from_array(source, name), size_px)
    if isinstance(source, Image.Image):
        _check_size(source, name)
        return _finish(source, size_px)
    with _open(source, name) as image:
        _check_size(image, name)
        _check_still(image, name)
        if not full:
            # A no-op for anything but JPEG; DCT-scaled decode by 1/2, 1/4 or 1/8.
            width, height = image.size
            image.draft(None, (max(DRAFT_PX, 2 * size_px),) * 2)
            upright = (width, height)
        else:
            upright = image.size
        _decode(image, name)
        pixels = _finish(image, size_px)
        if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # orientation turns width and height
            upright = upright[::-1]
        return Pixels(pixels.rgb, *upright)


def _open(source: object, name: str) -> Image.Image:
    if isinstance(source, bytes | bytearray | memoryview):
        stream: object = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            raise ImageError(f"{name}: is a directory, not an image; {_ACCEPTED}")
        stream = path
    else:
        stream = source
    try:
        with warnings.catch_warnings():
            # Our own limit is checked next; Pillow's warning would only repeat it.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(stream, formats=FORMATS)  # type: ignore[arg-type]
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{name}: its header announces more than {MAX_PIXELS / 1e6:.0f} megapixels; "
            "nothing was decoded. Scale it down first"
        ) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_why_unidentified(source)}; {_ACCEPTED}") from error
    except (OSError, ValueError, SyntaxError, TypeError, EOFError) as error:
        raise ImageError(f"{name}: cannot be read ({error}); {_ACCEPTED}") from error


def _why_unidentified(source: object) -> str:
    try:
        if isinstance(source, bytes | bytearray | memoryview):
            head = bytes(source[:16])
        elif isinstance(source, str | os.PathLike):
            with open(source, "rb") as file:
                head = file.read(16)
        else:
            source.seek(0)  # type: ignore[attr-defined]
            head = source.read(16)  # type: ignore[attr-defined]
    except (OSError, ValueError):
        return "is not an image"
    if not head:
        return "is empty (0 bytes)"
    if head[4:8] == b"ftyp":
        return "is a HEIC, AVIF or video file"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "is a GIF"
    if head[128:132] == b"DICM":
        return "is a DICOM file"
    return "is not an image, whatever its name says"


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} is more than {MAX_PIXELS / 1e6:.0f} megapixels; "
            "nothing was decoded. Scale it down first"
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{name}: {width} x {height} pixels is too small; "
            f"the shorter side must be at least {MIN_SIDE_PX}"
        )


def _check_still(image: Image.Image, name: str) -> None:
    # MPO is a phone JPEG with an extra view or gain map: its first frame is the photo.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ImageError(
            f"{name}: is a {image.format} with {frames} frames; "
            "give one still image (its first frame saved as JPEG or PNG)"
        )


def _decode(image: Image.Image, name: str) -> None:
    try:
        image.load()
    except OSError as error:
        if "truncated" in str(error):
            raise ImageError(
                f"{name}: is truncated (the file ends before the image does) and was not used; "
                "copy or download it again"
            ) from error
        raise ImageError(f"{name}: cannot be decoded ({error}); {_ACCEPTED}") from error
    except (ValueError, SyntaxError, EOFError, MemoryError, IndexError, TypeError) as error:
        raise ImageError(f"{name}: cannot be decoded ({error}); {_ACCEPTED}") from error


def _finish(image: Image.Image, size_px: int) -> Pixels:
    width, height = image.size
    small = _to_rgb(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
    small.info["exif"] = image.info.get("exif", b"")
    upright = ImageOps.exif_transpose(small)
    return Pixels(np.asarray(upright, dtype=np.uint8), width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` as 8-bit RGB; transparency lies on white, as a viewer shows it."""
    if image.mode == "RGB":
        return image
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        # 16-bit greyscale spans 0..65535; Pillow opens some of it as 32-bit "I".
        scale = 257.0 if image.mode != "F" else (1.0 if values.max(initial=0) > 1.5 else 1 / 255)
        return Image.fromarray(np.clip(values / scale + 0.5, 0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    accepted = "(H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey are accepted"
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"{name}: an array of shape {array.shape} is not an image; {accepted}")
    if array.dtype == np.uint16:
        array = (array.astype(np.float32) / 257.0 + 0.5).astype(np.uint8)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError(
                f"{name}: a float array must be finite and within 0..1, this one spans "
                f"{np.nanmin(array):g}..{np.nanmax(array):g}; pass 0..255 as uint8"
            )
        array = (array * 255 + 0.5).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise ImageError(
            f"{name}: an array of {array.dtype} is not accepted; use uint8 (0..255), "
            "uint16 (0..65535) or float (0..1)"
        )
    image = Image.fromarray(np.ascontiguousarray(array))
    _check_size(image, name)
    return image
