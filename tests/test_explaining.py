"""``lesionlens predict --explain``, and ``Classifier.explain`` behind it."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import tiny_model
from lesionlens import phantoms
from lesionlens.classifier import Classifier
from lesionlens.cli.explaining import unique_stems
from lesionlens.cli.writers import COLUMNS
from lesionlens.errors import BundleError, LesionLensError
from lesionlens.labels import Label
from lesionlens.render import NOTE
from lesionlens.saliency import MAP_PX

Run = Callable[..., SimpleNamespace]


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("bundle")).directory


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a mostly red and a mostly green image, one a JPEG, and one more below."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name, colour in (("a.png", 0), ("b.jpg", 1), ("below/a.png", 2)):
        image = np.full((90, 120, 3), 60, np.uint8)
        image[20:60, 30:80, colour] = 250
        Image.fromarray(image).save(folder / name)
    return folder


@pytest.fixture
def run(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch, run_command: Run) -> Run:
    """Run ``lesionlens predict ARGUMENTS``; gives code, out and err."""
    monkeypatch.setenv("LESIONLENS_MODEL", str(bundle_dir))
    return partial(run_command, "predict")


# ---------------------------------------------------------------- the classifier


def test_an_explanation_holds_the_answer_that_predict_gives(bundle_dir: Path, photos: Path) -> None:
    classifier = Classifier(bundle_dir)
    for views in (1, 5):
        explanation = classifier.explain(photos / "a.png", views=views)
        answer = classifier.predict(photos / "a.png", views=views)
        found = explanation.prediction
        assert found.probabilities == pytest.approx(answer.probabilities)
        assert (found.label, found.verdict, found.views) == (answer.label, answer.verdict, views)
        assert found.file == str(photos / "a.png")
        assert explanation.label is Label.BCC
        assert explanation.map.shape == (MAP_PX, MAP_PX)


def test_the_map_is_warm_where_the_colour_of_the_class_is(bundle_dir: Path, photos: Path) -> None:
    found = Classifier(bundle_dir).explain(photos / "a.png").map
    rows, columns = (slice(MAP_PX * 2 // 9, MAP_PX * 6 // 9), slice(MAP_PX // 4, MAP_PX * 2 // 3))
    inside = found[rows, columns].sum() / found.sum()
    assert inside > 0.7  # of a fifth of the area, blurred by the 7 x 7 places
    assert (
        Classifier(bundle_dir).explain(photos / "a.png", label="SCC").map[rows, columns].max() < 1
    )


def test_a_bundle_that_cannot_be_explained_says_so_before_any_work(
    tmp_path: Path, photos: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lesionlens.runtime._float_constants", lambda _: [])
    with pytest.raises(BundleError, match="cannot be explained"):
        Classifier(tiny_model.write(tmp_path / "bundle")).explain(photos / "a.png")
    done = run(photos, "--explain", tmp_path / "pictures")
    assert done.code == 2
    assert "cannot be explained" in done.err
    assert done.out == ""
    assert not (tmp_path / "pictures").exists()
    assert run(photos).code == 0  # answers are not affected


def test_the_shipped_model_can_be_explained(shipped_bundle: Path, phantom_jpeg: Path) -> None:
    classifier = Classifier(shipped_bundle)
    for label in classifier.spec.labels:
        found = classifier.explain(phantom_jpeg, label=label)
        assert np.isfinite(found.map).all()
        assert found.map.max() == (0 if found.is_empty else 1)
    assert not classifier.explain(phantom_jpeg).is_empty


# ---------------------------------------------------------------- the verb


def test_each_image_gets_a_picture_named_after_it_and_its_answer(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "pictures"
    done = run(photos, "--recursive", "--explain", folder)
    assert done.code == 0
    assert f"{folder}: 3 explained" in done.err
    assert sorted(os.listdir(folder)) == ["a-2-Normal.png", "a-BCC.png", "b-SCC.png"]
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert image.width >= 660
            assert image.text["Description"] == NOTE  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_answers_name_their_pictures_only_when_asked(
    run: Run, photos: Path, tmp_path: Path, form: str
) -> None:
    def rows(*options: object) -> list[dict[str, str]]:
        text = run(photos, "--format", form, *options).out
        if form == "csv":
            return list(csv.DictReader(io.StringIO(text)))
        return json.loads(text) if form == "json" else list(map(json.loads, text.splitlines()))

    assert all("explanation" not in row for row in rows())
    explained = rows("--explain", tmp_path / "pictures")
    assert [row["explanation"] for row in explained] == [
        str(tmp_path / "pictures" / name) for name in ("a-BCC.png", "b-SCC.png")
    ]
    assert all(Path(row["explanation"]).is_file() for row in explained)
    if form == "csv":
        assert tuple(explained[0]) == (*COLUMNS[:-1], "explanation", "error")


def test_one_bad_file_is_a_row_and_costs_no_other_its_picture(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    (photos / "aa.jpg").write_text("only text")
    done = run(photos, "-f", "csv", "--explain", tmp_path / "pictures")
    assert done.code == 1
    found = list(csv.DictReader(io.StringIO(done.out)))
    assert [bool(row["explanation"]) for row in found] == [True, False, True]
    assert "is not an image" in found[1]["error"]
    assert f"{tmp_path / 'pictures'}: 2 explained" in done.err
    assert len(os.listdir(tmp_path / "pictures")) == 2


def test_bytes_of_standard_input_are_explained(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO((photos / "b.jpg").read_bytes()))
    monkeypatch.setattr(sys, "stdin", stream)
    done = run("-", "--format", "jsonl", "--explain", tmp_path / "pictures")
    assert json.loads(done.out)["explanation"] == str(tmp_path / "pictures" / "stdin-SCC.png")


def test_running_again_writes_the_same_pictures(run: Run, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    run(photos, "--explain", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run(photos, "--explain", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_pictures_never_go_among_the_photos(run: Run, photos: Path) -> None:
    before = sorted(os.listdir(photos))
    for folder in (photos, photos / "below" / ".."):
        done = run(photos, "--explain", folder)
        assert done.code == 2
        assert "needs another folder than the photos'" in done.err
    assert sorted(os.listdir(photos)) == before


def test_a_file_in_place_of_the_folder_is_named(run: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").write_text("in the way")
    done = run(photos, "--explain", tmp_path / "pictures")
    assert done.code == 2
    assert "pictures cannot be written there" in done.err
    assert "--explain needs a folder" in done.err


def test_a_disk_that_fills_up_is_told_and_no_answer_claims_a_picture(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    done = run(photos, "-f", "json", "-o", tmp_path / "answers.json", "--explain", tmp_path / "p")
    assert done.code == 2
    assert "No space left on device" in done.err
    assert not (tmp_path / "answers.json").exists()
    assert os.listdir(tmp_path / "p") == []


@pytest.mark.parametrize(
    ("files", "stems"),
    [
        (["x.jpg", "y.jpg"], ["x", "y"]),
        (["a/x.jpg", "b/x.png", "X.webp"], ["x", "x-2", "X-3"]),
        (["a/x.jpg", "b/x.png", "x-2.jpg"], ["x", "x-2", "x-2-2"]),
        (["-", "stdin.png"], ["stdin", "stdin-2"]),
        (["a.b.jpg", ".hidden"], ["a.b", ".hidden"]),
        (["é" * 200 + ".jpg", "é" * 201 + ".jpg"], ["é" * 90, "é" * 90 + "-2"]),
    ],
)
def test_no_two_images_share_a_name(files: list[str], stems: list[str]) -> None:
    assert list(unique_stems(files).values()) == stems


@pytest.mark.slow
def test_many_images_are_explained_side_by_side_as_one_by_one(
    shipped_bundle: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLENS_MODEL", str(shipped_bundle))
    photos = tmp_path / "photos"
    rng = np.random.default_rng(7)
    for number, (_, image) in enumerate(phantoms.random_frames(24, rng=rng, size_px=(300, 225))):
        phantoms.save(image, photos / f"{number}.jpg")
    folders = []
    for threads in (1, 4):
        folders.append(tmp_path / f"pictures-{threads}")
        done = run(photos, "--views", "2", "--threads", threads, "--explain", folders[-1])
        assert done.code == 0
    one, many = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert len(one) == 24
    assert one == many


def test_unknown_classes_are_refused_by_the_classifier(bundle_dir: Path, photos: Path) -> None:
    with pytest.raises(LesionLensError, match="NotThere: is no output of this model"):
        Classifier(bundle_dir).explain(photos / "a.png", label="NotThere")
