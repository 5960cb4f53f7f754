"""Augmentation and batches: no TensorFlow needed, so these run with the fast tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lesionlens.errors import TrainingError
from lesionlens.labels import IN_SCOPE, OUT_OF_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.train import augment, inputs
from lesionlens.train.config import LENS, PAPER, PRESETS, Augmentation, TrainConfig
from lesionlens.train.decoys import make_decoy

pytest.importorskip("cv2", reason="augmentation needs OpenCV: pip install 'lesionlens[train]'")

SIDE = 224


def frames_of(counts: dict[Label, int]) -> list[Frame]:
    return [
        Frame(image_id=f"{label}-{i}", path=Path("none"), label=label)
        for label, n in counts.items()
        for i in range(n)
    ]


def examples_of(counts: dict[Label, int], labels: tuple[Label, ...]) -> inputs.Examples:
    frames = frames_of(counts)
    return inputs.select_examples(frames, {f.image_id: i for i, f in enumerate(frames)}, labels)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rng = np.random.default_rng(5)
    small = rng.integers(0, 255, (14, 14, 3)).astype(np.uint8)
    return np.kron(small, np.ones((16, 16, 1), np.uint8))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_comes_back_from_json_as_it_was(preset: str) -> None:
    import json

    config = PRESETS[preset]
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_configuration_of_another_version_is_refused() -> None:
    with pytest.raises(TrainingError, match="format"):
        TrainConfig.from_json({**PAPER.to_json(), "format": 999})
    with pytest.raises(TrainingError, match="colour_of_the_cat"):
        TrainConfig.from_json({**PAPER.to_json(), "colour_of_the_cat": "grey"})


def test_without_options_augmentation_changes_nothing(
    picture: np.ndarray, rng: np.random.Generator
) -> None:
    drawn = augment.draw(rng, Augmentation(), Label.BCC)
    np.testing.assert_array_equal(augment.apply(picture, drawn, border="nearest"), picture)


def test_a_horizontal_flip_is_exact_and_happens_half_of_the_time(
    picture: np.ndarray, rng: np.random.Generator
) -> None:
    options = Augmentation(horizontal_flip=True)
    flipped = 0
    for _ in range(200):
        found = augment.apply(picture, augment.draw(rng, options, Label.BCC), border="nearest")
        if np.array_equal(found, picture[:, ::-1]):
            flipped += 1
        else:
            np.testing.assert_array_equal(found, picture)
    assert 70 < flipped < 130


def test_all_eight_symmetries_of_the_square_are_drawn(
    picture: np.ndarray, rng: np.random.Generator
) -> None:
    options = Augmentation(horizontal_flip=True, vertical_flip=True, transpose=True)
    seen = {
        augment.apply(picture, augment.draw(rng, options, Label.BCC), border="nearest").tobytes()
        for _ in range(200)
    }
    turned = [np.rot90(picture, k) for k in range(4)]
    expected = {np.ascontiguousarray(t).tobytes() for t in turned}
    expected |= {np.ascontiguousarray(t[:, ::-1]).tobytes() for t in turned}
    assert seen == expected


def test_a_small_window_zooms_in_and_a_large_one_mirrors_what_is_outside() -> None:
    disc = np.zeros((SIDE, SIDE, 3), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    disc[np.hypot(x, y) < 40] = 255
    areas = {}
    for window in (0.5, 1.0, 2.0):
        options = Augmentation(window=(window, window))
        drawn = augment.draw(np.random.default_rng(0), options, Label.BCC)
        # Of the middle half only, so that mirrored copies of the disc do not count.
        middle = augment.apply(disc, drawn, border="reflect")[56:168, 56:168]
        areas[window] = (middle > 127).mean()
    assert areas[0.5] > 0.95
    assert areas[1.0] == pytest.approx(np.pi * 40**2 / 112**2, rel=0.02)
    assert areas[2.0] == pytest.approx(np.pi * 20**2 / 112**2, rel=0.05)


def test_healthy_skin_and_other_things_have_windows_of_their_own() -> None:
    options = Augmentation(window=(0.5, 0.5), window_normal=(2.0, 2.0), window_photo=(0.3, 0.3))
    for label, side in ((Label.BCC, 0.5), (Label.NORMAL, 2.0), (Label.NOT_SKIN, 0.3)):
        warp = augment.draw(np.random.default_rng(0), options, label).warp
        assert np.sqrt(abs(np.linalg.det(warp[:, :2]))) == pytest.approx(side)


def test_colour_changes_leave_grey_grey_unless_the_white_balance_moves() -> None:
    grey = np.full((SIDE, SIDE, 3), 120, np.uint8)
    options = Augmentation(brightness=0.2, contrast=0.2, saturation=0.5, hue_degrees=20)
    drawn = augment.draw(np.random.default_rng(1), options, Label.BCC)
    found = augment.apply(grey, drawn, border="nearest")
    assert np.ptp(found[0, 0].astype(int)) <= 1
    drawn = augment.draw(np.random.default_rng(1), Augmentation(channel_gain=0.2), Label.BCC)
    assert np.ptp(augment.apply(grey, drawn, border="nearest")[0, 0].astype(int)) > 5


def test_an_unnamed_benign_lesion_is_mostly_a_nevus_and_nothing_to_a_three_class_model() -> None:
    target = inputs.target_of(Label.UNK, LENS.labels)
    assert target is not None
    assert target.sum() == pytest.approx(1)
    assert target.argmax() == LENS.labels.index(Label.NV)
    assert inputs.target_of(Label.UNK, IN_SCOPE) is None
    assert inputs.target_of(Label.MEL, IN_SCOPE) is None


def test_class_weights_give_every_class_the_same_say() -> None:
    examples = examples_of({Label.BCC: 60, Label.SCC: 15, Label.NORMAL: 25}, IN_SCOPE)
    weights = inputs.class_weights(examples, PAPER)
    by_class = examples.targets.T @ weights
    np.testing.assert_allclose(by_class, by_class.mean(), rtol=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_an_epoch_has_the_mixture_asked_for_and_repeats_rare_images_evenly() -> None:
    counts = {Label.BCC: 50, Label.SCC: 7, Label.NORMAL: 30, Label.NV: 4000}
    examples = examples_of(counts, LENS.labels)
    config = dataclasses.replace(
        LENS,
        epoch_size=400,
        mixture={Label.BCC: 0.3, Label.SCC: 0.2, Label.NORMAL: 0.1, Label.NV: 0.4, Label.DF: 0.2},
    )
    order = inputs.plan_epoch(examples, config, np.random.default_rng(0))
    shown = [examples.frames[i].label for i in order]
    assert [shown.count(label) for label in counts] == [120, 80, 40, 160]
    times = np.bincount(order, minlength=len(examples))[50:57]
    assert times.max() - times.min() <= 1


@pytest.mark.parametrize(("n_photos", "n_decoys"), [(9, 20), (0, 40)])
def test_decoys_take_their_share_of_what_is_not_skin_and_all_of_it_without_photos(
    n_photos: int, n_decoys: int
) -> None:
    counts = dict.fromkeys(IN_SCOPE, 10) | ({Label.NOT_SKIN: n_photos} if n_photos else {})
    examples = examples_of(counts, LENS.labels)
    mixture = {Label.BCC: 0.3, Label.SCC: 0.3, Label.NORMAL: 0.3, Label.NOT_SKIN: 0.1}
    config = dataclasses.replace(LENS, epoch_size=400, mixture=mixture, decoy_share=0.5)
    order = inputs.plan_epoch(examples, config, np.random.default_rng(0))
    assert len(order) == 400
    assert (order < 0).sum() == n_decoys
    assert all(examples.frames[~i].label in IN_SCOPE for i in order if i < 0)


def test_decoys_are_taught_as_not_skin_and_a_three_class_recipe_has_none() -> None:
    examples = examples_of(dict.fromkeys(IN_SCOPE, 4), LENS.labels)
    images = np.random.default_rng(0).integers(0, 256, (12, SIDE, SIDE, 3), np.uint8)
    mixture = {**dict.fromkeys(IN_SCOPE, 0.1), Label.NOT_SKIN: 0.7}
    config = dataclasses.replace(
        LENS, epoch_size=40, mixture=mixture, mixup_alpha=0.0, label_smoothing=0.0
    )
    (_, y, w), *_ = inputs.epoch_batches(images, examples, config, stage=0, epoch=0)
    assert (y.argmax(1) == LENS.labels.index(Label.NOT_SKIN)).sum() >= 16
    assert (w == 1).all()
    assert (inputs.plan_epoch(examples, PAPER, np.random.default_rng(0)) >= 0).all()


def test_no_two_decoys_are_alike_nor_is_any_like_the_frame_it_was_made_of() -> None:
    rng = np.random.default_rng(0)
    frame = np.full((SIDE, SIDE, 3), (200, 150, 130), np.uint8)
    frame[60:160, 60:160] = (90, 50, 40)
    made = [make_decoy(frame, rng) for _ in range(60)]
    assert len({picture.tobytes() for picture in made}) > 40
    for picture in made:
        assert picture.dtype == np.uint8
        assert picture.shape == frame.shape
        assert np.abs(picture.astype(int) - frame).mean() > 10


def test_an_epoch_without_a_mixture_shows_every_image_once() -> None:
    examples = examples_of({Label.BCC: 5, Label.SCC: 6, Label.NORMAL: 7}, IN_SCOPE)
    order = inputs.plan_epoch(examples, PAPER, np.random.default_rng(0))
    assert sorted(order) == list(range(18))


def test_a_missing_class_is_named() -> None:
    examples = examples_of({Label.BCC: 5, Label.NORMAL: 7}, IN_SCOPE)
    with pytest.raises(TrainingError, match="no SCC image"):
        inputs.plan_epoch(examples, PAPER, np.random.default_rng(0))


def batches_of(config: TrainConfig, epoch: int) -> list[tuple[np.ndarray, ...]]:
    examples = examples_of(dict.fromkeys((*IN_SCOPE, *OUT_OF_SCOPE), 6), LENS.labels)
    images = np.random.default_rng(0).integers(0, 256, (len(examples), SIDE, SIDE, 3), np.uint8)
    return list(inputs.epoch_batches(images, examples, config, stage=1, epoch=epoch))


def test_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    config = dataclasses.replace(LENS, epoch_size=48, batch_size=16)
    first, again, next_epoch = batches_of(config, 3), batches_of(config, 3), batches_of(config, 4)
    other_seed = batches_of(dataclasses.replace(config, seed=1), 3)
    for (x, y, w), (x2, y2, w2) in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
        np.testing.assert_array_equal(w, w2)
    assert not np.array_equal(first[0][0], next_epoch[0][0])
    assert not np.array_equal(first[0][0], other_seed[0][0])


def test_batches_are_0_to_255_with_targets_that_sum_to_one() -> None:
    for x, y, w in batches_of(dataclasses.replace(LENS, epoch_size=40), 0):
        assert x.dtype == y.dtype == np.float32
        assert x.min() >= 0
        assert 128 < x.max() <= 255
        np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
        assert (w == 1).all()


def test_an_error_in_the_background_reaches_the_caller() -> None:
    examples = examples_of(dict.fromkeys(IN_SCOPE, 4), IN_SCOPE)
    too_few = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    with pytest.raises(IndexError):
        list(inputs.epoch_batches(too_few, examples, PAPER, stage=0, epoch=0))
