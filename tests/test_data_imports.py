"""Folders that people have already, made into archives: ISIC, HAM10000, ISIC 2019, classes."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lesionlens.cli.main import app
from lesionlens.data.imports import import_archive
from lesionlens.data.manifest import load_archive
from lesionlens.data.tables import ISIC_WORDS
from lesionlens.errors import DataError, LesionLensError
from lesionlens.files import read_csv
from lesionlens.labels import Label, from_isic

CODES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


def picture(path: Path, grey: int = 150) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((48, 64, 3), grey, np.uint8)).save(path)
    return path


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def one_hot(path: Path, labels: dict[str, str]) -> Path:
    rows = [
        ",".join([name, *("1.0" if code == label else "0.0" for code in CODES)])
        for name, label in labels.items()
    ]
    return table(path, "\n".join([",".join(["image", *CODES]), *rows]) + "\n")


@pytest.fixture
def ham(tmp_path: Path) -> Path:
    """A folder as HAM10000 is unpacked: two parts, a table, masks, and a table of pixels."""
    root = tmp_path / "HAM10000"
    table(
        root / "HAM10000_metadata.csv",
        "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
        "HAM_1,ISIC_1,bcc,histo,70.0,male,scalp,vidir_modern\n"
        "HAM_2,ISIC_2,akiec,histo,80.0,female,hand,rosendahl\n"
        "HAM_3,ISIC_3,nv,follow_up,,unknown,unknown,vidir_molemax\n",
    )
    table(root / "hmnist_8_8_L.csv", "pixel0000,pixel0001,label\n1,2,3\n")
    picture(root / "HAM10000_images_part_1" / "ISIC_1.jpg")
    picture(root / "HAM10000_images_part_1" / "ISIC_2.jpg")
    picture(root / "HAM10000_images_part_2" / "ISIC_3.jpg")
    picture(root / "masks" / "ISIC_1_segmentation.png")
    return root


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A folder of class-named folders."""
    root = tmp_path / "mine"
    picture(root / "BCC" / "a.jpg")
    picture(root / "squamous_cell_carcinoma" / "b.jpeg")
    picture(root / "Normal" / "c.png")
    return root


def test_ham10000_becomes_an_archive_in_the_exports_words(ham: Path, tmp_path: Path) -> None:
    result = import_archive(ham, tmp_path / "archive")
    assert (result.kind, result.unmapped) == ("ham10000", ())
    assert result.counts == {Label.BCC: 1, Label.NV: 1, Label.AK: 1}
    bcc, ak, nevus = load_archive(tmp_path / "archive").frames
    assert (bcc.label, bcc.lesion_id, bcc.anatom_site) == (Label.BCC, "HAM_1", "head/neck")
    assert (bcc.age_approx, bcc.sex, bcc.source) == (70.0, "male", "vidir_modern")
    assert (ak.label, ak.anatom_site, ak.is_benign) == (Label.AK, "upper extremity", False)
    assert (nevus.age_approx, nevus.sex, nevus.anatom_site) == (None, "", "")
    assert nevus.is_benign
    rows = read_csv(tmp_path / "archive" / "metadata.csv")
    assert rows[0]["diagnosis_confirm_type"] == "histopathology"
    assert rows[2]["diagnosis_confirm_type"] == "serial imaging showing no change"


def test_a_person_is_told_that_akiec_is_two_things(ham: Path, tmp_path: Path) -> None:
    (note,) = import_archive(ham, tmp_path / "archive").notes
    assert note.startswith("1 images are akiec, which mixes actinic keratosis and Bowen's disease")


