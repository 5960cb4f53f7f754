"""Drawn test images: "phantoms", in the imaging sense of the word.

No real dermoscopy may be shipped with the code (licences, privacy), so what the demo, the
tests and the docs need is drawn here: skin, a BCC-like, an SCC-like and a nevus-like lesion
with the structures that dermatologists look for, and pictures of nothing medical. They look
like dermoscopy from across the room and **prove nothing about the model**: wherever one is
shown it is called *drawn*, and every file carries ``NOTE`` in its metadata.

How each kind is painted stands in ``painting.py`` and ``scenery.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, PngImagePlugin

from lesionlens import files
from lesionlens.painting import Canvas, paint_bcc, paint_nevus, paint_scc, paint_skin
from lesionlens.scenery import paint_nonskin

_PAINTERS: dict[str, Callable[[Canvas], None]] = {
    "skin": paint_skin,
    "bcc": paint_bcc,
    "scc": paint_scc,
    "nevus": paint_nevus,
    "nonskin": paint_nonskin,
}
#: What can be drawn, in the order in which the demo shows it.
KINDS: tuple[str, ...] = tuple(_PAINTERS)
#: What to write beside each kind; "drawn" stands with it wherever one is shown.
CAPTIONS: dict[str, str] = {
    "skin": "healthy skin",
    "bcc": "BCC-like lesion",
    "scc": "SCC-like lesion",
    "nevus": "nevus-like lesion",
    "nonskin": "nothing medical",
}
#: Written into the metadata of every file.
NOTE = "drawn by LesionLens, not a photograph"
#: Larger pictures are drawn at this long side and scaled up, then grained at full size.
_DRAWN_PX = 1200


def draw(
    kind: str, *, size_px: tuple[int, int] = (600, 450), rng: np.random.Generator
) -> Image.Image:
    """Draw one phantom.

    Args:
        kind: one of ``KINDS``.
        size_px: width and height, each at least 16.
        rng: source of everything that varies: the same state draws the same picture.

    Returns:
        RGB image of ``size_px`` whose ``info`` carries ``NOTE`` and the kind.

    Raises:
        ValueError: unknown kind or a size below 16 pixels.
    """
    if kind not in _PAINTERS:
        raise ValueError(f"{kind!r} cannot be drawn; kinds are {', '.join(KINDS)}")
    width, height = size_px
    if min(width, height) < 16:
        raise ValueError(f"{width} x {height}: a phantom needs at least 16 pixels a side")
    scale = min(1.0, _DRAWN_PX / max(width, height))
    canvas = Canvas((max(16, round(width * scale)), max(16, round(height * scale))), rng)
    _PAINTERS[kind](canvas)
    image = canvas.to_image().filter(ImageFilter.GaussianBlur(0.0016 * canvas.short))  # a lens's
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    grain = 2.0 * rng.standard_normal((height, width, 1), dtype=np.float32)  # a sensor's, levels
    pixels = np.asarray(image, dtype=np.int16) + np.rint(grain).astype(np.int16)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    image.info["comment"] = f"{NOTE}; kind: {kind}"
    return image


def random_frames(
    n: int,
    *,
    rng: np.random.Generator,
    kinds: Sequence[str] = KINDS,
    size_px: tuple[int, int] = (600, 450),
) -> Iterator[tuple[str, Image.Image]]:
    """Yield ``n`` pairs of kind and picture, the kinds taking turns, each picture different."""
    for index in range(n):
        kind = kinds[index % len(kinds)]
        yield kind, draw(kind, size_px=size_px, rng=rng)


def save(image: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Write a phantom as JPEG or PNG (by suffix) with its note in the metadata, atomically."""
    path = Path(path)
    comment = str(image.info.get("comment", NOTE))
    with files.atomic_write(path, "wb") as file:
        if path.suffix.lower() == ".png":
            text = PngImagePlugin.PngInfo()
            text.add_text("Description", comment)
            image.save(file, "PNG", pnginfo=text)
        else:
            image.save(file, "JPEG", quality=92, comment=comment.encode())
    return path


