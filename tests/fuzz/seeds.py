"""Whole files of every format and variant that is read, small, of one drawn lesion."""

from __future__ import annotations

import io
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lesionlens.phantoms import draw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for dicom_kit, as a script

SIZE_PX = (104, 76)


def make_seeds(directory: Path) -> dict[str, bytes]:
    """Return files by name.

    Args:
        directory: for files that are written on the way.
    """
    image = draw("bcc", size_px=SIZE_PX, rng=np.random.default_rng(0))
    grey = image.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    clear = image.copy()
    clear.putalpha(grey)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x8769] = 6, "a drawn lesion", {0x9003: "2026:01:02 03:04:05"}
    other = image.transpose(Image.Transpose.ROTATE_180)
    icc = {"icc_profile": bytes(range(256)) * 3}
    return {
        "jpeg": _encoded(image, "JPEG", quality=85),
        "jpeg_444_exif": _encoded(image, "JPEG", subsampling=0, exif=exif, **icc),
        "jpeg_progressive": _encoded(image, "JPEG", progressive=True, restart_marker_blocks=4),
        "jpeg_grey": _encoded(grey, "JPEG"),
        "jpeg_cmyk": _encoded(image.convert("CMYK"), "JPEG"),
        "jpeg_large": _encoded(image.resize((1000, 960)), "JPEG", quality=30),  # a scaled decode
        "mpo": _encoded(image, "MPO", save_all=True, append_images=[other]),
        "png": _encoded(image, "PNG", exif=exif),
        "png_palette": _encoded(image.quantize(32), "PNG", transparency=3),
        "png_clear": _encoded(clear, "PNG", **icc),
        "png_deep": _encoded(deep, "PNG"),
        "png_bits": _encoded(grey.convert("1"), "PNG"),
        "apng": _encoded(image, "PNG", save_all=True, append_images=[other]),
        "webp": _encoded(image, "WEBP", exif=exif),
        "webp_lossless": _encoded(clear, "WEBP", lossless=True),
        "webp_animated": _encoded(image, "WEBP", save_all=True, append_images=[other]),
        "tiff": _encoded(image, "TIFF"),
        "tiff_lzw": _encoded(image, "TIFF", compression="tiff_lzw"),
        "tiff_deflate": _encoded(clear, "TIFF", compression="tiff_adobe_deflate"),
        "tiff_jpeg": _encoded(image, "TIFF", compression="jpeg"),
        "tiff_fax": _encoded(grey.convert("1"), "TIFF", compression="group4"),
        "tiff_deep": _encoded(deep, "TIFF", compression="packbits"),
        "tiff_float": _encoded(grey.convert("F").point(lambda v: v / 255), "TIFF"),
        "tiff_pages": _encoded(image, "TIFF", save_all=True, append_images=[other]),
        "bmp": _encoded(image, "BMP"),
        "bmp_palette": _encoded(image.quantize(16), "BMP"),
        "bmp_clear": _encoded(clear, "BMP"),
        **_dicom_seeds(directory, image),
    }


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if more := options.pop("append_images", ()):
        options["append_images"] = [page.copy() for page in more]
    image.copy().save(buffer, kind, **options)  # JPEG leaves settings behind in what it saves
    return buffer.getvalue()


def _dicom_seeds(directory: Path, image: Image.Image) -> dict[str, bytes]:
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    import dicom_kit

    rgb = np.asarray(image)
    jpeg = _encoded(image, "JPEG")
    path = Path("seed.dcm")  # not below: dicom_kit makes of the whole path what identifies a file

    def made(maker: Any, *args: Any, **options: Any) -> bytes:
        maker(path, *args, **options)
        return path.read_bytes()

    def rle() -> bytes:
        from pydicom import dcmread

        dicom_kit.make(path, rgb)
        dataset = dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
        return path.read_bytes()

    with chdir(directory):
        return {
            "dicom": made(dicom_kit.make, rgb),
            "dicom_deep": made(dicom_kit.make, rgb.astype(np.uint16) * 257),
            "dicom_implicit": made(dicom_kit.make, rgb, syntax=ImplicitVRLittleEndian),
            "dicom_deflated": made(dicom_kit.make, rgb, syntax=DeflatedExplicitVRLittleEndian),
            "dicom_frames": made(dicom_kit.make, np.stack([rgb] * 3), NumberOfFrames=3),
            "dicom_jpeg": made(dicom_kit.of_jpeg, jpeg),
            "dicom_jpeg_frames": made(
                dicom_kit.make, [jpeg] * 3, syntax="1.2.840.10008.1.2.4.50",
                PhotometricInterpretation="YBR_FULL_422",
            ),
            "dicom_jpeg2000": made(dicom_kit.of_jpeg2000, image),
            "dicom_rle": rle(),
        }  # fmt: skip
