"""What a header says of a decode: held against what decoding it really takes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image, features

from lesionlens import headers, imaging
from lesionlens.errors import ImageError
from lesionlens.imaging import load_pixels
from memory_kit import growth_alone

SIZE_PX = (3000, 2000)


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def opened(content: bytes) -> Image.Image:
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
        return Image.open(io.BytesIO(content))


def announcing(jpeg: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size."""
    place = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2"))
    return jpeg[: place + 5] + height.to_bytes(2) + width.to_bytes(2) + jpeg[place + 9 :]


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Large, of flat squares: quick to encode."""
    squares = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    return Image.fromarray(squares).resize(SIZE_PX, Image.Resampling.NEAREST)


# ---------------------------------------------------------------- JPEG


def test_a_jpeg_of_cosines_can_be_scaled_and_keeps_nothing(photo: Image.Image) -> None:
    small = photo.resize((200, 100))
    for options in ({}, {"subsampling": 0}, {"quality": 10, "optimize": True}):
        decoding = headers.decoding_of(opened(encoded(small, "JPEG", **options)))
        assert decoding == headers.Decoding(can_scale=True)


@pytest.mark.parametrize(
    ("mode", "subsampling", "n_bytes"),
    [("RGB", 0, 648e6), ("RGB", 1, 432e6), ("RGB", 2, 324e6), ("L", 0, 216e6), ("CMYK", 0, 864e6)],
)
def test_a_progressive_jpeg_keeps_its_coefficients(
    photo: Image.Image, mode: str, subsampling: int, n_bytes: float
) -> None:
    small = photo.resize((200, 100)).convert(mode)
    content = encoded(small, "JPEG", progressive=True, subsampling=subsampling)
    found = headers.decoding_of(opened(announcing(content, 12_000, 9_000)))
    assert found.can_scale
    assert found.extra_bytes == pytest.approx(n_bytes, rel=0.002)  # whole blocks


def test_a_jpeg_of_one_scan_a_colour_keeps_its_coefficients(photo: Image.Image) -> None:
    content = encoded(photo.resize((200, 100)), "JPEG", subsampling=0)
    scan = content.index(b"\xff\xda")
    first = b"\xff\xda" + (8).to_bytes(2) + bytes((1, 1, 0, 0, 63, 0))  # of the first only
    found = headers.decoding_of(opened(content[:scan] + first + content[scan + 14 :]))
    assert found.extra_bytes == 25 * 13 * 3 * 128


def test_segments_are_found_behind_filling_and_junk() -> None:
    content = (
        b"\xff\xd8" + b"junk" + b"\xff\xff\xff\xe0\0\5abc" + b"\xff\xda\0\3x" + b"\xff\xe1\0\2"
    )
    assert list(headers.jpeg_segments(io.BytesIO(content))) == [(0xE0, b"abc"), (0xDA, b"x")]
    for broken in (
        b"",
        b"\xff\xd8",
        b"GIF89a",
        b"\xff\xd8\xff\xe0\0\1",
        b"\xff\xd8\xff\xd9\xff\xe0",
    ):
        assert list(headers.jpeg_segments(io.BytesIO(broken))) == []


# ---------------------------------------------------------------- what decoding takes


def clear(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(image.convert("L"))
    return image


def deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda image: encoded(image, "JPEG"),
    "jpeg progressive": lambda image: encoded(image, "JPEG", progressive=True),
    "jpeg progressive 4:4:4": lambda image: encoded(image, "JPEG", progressive=True, subsampling=0),
    "jpeg progressive cmyk": lambda image: encoded(image.convert("CMYK"), "JPEG", progressive=True),
    "png": lambda image: encoded(image, "PNG"),
    "png grey": lambda image: encoded(image.convert("L"), "PNG"),
    "png palette": lambda image: encoded(image.quantize(64), "PNG"),
    "png palette clear": lambda image: encoded(image.quantize(64), "PNG", transparency=3),
    "png clear": lambda image: encoded(clear(image), "PNG"),
    "png one clear colour": lambda image: encoded(image, "PNG", transparency=(1, 2, 3)),
    "png grey clear": lambda image: encoded(clear(image).convert("LA"), "PNG"),
    "png deep": lambda image: encoded(deep(image), "PNG"),
    "png bits": lambda image: encoded(image.convert("1"), "PNG"),
    "webp": lambda image: encoded(image, "WEBP", method=0),
    "webp clear": lambda image: encoded(clear(image), "WEBP", method=0),
    "webp lossless": lambda image: encoded(clear(image), "WEBP", lossless=True, method=0),
    "bmp": lambda image: encoded(image, "BMP"),
    "tiff": lambda image: encoded(image, "TIFF"),
    "tiff strips": lambda image: encoded(image, "TIFF", compression="tiff_lzw"),
    **{
        f"tiff {name} in one strip": lambda image, name=name: encoded(  # type: ignore[misc]
            image, "TIFF", compression=name, strip_size=1 << 30
        )
        for name in ("tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg", "lzma", "zstd", "webp")
    },
    "tiff ycbcr in one strip": lambda image: encoded(
        image.convert("YCbCr"), "TIFF", compression="tiff_lzw", strip_size=1 << 30
    ),
    "tiff cmyk": lambda image: encoded(image.convert("CMYK"), "TIFF"),
    "tiff deep": lambda image: encoded(deep(image), "TIFF"),
    "tiff float": lambda image: encoded(
        Image.fromarray(np.asarray(image.convert("L")) / np.float32(255)), "TIFF"
    ),
    "tiff 32 bits": lambda image: encoded(Image.fromarray(np.int32(image.convert("L"))), "TIFF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_counted_is_what_decoding_takes(
    kind: str, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "webp" in kind and not features.check("webp"):
        pytest.skip("Pillow was built without WebP")
    try:
        content = KINDS[kind](photo)
    except OSError:
        pytest.skip("libtiff was built without this compression")
    peak = growth_alone(decode, content)
    monkeypatch.setattr(imaging, "MAX_DECODED_BYTES", peak * 1.5 + 20e6)
    load_pixels(content)
    # Within 4 %, and what the decoder keeps whatever the size.
    monkeypatch.setattr(imaging, "MAX_DECODED_BYTES", peak * 0.96 - 4e6)
    with pytest.raises(ImageError, match="MB of memory to decode and shrink, more than"):
        load_pixels(content)


def decode(content: bytes) -> Iterator[None]:
    load_pixels(content)  # what is loaded the first time is no matter of the image
    yield
    load_pixels(content)
