"""What else a run writes beside its table: formats that other systems read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from lesionlens.bundle import ModelSpec
from lesionlens.errors import LesionLensError
from lesionlens.screening.fhir import FHIR_FILE, write_fhir
from lesionlens.screening.job import REPORTS, Job
from lesionlens.screening.structured_report import ERRORS, write_reports

#: By the name that ``--format-extra`` takes.
FORMATS: tuple[str, ...] = ("fhir", "sr")


def parse_formats(text: str, *, keep_patient_data: bool) -> tuple[str, ...]:
    """Return the formats that ``text`` names, such as ``fhir,sr``.

    Args:
        text: as typed; may be empty.
        keep_patient_data: whether patient data may be copied to outputs.

    Raises:
        LesionLensError: there is no such format, or it cannot be without patient data.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise LesionLensError(
                f"--format-extra {name!r}: is not one of {', '.join(FORMATS)}; several are "
                "written with a comma between"
            )
    if "sr" in names and not keep_patient_data:
        raise LesionLensError(
            "--format-extra sr: a DICOM report belongs to a patient and a study, which it copies "
            "from its image; allow that by --keep-patient-data, or write fhir, which can do without"
        )
    return names


def write_formats(
    job: Job,
    source: Iterable[object],
    formats: Sequence[str],
    spec: ModelSpec,
    *,
    note: Callable[[str], None],
) -> None:
    """Write what ``results.parquet`` of a run has in other formats, too.

    Args:
        job: the run, its results written.
        source: its images.
        formats: some of ``FORMATS``.
        spec: the model that answered.
        note: told what was written, in a sentence.

    Raises:
        LesionLensError: the disk is full, or the folder cannot be written.
    """
    results = job.directory / "results.parquet"
    if "fhir" in formats:
        target = job.directory / FHIR_FILE
        issued = datetime.now(UTC).isoformat(timespec="seconds")
        n = write_fhir(results, target, spec, issued=issued)
        note(f"{target}: {n:,} FHIR bundles, preliminary")
    if "sr" in formats:
        folder = job.directory / REPORTS
        reported = write_reports(results, source, folder, spec, run_id=str(job.content["id"]))
        words = f"{folder}: {reported.n:,} DICOM reports, preliminary"
        if reported.n_others:
            words += f"; {reported.n_others:,} images are no DICOM files and have none"
        if reported.errors:
            words += f"; {len(reported.errors):,} could not be written, see {folder / ERRORS}"
        note(words)
