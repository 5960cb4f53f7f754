"""The pixel path: from an image file to the pixels that the model sees.

Training, prediction, bulk screening and the phone all decode and resize here and nowhere
else, so that a model is never asked about pixels of another making. The path is: header
checked, JPEG decoded at the smallest DCT scale that keeps both sides at ``DRAFT_PX`` or
more, colours brought to 8-bit RGB, resized with an antialiased bilinear filter to
``INPUT_PX`` squared (the frame is squashed, as the archives' own small copies are, so
that nothing at the border is lost), and only then turned upright by its EXIF orientation,
which commutes with squashing and is cheaper on the small image.

Scaled decoding and a full decode differ by less than 1 of 255 grey levels on average and
the former takes a third of the time on a 12-megapixel photo (benchmarks/predict.py).
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from lesionlens.errors import ImageError
from lesionlens.headers import Decoding, decoding_of, pixel_bytes
from lesionlens.shrinking import from_array, shrink, shrinking_bytes

#: Side in pixels of the square that the model takes.
INPUT_PX = 224
#: A JPEG is decoded at a reduced scale as long as both sides stay at least this long: half as much
#: again as is needed, for what the filter takes (docs/decoding.md has what that changes).
DRAFT_PX = 3 * INPUT_PX // 2
#: Refuse more pixels than this from the header alone. A 108-megapixel phone photo passes;
#: Pillow's own error limit, which stays untouched, is 179 million.
MAX_PIXELS = 120_000_000
#: Refuse, from the header too, what would take more bytes than this to decode and shrink, beyond
#: its file: a little more than 108 megapixels of four bytes. Python, NumPy, Pillow and pydicom
#: have 73 million, so that a process that decodes stays under 512 MiB.
MAX_DECODED_BYTES = 444_000_000
#: Refuse images with a shorter side than this: nothing of a lesion is left to see.
MIN_SIDE_PX = 32
#: What the path reads, by Pillow's names. On Android, Pillow comes with JPEG and PNG only.
#: MPO, a phone's JPEG with a second view or a gain map, is opened as JPEG first.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
#: Suffixes that a folder search takes for images.
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp"})

#: Part of an upright image, as shares of its width and height: left, top, right, bottom.
Box: TypeAlias = tuple[float, float, float, float]
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_ACCEPTED = "JPEG, PNG, WebP, TIFF and BMP are accepted"
_PLUGINS = dict(zip(FORMATS, ("Jpeg", "Png", "WebP", "Tiff", "Bmp"), strict=True))
_ORIENTATION = 0x0112  # the EXIF tag
#: How to turn an image of each EXIF orientation upright, as ``ImageOps.exif_transpose`` does.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
#: What Pillow's decoders raise on damaged files.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    MemoryError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
)

ImageSource: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray
)


@dataclass(frozen=True)
class Pixels:
    """An image as the model sees it, and the size it came in."""

    rgb: np.ndarray  # uint8, (INPUT_PX, INPUT_PX, 3), upright RGB
    width_px: int  # of the source, upright
    height_px: int  # of the source, upright


def name_of(source: ImageSource | Pixels) -> str:
    """Return what to call ``source`` in messages and tables: its path, or ``-`` without one."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) and name and name != "<stdin>" else "-"