def test_isic_2019_takes_its_lesions_from_the_table_beside(tmp_path: Path) -> None:
    root = tmp_path / "ISIC_2019"
    labels = {"ISIC_1": "SCC", "ISIC_2": "VASC", "ISIC_3_downsampled": "BCC", "ISIC_4": "UNK"}
    one_hot(root / "ISIC_2019_Training_GroundTruth.csv", labels)
    table(
        root / "ISIC_2019_Training_Metadata.csv",
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_1,55,anterior torso,BCN_0001,female\nISIC_2,,,,\n",
    )
    for name in labels:
        picture(root / "ISIC_2019_Training_Input" / f"{name}.jpg")
    result = import_archive(root, tmp_path / "archive")
    assert result.kind == "one-hot"
    assert [(row.image_id, row.reason) for row in result.unmapped] == [
        ("ISIC_4", "UNK: no diagnosis is given")
    ]
    scc, vasc, bcc = load_archive(tmp_path / "archive").frames
    assert (scc.label, scc.lesion_id, scc.anatom_site) == (Label.SCC, "BCN_0001", "anterior torso")
    assert (vasc.label, vasc.lesion_id) == (Label.VASC, "")
    assert (bcc.label, bcc.image_id) == (Label.BCC, "ISIC_3_downsampled")
    assert scc.source == "ISIC_2019_Training_GroundTruth"


def test_the_2018_ground_truth_is_read_too_with_its_akiec(tmp_path: Path) -> None:
    table(
        tmp_path / "in" / "truth.csv",
        "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nA,0,0,0,1,0,0,0\nB,0,0,0,0,0,0,0\nC,1,1,0,0,0,0,0\n",
    )
    for name in "ABC":
        picture(tmp_path / "in" / f"{name}.jpg")
    result = import_archive(tmp_path / "in", tmp_path / "archive")
    assert result.counts == {Label.AK: 1}
    assert result.notes
    assert {row.image_id: row.reason for row in result.unmapped} == {
        "B": "no class is marked",
        "C": "several classes are marked",
    }


def test_an_isic_export_keeps_its_words_and_names_what_it_cannot_map(tmp_path: Path) -> None:
    root = tmp_path / "isic"
    table(
        root / "metadata.csv",
        "isic_id,attribution,copyright_license,diagnosis_1,diagnosis_2,diagnosis_3,image_type,"
        "patient_id\n"
        "A,Clinic,CC-BY,Malignant,,Basal cell carcinoma,dermoscopic,P1\n"
        "B,Clinic,CC-BY,Malignant,,Merkel cell carcinoma,dermoscopic,\n"
        "C,Clinic,CC-BY,Malignant,,Basal cell carcinoma,clinical: close-up,\n"
        "D,Clinic,CC-BY,Malignant,,Basal cell carcinoma,dermoscopic,\n",
    )
    for name in "ABCE":
        picture(root / f"{name}.jpg")
    result = import_archive(root, tmp_path / "archive")
    (frame,) = load_archive(tmp_path / "archive").frames
    assert (frame.image_id, frame.source, frame.patient_id) == ("A", "Clinic", "P1")
    assert {row.image_id: row.reason for row in result.unmapped} == {
        "B": "diagnosis 'Malignant / Merkel cell carcinoma' is none of the classes",
        "C": "image_type is 'clinical: close-up', not 'dermoscopic'",
        "D": "no image file of that name",
        "E": "no row in the metadata",
    }
    assert (tmp_path / "archive" / "licenses" / "CC-BY.txt").is_file()


def test_class_folders_give_labels_and_healthy_skin_goes_where_it_belongs(
    classes: Path, tmp_path: Path
) -> None:
    result = import_archive(classes, tmp_path / "archive")
    assert result.kind == "folders"
    frames = {frame.image_id: frame for frame in load_archive(tmp_path / "archive").frames}
    assert {name: frame.label for name, frame in frames.items()} == {
        "a": Label.BCC,
        "b": Label.SCC,
        "c": Label.NORMAL,
    }
    assert frames["b"].path == tmp_path / "archive" / "images" / "b.jpg"
    assert frames["c"].path == tmp_path / "archive" / "normal" / "images" / "c.png"


def test_a_folder_of_what_is_not_skin_goes_to_its_place(classes: Path, tmp_path: Path) -> None:
    picture(classes / "not skin" / "carpet.jpeg")
    result = import_archive(classes, tmp_path / "archive")
    assert result.counts[Label.NOT_SKIN] == 1
    assert (tmp_path / "archive" / "nonskin" / "images" / "carpet.jpg").is_file()
    assert load_archive(tmp_path / "archive").counts()[Label.NOT_SKIN] == 1


