"""Temperatures and the threshold of ``confident``, on logits of known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlens.confidence import softmax
from lesionlens.errors import TrainingError
from lesionlens.labels import IN_SCOPE, OUT_OF_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.train.calibration import Calibration, calibrate
from lesionlens.verdicts import COVERAGE, POLICIES

LABELS = (*IN_SCOPE, *OUT_OF_SCOPE)


def frames_of(labels: list[Label]) -> list[Frame]:
    return [Frame(image_id=str(i), path=Path("none"), label=x) for i, x in enumerate(labels)]


def sample(n: int, rng: np.random.Generator) -> tuple[np.ndarray, list[Frame]]:
    """Return logits that are calibrated as they stand, and truths drawn from them."""
    logits = rng.normal(0, 2, (n, len(LABELS)))
    truth = [LABELS[rng.choice(len(LABELS), p=row)] for row in softmax(logits)]
    return logits, frames_of(truth)


def test_the_temperature_undoes_what_made_the_logits_too_sure(rng: np.random.Generator) -> None:
    logits, frames = sample(6000, rng)
    found = calibrate({1: logits, 10: 3 * logits}, frames, LABELS, "made up")
    assert found.temperature[1] == pytest.approx(1, abs=0.1)
    assert found.temperature[10] == pytest.approx(3, abs=0.3)


def test_other_lesions_do_not_move_the_temperature(rng: np.random.Generator) -> None:
    logits, frames = sample(3000, rng)
    inside = [i for i, frame in enumerate(frames) if frame.label in IN_SCOPE]
    whole = calibrate({1: logits}, frames, LABELS, "")
    part = calibrate({1: logits[inside]}, [frames[i] for i in inside], LABELS, "")
    assert whole.temperature == pytest.approx(part.temperature)


def test_the_threshold_does_not_hang_on_how_many_nevi_the_archive_has(
    rng: np.random.Generator,
) -> None:
    logits, frames = sample(4000, rng)
    outside = [i for i, frame in enumerate(frames) if frame.label not in IN_SCOPE]
    more = np.concatenate([logits, *[logits[outside]] * 3])
    labels = [frame.label for frame in frames]
    many = frames_of(labels + [labels[i] for i in outside] * 3)
    few, lots = (calibrate({1: x}, f, LABELS, "") for x, f in ((logits, frames), (more, many)))
    for name in POLICIES:
        thresholds = [found.policies[name].confident_at[1] for found in (few, lots)]
        assert thresholds[1] == pytest.approx(thresholds[0], abs=0.05)


@pytest.mark.parametrize("policy", POLICIES)
def test_confident_answers_are_right_as_often_as_promised(
    policy: str, rng: np.random.Generator
) -> None:
    logits, frames = sample(6000, rng)
    found = calibrate({1: logits}, frames, LABELS, "")
    fresh_logits, fresh = sample(6000, rng)
    inside = np.array([frame.label in IN_SCOPE for frame in fresh])
    chosen = np.concatenate(
        [np.flatnonzero(inside), rng.choice(np.flatnonzero(~inside), inside.sum())]
    )
    judged = found.judge(fresh_logits[chosen], LABELS, views=1, policy=policy)
    top = judged.joint[:, :3].argmax(1)
    right = np.array([fresh[i].label for i in chosen]) == np.array(IN_SCOPE)[top]
    confident = np.array(judged.verdicts) == "confident"
    assert confident.sum() > 30
    assert right[confident].mean() == pytest.approx(0.9, abs=0.06)


@pytest.mark.parametrize("policy", POLICIES)
def test_of_each_class_as_many_images_keep_it_in_their_set_as_promised(
    policy: str, rng: np.random.Generator
) -> None:
    logits, frames = sample(6000, rng)
    found = calibrate({1: logits}, frames, LABELS, "")
    fresh_logits, fresh = sample(6000, rng)
    sets = found.judge(fresh_logits, LABELS, views=1, policy=policy).sets
    for column, label in enumerate(IN_SCOPE):
        of_class = np.array([frame.label is label for frame in fresh])
        assert sets[of_class, column].mean() == pytest.approx(COVERAGE[policy], abs=0.04)


def test_a_calibration_comes_back_from_its_file(tmp_path: Path, rng: np.random.Generator) -> None:
    logits, frames = sample(300, rng)
    made = calibrate({1: logits, 10: 2 * logits}, frames, LABELS, "the validation part")
    made.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == made


def test_a_calibration_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"temperature": {"1": 1}, "confident_at": 0.5}')
    with pytest.raises(TrainingError, match="another version"):
        Calibration.load(tmp_path / "calibration.json")