def load_pixels(
    source: ImageSource, *, size_px: int = INPUT_PX, box: Box | None = None, full: bool = False
) -> Pixels:
    """Read an image and bring it to the model's input.

    Args:
        source: path, encoded bytes, binary file object (read from its start, left open), PIL
            image (its current frame), or array of pixels: (H, W, 3) RGB, (H, W, 4) RGBA or
            (H, W) grey; uint8 0..255, uint16 0..65535 or float 0..1.
        size_px: side in pixels of the square to return.
        box: the part of the upright image to read, as shares 0..1 of its width and height (left,
            top, right, bottom); None: the whole. ``width_px`` and ``height_px`` are then the
            part's, and it may be neither smaller than ``MIN_SIDE_PX`` nor empty.
        full: decode at full scale; for measuring what the scaled decode costs.

    Returns:
        Pixels with ``rgb`` of shape (size_px, size_px, 3), uint8, 0..255.

    Raises:
        ImageError: unreadable, of an unknown format, animated, too small or too large.
    """
    name = name_of(source)
    box = _WHOLE if box is None else _check_box(box, name)
    least_px = None if full else max(DRAFT_PX, 3 * size_px // 2)
    with _opened(source, name, least_px, box, lambda _: (size_px, size_px)) as (image, size):
        with _explained(name):
            orientation = _orientation(image)
            left, top, right, bottom = _as_stored(box, orientation)
            columns, rows = image.size
            part = (left * columns, top * rows, right * columns, bottom * rows)
            small = _turn(shrink(image, (size_px, size_px), name, part), orientation)
        stored = (round((right - left) * size[0]), round((bottom - top) * size[1]))
        width, height = _turned(stored, orientation)
        return Pixels(np.array(small, dtype=np.uint8), width, height)


def load_picture(source: ImageSource, *, max_side_px: int = 1024) -> Image.Image:
    """Read an image for a person to look at: upright RGB, not squashed.

    Args:
        source: as in ``load_pixels``, with the same checks.
        max_side_px: longest side in pixels of what is returned; smaller images stay as they are.

    Raises:
        ImageError: as in ``load_pixels``.
    """
    name = name_of(source)

    def fit(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(1.0, max_side_px / max(size))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    with _opened(source, name, max_side_px, _WHOLE, fit) as (image, size), _explained(name):
        return _turn(shrink(image, fit(size), name), _orientation(image))


@contextmanager
def _opened(
    source: ImageSource,
    name: str,
    least_px: int | None,
    box: Box,
    fit: Callable[[tuple[int, int]], tuple[int, int]],
) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """Yield the checked, decoded image as stored, and its full size (width, height) as stored.

    A JPEG is decoded at the smallest scale that keeps both sides of the part in ``box`` at
    ``least_px``; None: at full. ``fit`` says of an image's full size to what it will be shrunk.
    """
    if isinstance(source, np.ndarray):
        size, mode = _size_of(source, name)
        _check_part(size, box, name)
        more_bytes = shrinking_bytes(size, mode, mode == "RGBA", fit(size))
        n_bytes = pixel_bytes(size, mode) + more_bytes
        _check_bytes(n_bytes, size, name)
        yield from_array(source, mode, name), size
    elif isinstance(source, Image.Image):
        size = source.size
        _check_size(size, name)
        with _explained(name):
            decoding = decoding_of(source) if getattr(source, "tile", None) else Decoding()
            _check_memory(source, decoding, fit(size), name)
            orientation = _orientation(source)
        _check_part(_turned(size, orientation), box, name)
        with _explained(name):
            source.load()
        yield source, size
    else:
        with _open(source, name) as image:
            size = image.size
            _check_size(size, name)
            with _explained(name):
                _check_still(image, name)
                decoding = decoding_of(image)
                if not decoding.can_scale:  # to ask a PNG for its orientation decodes it
                    _check_memory(image, decoding, fit(size), name)
                orientation = _orientation(image)
            _check_part(_turned(size, orientation), box, name)
            with _explained(name):
                if decoding.is_unconverted:
                    image.draft("YCbCr", None)
                elif decoding.can_scale:
                    if least_px is not None:
                        left, top, right, bottom = _as_stored(box, orientation)
                        # DCT-scaled decode by 1/2, 1/4 or 1/8.
                        image.draft(
                            None, (ceil(least_px / (right - left)), ceil(least_px / (bottom - top)))
                        )
                    _check_memory(image, decoding, fit(size), name)
                image.load()
            yield image, size


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what a decoder raises into an ImageError that says what to do."""
    try:
        yield
    except Image.DecompressionBombError as error:  # WebP asks before we can
        raise ImageError(
            f"{name}: announces more than {MAX_PIXELS / 1e6:.0f} megapixels; nothing was decoded. "
            "Scale it down first",
            reason="too_large",
        ) from error
    except _DECODER_ERRORS as error:
        if "truncated" in str(error).lower() or isinstance(error, EOFError):
            raise ImageError(
                f"{name}: is truncated (the file ends before the image does) and was not used; "
                "copy or download it again",
                reason="truncated",
            ) from error
        raise ImageError(f"{name}: cannot be decoded ({error}); {_ACCEPTED}") from error


def _open(source: object, name: str) -> Image.Image:
    """Open by the header alone.

    Not ``Image.open``: that warns above 89 megapixels, and a warning can only be held back by
    changing filters that all threads share; it also loads some forty decoders that we refuse.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        stream: object = io.BytesIO(source)
    elif isinstance(source, str | os.PathLike):
        stream = os.fspath(source)
        if Path(stream).is_dir():
            raise ImageError(f"{name}: is a directory, not an image; {_ACCEPTED}")
    else:
        stream = source
    try:
        head, stream = _head(stream)
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ImageError(f"{name}: cannot be read ({error}); {_ACCEPTED}") from error
    for file_format, plugin in _PLUGINS.items():
        import_module(f"PIL.{plugin}ImagePlugin")  # a look-up after the first time
        factory, accept = Image.OPEN[file_format]
        verdict = accept(head) if accept else True
        if isinstance(verdict, str) or not verdict:  # a text says what Pillow was built without
            continue
        with _explained(name):
            return factory(stream)  # type: ignore[call-arg,arg-type]
    words, reason = _why_unidentified(head)
    raise ImageError(f"{name}: {words}; {_ACCEPTED}", reason=reason)


def _head(stream: object) -> tuple[bytes, object]:
    """Return the first bytes and what to read the image from: a path, or a rewound stream."""
    if isinstance(stream, str):
        with open(stream, "rb") as file:
            return file.read(132), stream
    try:
        stream.seek(0)  # type: ignore[attr-defined]
    except (OSError, AttributeError):  # a pipe
        stream = io.BytesIO(stream.read())  # type: ignore[attr-defined]
    head = stream.read(132)  # type: ignore[attr-defined]
    stream.seek(0)  # type: ignore[attr-defined]
    if not isinstance(head, bytes):
        raise TypeError("it was opened as text; open it with mode 'rb'")
    return head, stream


def _why_unidentified(head: bytes) -> tuple[str, str]:
    """Return what a file that is none of ``FORMATS`` is instead, in words and as a reason."""
    if not head:
        return "is empty (0 bytes)", "empty"
    if head[4:8] == b"ftyp":
        return "is a HEIC, AVIF or video file", "heic"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "is a GIF", "gif"
    if head[128:132] == b"DICM":
        return "is a DICOM file", "dicom"
    if head[:4] == b"%PDF":
        return "is a PDF", "pdf"
    return "is not an image, whatever its name says", "not_an_image"


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width} x {height} is more than {MAX_PIXELS / 1e6:.0f} megapixels; "
            "nothing was decoded. Scale it down first",
            reason="too_large",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"{name}: {width} x {height} pixels is too small; "
            f"the shorter side must be at least {MIN_SIDE_PX}",
            reason="too_small",
        )


