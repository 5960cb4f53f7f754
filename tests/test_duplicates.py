"""Near-duplicates: one picture is found under any disguise, two lesions are not taken for one."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lesionlens.data.duplicates import (
    _thumbnail,
    dihedral,
    find_near_duplicates,
    perceptual_hash,
)
from lesionlens.imaging import load_pixels

needs_data = pytest.mark.skipif(
    "LESIONLENS_DATA" not in os.environ, reason="LESIONLENS_DATA is not set"
)


def lesion(seed: int, *, vignette: bool = True) -> np.ndarray:
    """Return a dark textured blob on textured skin, in the round frame of a dermatoscope."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:224j, -1:1:224j]
    texture = np.zeros((224, 224))
    for cells, weight in ((7, 14), (28, 9), (56, 6)):
        noise = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
        texture += weight * np.asarray(noise.resize((224, 224), Image.Resampling.BICUBIC))
    radius = np.hypot(x - rng.uniform(-0.05, 0.05), y - rng.uniform(-0.05, 0.05))
    grey = 190 + texture - 110 / (1 + np.exp((radius - rng.uniform(0.3, 0.4)) / 0.03))
    if vignette:
        grey = grey / (1 + np.exp((np.hypot(x, y) - 0.95) / 0.02))
    rgb = grey[..., None] * np.array([1.0, 0.85, 0.8])
    return np.clip(rgb, 0, 255).astype(np.uint8)


def reencoded(rgb: np.ndarray) -> np.ndarray:
    """Return the picture as another archive would have it: smaller, brighter, JPEG again."""
    image = Image.fromarray(rgb).resize((180, 180), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    ImageEnhance.Brightness(image).enhance(1.05).save(stream, "JPEG", quality=80)
    return np.asarray(load_pixels(stream.getvalue()).rgb)


def pairs(images: list[np.ndarray]) -> set[tuple[str, str]]:
    found = find_near_duplicates(images, [str(i) for i in range(len(images))])
    return {(pair.first_id, pair.second_id) for pair in found}


def test_hash_has_the_bits_of_imagehash() -> None:
    imagehash = pytest.importorskip("imagehash")
    for seed in range(5):
        rgb = lesion(seed)
        theirs = np.packbits(imagehash.phash(Image.fromarray(rgb)).hash.ravel()).view(">u8")[0]
        assert perceptual_hash(_thumbnail(rgb)[None])[0] == theirs


def test_reencoded_resized_and_brightened_picture_is_found() -> None:
    images = [lesion(seed) for seed in range(12)]
    assert pairs([*images, reencoded(images[4])]) == {("4", "12")}


@pytest.mark.parametrize("transform", range(8))
def test_flipped_and_turned_picture_is_found_and_the_turn_told(transform: int) -> None:
    first = lesion(1)
    turned = np.stack(
        [dihedral(reencoded(first)[None, :, :, c], transform)[0] for c in range(3)], axis=-1
    )
    (pair,) = find_near_duplicates([first, np.ascontiguousarray(turned)], ["a", "b"])
    assert (pair.first_id, pair.second_id) == ("a", "b")
    assert pair.correlation > 0.7
    # Told is what turns the second back into the first.
    back = np.stack([dihedral(turned[None, :, :, c], pair.transform)[0] for c in range(3)], axis=-1)
    assert np.abs(back.astype(int) - reencoded(first)).max() == 0


def test_different_lesions_in_the_same_black_frame_are_not_near_duplicates() -> None:
    images = [lesion(seed) for seed in range(30)]
    thumbnails = np.stack([_thumbnail(rgb).ravel() for rgb in images]).astype(float)
    alike = np.corrcoef(thumbnails)
    assert np.median(alike[np.triu_indices(30, 1)]) > 0.85, "they should look alike from afar"
    assert pairs(images) == set()


def test_pictures_without_detail_are_alike_only_if_equal() -> None:
    flat = np.full((224, 224, 3), 120, np.uint8)
    ramp = np.repeat(np.linspace(0, 255, 224, dtype=np.uint8)[None, :, None], 224, 0).repeat(3, 2)
    assert pairs([flat, flat.copy(), ramp]) == {("0", "1")}


def test_blocks_do_not_hide_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [lesion(seed) for seed in range(9)]
    images += [reencoded(images[0]), reencoded(images[8])]
    monkeypatch.setattr("lesionlens.data.duplicates._BLOCK", 4)
    assert pairs(images) == {("0", "9"), ("8", "10")}


@needs_data
def test_known_duplicates_of_the_real_archive_are_found_and_no_false_ones() -> None:
    root = Path(os.environ["LESIONLENS_DATA"])
    known = {
        ("ISIC_0000279", "ISIC_0000280"),
        ("ISIC_0000399", "ISIC_0001124"),
        ("ISIC_0000477", "ISIC_0000512"),
        ("ISIC_0000520", "ISIC_0010302"),
        ("ISIC_0025226", "ISIC_0030074"),
    }
    with open(root / "provenance.csv", encoding="utf-8") as file:
        group = {Path(row["file"]).stem: row["group_id"] for row in csv.DictReader(file)}
    assert all(group[first] == group[second] for first, second in known)
    ids = sorted({i for pair in known for i in pair} | set(sorted(group)[::20]))
    images = [load_pixels(root / "isic" / "images" / f"{i}.jpg").rgb for i in ids]
    found = {(p.first_id, p.second_id) for p in find_near_duplicates(images, ids)}
    assert known <= found
    assert [(a, b) for a, b in found if group[a] != group[b]] == []