def test_the_nearest_class_named_folder_decides_and_equal_names_are_told_apart(
    tmp_path: Path,
) -> None:
    for place in ("train/bcc/x.jpg", "train/nevus/x.jpg", "test/bcc/more/x.jpg", "test/odd/y.jpg"):
        picture(tmp_path / "in" / place)
    result = import_archive(tmp_path / "in", tmp_path / "archive")
    assert {f.image_id: f.label for f in load_archive(tmp_path / "archive").frames} == {
        "train_bcc_x": Label.BCC,
        "train_nevus_x": Label.NV,
        "test_bcc_more_x": Label.BCC,
    }
    (odd,) = result.unmapped
    assert (odd.image_id, odd.reason) == ("y", "folder 'odd' is not named after a class")


def test_every_word_that_is_written_reads_back_as_its_label() -> None:
    for label, words in ISIC_WORDS.items():
        assert from_isic(*words) is label
    assert set(Label) - set(ISIC_WORDS) == {Label.NORMAL, Label.UNK, Label.NOT_SKIN}


def test_a_second_import_copies_nothing_and_a_changed_source_again(
    ham: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    assert import_archive(ham, archive).n_copied == 3
    before = {path: path.stat().st_mtime_ns for path in (archive / "images").iterdir()}
    assert import_archive(ham, archive).n_copied == 0
    assert {path: path.stat().st_mtime_ns for path in (archive / "images").iterdir()} == before
    picture(ham / "HAM10000_images_part_2" / "ISIC_3.jpg", grey=20)
    assert import_archive(ham, archive).n_copied == 1
    assert np.asarray(Image.open(archive / "images" / "ISIC_3.jpg")).mean() < 50


def test_links_take_no_room_and_copies_leave_the_source_alone(ham: Path, tmp_path: Path) -> None:
    source = ham / "HAM10000_images_part_1" / "ISIC_1.jpg"
    import_archive(ham, tmp_path / "linked", link=True)
    import_archive(ham, tmp_path / "copied")
    assert (tmp_path / "linked" / "images" / "ISIC_1.jpg").samefile(source)
    assert not (tmp_path / "copied" / "images" / "ISIC_1.jpg").samefile(source)
    assert import_archive(ham, tmp_path / "linked", link=True).n_copied == 0


def test_the_source_is_not_changed(ham: Path, tmp_path: Path) -> None:
    def state() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in ham.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = state()
    import_archive(ham, tmp_path / "archive")
    assert state() == before
    with pytest.raises(DataError, match="choose a folder outside it"):
        import_archive(ham, ham / "archive")


def test_images_that_do_not_decode_are_left_out_with_the_reason(ham: Path, tmp_path: Path) -> None:
    broken = ham / "HAM10000_images_part_1" / "ISIC_1.jpg"
    broken.write_bytes(b"text, renamed")
    result = import_archive(ham, tmp_path / "archive")
    (row,) = result.unmapped
    assert row.image_id == "ISIC_1"
    assert row.reason.startswith("is not an image, whatever its name says")
    assert not (tmp_path / "archive" / "images" / "ISIC_1.jpg").exists()
    assert read_csv(tmp_path / "archive" / "unmapped.csv")[0]["image_id"] == "ISIC_1"
    picture(broken)
    import_archive(ham, tmp_path / "archive")
    assert not (tmp_path / "archive" / "unmapped.csv").exists()


def test_one_name_for_two_images_is_not_guessed(ham: Path, tmp_path: Path) -> None:
    shutil.copy(ham / "HAM10000_images_part_1" / "ISIC_1.jpg", ham / "ISIC_1.jpg")  # the same
    picture(ham / "ISIC_2.jpg", grey=9)  # another
    result = import_archive(ham, tmp_path / "archive")
    assert [(row.image_id, row.reason) for row in result.unmapped] == [
        ("ISIC_2", "several different image files have that name")
    ]


def test_several_kinds_of_metadata_need_a_word(ham: Path, tmp_path: Path) -> None:
    truth = one_hot(ham / "truth.csv", {"ISIC_2": "SCC"})
    with pytest.raises(DataError, match="say which with --metadata"):
        import_archive(ham, tmp_path / "archive")
    result = import_archive(ham, tmp_path / "archive", metadata=truth)
    assert result.counts == {Label.SCC: 1}
    assert {row.reason for row in result.unmapped} == {"no row in the metadata"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_id,dx\nA,bcc\nA,nv\n", "A is there more than once in image_id"),
        ("image_id,dx\nA,warts\nB,\n", "1 x dx 'warts' is none of the classes; 1 x no diagnosis"),
        ("image,diagnosis\nA,bcc\n", "is not named after a class.*accepted are"),
    ],
)
def test_bad_metadata_is_named(tmp_path: Path, text: str, message: str) -> None:
    table(tmp_path / "in" / "metadata.csv", text)
    for name in "AB":
        picture(tmp_path / "in" / "pictures" / f"{name}.jpg")
    with pytest.raises(DataError, match=message):
        import_archive(tmp_path / "in", tmp_path / "archive")
    assert not (tmp_path / "archive").exists()


