"""The audit: it finds what was planted, and a hand-edited split cannot hide from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from lesionlens.cli.main import app
from lesionlens.data.manifest import write_metadata
from lesionlens.files import read_json

DIAGNOSES = {
    "BCC": ("Malignant", "Basal cell carcinoma"),
    "SCC": ("Malignant", "Squamous cell carcinoma, NOS"),
    "NV": ("Benign", "Nevus"),
}


def picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (28, 28, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """24 lesions of two frames each, three classes; nothing wrong with it."""
    root = tmp_path / "archive"
    (root / "images").mkdir(parents=True)
    rows = []
    for i in range(48):
        diagnosis_1, diagnosis_3 = list(DIAGNOSES.values())[i // 2 % 3]
        rows.append(
            {
                "isic_id": f"ISIC_{i:07}",
                "diagnosis_1": diagnosis_1,
                "diagnosis_3": diagnosis_3,
                "lesion_id": f"IL_{i // 2}",
                "attribution": "A hospital",
            }
        )
        picture(i).save(root / "images" / f"ISIC_{i:07}.jpg")
    write_metadata(root / "metadata.csv", rows)
    return root


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def split(archive: Path, *options: str) -> Path:
    path = archive.parent / "splits.json"
    result = run("split", archive, "-o", path, "--cache", archive.parent / "cache", *options)
    assert result.exit_code == 0, result.output
    return path


def audit(archive: Path, splits: Path, *options: str | Path) -> Result:
    return run("audit", archive, "--splits", splits, "--cache", archive.parent / "cache", *options)


def test_honest_split_passes_and_its_balance_is_shown(archive: Path, tmp_path: Path) -> None:
    result = audit(archive, split(archive), "--json", tmp_path / "audit.json")
    assert result.exit_code == 0, result.output
    assert "nothing stands on both sides" in result.stderr
    found = read_json(tmp_path / "audit.json")
    assert found["is_honest"] is True
    assert (found["n_frames"], found["n_groups"]) == (48, 24)
    assert found["sizes"]["BCC"] == {"160 x 120": 16}
    assert found["sources"]["NV"] == {"A hospital": 16}
    balance = {(row["part"], row["label"]): row["n_frames"] for row in found["balance"]}
    assert sum(n for (part, _), n in balance.items() if part != "archive") == 48
    for word in ("train", "validation", "test", "A hospital", "160 x 120"):
        assert word in result.stdout


def test_split_edited_by_hand_is_found_out_with_exit_code_1(archive: Path) -> None:
    path = split(archive)
    value = json.loads(path.read_text())
    moved = value["parts"]["train"].pop(0)
    value["parts"]["test"].append(moved)
    value["groups"][moved] = "image:" + moved
    path.write_text(json.dumps(value))
    result = audit(archive, path)
    assert result.exit_code == 1
    assert moved in result.stderr
    assert "lesion IL_" in result.stderr


def test_near_duplicate_in_two_parts_is_a_leak(archive: Path, tmp_path: Path) -> None:
    splits = split(archive)
    parts = read_json(splits)["parts"]
    original = archive / "images" / f"{parts['train'][0]}.jpg"
    copy = archive / "images" / f"{parts['test'][0]}.jpg"
    with Image.open(original) as image:
        image.resize((200, 150)).save(copy, quality=70)
    result = audit(archive, splits, "--json", tmp_path / "audit.json")
    assert result.exit_code == 1
    assert "near-duplicate" in result.stderr
    kinds = {leak["kind"] for leak in read_json(tmp_path / "audit.json")["leaks"]}
    assert "near-duplicate" in kinds
    assert audit(archive, split(archive)).exit_code == 0, "a split made anew keeps them together"


def test_two_labels_of_one_lesion_and_unreadable_files_are_reported(
    archive: Path, tmp_path: Path
) -> None:
    metadata = archive / "metadata.csv"
    text = metadata.read_text().replace("Basal cell carcinoma", "Nevus", 1)
    metadata.write_text(text)
    (archive / "images" / "ISIC_0000007.jpg").write_bytes(b"no image")
    result = run("audit", archive, "--cache", tmp_path / "cache", "--json", tmp_path / "audit.json")
    assert result.exit_code == 0, "nothing was split, so nothing leaks"
    found = read_json(tmp_path / "audit.json")
    assert [conflict["key"] for conflict in found["conflicts"]] == ["IL_0"]
    assert len(found["unreadable"]) == 1
    assert "ISIC_0000007.jpg" in result.stderr
    assert "IL_0" in result.stderr


def test_splits_of_an_archive_that_changed_do_not_pass(archive: Path) -> None:
    splits = split(archive)
    metadata = archive / "metadata.csv"
    metadata.write_text(metadata.read_text().replace("Squamous cell carcinoma, NOS", "Nevus", 2))
    result = audit(archive, splits)
    assert result.exit_code == 1
    assert "changed" in result.stderr


def test_verb_splits_into_folds_of_chosen_classes(archive: Path) -> None:
    path = split(archive, "--folds", "4", "--label", "BCC", "--label", "SCC")
    value = read_json(path)
    assert (value["kind"], list(value["parts"])) == ("folds", [f"fold{i}" for i in range(4)])
    assert all(set(counts) == {"BCC", "SCC"} for counts in value["counts"].values())
    assert audit(archive, path).exit_code == 0


def test_unreadable_image_is_left_out_of_the_split(archive: Path) -> None:
    (archive / "images" / "ISIC_0000007.jpg").write_bytes(b"")
    value = read_json(split(archive))
    assert "ISIC_0000007" not in value["groups"]
    assert len(value["groups"]) == 47


def test_test_counts_are_taken_by_name(archive: Path) -> None:
    value = read_json(split(archive, "--test-count", "BCC=4", "--test-count", "scc=2"))
    assert value["counts"]["test"] == {"BCC": 4, "SCC": 2}


@pytest.mark.parametrize(
    "options",
    [["--fractions", "1,2"], ["--test-count", "BCC"], ["--test-count", "XYZ=3"], ["--folds", "1"]],
)
def test_bad_options_are_refused_with_exit_code_2(archive: Path, options: list[str]) -> None:
    assert run("split", archive, *options).exit_code == 2
