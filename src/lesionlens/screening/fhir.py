"""Results as FHIR R4 (4.0.1): a bundle for each image, one a line, in ``fhir.ndjson``.

A bundle is a transaction that any FHIR server takes by POST, twice without harm: a
DiagnosticReport of status ``preliminary``, the Observation that it rests on, and the model as a
Device. It names the image, and the patient and the study only where these columns were kept
(``dicom.PATIENT_COLUMNS``). Written as plain JSON, without a library; tests have two and the
specification's JSON schema read it. See docs/fhir.md.
"""

from __future__ import annotations

import html
import json
import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lesionlens.bundle import ModelSpec
from lesionlens.files import atomic_write
from lesionlens.labels import Label
from lesionlens.screening import codes
from lesionlens.screening.codes import Concept

FHIR_FILE = "fhir.ndjson"
#: What identifiers are told apart by.
_SYSTEM = "https://github.com/lesionlens/lesionlens/fhir/sid"
_NAMESPACE = uuid.UUID("b8e1c3a4-6a43-5a0e-9b5c-5d2f1f2f7c11")
_ROWS_READ = 1024


def write_fhir(
    results: Path,
    target: Path,
    spec: ModelSpec,
    *,
    issued: str,
    listener: Callable[[int, int], None] = lambda n, n_all: None,
) -> int:
    """Write a bundle for each row of ``results.parquet``, whole or not at all.

    Args:
        results: the table; read row by row.
        target: the NDJSON file.
        spec: the model that answered.
        issued: when, as an ISO 8601 time with a zone.
        listener: told now and then how many are written, of how many.

    Returns:
        How many were written.

    Raises:
        LesionLensError: the disk is full, or the file cannot be written.
    """
    import pyarrow.parquet as pq

    n = 0
    with pq.ParquetFile(results) as table, atomic_write(target) as file:
        for batch in table.iter_batches(_ROWS_READ):
            for row in batch.to_pylist():
                bundle = bundle_of(row, spec, issued=issued)
                file.write(json.dumps(bundle, ensure_ascii=False, allow_nan=False) + "\n")
                n += 1
            listener(n, table.metadata.num_rows)
    return n


def bundle_of(row: Mapping[str, Any], spec: ModelSpec, *, issued: str) -> dict[str, Any]:
    """Return the FHIR bundle of one row.

    Args:
        row: of ``results.parquet``, as a dict; columns of ``dicom.PATIENT_COLUMNS`` are used where
            they are there.
        spec: the model that answered.
        issued: as of ``write_fhir``.
    """
    key = "|".join(str(row[name]) for name in ("model_sha256", "policy", "views", "uri", "sha256"))
    device = _urn(row["model_sha256"])
    observation = _urn(f"{key}|Observation")
    resources: tuple[tuple[str, dict[str, Any]], ...] = (
        (device, _device(spec, row["model_sha256"])),
        (observation, _observation(row, issued, device)),
        (_urn(f"{key}|DiagnosticReport"), _report(row, spec, issued, observation)),
    )
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "timestamp": issued,
        "entry": [
            {
                "fullUrl": urn,
                "resource": _identified(resource, urn),
                "request": {
                    "method": "POST",
                    "url": resource["resourceType"],
                    "ifNoneExist": f"identifier={_SYSTEM}/result|{urn.removeprefix('urn:uuid:')}",
                },
            }
            for urn, resource in resources
        ],
    }


def _urn(key: str) -> str:
    return uuid.uuid5(_NAMESPACE, key).urn


def _identified(resource: dict[str, Any], urn: str) -> dict[str, Any]:
    """Return a resource with what a server knows it by when it comes again."""
    own = {"system": f"{_SYSTEM}/result", "value": urn.removeprefix("urn:uuid:")}
    return {**resource, "identifier": [*resource.get("identifier", []), own]}


def _device(spec: ModelSpec, sha256: str) -> dict[str, Any]:
    return {
        "resourceType": "Device",
        "identifier": [{"system": f"{_SYSTEM}/model-sha256", "value": sha256}],
        "status": "active",
        "manufacturer": "The LesionLens authors",
        "deviceName": [{"name": f"LesionLens {spec.name}", "type": "model-name"}],
        "modelNumber": spec.name,
        "type": {"text": "Software: classifier of dermoscopic images"},
        "version": [{"value": spec.version}],
        "note": [{"text": f"Not a medical device. {codes.NOT_A_DIAGNOSIS}"}],
    }


def _observation(row: Mapping[str, Any], issued: str, device: str) -> dict[str, Any]:
    verdict = row["verdict"]
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [
            _concept(
                "http://terminology.hl7.org/CodeSystem/observation-category",
                Concept("imaging", "Imaging"),
            )
        ],
        "code": _own(codes.VERDICT),
        **_subject(row),
        "issued": issued,
        "valueCodeableConcept": _own(codes.VERDICTS[verdict]),
        "interpretation": [{"text": codes.NOT_A_DIAGNOSIS}],
        "note": [{"text": text} for text in _notes(row)],
        "method": {"text": f"policy {row['policy']}, {row['views']} views averaged"},
        "device": {"reference": device},
        "derivedFrom": [_image(row), *_study(row)],
        "component": list(_components(row)),
    }


