"""Every image of an audit is answered by a model that never saw it, or the audit does not start."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny_model
import tiny_run
from lesionlens.data.manifest import archive_hash, load_archive
from lesionlens.data.prepare import load_cache
from lesionlens.errors import BundleError, DataError, LeakageError
from lesionlens.evidence.answers import Answers
from lesionlens.evidence.cohort import Cohort, load_bundle_cohort, load_run_cohort
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.verdicts import VERDICTS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, drawn_archive: Path) -> Path:
    """A folder with a cross-validated run of the drawn archive; do not change it."""
    directory = tmp_path_factory.mktemp("place")
    tiny_run.write_run(directory, drawn_archive)
    return directory


@pytest.fixture
def own_place(place: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(place, tmp_path / "place"))


def load(place: Path, archive: Path, *, n_others: int = 100) -> Cohort:
    frames = load_archive(archive).frames
    cache, splits = load_cache(place / "cache"), tiny_run.load_splits(place)
    return load_run_cohort(place / "run", frames, cache, splits, n_others=n_others, seed=0)


def test_an_image_is_shown_to_the_model_of_the_fold_that_held_it_out(
    place: Path, drawn_archive: Path
) -> None:
    cohort = load(place, drawn_archive)
    part_of = tiny_run.load_splits(place).part_of()
    assert len(cohort) == len(part_of) == 32
    for case in cohort.cases:
        model = cohort.examinees[case.examinee].model
        assert Path(model.name).parent.name == part_of[case.frame.image_id]


def test_of_a_holdout_run_only_the_test_part_is_asked_about(
    tmp_path: Path, drawn_archive: Path
) -> None:
    tiny_run.write_run(tmp_path, drawn_archive, folds=None)
    cohort = load(tmp_path, drawn_archive)
    asked = {case.frame.image_id for case in cohort.cases}
    assert asked == set(tiny_run.load_splits(tmp_path).parts["test"])


def test_others_are_drawn_by_lot_and_all_of_the_three_are_taken(
    place: Path, drawn_archive: Path
) -> None:
    cohort = load(place, drawn_archive, n_others=3)
    labels = [case.frame.label for case in cohort.cases]
    assert [labels.count(label) for label in (*IN_SCOPE, Label.NV)] == [8, 8, 8, 3]
    assert cohort.remarks == ("of 8 images of other lesions, 3 were drawn by lot",)
    again = load(place, drawn_archive, n_others=3)
    assert cohort.fingerprint() == again.fingerprint()
    assert load(place, drawn_archive, n_others=4).fingerprint() != again.fingerprint()


def test_what_is_not_skin_and_came_after_the_split_has_been_seen_by_no_model(
    own_place: Path, drawn_archive: Path, tmp_path: Path
) -> None:
    archive = Path(shutil.copytree(drawn_archive, tmp_path / "archive"))
    (archive / "nonskin").mkdir()
    for index in range(3):
        tiles = np.full((64, 64, 3), (0, 80 * index, 255), np.uint8)
        Image.fromarray(tiles).save(archive / "nonskin" / f"carpet{index}.png")
    cohort = load(own_place, archive)
    assert len(cohort.rows(Label.NOT_SKIN)) == 3
    assert not cohort.is_in_scope[cohort.rows(Label.NOT_SKIN)].any()
    assert not cohort.is_other_lesion[cohort.rows(Label.NOT_SKIN)].any()


def test_splits_that_a_run_was_not_trained_with_are_refused(
    own_place: Path, drawn_archive: Path
) -> None:
    one, two = (own_place / "run" / name for name in ("fold0", "fold1"))
    shutil.move(one, own_place / "other")
    shutil.move(two, one)
    shutil.move(own_place / "other", two)
    with pytest.raises(LeakageError, match="it may have seen others"):
        load(own_place, drawn_archive)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("fold1/model.tflite", "lesionlens train writes it"),
        ("fold1/predictions-test.csv", "is not a finished run"),
        ("fold0/config.json", "no such file"),
        ("fold0/logits.npz", "lesionlens train writes it"),
    ],
)
def test_an_unfinished_run_names_the_file_that_it_lacks(
    own_place: Path, drawn_archive: Path, missing: str, words: str
) -> None:
    (own_place / "run" / missing).unlink()
    with pytest.raises(DataError, match=words) as caught:
        load(own_place, drawn_archive)
    assert missing.split("/", maxsplit=1)[0] in str(caught.value)


def test_a_model_with_other_outputs_than_its_configuration_is_refused(
    own_place: Path, drawn_archive: Path
) -> None:
    (own_place / "run" / "fold0" / "model.tflite").write_bytes(tiny_model.build(4))
    with pytest.raises(DataError, match=r"has 4 outputs, .* names 9"):
        load(own_place, drawn_archive)
    path = own_place / "run" / "fold0" / "config.json"
    path.write_text(json.dumps({"labels": ["BCC", "SCC"], "views": 1}))
    with pytest.raises(DataError, match="no output for Normal"):
        load(own_place, drawn_archive)


def test_a_bundle_in_place_of_a_run_is_told_how_to_be_audited(
    place: Path, drawn_archive: Path, tmp_path: Path
) -> None:
    tiny_model.write(tmp_path / "bundle")
    frames = load_archive(drawn_archive).frames
    splits = tiny_run.load_splits(place)
    with pytest.raises(DataError, match="give it as --model"):
        load_run_cohort(tmp_path / "bundle", frames, None, splits, n_others=1, seed=0)
    with pytest.raises(DataError, match="no such folder"):
        load_run_cohort(tmp_path / "nowhere", frames, None, splits, n_others=1, seed=0)
    with pytest.raises(DataError, match="not a run of these splits"):
        load_run_cohort(drawn_archive, frames, None, splits, n_others=1, seed=0)


def test_a_bundle_is_not_asked_about_what_it_was_trained_on(
    drawn_archive: Path, tmp_path: Path
) -> None:
    frames = load_archive(drawn_archive).frames
    tiny_model.write(tmp_path / "same", training={"archive_sha256": archive_hash(frames)})
    with pytest.raises(LeakageError, match="trained on this very archive"):
        load_bundle_cohort(tmp_path / "same", frames, n_others=9, seed=0)
    tiny_model.write(tmp_path / "other", training={"archive_sha256": "0" * 64})
    cohort = load_bundle_cohort(tmp_path / "other", frames, n_others=9, seed=0)
    assert len(cohort) == 32
    with pytest.raises(BundleError):
        load_bundle_cohort(tmp_path / "nowhere", frames, n_others=9, seed=0)


def test_images_that_cannot_be_read_are_left_out_and_counted(
    make_archive: Callable[..., Path], tmp_path: Path
) -> None:
    archive = make_archive(4)
    frames = load_archive(archive).frames
    frames[0].path.write_bytes(b"not an image")
    tiny_model.write(tmp_path / "bundle")
    cohort = load_bundle_cohort(tmp_path / "bundle", frames, n_others=9, seed=0)
    assert len(cohort) == 15
    assert cohort.remarks == ("1 images could not be read and were left out",)


def test_answers_are_those_of_the_model_changed_pictures_and_all(
    place: Path, drawn_archive: Path
) -> None:
    cohort = load(place, drawn_archive)

    def painted(colour: tuple[int, int, int]):
        return lambda rgb, row: np.full_like(rgb, colour)

    colours = [painted(c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    logits = cohort.ask(colours, [0, 5, 31])
    assert logits.shape == (3, 3, 9)
    for k in range(3):
        table = cohort.table(logits[k], [0, 5, 31], views=1)
        assert (table.conditional.argmax(axis=1) == k).all()
        assert set(table.verdicts) <= set(VERDICTS)
        assert table.sets is not None
        assert table.sets.shape == (3, 3)
    views = cohort.ask_views(2, range(4))
    assert views.shape == (4, 2, 9)
    untouched = cohort.ask([lambda rgb, row: rgb], range(4))
    assert np.array_equal(views[:, 0], untouched[0])


def test_what_was_answered_once_is_not_asked_again(
    place: Path, drawn_archive: Path, tmp_path: Path
) -> None:
    asked = []
    cohort = load(place, drawn_archive)
    answers = Answers(cohort, tmp_path / "answers", lambda key, total: asked.append((key, total)))
    first = answers.ask("as it is", [lambda rgb, row: rgb], [1, 2])
    again = answers.ask("as it is", [lambda rgb, row: rgb], [1, 2])
    assert np.array_equal(first, again)
    assert asked == [("as it is", 2)]
    answers.ask("as it is", [lambda rgb, row: rgb], [1, 3])
    answers.ask("otherwise", [lambda rgb, row: 255 - rgb], [1, 2])
    assert len(asked) == 3
    for path in (tmp_path / "answers").iterdir():
        path.write_bytes(path.read_bytes()[:50])  # cut short: asked again, not believed
    assert np.array_equal(answers.ask("as it is", [lambda rgb, row: rgb], [1, 2]), first)
    assert len(asked) == 4
