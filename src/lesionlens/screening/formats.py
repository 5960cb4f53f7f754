"""What else a run writes beside its table: formats that other systems read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from lesionlens.bundle import ModelSpec
from lesionlens.errors import LesionLensError
from lesionlens.screening.fhir import FHIR_FILE, write_fhir
from lesionlens.screening.job import REPORTS, Job
from lesionlens.screening.reports import ERRORS, write_reports
from lesionlens.screening.structured_report import Series

#: By the name that ``--format-extra`` takes.
FORMATS: tuple[str, ...] = ("fhir", "sr")
#: How often it is told how far they are.
_TELL_S = 10.0


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
    workers: int = 1,
) -> None:
    """Write what ``results.parquet`` of a run has in other formats, too.

    Args:
        job: the run, its results written.
        source: its images.
        formats: some of ``FORMATS``.
        spec: the model that answered.
        note: told what was written, and how far that is, in a sentence.
        workers: processes.

    Raises:
        LesionLensError: the disk is full, or the folder cannot be written.
    """
    results = job.directory / "results.parquet"
    if "fhir" in formats:
        target = job.directory / FHIR_FILE
        issued = datetime.now(UTC).isoformat(timespec="seconds")
        n = write_fhir(results, target, spec, issued=issued, listener=_teller(target, note))
        note(f"{target}: {n:,} FHIR bundles, preliminary")
    if "sr" in formats:
        folder = job.directory / REPORTS
        series = Series(folder, spec, str(job.content["id"]))
        reported = write_reports(
            results, source, series, workers=workers, listener=_teller(folder, note)
        )
        words = f"{folder}: {reported.n:,} DICOM reports, preliminary"
        if reported.n_others:
            words += f"; {reported.n_others:,} images are no DICOM files and have none"
        if reported.n_gone:
            words += f"; {reported.n_gone:,} images were not found again where they were"
        if reported.n_failed:
            words += f"; {reported.n_failed:,} could not be written, see {folder / ERRORS}"
        note(words)


def _teller(target: Path, note: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return what tells now and then for how many images of how many something is written."""
    told = monotonic()

    def tell(n: int, n_all: int) -> None:
        nonlocal told
        if monotonic() - told > _TELL_S:
            told = monotonic()
            note(f"{target}: {n:,} of {n_all:,} images")

    return tell
