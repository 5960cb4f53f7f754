"""What a JPEG or JPEG 2000 stream says of itself before it is decoded.

The streams inside DICOM files often lack what a JPEG file has: whether their colours are RGB or
YCbCr stands in the DICOM header instead (PS3.5, 8.2.1). ITU-T T.81, B.1 and B.2, says what the
markers are, T.872, 6.5.3, what Adobe's says of colours.
"""

from __future__ import annotations

import io

from lesionlens.headers import END_OF_IMAGE, LOSSLESS, START_OF_FRAME, jpeg_segments

_APP0, _APP14 = 0xE0, 0xEE


def with_colour_marker(jpeg: bytes, *, is_rgb: bool) -> bytes:
    """Return a JPEG that says whether its colours are RGB or YCbCr.

    One that says so itself (by a JFIF or an Adobe marker) is believed and returned as it is:
    many a device announces RGB and embeds an ordinary JPEG.

    Args:
        jpeg: of three components.
        is_rgb: what the header around it says.
    """
    components, is_lossless = b"", False
    for marker, content in jpeg_segments(io.BytesIO(jpeg)):
        if (marker == _APP0 and content.startswith(b"JFIF")) or (
            marker == _APP14 and content.startswith(b"Adobe")
        ):
            return jpeg
        if marker in START_OF_FRAME:
            components, is_lossless = content[6::3], marker in LOSSLESS
    # Decoders take components called R, G, B for RGB, any others for YCbCr; lossless ones for RGB.
    if (components == b"RGB" or is_lossless) == is_rgb:
        return jpeg
    transform = 0 if is_rgb else 1
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64" + bytes(4) + bytes((transform,))
    return jpeg[:2] + adobe + jpeg[2:]


def without_padding(jpeg: bytes) -> bytes:
    """Return a JPEG without the byte that DICOM adds to make its length even (PS3.5, A.4)."""
    end = bytes((0xFF, END_OF_IMAGE))
    return jpeg[:-1] if jpeg.endswith(end + b"\0") else jpeg


def stream_size(stream: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels by the header of a stream; None where it is none."""
    if stream.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")):
        from PIL import Jpeg2KImagePlugin

        try:
            return Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(stream)).size
        except (OSError, SyntaxError, ValueError):
            return None
    for marker, content in jpeg_segments(io.BytesIO(stream)):
        if marker in START_OF_FRAME and len(content) >= 6:
            return int.from_bytes(content[3:5], "big"), int.from_bytes(content[1:3], "big")
    return None
