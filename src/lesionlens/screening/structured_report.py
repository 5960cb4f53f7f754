"""Results as DICOM structured reports: one for each DICOM image, by TID 1500 (PS3.16).

A report belongs to a patient and a study, or a PACS refuses it: both are copied from the image,
which is why reports are written only where patient data was asked for. Every report is
preliminary and unverified, names the model as its observer, and says that it is no diagnosis.
``highdicom`` builds them and holds them to the templates; see docs/dicom.md.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlens import __version__
from lesionlens.bundle import ModelSpec
from lesionlens.errors import ImageError
from lesionlens.files import atomic_write
from lesionlens.labels import Label
from lesionlens.screening import codes
from lesionlens.screening.codes import Concept
from lesionlens.screening.dicom_files import headed
from lesionlens.screening.dicom_headers import explained, library
from lesionlens.screening.fhir import answer_in_words
from lesionlens.screening.items import Item

if TYPE_CHECKING:
    from highdicom.sr import (
        AlgorithmIdentification,
        ComprehensiveSR,
        MeasurementsAndQualitativeEvaluations,
    )
    from pydicom import Dataset

_NAMESPACE = uuid.UUID("5b8f1d0e-3c52-5f0e-8a57-0f6d3c1f5a90")
_SERIES_NUMBER = 9900  # so that it comes after those of the camera
#: Attributes of patient and study that a report must have, if only empty (type 2).
_MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName",
)  # fmt: skip
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Series:
    """What the reports of a run have in common."""

    folder: Path  # where to
    spec: ModelSpec  # the model that answered
    run_id: str  # what the series is told apart by


@dataclass(frozen=True)
class Judged:
    """An image that was judged."""

    uri: str  # what to call its file
    item: Item  # the file, or a frame of it
    answers: tuple[tuple[int | None, dict[str, Any]], ...]  # as of ``report_of``


def write_report(image: Judged, series: Series) -> str:
    """Write the report of one image, unless it is there: ``<study>/<report>.dcm``.

    Returns:
        Why it could not be written, or nothing.

    Raises:
        LesionLensError: the disk is full, or the folder cannot be written.
    """
    try:
        header = _header_of(image.item, image.uri)
        name = _report_uid(header, image.answers, series.run_id)
        path = series.folder / header.StudyInstanceUID / f"{name}.dcm"
        if not path.exists():
            with explained(image.uri), library().config.disable_value_validation():
                report = report_of(header, image.answers, series.spec, run_id=series.run_id)
                content = io.BytesIO()
                report.save_as(content, enforce_file_format=True)
            with atomic_write(path, "wb") as out:
                out.write(content.getvalue())
    except ImageError as error:
        return str(error)
    return ""


def report_of(
    image: Dataset,
    answers: Sequence[tuple[int | None, Mapping[str, Any]]],
    spec: ModelSpec,
    *,
    run_id: str,
) -> ComprehensiveSR:
    """Return the report of one image.

    Args:
        image: its header.
        answers: rows of ``results.parquet``, each with its frame, from 1; None: there is but one.
        spec: the model that answered.
        run_id: as of ``Series``.
    """
    from highdicom.sr import (
        AlgorithmIdentification,
        CodedConcept,
        ComprehensiveSR,
        DeviceObserverIdentifyingAttributes,
        LanguageOfContentItemAndDescendants,
        MeasurementReport,
        ObservationContext,
        ObserverContext,
    )
    from pydicom.sr.codedict import codes as dcm

    row = answers[0][1]
    sha256 = row["model_sha256"]
    algorithm = AlgorithmIdentification(
        name=f"LesionLens {spec.name}",
        version=spec.version,
        parameters=[f"policy {row['policy']}", f"{row['views']} views", f"SHA-256 {sha256}"],
    )
    device = DeviceObserverIdentifyingAttributes(
        uid=_uid(sha256),
        name="LesionLens",
        manufacturer_name="The LesionLens authors",
        model_name=f"{spec.name} {spec.version}",
        serial_number=sha256,
    )
    content = MeasurementReport(
        observation_context=ObservationContext(
            observer_device_context=ObserverContext(
                observer_type=dcm.DCM.Device, observer_identifying_attributes=device
            )
        ),
        procedure_reported=_coded(codes.SCREENING),
        imaging_measurements=[_group(image, n, row, algorithm) for n, row in answers],
        title=dcm.DCM.ImagingMeasurementReport,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            CodedConcept("en", "RFC5646", "English")
        ),
    )
    report = ComprehensiveSR(
        evidence=[image],
        content=content,
        series_instance_uid=_uid(f"{run_id}|{image.StudyInstanceUID}"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=_report_uid(image, answers, run_id),
        instance_number=1,
        manufacturer="The LesionLens authors",
        manufacturer_model_name=f"LesionLens {spec.name} {spec.version}",
        software_versions=__version__,
        device_serial_number=sha256,
        series_description="LesionLens screening, preliminary. Not a diagnosis",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    report.CodingSchemeIdentificationSequence = [_scheme()]
    return report


def _header_of(item: Item, uri: str) -> Dataset:
    """Return a file's whole header, with whatever a report must have of it."""
    pydicom = library()
    try:
        with headed(item) as found, explained(uri), pydicom.config.disable_value_validation():
            found.file.seek(0)
            # Long values stay where they are: no report needs one.
            header = pydicom.dcmread(found.file, stop_before_pixels=True, defer_size=1 << 16)
            _complete(header, uri)
            return header
    except OSError as error:
        raise ImageError(f"{uri}: cannot be read any more ({error.strerror or error})") from error


