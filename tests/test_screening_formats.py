"""``screen --format-extra``: from photos and DICOM files to bundles and reports, by the verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image
from pydicom.uid import JPEGBaseline8Bit, MultiFrameTrueColorSecondaryCaptureImageStorage

import tiny_model
from dicom_kit import PATIENT, encoded, make, of_jpeg
from lesionlens.errors import LesionLensError
from lesionlens.screening.formats import parse_formats

Run = Callable[..., SimpleNamespace]


@pytest.fixture
def photos(tmp_path: Path, phantom_image: Image.Image) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    jpeg = encoded(phantom_image, quality=90)
    (folder / "photo.jpg").write_bytes(jpeg)
    of_jpeg(folder / "a.dcm", jpeg, BodyPartExamined="SKIN")
    make(
        folder / "frames.dcm", [jpeg] * 2, syntax=JPEGBaseline8Bit,
        storage=MultiFrameTrueColorSecondaryCaptureImageStorage,
        PhotometricInterpretation="YBR_FULL_422",
    )  # fmt: skip
    (folder / "bad.dcm").write_bytes(b"no image")
    return folder


@pytest.fixture
def screen(run_command: Run, tmp_path: Path, photos: Path) -> Run:
    bundle = tiny_model.write(tmp_path / "bundle").directory

    def call(*arguments: object) -> SimpleNamespace:
        return run_command(
            "screen", photos, "-o", tmp_path / "run", "--model", bundle, "--workers", 1, *arguments
        )

    return call


def contents(folder: Path) -> bytes:
    """Every byte that a run wrote, and its table unpacked."""
    table = pq.read_table(folder / "results.parquet")
    files = [path for path in folder.rglob("*") if path.is_file()]
    return b"".join(path.read_bytes() for path in files) + str(table.to_pylist()).encode()


def test_fhir_names_no_patient_unless_it_is_asked_to(screen: Run, tmp_path: Path) -> None:
    done = screen("--format-extra", "fhir")
    assert done.code == 1, done.err  # bad.dcm
    out = tmp_path / "run"
    assert f"{out / 'fhir.ndjson'}: 4 FHIR bundles, preliminary" in done.err
    lines = [json.loads(line) for line in (out / "fhir.ndjson").read_text().splitlines()]
    names = {line["entry"][1]["resource"]["derivedFrom"][0]["display"] for line in lines}
    assert names == {"photo.jpg", "a.dcm", "frames.dcm#1", "frames.dcm#2"}
    uid = str(pydicom.dcmread(tmp_path / "photos" / "a.dcm").StudyInstanceUID)
    for word in (*PATIENT.values(), uid):
        assert word.encode() not in contents(out)
        assert word not in done.err + done.out


def test_reports_and_bundles_name_the_patient_where_that_was_asked(
    screen: Run, tmp_path: Path
) -> None:
    options = ("--format-extra", "fhir,sr", "--keep-patient-data")
    done = screen(*options)
    out = tmp_path / "run"
    assert done.code == 1, done.err
    assert f"{out / 'sr'}: 2 DICOM reports, preliminary; 1 images are no DICOM files" in done.err
    reports = list((out / "sr").rglob("*.dcm"))
    assert {str(pydicom.dcmread(path).PatientID) for path in reports} == {PATIENT["PatientID"]}
    bundles = (out / "fhir.ndjson").read_text().splitlines()
    assert [PATIENT["PatientID"] in line for line in bundles].count(True) == 3
    # Who it is, and no more than that, in what is no report.
    assert PATIENT["PatientName"] not in (out / "fhir.ndjson").read_text()
    assert PATIENT["PatientName"].encode() not in (out / "results.parquet").read_bytes()
    # Once more, and nothing is judged or written anew; a restart leaves nothing of it.
    before = {path: path.stat().st_mtime_ns for path in reports}
    screen(*options)
    assert before == {path: path.stat().st_mtime_ns for path in (out / "sr").rglob("*.dcm")}
    assert screen("--restart").code == 1
    assert not (out / "sr").exists()
    assert not (out / "fhir.ndjson").exists()
    assert PATIENT["PatientID"].encode() not in contents(out)


def test_attributes_become_columns(screen: Run, tmp_path: Path) -> None:
    screen("--keep-dicom", "BodyPartExamined")
    rows = pq.read_table(tmp_path / "run" / "results.parquet").to_pylist()
    parts = {row["uri"]: row["BodyPartExamined"] for row in rows}
    assert parts == {"photo.jpg": None, "a.dcm": "SKIN", "frames.dcm#1": "", "frames.dcm#2": ""}


def test_what_cannot_be_written_is_refused_before_anything_is_judged(
    screen: Run, tmp_path: Path
) -> None:
    for options, words in (
        (("--format-extra", "sr"), "allow that by --keep-patient-data"),
        (("--format-extra", "hl7"), "'hl7': is not one of fhir, sr"),
        (("--keep-dicom", "PatientsShoe"), "'PatientsShoe': is no keyword"),
    ):
        done = screen(*options)
        assert done.code == 2, done
        assert words in done.err
    assert not (tmp_path / "run").exists()
    assert parse_formats(" fhir, sr,fhir", keep_patient_data=True) == ("fhir", "sr")
    with pytest.raises(LesionLensError, match="hl7"):
        parse_formats("hl7", keep_patient_data=False)
