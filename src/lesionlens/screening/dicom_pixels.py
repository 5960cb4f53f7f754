"""One frame of a DICOM image: checked, taken out of its file, and made what imaging.py reads.

A frame that is a JPEG is handed on encoded, so that a DICOM made of a JPEG file gives the rows of
that file, bit for bit. Every other frame is decoded here to an array, by a decoder that is named,
so that what else is installed changes no pixel.
"""

from __future__ import annotations

import os
import struct

import numpy as np

from lesionlens.errors import ImageError
from lesionlens.imaging import MAX_PIXELS
from lesionlens.screening.dicom_headers import CURE, NATIVE, UNKNOWN_LENGTH, DicomImage, name_of_uid
from lesionlens.screening.jpegs import stream_size, with_colour_marker, without_padding

#: What imaging.py decodes itself: JPEG baseline, extended, lossless by any predictor or the first.
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70))
_RLE = "1.2.840.10008.1.2.5"
#: By whom pydicom has the rest decoded; none is under the GPL. JPEG-LS is not read: pyjpegls 1.5
#: goes on for minutes on a damaged stream of 120 x 90 pixels.
_PLUGINS = {
    "1.2.840.10008.1.2.4.90": "pillow",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pillow",  # JPEG 2000
    _RLE: "pylibjpeg",
}
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
#: Fewer bytes than these hold no encoded frame.
LEAST_FRAME_BYTES = 64
_BAND_ROWS = 64


def check_pixels(image: DicomImage) -> None:
    """Raise ImageError where the pixels are of a kind that is not read."""
    header, uri = image.header, image.uri
    rows, columns = header.get("Rows", 0) or 0, header.get("Columns", 0) or 0
    if rows * columns > MAX_PIXELS:
        raise ImageError(
            f"{uri}: {columns} x {rows} is more than {MAX_PIXELS / 1e6:.0f} megapixels; "
            "nothing was decoded. Scale it down first",
            reason="too_large",
        )
    words = ""
    colours = str(header.get("PhotometricInterpretation", ""))
    bits = header.get("BitsAllocated"), header.get("BitsStored"), header.get("PixelRepresentation")
    if colours.startswith("MONOCHROME"):
        words = f"is greyscale ({colours}); the model judges colour photos and knows no others"
    elif colours not in _COLOURS:
        # What it says instead is not told: where lengths are damaged, it is any part of the file.
        words = f"has colours of another kind than {', '.join(_COLOURS)}"
    elif header.get("SamplesPerPixel") != (1 if colours == "PALETTE COLOR" else 3):
        words = f"has another number of values a pixel than {colours} has"
    elif bits[0] not in (8, 16) or not 1 < (bits[1] or 0) <= bits[0] or bits[2]:
        words = "has no whole, unsigned values of 8 or 16 bits a colour"
    elif image.syntax not in NATIVE | _JPEG | set(_PLUGINS):
        words = f"is encoded as {name_of_uid(image.syntax)}, which is not read"
    elif (image.length == UNKNOWN_LENGTH) == (image.syntax in NATIVE):
        words = "contradicts itself: its pixels are not encoded as its transfer syntax says"
    elif colours == "PALETTE COLOR" and "RedPaletteColorLookupTableData" not in header:
        words = "has no palette, or one in segments, which is not read"
    if words:
        raise ImageError(f"{uri}: {words}; {CURE}", reason="unsupported_dicom")


def frame_content(image: DicomImage, index: int) -> bytes:
    """Return the bytes of a frame as they are in the file, without what pads them."""
    if image.syntax in NATIVE:
        n_bytes = image.frame_bytes
        image.file.seek(index * n_bytes, os.SEEK_CUR)
        content = image.file.read(n_bytes)
        if not n_bytes or len(content) < n_bytes:
            raise _truncated(image, index)
        return content
    from pydicom.encaps import get_frame

    header = image.header
    offsets = None
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths
    try:
        content = get_frame(
            image.file, index, number_of_frames=image.n_frames, extended_offsets=offsets
        )
    except (ValueError, EOFError, struct.error, StopIteration) as error:
        raise _truncated(image, index) from error
    if len(content) < LEAST_FRAME_BYTES:
        raise _truncated(image, index)
    return without_padding(content) if image.syntax in _JPEG else content


def _truncated(image: DicomImage, index: int) -> ImageError:
    n = image.n_frames
    what = f"frame {index + 1} of the {n} that it announces" if n > 1 else "its image"
    return ImageError(
        f"{image.uri}: is truncated or damaged: {what} is not there or not whole; copy it again",
        reason="truncated",
    )


def as_source(image: DicomImage, encoded: bytes) -> bytes | np.ndarray:
    """Return what ``imaging.load_pixels`` reads of a frame."""
    header = image.header
    colours = header.PhotometricInterpretation
    if image.syntax in _JPEG:
        return with_colour_marker(encoded, is_rgb=colours == "RGB")
    announced = header.Columns, header.Rows
    if image.syntax not in NATIVE and image.syntax != _RLE:
        found = stream_size(encoded)
        if found != announced:
            raise ImageError(
                f"{image.uri}: contradicts itself: announces {announced[0]} x {announced[1]} pixels"
                + (f" and holds {found[0]} x {found[1]}" if found else " and holds no image")
                + f"; {CURE}"
            )
    try:
        return _decoded(image, encoded)
    except (OSError, SyntaxError, RuntimeError, ValueError) as error:
        raise ImageError(
            f"{image.uri}: cannot be decoded; it is damaged or cut off, copy it again"
        ) from error


def _decoded(image: DicomImage, encoded: bytes) -> np.ndarray:
    """Return a frame as RGB: (H, W, 3), uint8, or uint16 of the whole range 0..65535."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import apply_color_lut, get_decoder
    from pydicom.pixels.utils import as_pixel_options

    header = image.header
    is_native = image.syntax in NATIVE
    options = as_pixel_options(
        header,
        number_of_frames=1,
        view_only=True,
        pixel_keyword="PixelData",
        pixel_vr="OW" if header.BitsAllocated > 8 else "OB",
    )
    options.pop("extended_offsets", None)
    array, properties = get_decoder(image.syntax).as_array(
        encoded if is_native else encapsulate([encoded], has_bot=False),
        index=0,
        decoding_plugin=_PLUGINS.get(image.syntax, ""),
        **options,
    )
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return apply_color_lut(array, header)
    bits = int(properties.get("bits_stored", header.BitsStored))
    if bits in (8, 16) and array.dtype.itemsize * 8 == bits:
        return array.astype(f"u{array.dtype.itemsize}", copy=False)  # of this machine's byte order
    full = np.empty(array.shape, np.uint16)
    for top in range(0, len(array), _BAND_ROWS):  # 32 bits a value, of a few rows at a time
        band = np.minimum(array[top : top + _BAND_ROWS], 2**bits - 1).astype(np.uint32)
        full[top : top + _BAND_ROWS] = band * 65535 // (2**bits - 1)
    return full
