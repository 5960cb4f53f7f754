"""The pixel path on good and bad input: what is refused, with which words, and what comes out."""

from __future__ import annotations

import io
import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from jpeg_kit import lossless_jpeg
from lesionlens import imaging, phantoms, shrinking
from lesionlens.errors import IMAGE_REASONS, ImageError
from lesionlens.imaging import INPUT_PX, load_picture, load_pixels
from memory_kit import growth_alone

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encode(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def png_announcing(width: int, height: int, colours: int = 2) -> bytes:
    """A PNG whose header promises a size, with a few bytes of pixels behind it.

    ``colours`` is 0 for grey, 2 for RGB, 6 for RGBA.
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def quarters(width: int = 320, height: int = 240) -> np.ndarray:
    """Red, green / blue, white: tells every orientation from every other."""
    array = np.empty((height, width, 3), dtype=np.uint8)
    array[: height // 2, : width // 2] = RED
    array[: height // 2, width // 2 :] = GREEN
    array[height // 2 :, : width // 2] = BLUE
    array[height // 2 :, width // 2 :] = WHITE
    return array


def corners(rgb: np.ndarray) -> list[tuple[int, ...]]:
    side = rgb.shape[0] // 4
    places = ((side, side), (side, -side), (-side, side), (-side, -side))
    return [tuple(int(value) for value in rgb[place]) for place in places]


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.int16) - b.astype(np.int16)).mean())


# How an upright array has to be stored for a viewer to see it upright, by EXIF orientation.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


# ---------------------------------------------------------------- refused, in words that help


@pytest.mark.parametrize(
    ("content", "words", "reason"),
    [
        (b"", "is empty", "empty"),
        (b"Dear doctor, please find attached\n" * 20, "is not an image, what", "not_an_image"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\0" * 200, "HEIC", "heic"),
        (b"\0" * 128 + b"DICM" + b"\0" * 64, "DICOM", "dicom"),
        (b"%PDF-1.7\n" + b"\0" * 64, "PDF", "pdf"),
    ],
)
def test_a_file_that_is_no_image_is_refused_by_what_it_is(
    tmp_path: Path, content: bytes, words: str, reason: str
) -> None:
    path = tmp_path / "lesion.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        load_pixels(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "JPEG, PNG, WebP, TIFF and BMP are accepted" in str(caught.value)
    assert caught.value.reason == reason


def test_every_reason_is_one_that_a_face_can_look_up(phantom_jpeg: Path) -> None:
    photo = phantom_jpeg.read_bytes()
    stream = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(stream, "PNG", save_all=True, append_images=frames[1:])
    refused: dict[str, Callable[[], object]] = {
        "truncated": lambda: load_pixels(photo[: len(photo) // 2]),
        "gif": lambda: load_pixels(b"GIF89a" + b"\0" * 64),
        "animated": lambda: load_pixels(stream.getvalue()),
        "too_small": lambda: load_pixels(Image.new("RGB", (20, 200))),
        "part_too_small": lambda: load_pixels(photo, box=(0.0, 0.0, 0.01, 0.01)),
        "too_large": lambda: load_pixels(Image.new("1", (20_000, 20_000))),
        "unreadable": lambda: load_pixels(b"\xff\xd8\xff" + b"\0" * 64),
    }
    for reason, load in refused.items():
        with pytest.raises(ImageError) as caught:
            load()
        assert caught.value.reason == reason
        assert reason in IMAGE_REASONS


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        load_pixels(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="is a directory"):
        load_pixels(tmp_path)


def test_an_unreadable_file_is_named(phantom_jpeg: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    phantom_jpeg.chmod(0)
    with pytest.raises(ImageError, match=r"drawn-bcc\.jpg: cannot be read"):
        load_pixels(phantom_jpeg)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_image_is_refused_and_said_not_to_have_been_used(
    phantom_image: Image.Image, tmp_path: Path, share: float, suffix: str
) -> None:
    path = phantoms.save(phantom_image, tmp_path / f"half.{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError) as caught:
        load_pixels(path)
    assert f"half.{suffix}: is truncated" in str(caught.value)
    assert "was not used" in str(caught.value)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_damaged_file_raises_nothing_but_image_error(
    file_format: str, rng: np.random.Generator
) -> None:
    whole = encode(phantoms.draw("scc", size_px=(90, 70), rng=rng), file_format)
    outcomes = {"read": 0, "refused": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow comments on damaged TIFF tags
        for _ in range(150):
            content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for at in rng.integers(0, len(content), int(rng.integers(0, 6))):
                content[at] = rng.integers(256)
            # Most of the damage near the start, where the headers are.
            for at in rng.integers(0, min(len(content), 120), int(rng.integers(0, 4))):
                content[at] = rng.integers(256)
            try:
                load_pixels(bytes(content))
                outcomes["read"] += 1
            except ImageError:
                outcomes["refused"] += 1
    assert outcomes["refused"] > 0, outcomes


def test_a_huge_header_is_refused_before_a_pixel_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_announcing(60_000, 60_000))
    assert growth_alone(refuse_to_load, path) < 20_000_000


def refuse_to_load(path: Path) -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    yield
    with pytest.raises(ImageError, match="60000 x 60000 is more than 120 megapixels"):
        load_pixels(path)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("width", "height", "colours", "is_too_large"),
    [
        (12_000, 9_000, 2, False),  # RGB: 108 megapixels of four bytes
        (10_600, 10_600, 2, True),
        (10_600, 10_600, 0, False),  # grey: a byte each
        (7000, 7000, 6, False),  # RGBA, and a copy with colours premultiplied
        (7400, 7400, 6, True),
        (104, 1 << 20, 2, True),  # becomes larger before it becomes smaller
        (1 << 20, 104, 2, True),
    ],
)
def test_an_image_is_refused_by_the_memory_that_decoding_it_would_take(
    width: int, height: int, colours: int, is_too_large: bool
) -> None:
    with pytest.raises(ImageError) as refused:
        load_pixels(png_announcing(width, height, colours))
    assert (refused.value.reason == "too_large") == is_too_large
    if is_too_large:
        assert "MB of memory to decode and shrink, more than 444" in str(refused.value)
        assert "nothing was decoded" in str(refused.value)
        assert "save it as a baseline JPEG" in str(refused.value)


def test_arrays_and_pillow_images_are_held_to_the_same_memory() -> None:
    row = np.zeros((1, 10_600, 3), np.uint8)
    for source in (
        np.broadcast_to(row, (10_600, 10_600, 3)),  # takes no memory
        Image.open(io.BytesIO(png_announcing(9_400, 9_400, 6))),  # not loaded
    ):
        with pytest.raises(ImageError, match="MB of memory to decode"):
            load_pixels(source)


def test_bytes_are_not_taken_for_a_file_called_as_they_are_in_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    black, white = (Image.new("L", (64, 64), level) for level in (0, 255))
    (tmp_path / "-").write_bytes(encode(black, "TIFF"))  # of a kind that is mapped into memory
    monkeypatch.chdir(tmp_path)
    assert load_pixels(encode(white, "TIFF")).rgb.min() == 255


def test_a_png_that_lacks_its_palette_is_refused(phantom_image: Image.Image) -> None:
    content = encode(phantom_image.quantize(32), "PNG")
    start = content.index(b"PLTE") - 4
    length = int.from_bytes(content[start : start + 4], "big") + 12
    with pytest.raises(ImageError, match=r"cannot be decoded \(its palette is missing\)"):
        load_pixels(content[:start] + content[start + length :])


def test_a_webp_that_announces_too_much_is_refused_as_too_large() -> None:
    frame = b"VP8X" + struct.pack("<IB3x", 10, 0) + 2 * (60_000).to_bytes(3, "little")
    with pytest.raises(ImageError, match="more than 120 megapixels") as refused:
        load_pixels(b"RIFF" + struct.pack("<I", len(frame) + 4) + b"WEBP" + frame)
    assert refused.value.reason == "too_large"


def test_a_large_photo_draws_no_warning_and_leaves_the_filters_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        with pytest.raises(ImageError, match=r"truncated|cannot be decoded"):
            load_pixels(
                png_announcing(10_000, 10_000)
            )  # a size we accept, pixels that are not there
        assert list(warnings.filters) == filters


@pytest.mark.parametrize("size", [(20, 20), (20, 400), (1, 1)])
def test_a_tiny_image_is_refused(size: tuple[int, int]) -> None:
    for source in (
        encode(Image.new("RGB", size), "PNG"),
        Image.new("RGB", size),
        np.zeros((size[1], size[0], 3), dtype=np.uint8),
    ):
        with pytest.raises(ImageError, match=f"{size[0]} x {size[1]} pixels is too small"):
            load_pixels(source)


def test_the_smallest_and_the_thinnest_accepted_images_pass() -> None:
    for size in ((32, 32), (32, 3000)):
        assert load_pixels(Image.new("RGB", size)).rgb.shape == (INPUT_PX, INPUT_PX, 3)


@pytest.mark.parametrize(("file_format", "word"), [("GIF", "is a GIF"), ("PNG", "with 3 frames")])
def test_an_animation_is_refused(phantom_image: Image.Image, file_format: str, word: str) -> None:
    frames = [ImageOps.mirror(phantom_image), ImageOps.flip(phantom_image)]
    content = encode(phantom_image, file_format, save_all=True, append_images=frames)
    with pytest.raises(ImageError, match=word):
        load_pixels(content)


def test_a_tiff_with_two_pages_and_an_animated_webp_are_refused(
    phantom_image: Image.Image,
) -> None:
    other = [ImageOps.mirror(phantom_image)]
    for file_format in ("TIFF", "WEBP"):
        content = encode(phantom_image, file_format, save_all=True, append_images=other)
        with pytest.raises(ImageError, match=f"is a {file_format} with 2 frames"):
            load_pixels(content)


def test_a_file_opened_as_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("not an image")
    with path.open(encoding="utf-8") as file, pytest.raises(ImageError, match="mode 'rb'"):
        load_pixels(file)  # type: ignore[arg-type]


def test_a_pil_image_that_is_truncated_behind_its_header_is_refused(phantom_jpeg: Path) -> None:
    phantom_jpeg.write_bytes(phantom_jpeg.read_bytes()[:9000])
    with Image.open(phantom_jpeg) as image, pytest.raises(ImageError, match="is truncated"):
        load_pixels(image)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((64, 64, 2), np.uint8), "shape"),
        (np.zeros((3, 64, 64), np.uint8), "shape"),
        (np.zeros((64,), np.uint8), "shape"),
        (np.zeros((0, 64, 3), np.float32), "too small"),
        (np.zeros((64, 64, 3), np.int64), "int64"),
        (np.full((64, 64, 3), 200.0), "within 0..1"),
        (np.full((64, 64, 3), np.nan), "finite"),
    ],
)
def test_an_array_of_the_wrong_kind_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        load_pixels(array)


def test_32_bit_pixels_without_an_agreed_range_are_refused() -> None:
    image = Image.fromarray(np.full((64, 64), 1_000_000, dtype=np.int32))
    with pytest.raises(ImageError, match="8 or 16 bits"):
        load_pixels(encode(image, "TIFF"))


# ---------------------------------------------------------------- read, and read right


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_exif_orientation_comes_out_upright(orientation: int, file_format: str) -> None:
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](quarters())))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    content = encode(stored, file_format, exif=exif, **options.get(file_format, {}))
    pixels = load_pixels(content)
    assert (pixels.width_px, pixels.height_px) == (320, 240)
    expected = load_pixels(quarters()).rgb
    for found, wanted in zip(corners(pixels.rgb), corners(expected), strict=True):
        assert np.allclose(found, wanted, atol=3)
    picture = load_picture(content, max_side_px=160)
    assert picture.size == (160, 120)
    assert mean_difference(np.asarray(picture.resize((224, 224))), expected) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_exact(phantom_image: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    flat = load_pixels(encode(phantom_image, "JPEG", quality=90)).rgb
    turned = load_pixels(encode(phantom_image, "JPEG", quality=90, exif=exif)).rgb
    small = Image.fromarray(flat)
    small.getexif()[0x0112] = orientation
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(small)))


def test_a_pil_image_is_turned_by_its_exif_and_left_as_it_was() -> None:
    image = Image.fromarray(np.ascontiguousarray(STORED[6](quarters())))
    image.getexif()[0x0112] = 6  # in memory only, never saved
    before = image.tobytes()
    pixels = load_pixels(image)
    assert corners(pixels.rgb) == [RED, GREEN, BLUE, WHITE]
    assert (pixels.width_px, pixels.height_px) == (320, 240)
    assert image.tobytes() == before
    assert image.getexif()[0x0112] == 6


def test_a_meaningless_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    content = encode(Image.fromarray(quarters()), "PNG", exif=exif)
    assert corners(load_pixels(content).rgb) == [RED, GREEN, BLUE, WHITE]


def test_a_cmyk_jpeg_keeps_its_colours(phantom_image: Image.Image) -> None:
    content = encode(phantom_image.convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "CMYK"
    assert mean_difference(load_pixels(content).rgb, load_pixels(phantom_image).rgb) < 2


def test_16_bit_grey_is_scaled_to_8_bit() -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16)[None, :].repeat(64, axis=0)
    wanted = load_pixels((ramp / 257).round().astype(np.uint8)).rgb
    for source in (
        encode(Image.fromarray(ramp), "PNG"),
        encode(Image.fromarray(ramp), "TIFF"),
        Image.fromarray(ramp),
        Image.fromarray(ramp.astype(np.int32)),
        ramp,
    ):
        rgb = load_pixels(source).rgb
        assert rgb[..., 0].min() == 0
        assert rgb[..., 0].max() == 255
        assert np.array_equal(rgb, wanted)


def test_16_bit_rgb_png_is_scaled_to_8_bit(phantom_image: Image.Image) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV writes the 16-bit RGB PNG of this test")
    rgb = np.asarray(phantom_image)
    done, content = cv2.imencode(".png", rgb[..., ::-1].astype(np.uint16) * 257)
    assert done
    assert content[24] == 16  # bit depth in the header
    assert mean_difference(load_pixels(content.tobytes()).rgb, load_pixels(rgb).rgb) <= 0.01


def test_a_palette_image_keeps_its_colours(phantom_image: Image.Image) -> None:
    palette = phantom_image.quantize(256)
    rgb = load_pixels(encode(palette, "PNG")).rgb
    assert np.array_equal(rgb, load_pixels(palette.convert("RGB")).rgb)


def test_transparency_lies_on_white() -> None:
    rgba = np.zeros((64, 64, 4), dtype=np.uint8)
    rgba[:, :32] = (200, 40, 40, 255)
    grey = Image.merge("LA", (Image.new("L", (64, 64), 90), Image.fromarray(rgba[..., 3])))
    see_through = Image.fromarray(np.repeat(np.uint8([[1, 0]]), 32, axis=1).repeat(64, axis=0))
    see_through = see_through.convert("P")
    see_through.putpalette([255, 255, 0, 200, 40, 40])
    see_through.info["transparency"] = 0
    for source, left in (
        (rgba, (200, 40, 40)),
        (encode(Image.fromarray(rgba), "PNG"), (200, 40, 40)),
        (encode(Image.fromarray(rgba), "WEBP", lossless=True), (200, 40, 40)),
        (encode(grey, "PNG"), (90, 90, 90)),
        (encode(see_through, "PNG", transparency=0), (200, 40, 40)),
    ):
        rgb = load_pixels(source).rgb
        assert tuple(rgb[112, 40]) == left
        assert tuple(rgb[112, 200]) == WHITE


def test_half_transparency_scales_as_a_viewer_shows_it(phantom_image: Image.Image) -> None:
    rgba = phantom_image.convert("RGBA")
    fade = np.linspace(0, 255, 600).astype(np.uint8)[None, :].repeat(450, axis=0)
    rgba.putalpha(Image.fromarray(fade))
    ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    shown = Image.alpha_composite(ground, rgba).convert("RGB")
    assert mean_difference(load_pixels(rgba).rgb, load_pixels(shown).rgb) < 1


@pytest.mark.parametrize("mode", ["1", "L", "YCbCr", "HSV", "CMYK", "LA", "PA", "RGBX"])
def test_every_ordinary_pillow_mode_is_read(phantom_image: Image.Image, mode: str) -> None:
    if mode == "PA":
        image = phantom_image.quantize(64).convert("PA")
    else:
        image = phantom_image.convert(mode)
    rgb = load_pixels(image).rgb
    grey = np.asarray(phantom_image.convert("L")).mean()
    assert abs(float(np.asarray(Image.fromarray(rgb).convert("L")).mean()) - grey) < 8


def test_every_form_of_the_same_image_gives_the_same_pixels(phantom_jpeg: Path) -> None:
    content = phantom_jpeg.read_bytes()
    wanted = load_pixels(phantom_jpeg).rgb
    assert wanted.shape == (INPUT_PX, INPUT_PX, 3)
    assert wanted.dtype == np.uint8
    assert wanted.flags.writeable
    with Image.open(phantom_jpeg) as image:
        array = np.asarray(image)
    read_end, write_end = os.pipe()
    with phantom_jpeg.open("rb") as file, os.fdopen(read_end, "rb") as pipe:
        with ThreadPoolExecutor(1) as writer, os.fdopen(write_end, "wb") as sink:
            writer.submit(lambda: (sink.write(content), sink.close()))
            sources = {
                "text path": str(phantom_jpeg),
                "bytes": content,
                "bytearray": bytearray(content),
                "memoryview": memoryview(content),
                "file": file,
                "stream": io.BytesIO(content),
                "pipe": pipe,
                "array": array,
                "float array": array / 255,
                "PIL image": Image.fromarray(array),
            }
            for form, source in sources.items():
                assert np.array_equal(load_pixels(source).rgb, wanted), form
        assert not file.closed
        assert np.array_equal(load_pixels(file).rgb, wanted)  # once more, from its start


def test_what_a_source_is_called() -> None:
    assert imaging.name_of("a/b.jpg") == "a/b.jpg"
    assert imaging.name_of(Path("b.jpg")) == "b.jpg"
    assert imaging.name_of(b"") == "-"
    assert imaging.name_of(sys.__stdin__.buffer) == "-"  # type: ignore[union-attr]
    assert imaging.name_of(np.zeros(1)) == "-"


def test_threads_read_the_same_pixels(phantom_jpeg: Path) -> None:
    wanted = load_pixels(phantom_jpeg).rgb
    with ThreadPoolExecutor(8) as pool:
        for pixels in pool.map(load_pixels, [phantom_jpeg] * 64):
            assert np.array_equal(pixels.rgb, wanted)


def test_a_picture_for_people_keeps_its_shape(phantom_jpeg: Path) -> None:
    assert load_picture(phantom_jpeg).size == (600, 450)
    assert load_picture(phantom_jpeg, max_side_px=200).size == (200, 150)
    with pytest.raises(ImageError, match="is empty"):
        load_picture(b"")


def test_the_first_view_of_a_phone_photo_with_two_is_read(phantom_image: Image.Image) -> None:
    second = ImageOps.invert(phantom_image)
    content = encode(phantom_image, "MPO", save_all=True, append_images=[second], quality=90)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 2
    wanted = load_pixels(encode(phantom_image, "JPEG", quality=90)).rgb
    assert mean_difference(load_pixels(content).rgb, wanted) < 1


# ---------------------------------------------------------------- scaled decoding


def test_a_12_megapixel_photo_differs_by_less_than_a_grey_level_from_a_full_decode(
    rng: np.random.Generator,
) -> None:
    photo = phantoms.draw("scc", size_px=(4000, 3000), rng=rng)
    content = encode(photo, "JPEG", quality=90)
    scaled, full = load_pixels(content), load_pixels(content, full=True)
    assert (scaled.width_px, scaled.height_px) == (4000, 3000)
    assert not np.array_equal(scaled.rgb, full.rgb)  # it was scaled indeed
    assert mean_difference(scaled.rgb, full.rgb) < 1


@pytest.mark.parametrize("n_colours", [1, 3])
@pytest.mark.parametrize("size_px", [(300, 260), (1000, 900)])
def test_a_lossless_jpeg_is_read_at_its_full_scale(
    n_colours: int, size_px: tuple[int, int], rng: np.random.Generator
) -> None:
    pixels = np.asarray(phantoms.draw("bcc", size_px=size_px, rng=rng))[..., :n_colours]
    found = load_pixels(lossless_jpeg(pixels))
    wanted = load_pixels(pixels if n_colours == 3 else pixels[..., 0])
    assert np.array_equal(found.rgb, wanted.rgb)
    assert (found.width_px, found.height_px) == size_px
    assert load_picture(lossless_jpeg(pixels), max_side_px=100).width == 100


def test_a_lossless_jpeg_that_says_it_is_ycbcr_keeps_its_colours(
    phantom_image: Image.Image,
) -> None:
    ycbcr = phantom_image.convert("YCbCr")
    adobe = b"\xff\xee\0\x0eAdobe\0\x64" + bytes(4) + b"\1"
    jfif = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    for marker in (adobe, jfif):
        found = load_pixels(lossless_jpeg(np.asarray(ycbcr), marker=marker)).rgb
        assert np.array_equal(found, load_pixels(ycbcr).rgb)


@pytest.mark.parametrize(
    "kind", ["1", "L", "P", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F", "clear"]
)
def test_converting_in_bands_changes_no_bit(
    kind: str, phantom_image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = phantom_image.copy()
    if kind in ("RGBA", "LA"):
        image.putalpha(image.convert("L"))
    if kind == "P":
        image = image.quantize(64)
    elif kind == "clear":
        image.info["transparency"] = image.getpixel((100, 100))
    elif kind in ("I;16", "I"):
        grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
        image = Image.fromarray(grey if kind == "I;16" else grey.astype(np.int32))
    elif kind == "F":
        image = Image.fromarray(np.asarray(image.convert("L")) / np.float32(255))
    else:
        image = image.convert(kind)
    has_array = kind in ("L", "RGBA", "I;16", "F")
    for source in [image, np.asarray(image)] if has_array else [image]:
        for options in ({}, {"box": (0.1, 0.2, 0.7, 0.9)}):
            monkeypatch.setattr(shrinking, "_BAND_PIXELS", 1 << 20)
            whole = load_pixels(source, **options).rgb
            monkeypatch.setattr(shrinking, "_BAND_PIXELS", 7777)  # twelve rows
            assert np.array_equal(load_pixels(source, **options).rgb, whole)
            assert whole.std() > 0


@pytest.mark.slow
def test_real_dermoscopy_differs_by_less_than_a_grey_level_from_a_full_decode(
    data_dir: Path,
) -> None:
    paths = sorted((data_dir / "originals").glob("*.jpg"))
    assert paths, "no originals"
    for path in paths[::20]:  # as a phone would store them: 12 megapixels
        with Image.open(path) as image:
            large = image.resize((4000, 3000), Image.Resampling.BICUBIC)
        content = encode(large, "JPEG", quality=90)
        scaled, full = load_pixels(content).rgb, load_pixels(content, full=True).rgb
        assert mean_difference(scaled, full) < 1, path.name
    for path in paths:  # and as they are
        scaled, full = load_pixels(path).rgb, load_pixels(path, full=True).rgb
        assert mean_difference(scaled, full) < 1, path.name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_part_is_what_cropping_the_upright_image_gives(orientation: int) -> None:
    picture = phantoms.draw("bcc", size_px=(1000, 800), rng=np.random.default_rng(3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    picture.save(stream, "PNG", exif=exif)
    box = (0.1, 0.3, 0.6, 0.9)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(stream.getvalue())))
    width, height = upright.size
    cropped = upright.crop(
        (round(0.1 * width), round(0.3 * height), round(0.6 * width), round(0.9 * height))
    )
    part = load_pixels(stream.getvalue(), box=box)
    assert (part.width_px, part.height_px) == cropped.size
    # Filters reach over the edge of a box, not over that of a crop: a level or two at the border.
    difference = np.abs(part.rgb.astype(int) - load_pixels(cropped).rgb)
    assert difference.mean() < 0.1
    assert difference[4:-4, 4:-4].max() <= 1


def test_a_part_of_a_jpeg_is_decoded_no_smaller_than_a_whole_one_would_be() -> None:
    picture = phantoms.draw("scc", size_px=(4000, 3000), rng=np.random.default_rng(4))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=92)
    box = (0.4, 0.4, 0.6, 0.65)
    fast = load_pixels(stream.getvalue(), box=box).rgb.astype(int)
    full = load_pixels(stream.getvalue(), box=box, full=True).rgb.astype(int)
    assert np.abs(fast - full).mean() < 1


def test_the_whole_as_a_part_is_the_whole() -> None:
    picture = phantoms.draw("nevus", size_px=(640, 480), rng=np.random.default_rng(5))
    whole, part = load_pixels(picture), load_pixels(picture, box=(0, 0, 1, 1))
    assert (whole.rgb == part.rgb).all()
    assert (whole.width_px, whole.height_px) == (part.width_px, part.height_px)


@pytest.mark.parametrize(
    "box", [(0.5, 0, 0.5, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0.9, 0, 0.1, 1)]
)
def test_a_part_outside_the_image_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ImageError, match="not inside the image"):
        load_pixels(Image.new("RGB", (100, 100)), box=box)


def test_a_part_too_small_to_judge_is_refused() -> None:
    with pytest.raises(ImageError, match="too small"):
        load_pixels(Image.new("RGB", (100, 100)), box=(0, 0, 0.2, 1))
