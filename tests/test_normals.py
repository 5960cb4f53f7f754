"""Healthy skin: crops lie beside the lesion, know their parent, and stay in its part."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lesionlens.cli.main import app
from lesionlens.data.groups import group_frames
from lesionlens.data.manifest import NORMAL_COLUMNS, load_archive, write_metadata
from lesionlens.data.normals import CropOptions, NormalsReport, add_to_splits, cut_normals
from lesionlens.data.splits import Splits, check_splits, make_splits
from lesionlens.errors import DataError
from lesionlens.files import read_csv
from lesionlens.labels import Label

SIZE = (300, 225)
RED = np.array([200, 30, 30])


def draw(path: Path, seed: int, radius: float = 0.35) -> None:
    """Draw a pure red ellipse on textured skin: what is red is lesion, to the pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIZE[1] * 1j, -1 : 1 : SIZE[0] * 1j]
    noise = Image.fromarray(rng.normal(0, 2, (60, 80)).astype(np.float32)).resize(SIZE)
    picture = np.array([205.0, 170.0, 155.0]) + np.asarray(noise)[..., None]
    picture[np.hypot(x - rng.uniform(-0.2, 0.2), y) < radius] = RED
    Image.fromarray(picture.astype(np.uint8)).save(path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """30 benign frames of 15 lesions from two hospitals, and 12 malignant ones."""
    root = tmp_path / "archive"
    (root / "images").mkdir(parents=True)
    rows = []
    for i in range(42):
        benign = i < 30
        rows.append(
            {
                "isic_id": f"ISIC_{i:07}",
                "attribution": f"hospital {i % 2}" if benign else "hospital 2",
                "diagnosis_1": "Benign" if benign else "Malignant",
                "diagnosis_3": "Nevus" if benign else "Basal cell carcinoma",
                "lesion_id": f"IL_{i // 2}",
            }
        )
        draw(root / "images" / f"ISIC_{i:07}.png", i)
    write_metadata(root / "metadata.csv", rows)
    return root


def cut(
    archive: Path, directory: Path, masks: Path | None = None, **options: object
) -> NormalsReport:
    settings = CropOptions(**{"count": 20, **options})  # type: ignore[arg-type]
    return cut_normals(load_archive(archive).frames, directory, settings, masks=masks)


def has_lesion(image: Image.Image) -> bool:
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return bool((pixels[..., 0] - pixels[..., 1] > 90).any())


def test_crops_hold_no_lesion_and_are_what_their_box_says(archive: Path, tmp_path: Path) -> None:
    report = cut(archive, tmp_path / "normal", min_side_px=32)
    assert len(report.crops) == 20
    rows = read_csv(tmp_path / "normal" / "metadata.csv", required=NORMAL_COLUMNS)
    sides = set()
    for row in rows:
        x, y, side = (int(row[f"crop_{key}_px"]) for key in ("x", "y", "size"))
        assert row["parent_size"] == "300x225"
        assert 0.25 * 225 - 1 <= side <= 0.5 * 225 + 1
        sides.add(side)
        with (
            Image.open(archive / "images" / f"{row['parent_isic_id']}.png") as parent,
            Image.open(tmp_path / "normal" / "images" / f"{row['image_id']}.jpg") as crop,
        ):
            assert crop.size == (side, side)
            assert not has_lesion(crop)
            expected = np.asarray(parent.crop((x, y, x + side, y + side))).astype(int)
            assert np.abs(np.asarray(crop).astype(int) - expected).mean() < 3
    assert len(sides) > 5, "magnification should vary"


def test_only_benign_frames_are_cut_and_lesions_and_sources_take_turns(
    archive: Path, tmp_path: Path
) -> None:
    report = cut(archive, tmp_path / "normal", per_group=1)
    parents = [crop.parent for crop in report.crops]
    assert all(parent.is_benign for parent in parents)
    assert max(Counter(parent.lesion_id for parent in parents).values()) == 1
    by_source = Counter(parent.source for parent in parents)
    assert set(by_source) == {"hospital 0", "hospital 1"}
    assert abs(by_source["hospital 0"] - by_source["hospital 1"]) <= 3


def test_same_seed_gives_the_same_crops_and_another_seed_others(
    archive: Path, tmp_path: Path
) -> None:
    one = cut(archive, tmp_path / "one")
    two = cut(archive, tmp_path / "two")
    three = cut(archive, tmp_path / "three", seed=1)
    assert one.crops == two.crops != three.crops
    for path in (tmp_path / "one" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / "images" / path.name).read_bytes()


def test_second_run_replaces_the_first_and_leaves_nothing_of_it(
    archive: Path, tmp_path: Path
) -> None:
    first = cut(archive, tmp_path / "normal")
    second = cut(archive, tmp_path / "normal", count=5, seed=3)
    kept = {path.stem for path in (tmp_path / "normal" / "images").iterdir()}
    assert kept == {crop.image_id for crop in second.crops}
    assert set(second.removed) == {crop.image_id for crop in first.crops} - kept


def test_folder_of_other_crops_is_not_overwritten(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal" / "metadata.csv").write_text("image_id,parent_isic_id\n")
    with pytest.raises(DataError, match="normal: holds files"):
        cut(archive, tmp_path / "normal")


def test_mask_of_another_size_decides_where_there_is_one(archive: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for i in range(30):
        mask = np.zeros((90, 120), np.uint8)
        mask[:, 40:] = 255  # "the lesion" is everything but the left third
        if i % 3 == 0:
            mask[:] = 0
        Image.fromarray(mask).save(masks / f"ISIC_{i:07}_segmentation.png")
    report = cut(archive, tmp_path / "normal", masks, size_fraction=(0.2, 0.25), min_side_px=32)
    assert len(report.crops) > 5
    assert all(crop.x_px + crop.size_px <= 100 for crop in report.crops)
    assert report.n_masked > 0
    assert report.refused["mask is empty"] > 0


def test_unreadable_frame_is_reported_and_the_others_are_cut(archive: Path, tmp_path: Path) -> None:
    (archive / "images" / "ISIC_0000003.png").write_bytes(b"no image")
    report = cut(archive, tmp_path / "normal", count=100)
    assert [failure.path.name for failure in report.errors] == ["ISIC_0000003.png"]
    assert len(report.crops) > 10


def test_crops_are_read_back_as_normal_frames_in_their_parents_group(
    archive: Path, tmp_path: Path
) -> None:
    cut(archive, archive / "normal")
    frames = load_archive(archive).frames
    groups = group_frames(frames)
    crops = [frame for frame in frames if frame.label is Label.NORMAL]
    assert len(crops) == 20
    assert all(groups[crop.image_id] == groups[crop.parent_id] for crop in crops)
    splits = make_splits(frames, groups, seed=0)
    part_of = splits.part_of()
    assert all(part_of[crop.image_id] == part_of[crop.parent_id] for crop in crops)


def test_crops_join_the_part_of_their_parent_in_splits_made_before(
    archive: Path, tmp_path: Path
) -> None:
    frames = load_archive(archive).frames
    splits = make_splits(frames, group_frames(frames), seed=0)
    splits.save(tmp_path / "splits.json")
    arguments = ["data", "normals", str(archive), "--splits", str(tmp_path / "splits.json")]
    for seed in (0, 1):  # a second run replaces crops in the splits as it does on the disk
        result = CliRunner().invoke(app, [*arguments, "--count", "12", "--seed", str(seed)])
        assert result.exit_code == 0, result.output
        loaded = load_archive(archive).frames
        extended = Splits.load(tmp_path / "splits.json")
        check_splits(extended, loaded, group_frames(loaded))
        part_of = extended.part_of()
        crops = [frame for frame in loaded if frame.parent_id]
        assert len(crops) == 12
        assert set(part_of) == {frame.image_id for frame in loaded}
        for crop in crops:
            assert part_of[crop.image_id] == splits.part_of()[crop.parent_id]
            assert extended.groups[crop.image_id] == splits.groups[crop.parent_id]
        assert sum(counts.get("Normal", 0) for counts in extended.counts.values()) == 12


def test_frames_outside_the_splits_are_not_cut(archive: Path, tmp_path: Path) -> None:
    frames = load_archive(archive).frames
    inside = [frame for frame in frames if int(frame.image_id[-2:]) >= 14]
    splits = make_splits(inside, group_frames(frames), seed=0)
    report = cut_normals(frames, tmp_path / "normal", CropOptions(count=50), splits=splits)
    assert report.crops
    assert all(crop.parent in inside for crop in report.crops)
    outside = next(frame for frame in frames if frame not in inside)
    stray = replace(report.crops[0].frame(tmp_path), parent_id=outside.image_id)
    with pytest.raises(DataError, match="no part"):
        add_to_splits(splits, frames, [stray])


def test_archive_without_benign_frames_says_what_is_missing(archive: Path, tmp_path: Path) -> None:
    malignant = [frame for frame in load_archive(archive).frames if not frame.is_benign]
    with pytest.raises(DataError, match="Benign"):
        cut_normals(malignant, tmp_path / "normal")


@pytest.mark.parametrize("text", ["0.5", "a,b", "0.5,0.2", "0,2"])
def test_bad_size_fraction_is_refused_with_exit_code_2(archive: Path, text: str) -> None:
    arguments = ["data", "normals", str(archive), "--size-fraction", text]
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.slow
@pytest.mark.skipif("LESIONLENS_DATA" not in os.environ, reason="LESIONLENS_DATA is not set")
def test_under_2_percent_of_real_crops_touch_the_lesion_by_its_mask(tmp_path: Path) -> None:
    root = Path(os.environ["LESIONLENS_DATA"])
    frames = [
        frame
        for frame in load_archive(root).frames
        if (root / "masks" / f"{frame.image_id}_segmentation.png").is_file()
    ]
    options = CropOptions(count=10_000, per_frame=2, per_group=100)
    report = cut_normals(frames, tmp_path / "normal", options)
    assert len(report.crops) > 150
    n_touching = 0
    for crop in report.crops:
        with Image.open(root / "masks" / f"{crop.parent.image_id}_segmentation.png") as mask:
            size = (crop.parent_width_px, crop.parent_height_px)
            scaled = np.asarray(mask.convert("L").resize(size, Image.Resampling.BOX)) > 0
        box = np.s_[crop.y_px : crop.y_px + crop.size_px, crop.x_px : crop.x_px + crop.size_px]
        n_touching += bool(scaled[box].any())
    assert n_touching / len(report.crops) < 0.02
