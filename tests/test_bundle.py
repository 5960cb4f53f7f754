from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny_model
from lesionlens import bundle as bundles
from lesionlens.bundle import FORMAT, Policy, load_bundle, write_bundle
from lesionlens.errors import BundleError, LesionLensError
from lesionlens.labels import Label

METRIC = {"value": 0.9, "low": 0.85, "high": 0.94, "n": 300, "method": "Wilson"}


def _edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_bundle_is_read_as_it_was_written(tmp_path: Path) -> None:
    metrics = {"accuracy": METRIC}
    written = tiny_model.write(tmp_path / "a" / "b", metrics=metrics, training={"seed": 7})
    loaded = load_bundle(tmp_path / "a" / "b")
    assert loaded == written
    assert loaded.spec.labels[0] is Label.BCC
    assert loaded.spec.temperature == {1: 1.0, 10: 0.8}
    assert loaded.spec.metrics == metrics
    assert len(loaded.spec.sha256) == 64


def test_temperature_keys_are_strings_in_json(tmp_path: Path) -> None:
    tiny_model.write(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    assert content["temperature"] == {"1": 1.0, "10": 0.8}
    assert content["format"] == FORMAT


@pytest.mark.parametrize(("views", "expected"), [(1, 1.0), (4, 1.0), (7, 0.8), (10, 0.8)])
def test_the_temperature_of_the_nearest_number_of_views_serves(views: int, expected: float) -> None:
    assert tiny_model.spec().temperature_for(views) == expected


def test_a_model_that_changed_is_refused_by_its_hash(tmp_path: Path) -> None:
    tiny_model.write(tmp_path)
    model = tmp_path / "model.tflite"
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.tflite: is not the model .*export it again"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("missing", ["model.tflite", "model.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    tiny_model.write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(BundleError, match=rf"{re.escape(missing)}: is missing"):
        load_bundle(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such folder"):
        load_bundle(tmp_path / "nowhere")


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    tiny_model.write(tmp_path)
    _edit(tmp_path, lambda content: content.update(format=3))
    with pytest.raises(BundleError, match=r"model\.json: is of format 3.*--upgrade lesionlens"):
        load_bundle(tmp_path)


def test_an_older_format_says_what_it_lacks_and_how_to_get_it(tmp_path: Path) -> None:
    tiny_model.write(tmp_path)
    _edit(tmp_path, lambda content: content.update(format=1, confident_at=0.5))
    words = r"is of format 1, which has no prediction sets and policies; .* reads 2: export"
    with pytest.raises(BundleError, match=words):
        load_bundle(tmp_path)


def test_policies_and_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    thresholds = {1: 0.5, 10: 0.6}
    policies = {
        "balanced": Policy(0.9, 0.95, thresholds),
        "sensitive": Policy(0.95, 0.975, {1: 1.01}),
    }
    written = tiny_model.spec(policies=policies, zooms=(1.0, 0.5))
    found = tiny_model.write(tmp_path, policies=policies, zooms=(1.0, 0.5)).spec
    assert load_bundle(tmp_path).spec == found
    assert (found.policies, found.zooms, found.conformal) == (
        policies,
        (1.0, 0.5),
        written.conformal,
    )
    assert [found.policy("balanced").confident_at_for(n) for n in (1, 5, 6, 10)] == [
        0.5,
        0.5,
        0.6,
        0.6,
    ]
    with pytest.raises(LesionLensError, match="'bold': is not one of balanced, sensitive"):
        found.policy("bold")


def test_keys_of_a_later_minor_version_are_ignored(tmp_path: Path) -> None:
    tiny_model.write(tmp_path)
    _edit(tmp_path, lambda content: content.update(head_weights="later"))
    assert load_bundle(tmp_path).spec.name == "tiny"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "one"}, "format is 'one'"),
        ({"labels": ["BCC", "SCC", "Nevus?"]}, "labels is .*Nevus"),
        ({"labels": [["BCC"], "SCC", "Normal"]}, "labels is"),
        ({"labels": ["NV", "MEL"]}, "BCC, SCC, Normal among them"),
        ({"labels": ["BCC", "BCC", "SCC", "Normal"]}, "each label once"),
        ({"labels": []}, "labels is"),
        ({"input_px": 192}, "input_px is 192; 224"),
        ({"resampling": "lanczos"}, "resampling is 'lanczos'; bilinear"),
        ({"draft_px": 224}, "draft_px is 224; 336"),
        ({"precision": "fp8"}, "precision is 'fp8'; one of fp16, fp32, int8"),
        ({"views": 11}, "views is 11; 1 to 10"),
        ({"views": True}, "views is True"),
        ({"temperature": {}}, "temperature is {}"),
        ({"temperature": {"1": 0}}, "temperature above 0"),
        ({"temperature": {"one": 1.0}}, "temperature above 0"),
        ({"policies": {}}, "policies is {}; balanced and sensitive"),
        ({"policies": {"balanced": {"coverage": 0.9}}}, "policies is"),
        ({"policies": {"balanced": {"coverage": 2, "confident_at": {"1": 0.5}}}}, "policies is"),
        ({"conformal": {}}, "conformal is {}"),
        ({"conformal": {"1": {"BCC": [0.5], "SCC": [0.5]}}}, "none for Normal"),
        ({"conformal": {"1": {"BCC": [2], "SCC": [0.5], "Normal": [0.5]}}}, "BCC has some"),
        ({"conformal": {"1": {"BCC": ["a"], "SCC": [0.5], "Normal": [0.5]}}}, "cannot be used"),
        ({"zooms": [0.5, 1]}, "zooms is"),
        ({"zooms": [1, 0]}, "zooms is"),
        ({"metrics": {"accuracy": 0.99}}, "metric accuracy is 0.99.*low, high"),
        ({"licence": ""}, "licence is ''"),
        ({"sha256": None}, "sha256 is None"),
    ],
)
def test_a_field_that_cannot_be_is_named_with_what_is_accepted(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    tiny_model.write(tmp_path)
    _edit(tmp_path, lambda content: content.update(change))
    with pytest.raises(BundleError, match=rf"model\.json: .*{words}"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("key", ["name", "labels", "temperature", "input_px", "policies"])
def test_a_field_that_is_not_there_is_named(tmp_path: Path, key: str) -> None:
    tiny_model.write(tmp_path)
    _edit(tmp_path, lambda content: content.pop(key))
    with pytest.raises(BundleError, match=f"has no {key}"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_model_json_that_is_not_an_object_is_refused(tmp_path: Path, text: str) -> None:
    tiny_model.write(tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(BundleError, match=r"model\.json"):
        load_bundle(tmp_path)


def test_a_spec_that_would_not_load_again_is_not_written(tmp_path: Path) -> None:
    spec = replace(tiny_model.spec(), labels=(Label.NV, Label.MEL))
    with pytest.raises(BundleError, match="among them"):
        write_bundle(tmp_path / "new", b"model", spec)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_the_older_bundle_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tiny_model.write(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lesionlens.files.os.fsync", full)
    with pytest.raises(LesionLensError, match="No space left"):
        write_bundle(tmp_path, b"another model", tiny_model.spec(name="newer"))
    assert load_bundle(tmp_path) == older
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.tflite"]


def test_the_environment_names_another_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_model.write(tmp_path, name="mine")
    monkeypatch.setenv(bundles.MODEL_VARIABLE, str(tmp_path))
    assert load_bundle().spec.name == "mine"
    monkeypatch.delenv(bundles.MODEL_VARIABLE)
    assert bundles.default_directory().parts[-3:] == ("lesionlens", "models", "lens")
