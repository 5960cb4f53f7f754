"""DICOM SR out: reports that a validator accepts, for DICOM images alone, of the right patient."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from highdicom.sr import srread
from PIL import Image
from pydicom import uid

import tiny_model
from dicom_kit import PATIENT, encoded, make, of_jpeg
from lesionlens.bundle import Bundle
from lesionlens.errors import LesionLensError
from lesionlens.screening import codes, reports
from lesionlens.screening.dicom import PATIENT_COLUMNS
from lesionlens.screening.items import Item, as_table, results_schema
from lesionlens.screening.reports import ERRORS, Reported, write_reports
from lesionlens.screening.sources import ImageSource, SourceOptions
from lesionlens.screening.structured_report import Judged, Series
from test_screening_fhir import ROW, ROWS

MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.4"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


def report_on(
    folder: Path,
    out: Path,
    bundle: Bundle,
    *,
    leave_out: str = "",
    run_id: str = "run",
    workers: int = 1,
) -> Reported:
    """Write reports on the images in a folder, judged in turn as ROWS are."""
    source = ImageSource([str(folder)], SourceOptions(keep_dicom=PATIENT_COLUMNS))
    items = [item for item in source if isinstance(item, Item)]
    rows = [
        replace(ROWS[n % 5], uri=item.name, extra=item.extra)
        for n, item in enumerate(items)
        if item.name != leave_out
    ]
    out.mkdir(exist_ok=True)
    pq.write_table(as_table(rows, 0, keep=PATIENT_COLUMNS), out / "results.parquet")
    return write_reports(
        out / "results.parquet", source, Series(out / "sr", bundle.spec, run_id), workers=workers
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    jpeg = encoded(Image.new("RGB", (64, 64), "tan"))
    for name in ("a", "b", "c"):
        of_jpeg(folder / f"{name}.dcm", jpeg, BurnedInAnnotation="YES" if name == "a" else "NO")
    make(folder / "frames.dcm", [jpeg] * 3, syntax=uid.JPEGBaseline8Bit, storage=MULTI_FRAME,
         PhotometricInterpretation="YBR_FULL_422")  # fmt: skip
    (folder / "photo.jpg").write_bytes(jpeg)
    return folder


def test_each_dicom_image_gets_a_preliminary_report_of_its_patient(
    photos: Path, tmp_path: Path, bundle: Bundle
) -> None:
    reported = report_on(photos, tmp_path, bundle)
    assert (reported.n, reported.n_others) == (4, 1)
    assert (reported.n_failed, reported.n_gone) == (0, 0)
    found, texts = {}, {}
    for path in (tmp_path / "sr").rglob("*.dcm"):
        report = srread(path)  # highdicom holds it to TID 1500
        reference = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        instance = str(reference[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        found[instance], texts[instance] = report, path.read_bytes().decode("latin-1")
        assert path.parent.name == report.StudyInstanceUID
    wanted = {str(pydicom.dcmread(path).SOPInstanceUID): path for path in photos.glob("*.dcm")}
    assert found.keys() == wanted.keys()
    for instance, report in found.items():
        image = pydicom.dcmread(wanted[instance])
        for keyword in (*PATIENT, "StudyInstanceUID", "StudyDate"):
            assert report[keyword].value == image[keyword].value
        assert report.PreliminaryFlag == "PRELIMINARY"
        assert report.VerificationFlag == "UNVERIFIED"
        text = texts[instance]
        assert ROW.model_sha256 in text
        assert text.count("Not a diagnosis. ") == int(image.get("NumberOfFrames", 1))
        assert ("burned into its pixels" in text) == (wanted[instance].name == "a.dcm")


def test_a_group_says_what_the_row_says(photos: Path, tmp_path: Path, bundle: Bundle) -> None:
    report_on(photos, tmp_path, bundle)
    (path,) = [
        path for path in (tmp_path / "sr").rglob("*.dcm")
        if path.read_bytes().count(b"Not a diagnosis. ") == 3
    ]  # fmt: skip
    groups = srread(path).content.get_image_measurement_groups()
    # The items in their order: a, b, c and then the frames, which are judged as ROWS 3, 4 and 0.
    verdicts = ["out_of_scope", "poor_image", "confident"]
    for group, verdict, frame, row in zip(
        groups, verdicts, (1, 2, 3), (ROWS[3], ROWS[4], ROWS[0]), strict=True
    ):
        said = {
            (item.name.value, item.value.value, item.value.scheme_designator)
            for item in group.get_qualitative_evaluations()
        }
        assert ("VERDICT", verdict, codes.DESIGNATOR) in said
        assert (("LIKELIEST", "254701007", "SCT") in said) == (verdict == "confident")
        assert (("QUALITY", "blur", codes.DESIGNATOR) in said) == (verdict == "poor_image")
        numbers = {item.name.value: float(item.value) for item in group.get_measurements()}
        assert numbers == {
            "P-BCC": 0.93, "P-SCC": 0.06, "P-NORMAL": 0.0, "SCOPE": row.scope, "RISK": row.risk
        }  # fmt: skip
        assert {item.unit.value for item in group.get_measurements()} == {"1"}
        assert group.source_images[0].referenced_frame_numbers == [frame]


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="needs dciodvfy: apt install dicom3tools")
def test_a_validator_of_dicom_finds_no_error(photos: Path, tmp_path: Path, bundle: Bundle) -> None:
    report_on(photos, tmp_path, bundle)
    paths = list((tmp_path / "sr").rglob("*.dcm"))
    assert len(paths) == 4
    for path in paths:
        done = subprocess.run(
            ["dciodvfy", "-new", path], capture_output=True, text=True, check=False
        )
        said = done.stdout + done.stderr
        assert "ComprehensiveSR" in said
        assert "Error" not in said, said
        # What is left: it cannot know codes of our own.
        warnings = [line for line in said.splitlines() if line.startswith("Warning")]
        assert all(f"Unrecognized defined term = <{codes.DESIGNATOR}>" in w for w in warnings), said


def test_only_what_was_judged_is_reported_and_once(
    photos: Path, tmp_path: Path, bundle: Bundle
) -> None:
    assert report_on(photos, tmp_path, bundle, leave_out="b.dcm").n == 3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sr").rglob("*.dcm")}
    assert len(before) == 3
    assert report_on(photos, tmp_path, bundle, leave_out="b.dcm").n == 3
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "sr").rglob("*.dcm")}


def test_an_image_that_a_report_cannot_refer_to_is_told_and_the_others_are_reported(
    photos: Path, tmp_path: Path, bundle: Bundle
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    jpeg = encoded(Image.new("RGB", (64, 64)))
    of_jpeg(folder / "d.dcm", jpeg, StudyInstanceUID="../../outside")
    of_jpeg(folder / "e.dcm", jpeg, PatientBirthDate=None, StudyID=None)  # may be missing
    reported = report_on(folder, tmp_path / "out", bundle)
    assert (reported.n, reported.n_failed) == (5, 1)
    said = (tmp_path / "out" / "sr" / ERRORS).read_text()
    assert said.splitlines()[1].startswith("d.dcm,")
    assert "d.dcm: has no valid StudyInstanceUID" in said
    assert "outside" not in said
    assert len(list(tmp_path.rglob("2.25.*.dcm"))) == 5
    # Mended, there is nothing to tell any more.
    of_jpeg(folder / "d.dcm", jpeg)
    assert report_on(folder, tmp_path / "out", bundle).n_failed == 0
    assert not (tmp_path / "out" / "sr" / ERRORS).exists()


def test_several_processes_write_the_same_reports(
    photos: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_LEAST_IMAGES", 2)
    folder = shutil.copytree(photos, tmp_path / "photos")
    of_jpeg(folder / "d.dcm", encoded(Image.new("RGB", (64, 64))), StudyInstanceUID="x")
    found = {}
    for workers in (1, 3):
        out = tmp_path / f"out-{workers}"
        reported = report_on(folder, out, bundle, workers=workers)
        names = sorted(str(path.relative_to(out)) for path in out.rglob("*.dcm"))
        found[workers] = (reported, names, (out / "sr" / ERRORS).read_text())
    assert found[1] == found[3]
    assert len(found[3][1]) == 4
    # What cannot be written ends all of it, in words.
    (tmp_path / "file").touch()
    with pytest.raises(LesionLensError, match=r"file/sr"):
        write_reports(
            tmp_path / "out-1" / "results.parquet", ImageSource([str(folder)]),
            Series(tmp_path / "file" / "sr", bundle.spec, "run"), workers=3,
        )  # fmt: skip


def test_a_process_that_dies_is_told_and_the_next_run_goes_on(
    photos: Path, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_LEAST_IMAGES", 2)
    start = reports.start_child

    def start_and_kill(module: str) -> Any:
        process = start(module)
        process.kill()
        process.wait()
        return process

    monkeypatch.setattr(reports, "start_child", start_and_kill)
    for run_id in ("run", "run" * 9000):  # the latter is too long for any buffer to hide the end
        with pytest.raises(LesionLensError, match="wrote its DICOM report has ended, code -9"):
            report_on(photos, tmp_path, bundle, workers=2, run_id=run_id)
    monkeypatch.setattr(reports, "start_child", start)
    assert report_on(photos, tmp_path, bundle, workers=2).n == 4


def test_images_in_archives_have_the_reports_of_those_in_folders(
    photos: Path, tmp_path: Path, bundle: Bundle
) -> None:
    (tmp_path / "packed").mkdir()
    shutil.make_archive(str(tmp_path / "packed" / "all"), "gztar", photos)
    reported = {}
    for folder in (photos, tmp_path / "packed"):
        out = tmp_path / f"{folder.name}-out"
        reported[folder] = report_on(folder, out, bundle)
        for path in (out / "sr").rglob("*.dcm"):
            assert srread(path).PatientID == PATIENT["PatientID"]
    assert reported[photos] == reported[tmp_path / "packed"]
    assert len(list(tmp_path.glob("packed-out/sr/*/*.dcm"))) == 4


def test_an_image_that_is_not_found_again_is_counted(
    photos: Path, tmp_path: Path, bundle: Bundle
) -> None:
    report_on(photos, tmp_path, bundle)
    items = [item for item in ImageSource([str(photos)]) if item.uri != "b.dcm"]
    series = Series(tmp_path / "sr", bundle.spec, "run")
    told: list[tuple[int, int]] = []
    reported = write_reports(
        tmp_path / "results.parquet", items, series, listener=lambda *n: told.append(n)
    )
    assert (reported.n, reported.n_gone) == (3, 1)
    assert told == [(1, 6), (2, 6), (5, 6)]  # of the six images, three are frames of one file


def test_of_a_long_table_little_is_in_memory(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, group = 20_000, 250
    extra = dict.fromkeys(PATIENT_COLUMNS, "1.2.3")
    with pq.ParquetWriter(tmp_path / "r.parquet", results_schema(PATIENT_COLUMNS)) as writer:
        for start in range(0, n, group):
            rows = [
                replace(ROW, uri=f"{k:06}.dcm", sha256=f"{k:064}", extra=extra)
                for k in range(start, start + group)
            ]
            table = as_table(rows, 0, keep=PATIENT_COLUMNS)
            writer.write_table(table.select(results_schema(PATIENT_COLUMNS).names))
    size = table.nbytes * n // group
    most = 0

    def look(image: Judged, series: Series) -> str:
        nonlocal most
        most = max(most, pa.total_allocated_bytes() - before)
        assert image.answers[0][1]["sha256"] == f"{int(image.uri[:6]):064}"
        return ""

    monkeypatch.setattr(reports, "write_report", look)
    before = pa.total_allocated_bytes()
    items = (Item(f"{k:06}.dcm", "/x") for k in range(n))
    series = Series(tmp_path / "sr", bundle.spec, "run")
    reported = write_reports(tmp_path / "r.parquet", items, series)
    assert (reported.n, reported.n_gone) == (n, 0)
    assert size > 7_000_000
    assert most < size / 4