def _complete(image: Dataset, uri: str) -> None:
    """Give a header what a report must have; raise ImageError where that cannot be made up."""
    for keyword in _UIDS:
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", str(image.get(keyword, ""))[:65]):
            raise ImageError(f"{uri}: has no valid {keyword}, which a report refers to")
        if len(str(image.get(keyword))) > 64:
            raise ImageError(f"{uri}: has a {keyword} of more than 64 characters")
    for keyword in _MAY_BE_EMPTY:
        if keyword not in image:
            setattr(image, keyword, "")


def _group(
    image: Dataset, frame: int | None, row: Mapping[str, Any], algorithm: AlgorithmIdentification
) -> MeasurementsAndQualitativeEvaluations:
    """Return the measurement group (TID 1501) of one frame."""
    from highdicom.sr import (
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        RelationshipTypeValues,
        SourceImageForMeasurementGroup,
        TextContentItem,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes as dcm

    source = SourceImageForMeasurementGroup(
        image.SOPClassUID, image.SOPInstanceUID, None if frame is None else [frame]
    )
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=_uid(f"{image.SOPInstanceUID}|{frame}"),
            identifier="whole image" if frame is None else f"frame {frame}",
        ),
        algorithm_id=algorithm,
        measurements=[
            Measurement(name=_coded(concept), value=round(value, 6), unit=dcm.UCUM.NoUnits)
            for concept, value in _numbers(row)
        ],
        qualitative_evaluations=[
            QualitativeEvaluation(name=_coded(name), value=value)
            for name, value in _evaluations(row)
        ],
        source_images=[source],
    )
    words = f"{answer_in_words(row)} {codes.NOT_A_DIAGNOSIS}"
    if image.get("BurnedInAnnotation") == "YES":
        words += " The image says of itself that words are burned into its pixels."
    comment = TextContentItem(
        name=dcm.DCM.Comment, value=words, relationship_type=RelationshipTypeValues.CONTAINS
    )
    group[0].ContentSequence.append(comment)
    return group


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[Concept, float]]:
    for label, concept in codes.PROBABILITIES.items():
        yield concept, row[f"probability_{label.value}"]
    if row["scope"] is not None:
        yield codes.SCOPE, row["scope"]
    yield codes.RISK, row["risk"]


def _evaluations(row: Mapping[str, Any]) -> Iterator[tuple[Concept, Any]]:
    yield codes.VERDICT, _coded(codes.VERDICTS[row["verdict"]])
    if codes.names_a_class(row["verdict"]):
        yield codes.LIKELIEST, _class(Label(row["label"]))
    for name in filter(None, row["prediction_set"].split("|")):
        yield codes.PREDICTION_SET, _class(Label(name))
    for name in filter(None, row["quality"].split("|")):
        yield codes.QUALITY, _coded(Concept(name, name.replace("_", " ").capitalize()))


def _class(label: Label) -> Any:
    """Return the code of a class: SNOMED CT's where it has one."""
    from highdicom.sr import CodedConcept

    if label in codes.IN_SNOMED:
        concept = codes.IN_SNOMED[label]
        return CodedConcept(concept.code, "SCT", concept.display)
    return _coded(codes.CLASSES[label])


def _scheme() -> Dataset:
    """Return what says whose codes ours are."""
    scheme = library().Dataset()
    scheme.CodingSchemeDesignator = codes.DESIGNATOR
    scheme.CodingSchemeName = codes.CODE_SYSTEM
    scheme.CodingSchemeResponsibleOrganization = "The LesionLens authors"
    return scheme


def _coded(concept: Concept) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(concept.code, codes.DESIGNATOR, concept.display)


def _report_uid(
    image: Dataset, answers: Sequence[tuple[int | None, Mapping[str, Any]]], run_id: str
) -> str:
    """Return the UID of a report: another one for other answers or another run."""
    said = [(n, row["model_sha256"], row["verdict"], row["sha256"]) for n, row in answers]
    return _uid(f"{run_id}|{image.SOPInstanceUID}|{said}")


def _uid(key: str) -> str:
    """Return a UID that follows from ``key``: a UUID under 2.25 (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, key).int}"