def _check_memory(
    image: Image.Image, decoding: Decoding, wanted: tuple[int, int], name: str
) -> None:
    """Raise ImageError where an image would take too much memory on its way to ``wanted``."""
    # Of a palette it does not matter, and a damaged file's may not be there before it is decoded.
    is_clear = image.mode != "P" and image.has_transparency_data
    more_bytes = max(
        decoding.extra_bytes, shrinking_bytes(image.size, image.mode, is_clear, wanted)
    )
    _check_bytes(pixel_bytes(image.size, image.mode) + more_bytes, image.size, name)


def _check_bytes(n_bytes: int, size: tuple[int, int], name: str) -> None:
    if n_bytes > MAX_DECODED_BYTES:
        raise ImageError(
            f"{name}: its {size[0]} x {size[1]} pixels take {n_bytes / 1e6:.0f} MB of memory to "
            f"decode and shrink, more than {MAX_DECODED_BYTES / 1e6:.0f}; nothing was decoded. "
            "Scale it down first, or save it as a baseline JPEG, which takes far less",
            reason="too_large",
        )


def _check_box(box: Box, name: str) -> Box:
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ImageError(
            f"{name}: the part {box} is not inside the image; "
            "give left, top, right and bottom as shares, 0 <= left < right <= 1"
        )
    return box


def _check_part(size: tuple[int, int], box: Box, name: str) -> None:
    """Raise ImageError where the part of an upright image of ``size`` is too small to judge."""
    if box == _WHOLE:
        return
    width, height = (box[2] - box[0]) * size[0], (box[3] - box[1]) * size[1]
    if round(min(width, height)) < MIN_SIDE_PX:
        raise ImageError(
            f"{name}: the part of {width:.0f} x {height:.0f} pixels is too small; "
            f"the shorter side must be at least {MIN_SIDE_PX}",
            reason="part_too_small",
        )


def _as_stored(box: Box, orientation: int) -> Box:
    """Return where a part of the upright image lies in the image as stored."""
    left, top, right, bottom = box
    if orientation in (2, 3, 7, 8):  # stored from right to left
        left_right = (1 - right, 1 - left) if orientation < 5 else (1 - bottom, 1 - top)
    else:
        left_right = (left, right) if orientation < 5 else (top, bottom)
    if orientation in (3, 4, 6, 7):  # stored from bottom to top
        top_bottom = (1 - bottom, 1 - top) if orientation < 5 else (1 - right, 1 - left)
    else:
        top_bottom = (top, bottom) if orientation < 5 else (left, right)
    return left_right[0], top_bottom[0], left_right[1], top_bottom[1]


def _check_still(image: Image.Image, name: str) -> None:
    # An MPO's further frames are another view or a gain map: its first is the photo.
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ImageError(
            f"{name}: is a {image.format} with {frames} frames; "
            "give one still image (its first frame saved as JPEG or PNG)",
            reason="animated",
        )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is still to be undone: 1..8, 1 for upright."""
    value = image.getexif().get(_ORIENTATION, 1)
    return value if value in _TURNS else 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return (size[1], size[0]) if orientation >= 5 else size


def _size_of(array: np.ndarray, name: str) -> tuple[tuple[int, int], str]:
    """Return the (width, height) and the mode of an array of pixels that is of a usable shape."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"{name}: an array of shape {array.shape} is not an image; "
            "(H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey are accepted"
        )
    size = array.shape[1], array.shape[0]
    _check_size(size, name)
    return size, "L" if array.ndim == 2 else ("RGB", "RGBA")[array.shape[2] - 3]