def _components(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    numbers = [
        (concept, row[f"probability_{label.value}"])
        for label, concept in codes.PROBABILITIES.items()
    ]
    numbers += [(codes.SCOPE, row["scope"]), (codes.RISK, row["risk"])]
    found: list[dict[str, Any]] = [
        {
            "code": _own(concept),
            # UCUM's 1: a number without a unit.
            "valueQuantity": {
                "value": round(value, 6),
                "unit": "1",
                "system": codes.UCUM,
                "code": "1",
            },
        }
        for concept, value in numbers
        if value is not None
    ]
    if codes.names_a_class(row["verdict"]):
        label = Label(row["label"])
        likeliest = _own(codes.CLASSES[label])
        if label in codes.IN_SNOMED:
            likeliest["coding"].append(_coding(codes.SNOMED, codes.IN_SNOMED[label]))
        found.append({"code": _own(codes.LIKELIEST), "valueCodeableConcept": likeliest})
    for name in filter(None, row["prediction_set"].split("|")):
        member = _own(codes.CLASSES[Label(name)])
        found.append({"code": _own(codes.PREDICTION_SET), "valueCodeableConcept": member})
    for name in filter(None, row["quality"].split("|")):
        text = name.replace("_", " ")
        found.append({"code": _own(codes.QUALITY), "valueCodeableConcept": {"text": text}})
    return found


def _report(
    row: Mapping[str, Any], spec: ModelSpec, issued: str, observation: str
) -> dict[str, Any]:
    study = _study(row)
    conclusion = f"{spec.name} {spec.version}: {answer_in_words(row)} {codes.NOT_A_DIAGNOSIS}"
    return {
        "resourceType": "DiagnosticReport",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">'
            f"<p>{html.escape(conclusion, quote=False)}</p></div>",
        },
        "language": "en",
        "status": "preliminary",
        "category": [
            _concept(
                "http://terminology.hl7.org/CodeSystem/v2-0074",
                Concept("IMG", "Diagnostic Imaging"),
            )
        ],
        "code": _own(codes.SCREENING),
        **_subject(row),
        "issued": issued,
        "result": [{"reference": observation}],
        **({"imagingStudy": study} if study else {}),
        "conclusion": conclusion,
        "conclusionCode": [_own(codes.VERDICTS[row["verdict"]])],
    }


def answer_in_words(row: Mapping[str, Any]) -> str:
    """Return a row's answer as a sentence in English."""
    verdict = row["verdict"]
    words = f"{codes.VERDICTS[verdict].display}."
    if codes.names_a_class(verdict):
        label = Label(row["label"])
        share = row[f"probability_{label.value}"]
        words += f" Likeliest: {codes.CLASSES[label].display} ({share:.3f} among the three)."
    if row["quality"]:
        words += f" The photo: {row['quality'].replace('|', ', ').replace('_', ' ')}."
    return words


def _notes(row: Mapping[str, Any]) -> list[str]:
    notes = [answer_in_words(row)]
    if row.get("BurnedInAnnotation") == "YES":
        notes.append("The image says of itself that words are burned into its pixels.")
    return notes


def _subject(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return whose image it is, where that was kept."""
    patient = row.get("PatientID")
    if not patient:
        return {}
    identifier: dict[str, Any] = {"value": _visible(patient)}
    if issuer := row.get("IssuerOfPatientID"):
        identifier["assigner"] = {"display": _visible(issuer)}
    return {"subject": {"type": "Patient", "identifier": identifier}}


def _image(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "Media",
        "identifier": {"system": f"{_SYSTEM}/image-sha256", "value": row["sha256"]},
        "display": _visible(row["uri"]),
    }


def _study(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the DICOM study, where it was kept."""
    uid = row.get("StudyInstanceUID")
    if not uid:
        return []
    # As ImagingStudy.identifier has it: https://hl7.org/fhir/R4/imagingstudy.html#notes.
    identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{_visible(uid)}"}
    return [{"type": "ImagingStudy", "identifier": identifier}]


def _concept(system: str, concept: Concept) -> dict[str, Any]:
    return {"coding": [_coding(system, concept)], "text": concept.display}


def _own(concept: Concept) -> dict[str, Any]:
    return _concept(codes.CODE_SYSTEM, concept)


def _coding(system: str, concept: Concept) -> dict[str, Any]:
    return {"system": system, "code": concept.code, "display": concept.display}


def _visible(text: str) -> str:
    """Return a text without characters that FHIR's strings must not have (2.24.0.1)."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\x{ord(found[0]):02x}", text)