def test_a_byte_order_mark_and_crlf_change_nothing(ham: Path, tmp_path: Path) -> None:
    plain = import_archive(ham, tmp_path / "plain")
    path = ham / "HAM10000_metadata.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert import_archive(ham, tmp_path / "windows") == plain


def test_another_archive_is_not_overwritten(ham: Path, classes: Path, tmp_path: Path) -> None:
    import_archive(ham, tmp_path / "archive")
    before = (tmp_path / "archive" / "metadata.csv").read_bytes()
    with pytest.raises(DataError, match="already lists 3 images that are not in this import"):
        import_archive(classes, tmp_path / "archive")
    assert (tmp_path / "archive" / "metadata.csv").read_bytes() == before


def test_a_full_disk_is_noticed_before_anything_is_copied(
    ham: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(LesionLensError, match="free some or choose another place"):
        import_archive(ham, tmp_path / "archive")
    assert not (tmp_path / "archive").exists()
    assert import_archive(ham, tmp_path / "archive", link=True).n_copied == 3  # takes no room


def test_the_verb_reports_what_it_could_not_map_and_exits_1(ham: Path, tmp_path: Path) -> None:
    (ham / "HAM10000_images_part_2" / "ISIC_3.jpg").unlink()
    archive = tmp_path / "archive"
    result = CliRunner().invoke(app, ["data", "import", str(ham), "-o", str(archive)])
    assert result.exit_code == 1
    assert result.stdout == f"{archive / 'metadata.csv'}\n"
    assert "no image file of that name" in result.stderr
    assert "Bowen's disease" in " ".join(result.stderr.split())
    with open(archive / "unmapped.csv", newline="") as file:
        assert [row["image_id"] for row in csv.DictReader(file)] == ["ISIC_3"]


def test_the_verb_exits_0_when_all_is_used(classes: Path, tmp_path: Path) -> None:
    arguments = ["data", "import", str(classes), "-o", str(tmp_path / "archive")]
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_a_folder_without_anything_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for source, message in ((tmp_path / "in", "has no images"), (tmp_path / "no", "no such")):
        with pytest.raises(DataError, match=message):
            import_archive(source, tmp_path / "archive")


def test_real_frames_come_through_a_ham_table_unchanged(tmp_path: Path) -> None:
    folder = os.environ.get("LESIONLENS_DATA")
    if not folder:
        pytest.skip("LESIONLENS_DATA is not set: no real images to import")
    frames = load_archive(Path(folder)).frames
    dx = {Label.BCC: "bcc", Label.NV: "nv", Label.MEL: "mel", Label.BKL: "bkl"}
    chosen = [frame for frame in frames if frame.lesion_id and frame.label in dx][::150]
    text = "".join(f"{f.lesion_id},{f.image_id},{dx[f.label]}\n" for f in chosen)
    table(tmp_path / "in" / "HAM10000_metadata.csv", "lesion_id,image_id,dx\n" + text)
    for frame in chosen:
        shutil.copy(frame.path, tmp_path / "in")
    result = import_archive(tmp_path / "in", tmp_path / "archive")
    assert result.counts == Counter(frame.label for frame in chosen)
    loaded = {frame.image_id: frame for frame in load_archive(tmp_path / "archive").frames}
    for frame in chosen:
        assert loaded[frame.image_id].path.read_bytes() == frame.path.read_bytes()
        assert loaded[frame.image_id].lesion_id == frame.lesion_id
