"""``lesionlens audit-model`` from end to end, on drawn images and a model of known answers."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tiny_model
import tiny_run
from lesionlens.cli.audit_model import PARTS
from lesionlens.cli.main import app
from lesionlens.evidence.perturbations import PERTURBATIONS
from lesionlens.runtime import Model

DOCS = Path(__file__).parent.parent / "docs"
QUICK = ["--bootstrap", "100"]
#: All that is no matter of changing every picture fifty times.
FEW = ["--only", "shortcuts,subgroups,views,failures"]


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["audit-model", *map(str, arguments)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, drawn_archive: Path) -> Path:
    """A run of the drawn archive, masks for its lesions, and the audit of it."""
    directory = tmp_path_factory.mktemp("audited")
    tiny_run.write_run(directory, drawn_archive)
    tiny_run.write_masks(directory / "masks", drawn_archive)
    done = run(*of_run(directory, drawn_archive), "--masks", directory / "masks", *QUICK)
    assert done.exit_code == 0, done.output
    return directory


def of_run(directory: Path, archive: Path) -> list[object]:
    return [
        directory / "run", archive, "--cache", directory / "cache",
        "--splits", directory / "splits.json", "--output", directory / "audit",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def audit(place: Path) -> dict[str, Any]:
    return json.loads((place / "audit" / "audit.json").read_text(encoding="utf-8"))


def metrics_of(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every metric in a JSON value, with where it stands."""
    if isinstance(value, dict):
        if "value" in value and "method" in value:
            yield path, value
            return
        for key, inner in value.items():
            yield from metrics_of(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from metrics_of(inner, f"{path}/{index}")


@pytest.mark.slow
def test_every_part_is_there(audit: dict[str, Any]) -> None:
    assert tuple(audit["sections"]) == PARTS
    tables = audit["sections"]
    assert list(tables["robustness"]["tables"]) == [kind.key for kind in PERTURBATIONS]
    for table in tables["robustness"]["tables"].values():
        assert len(table["rows"]) == 6  # untouched, and five strengths
    assert [row["name"] for row in tables["views"]["tables"]["views"]["rows"]] == [
        "1 view", "2 views", "5 views", "10 views",
    ]  # fmt: skip
    assert {"age", "sex", "skin_tone", "lesion_size"} <= set(tables["subgroups"]["tables"])
    assert set(tables["shortcuts"]["tables"]) == {"magnification", "background"}


@pytest.mark.slow
def test_no_figure_goes_without_its_number_of_images_and_its_interval(
    audit: dict[str, Any],
) -> None:
    found = list(metrics_of(audit))
    assert len(found) > 400
    for path, metric in found:
        assert isinstance(metric["n"], int), path
        assert metric["method"], path
        if metric["low"] is None:
            assert metric["note"], f"{path}: no interval and no reason"
        elif metric["value"] is not None:
            assert metric["low"] <= metric["value"] <= metric["high"], path


@pytest.mark.slow
def test_the_page_is_one_file_without_requests_or_nan(place: Path) -> None:
    page = (place / "audit" / "audit.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert "<script" not in page
    assert "Not a diagnosis" in page
    text = re.sub(r"data:[^\"]+", "", page)
    assert not re.search(r"\bnan\b|None\b|inf\b", text)
    figures = sorted(path.stem for path in (place / "audit" / "figures").iterdir())
    assert figures == ["confident_errors", "robustness", "shortcuts", "subgroups", "views"]


@pytest.mark.slow
def test_pictures_of_the_archive_are_in_the_page_alone(place: Path) -> None:
    assert "data:image/jpeg" in (place / "audit" / "audit.html").read_text(encoding="utf-8")
    assert not list((place / "audit").rglob("*.jpg"))
    assert "base64" not in (place / "audit" / "audit.json").read_text(encoding="utf-8")


@pytest.mark.slow
def test_untouched_is_the_same_in_every_table_of_robustness(audit: dict[str, Any]) -> None:
    tables = audit["sections"]["robustness"]["tables"].values()
    first = [table["rows"][0]["metrics"] for table in tables]
    assert all(metrics == first[0] for metrics in first)


@pytest.mark.slow
def test_subgroups_of_few_lesions_are_not_told(audit: dict[str, Any]) -> None:
    n_told = n_silent = 0
    for table in audit["sections"]["subgroups"]["tables"].values():
        for row in table["rows"]:
            accuracy = row["metrics"]["accuracy"]
            if row["n_groups"] < 10:
                assert accuracy["value"] is None
                assert accuracy["note"]
                n_silent += 1
            else:
                assert accuracy["value"] is not None
                n_told += 1
    assert n_told
    assert n_silent


@pytest.mark.slow
def test_the_same_command_again_asks_no_model_about_changed_pictures(
    place: Path, drawn_archive: Path, audit: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    once = Model.run
    monkeypatch.setattr(Model, "run", lambda *a, **k: passes.append(1) or once(*a, **k))
    parts = "shortcuts,robustness,subgroups,failures"
    masks = ["--masks", place / "masks"]
    arguments = [*of_run(place, drawn_archive)[:-1], place / "again"]
    shutil.copytree(place / "audit" / "answers", place / "again" / "answers")
    done = run(*arguments, *masks, *QUICK, "--only", parts)
    assert done.exit_code == 0, done.output
    assert not passes
    again = json.loads((place / "again" / "audit.json").read_text(encoding="utf-8"))
    assert again["sections"] == {key: audit["sections"][key] for key in parts.split(",")}


def test_a_bundle_is_audited_on_an_archive_without_cache_splits_or_masks(
    drawn_archive: Path, tmp_path: Path
) -> None:
    tiny_model.write(tmp_path / "bundle")
    done = run(
        "--model", tmp_path / "bundle", drawn_archive, "--output", tmp_path / "out", *QUICK,
        "--only", "shortcuts, views",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    audit = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert list(audit["sections"]) == ["shortcuts", "views"]
    shortcuts = audit["sections"]["shortcuts"]
    assert list(shortcuts["tables"]) == ["magnification"]
    assert "no lesion masks were given" in shortcuts["remarks"][0]


def test_a_class_that_is_absent_is_said_to_be(
    make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    archive = make_archive(4)
    keep_only(archive, "Basal")
    tiny_model.write(tmp_path / "bundle")
    tiny_run.write_masks(archive / "masks", archive)  # found there without being named
    done = run("--model", tmp_path / "bundle", archive, "--output", tmp_path / "out", *QUICK, *FEW)
    assert done.exit_code == 0, done.output
    audit = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert "no image of SCC has a usable mask" in audit["sections"]["shortcuts"]["remarks"][0]
    one_view = audit["sections"]["views"]["tables"]["views"]["rows"][0]["metrics"]
    assert one_view["recall_SCC"]["value"] is None
    assert one_view["recall_BCC"]["value"] is not None
    tone = audit["sections"]["subgroups"]["tables"]["skin_tone"]["rows"][0]["metrics"]
    assert tone["others_confident"]["note"] == "no such image"


def test_one_image_is_enough_to_be_asked_about_and_too_few_to_say(
    make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    archive = make_archive(2)
    keep_only(archive, "Basal", n=1)
    tiny_model.write(tmp_path / "bundle")
    done = run("--model", tmp_path / "bundle", archive, "--output", tmp_path / "out", *QUICK, *FEW)
    assert done.exit_code == 0, done.output
    audit = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    for path, metric in metrics_of(audit):
        assert metric["low"] is not None or metric["note"], path
    assert (tmp_path / "out" / "audit.html").is_file()


def test_an_archive_of_other_lesions_alone_cannot_be_audited(
    make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    archive = make_archive(2)
    keep_only(archive, "Nevus")
    tiny_model.write(tmp_path / "bundle")
    done = run("--model", tmp_path / "bundle", archive, "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert "none of its images that could be asked about is BCC, SCC or healthy skin" in done.output
    assert not (tmp_path / "out").exists()


def keep_only(archive: Path, diagnosis: str, *, n: int = 99) -> None:
    """Leave only the frames of a diagnosis in the metadata, and no healthy skin."""
    path = archive / "metadata.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if row["diagnosis_3"].startswith(diagnosis)][:n]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(kept)
    shutil.rmtree(archive / "normal")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "archive"], "--splits is needed with a run"),
        (["a", "b", "c"], "give a run and its archive"),
        (["--model", "bundle", "run", "archive"], "give a run and its archive"),
        (["archive", "--only", "views,magic"], "magic is no part of an audit"),
        (["archive", "--only", " , "], "nothing is no part of an audit"),
        (["archive", "--policy", "bold"], "is not one of balanced, sensitive"),
        (["archive", "--masks", "nowhere"], "wants a folder of lesion masks"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is(
    arguments: list[str],
    words: str,
    drawn_archive: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(drawn_archive, tmp_path / "archive")
    tiny_model.write(tmp_path / "bundle")
    monkeypatch.setenv("LESIONLENS_MODEL", str(tmp_path / "bundle"))
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.output
    assert not (tmp_path / "audit").exists()


def test_a_mask_of_another_picture_stops_the_audit_and_is_named(
    drawn_archive: Path, tmp_path: Path
) -> None:
    masks = tiny_run.write_masks(tmp_path / "masks", drawn_archive)
    name = sorted(path.name for path in masks.iterdir())[0]
    Image.fromarray(np.zeros((90, 300), np.uint8)).save(masks / name)
    tiny_model.write(tmp_path / "bundle")
    done = run(
        "--model", tmp_path / "bundle", drawn_archive, "--masks", masks, "--output", tmp_path / "o"
    )
    assert done.exit_code == 2
    assert name in done.output
    assert "another shape" in done.output


@pytest.mark.slow
def test_the_page_of_the_docs_is_written_from_an_audit(audit: dict[str, Any]) -> None:
    spec = importlib.util.spec_from_file_location("make_evidence", DOCS / "make_evidence.py")
    assert spec is not None
    assert spec.loader is not None
    make_evidence = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_evidence)
    found = make_evidence.blocks({"one": audit, "two": audit})
    page = (DOCS / "evidence.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- begin (\w+) -->", page)) == set(found)
    for name, text in found.items():
        lines = text.splitlines()
        assert len(lines) >= 2, name
        assert {line.count("|") for line in lines} == {lines[0].count("|")}, name
        assert not re.search(r"\bnan\b|None", text), name
    written = make_evidence.filled(page, found)
    assert found["views"] in written
    assert make_evidence.filled(written, found) == written