def write_samples(
    directory: str | os.PathLike[str],
    rng: np.random.Generator,
    *,
    size_px: tuple[int, int] = (600, 450),
) -> list[Path]:
    """Draw one sample of each kind as ``drawn-<kind>.jpg``; returns the paths in order."""
    return [
        save(draw(kind, size_px=size_px, rng=rng), Path(directory) / f"drawn-{kind}.jpg")
        for kind in KINDS
    ]


# ---------------------------------------------------------------- a small archive, drawn

_DIAGNOSES = {
    "bcc": ("Malignant", "Malignant epidermal proliferations", "Basal cell carcinoma"),
    "scc": ("Malignant", "Malignant epidermal proliferations", "Squamous cell carcinoma, NOS"),
    "nevus": ("Benign", "Benign melanocytic proliferations", "Nevus"),
}
_COLUMNS = (
    "isic_id", "attribution", "copyright_license", "age_approx", "anatom_site_general",
    "diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_confirm_type", "image_type",
    "lesion_id", "patient_id", "sex", "pixels_x", "pixels_y",
)  # fmt: skip
_NORMAL_COLUMNS = (
    "image_id", "parent_isic_id", "lesion_id", "patient_id", "crop_x_px", "crop_y_px",
    "crop_size_px", "parent_size", "source", "image_type",
)  # fmt: skip


def write_archive(
    directory: str | os.PathLike[str],
    n_per_class: int,
    rng: np.random.Generator,
    *,
    size_px: tuple[int, int] = (300, 225),
) -> Path:
    """Draw an archive in the shape that ``data fetch`` and ``data normals`` leave behind.

    Args:
        directory: gets ``images/``, ``metadata.csv`` and ``normal/`` (corners cut out of the
            nevus frames, where there is no lesion).
        n_per_class: frames of each of BCC, SCC, Nevus and Normal. Every third lesion has two
            frames (the second turned and a little darker), so that splits have groups to keep.
        rng: source of everything that varies.
        size_px: width and height of a frame.

    Returns:
        ``directory`` as a Path.
    """
    root = Path(directory)
    rows: list[dict[str, object]] = []
    normals: list[dict[str, object]] = []
    width, height = size_px
    crop_px = round(min(size_px) * 0.3)
    for kind, diagnoses in _DIAGNOSES.items():
        lesion = 0
        previous: Image.Image | None = None
        for index in range(n_per_class):
            if previous is not None and lesion % 3 == 0:
                turned = previous.transpose(Image.Transpose.ROTATE_180)
                image = turned.point(lambda value: int(value * 0.94))
                image.info["comment"] = previous.info["comment"]
                previous = None
            else:
                lesion += 1
                image = previous = draw(kind, size_px=size_px, rng=rng)
            name = f"DRAWN_{len(rows):07d}"
            save(image, root / "images" / f"{name}.jpg")
            row: dict[str, object] = {
                "isic_id": name,
                "attribution": NOTE,
                "copyright_license": "CC-0",
                "age_approx": 5 * int(rng.integers(6, 17)),
                "image_type": "dermoscopic",
                "lesion_id": f"DRAWN_{kind}_{lesion}",
                "sex": ("female", "male")[int(rng.integers(2))],
                "pixels_x": width,
                "pixels_y": height,
            }
            row |= dict(zip(("diagnosis_1", "diagnosis_2", "diagnosis_3"), diagnoses, strict=True))
            rows.append(row)
            if kind == "nevus":
                left = (0, width - crop_px)[index % 2]
                skin = image.crop((left, 0, left + crop_px, crop_px))
                skin.info["comment"] = f"{NOTE}; kind: skin, cut out of {name}"
                save(skin, root / "normal" / "images" / f"{name}_skin.jpg")
                normals.append(
                    {
                        "image_id": f"{name}_skin",
                        "parent_isic_id": name,
                        "lesion_id": row["lesion_id"],
                        "patient_id": "",
                        "crop_x_px": left,
                        "crop_y_px": 0,
                        "crop_size_px": crop_px,
                        "parent_size": f"{width}x{height}",
                        "source": "drawn",
                        "image_type": "dermoscopic",
                    }
                )
    files.write_csv(root / "metadata.csv", _COLUMNS, rows)
    files.write_csv(root / "normal" / "metadata.csv", _NORMAL_COLUMNS, normals)
    return root
