"""The archive folder: read into frames, with every row that cannot be used accounted for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlens.data.manifest import (
    ISIC_COLUMNS,
    NORMAL_COLUMNS,
    Unmapped,
    archive_hash,
    load_archive,
    write_metadata,
)
from lesionlens.errors import DataError
from lesionlens.files import read_csv, write_csv
from lesionlens.labels import Label

BCC = {"diagnosis_1": "Malignant", "diagnosis_3": "Basal cell carcinoma"}
NEVUS = {"diagnosis_1": "Benign", "diagnosis_3": "Nevus"}


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 40, 3), 180, np.uint8)).save(path)
    return path


def archive(root: Path, *rows: dict[str, str], images: bool = True) -> Path:
    write_metadata(root / "metadata.csv", rows)
    if images:
        for row in rows:
            picture(root / "images" / f"{row['isic_id']}.jpg")
    return root


@pytest.fixture(scope="module")
def real_archive() -> Path:
    folder = os.environ.get("LESIONLENS_DATA")
    if not folder:
        pytest.skip("LESIONLENS_DATA is not set: no real archive to read")
    return Path(folder)


def test_the_real_archive_gives_every_frame_and_crop_with_its_label(real_archive: Path) -> None:
    loaded = load_archive(real_archive)
    assert loaded.unmapped == ()
    assert len(loaded.frames) == 11217 + 294 + 175
    assert loaded.counts() == {
        Label.BCC: 514,
        Label.SCC: 202,
        Label.NORMAL: 294,
        Label.NV: 7007,
        Label.MEL: 1547,
        Label.BKL: 1103,
        Label.AK: 130,
        Label.DF: 122,
        Label.VASC: 142,
        Label.UNK: 450,
        Label.NOT_SKIN: 175,
    }
    assert sum(frame.is_benign for frame in loaded.frames) == 8824
    assert all(frame.path.is_file() for frame in loaded.frames[::500])


def test_photos_of_other_things_are_taken_for_not_skin(tmp_path: Path) -> None:
    root = archive(tmp_path, {"isic_id": "ISIC_1", **BCC})
    picture(root / "nonskin" / "carpet.jpeg")
    picture(root / "nonskin" / ".hidden.jpg")
    _, photo = load_archive(root).frames
    assert (photo.image_id, photo.label, photo.source) == ("carpet", Label.NOT_SKIN, "nonskin")
    picture(root / "nonskin" / "ISIC_1.jpg")
    with pytest.raises(DataError, match=r"ISIC_1 is also in .*metadata\.csv"):
        load_archive(root)


def test_the_real_crops_inherit_from_their_parents(real_archive: Path) -> None:
    loaded = load_archive(real_archive)
    by_id = {frame.image_id: frame for frame in loaded.frames}
    crops = [frame for frame in loaded.frames if frame.label is Label.NORMAL]
    orphans = [crop for crop in crops if crop.parent_id not in by_id]
    assert len(orphans) == 1
    for crop in crops:
        assert crop.parent_id
        if parent := by_id.get(crop.parent_id):
            assert (crop.source, crop.lesion_id, crop.patient_id) == (
                parent.source,
                parent.lesion_id,
                parent.patient_id,
            )
        else:
            assert crop.source in ("ham", "isic2020")


def test_the_isic_folder_alone_takes_its_crops_from_where_it_is_told(real_archive: Path) -> None:
    loaded = load_archive(real_archive / "isic", normals=real_archive / "normal")
    assert len(loaded.frames) == 11217 + 294
    of_all = load_archive(real_archive).frames
    lesions_and_skin = [frame for frame in of_all if frame.label is not Label.NOT_SKIN]
    assert archive_hash(loaded.frames) == archive_hash(lesions_and_skin)


def test_values_of_a_row_reach_the_frame(tmp_path: Path) -> None:
    row = {
        "isic_id": "A",
        "attribution": "Hospital, Town",
        "age_approx": "85+",
        "anatom_site_general": "head/neck",
        "lesion_id": "L1",
        "patient_id": "P1",
        "sex": "female",
        "image_type": "dermoscopic",
        **NEVUS,
    }
    (frame,) = load_archive(archive(tmp_path, row)).frames
    assert frame.label is Label.NV
    assert frame.path == tmp_path / "images" / "A.jpg"
    assert (frame.lesion_id, frame.patient_id, frame.source) == ("L1", "P1", "Hospital, Town")
    assert (frame.age_approx, frame.sex, frame.anatom_site) == (85.0, "female", "head/neck")
    assert frame.is_benign
    assert frame.parent_id == ""


def test_a_byte_order_mark_and_crlf_change_nothing(tmp_path: Path) -> None:
    archive(tmp_path, {"isic_id": "A", **BCC}, {"isic_id": "B", **NEVUS})
    plain = load_archive(tmp_path)
    path = tmp_path / "metadata.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_archive(tmp_path) == plain


def test_images_beside_the_metadata_are_found_as_isic_cli_leaves_them(tmp_path: Path) -> None:
    archive(tmp_path, {"isic_id": "A", **BCC}, images=False)
    picture(tmp_path / "A.JPG")
    assert load_archive(tmp_path).frames[0].path == tmp_path / "A.JPG"


def test_rows_that_cannot_be_used_come_back_with_the_reason(tmp_path: Path) -> None:
    archive(
        tmp_path,
        {"isic_id": "good", **BCC},
        {"isic_id": "odd", "diagnosis_1": "Malignant", "diagnosis_3": "Kaposi sarcoma"},
        {"isic_id": "empty"},
        {"isic_id": "overview", "image_type": "clinical: overview", **BCC},
        {"isic_id": "lost", **BCC},
    )
    (tmp_path / "images" / "lost.jpg").unlink()
    loaded = load_archive(tmp_path)
    assert [frame.image_id for frame in loaded.frames] == ["good"]
    assert loaded.unmapped == (
        Unmapped("odd", "diagnosis 'Malignant / Kaposi sarcoma' is none of the classes"),
        Unmapped("empty", "no diagnosis"),
        Unmapped("overview", "image_type is 'clinical: overview', not 'dermoscopic'"),
        Unmapped("lost", "image file is missing"),
    )
    assert sum(loaded.reasons().values()) == 4


def test_a_folder_without_metadata_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no metadata\.csv .*data import"):
        load_archive(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        load_archive(tmp_path / "nowhere")


def test_missing_columns_are_named_beside_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("isic_id,diagnosis\nA,nevus\n")
    with pytest.raises(DataError, match=r"no column diagnosis_1, diagnosis_3; it has isic_id"):
        load_archive(tmp_path)


def test_ids_that_stand_twice_are_named(tmp_path: Path) -> None:
    archive(tmp_path, *({"isic_id": name, **BCC} for name in "ABCADA"))
    with pytest.raises(DataError, match="A is there more than once in isic_id"):
        load_archive(tmp_path)


def test_a_row_without_an_id_is_refused(tmp_path: Path) -> None:
    write_metadata(tmp_path / "metadata.csv", [BCC])
    with pytest.raises(DataError, match="1 rows have no isic_id"):
        load_archive(tmp_path)


def test_an_archive_without_one_usable_row_is_refused_with_the_reasons(tmp_path: Path) -> None:
    archive(tmp_path, {"isic_id": "A", **BCC}, {"isic_id": "B", **BCC}, images=False)
    with pytest.raises(DataError, match="2 x image file is missing"):
        load_archive(tmp_path)


def crops(root: Path, *rows: dict[str, str]) -> None:
    write_csv(root / "metadata.csv", NORMAL_COLUMNS, rows)
    for row in rows:
        picture(root / "images" / f"{row['image_id']}.jpg")


def test_a_crop_of_an_unknown_parent_keeps_its_own_words(tmp_path: Path) -> None:
    archive(tmp_path, {"isic_id": "A", "patient_id": "P1", "attribution": "Clinic", **NEVUS})
    crops(
        tmp_path / "normal",
        {"image_id": "A_skin", "parent_isic_id": "A", "patient_id": "", "source": "here"},
        {"image_id": "Z_skin", "parent_isic_id": "Z", "patient_id": "P9", "source": "there"},
    )
    _, known, unknown = load_archive(tmp_path).frames
    assert (known.patient_id, known.source, known.parent_id) == ("P1", "Clinic", "A")
    assert (unknown.patient_id, unknown.source, unknown.parent_id) == ("P9", "there", "Z")
    assert known.label is unknown.label is Label.NORMAL
    assert not known.is_benign


def test_a_crop_may_not_carry_the_id_of_a_frame(tmp_path: Path) -> None:
    archive(tmp_path, {"isic_id": "A", **NEVUS})
    crops(tmp_path / "normal", {"image_id": "A", "parent_isic_id": "A"})
    with pytest.raises(DataError, match="every image needs its own id"):
        load_archive(tmp_path)


def test_a_folder_of_crops_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    archive(tmp_path, {"isic_id": "A", **NEVUS})
    with pytest.raises(DataError, match="no such file"):
        load_archive(tmp_path, normals=tmp_path / "elsewhere")


def test_the_hash_follows_labels_and_groups_and_not_order_or_place(tmp_path: Path) -> None:
    rows = [{"isic_id": "A", "lesion_id": "L", **BCC}, {"isic_id": "B", **NEVUS}]
    frames = load_archive(archive(tmp_path, *rows)).frames
    moved = [replace(frame, path=Path("elsewhere"), source="x") for frame in reversed(frames)]
    assert archive_hash(moved) == archive_hash(frames)
    for change in ({"label": Label.SCC}, {"lesion_id": "M"}, {"patient_id": "P"}):
        assert archive_hash([replace(frames[0], **change), frames[1]]) != archive_hash(frames)


def test_written_metadata_has_the_export_columns_and_nothing_else(tmp_path: Path) -> None:
    write_metadata(tmp_path / "m.csv", [{"isic_id": "A", "age_approx": None, "mood": "fine"}])
    (row,) = read_csv(tmp_path / "m.csv")
    assert tuple(row) == ISIC_COLUMNS
    assert row["isic_id"] == "A"
    assert row["age_approx"] == ""
