"""Drawn images: repeatable, varied, labelled as drawn, and of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlens import phantoms
from lesionlens.data.manifest import load_archive
from lesionlens.labels import Label

SMALL = (120, 90)


@pytest.mark.parametrize("kind", phantoms.KINDS)
def test_the_same_generator_state_draws_the_same_picture(kind: str) -> None:
    first, second, other = (
        np.asarray(phantoms.draw(kind, size_px=SMALL, rng=np.random.default_rng(seed)))
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first, second)
    assert np.abs(first.astype(int) - other.astype(int)).mean() > 2


@pytest.mark.parametrize("size", [(16, 16), (224, 224), (90, 200), (701, 150)])
def test_any_size_can_be_drawn(size: tuple[int, int], rng: np.random.Generator) -> None:
    for kind in phantoms.KINDS:
        image = phantoms.draw(kind, size_px=size, rng=rng)
        assert (image.size, image.mode) == (size, "RGB")


def test_an_unknown_kind_and_a_tiny_size_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="'mole' cannot be drawn; kinds are skin, bcc"):
        phantoms.draw("mole", rng=rng)
    with pytest.raises(ValueError, match="at least 16"):
        phantoms.draw("skin", size_px=(8, 80), rng=rng)


def test_lesions_stand_out_in_the_colours_they_are_known_by(rng: np.random.Generator) -> None:
    def contrast(kind: str) -> np.ndarray:
        """Mean colour of the middle minus that of the border, averaged over pictures."""
        found = []
        for _ in range(6):
            rgb = np.asarray(phantoms.draw(kind, size_px=(160, 120), rng=rng)).astype(float)
            border = np.concatenate([rgb[:12].reshape(-1, 3), rgb[-12:].reshape(-1, 3)])
            found.append(rgb[40:80, 55:105].reshape(-1, 3).mean(0) - np.median(border, axis=0))
        return np.mean(found, axis=0)

    nevus, bcc, skin = contrast("nevus"), contrast("bcc"), contrast("skin")
    assert nevus.mean() < -50  # dark
    assert bcc[2] - bcc[0] > nevus[2] - nevus[0]  # bluer than a nevus
    assert np.abs(skin).max() < 25  # nothing there


def test_files_say_that_they_are_drawn(rng: np.random.Generator, tmp_path: Path) -> None:
    image = phantoms.draw("bcc", size_px=SMALL, rng=rng)
    with Image.open(phantoms.save(image, tmp_path / "a.jpg")) as jpeg:
        assert phantoms.NOTE in jpeg.info["comment"].decode()
    with Image.open(phantoms.save(image, tmp_path / "a.png")) as png:
        assert phantoms.NOTE in png.text["Description"]
        assert np.array_equal(np.asarray(png), np.asarray(image))  # nothing written on the pixels


def test_samples_are_one_of_each_kind_and_called_drawn(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    paths = phantoms.write_samples(tmp_path, rng, size_px=SMALL)
    assert [path.name for path in paths] == [f"drawn-{kind}.jpg" for kind in phantoms.KINDS]
    assert set(phantoms.CAPTIONS) == set(phantoms.KINDS)


def test_random_frames_take_turns(rng: np.random.Generator) -> None:
    kinds = ("bcc", "scc")
    frames = list(phantoms.random_frames(5, rng=rng, kinds=kinds, size_px=SMALL))
    assert [kind for kind, _ in frames] == ["bcc", "scc", "bcc", "scc", "bcc"]
    assert len({image.tobytes() for _, image in frames}) == 5


def test_a_drawn_archive_loads_with_groups_and_normals(drawn_archive: Path) -> None:
    archive = load_archive(drawn_archive)
    counts = archive.counts()
    assert not archive.unmapped
    for label in (Label.BCC, Label.SCC, Label.NV, Label.NORMAL):
        assert counts[label] == 8
    frames = [frame for frame in archive.frames if frame.label is Label.BCC]
    assert len({frame.lesion_id for frame in frames}) == 6  # every third lesion has two frames
    parents = {frame.image_id: frame for frame in archive.frames}
    for crop in (frame for frame in archive.frames if frame.label is Label.NORMAL):
        assert parents[crop.parent_id].label is Label.NV
        assert parents[crop.parent_id].lesion_id == crop.lesion_id
