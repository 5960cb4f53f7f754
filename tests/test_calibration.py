"""Temperatures and the threshold of ``confident``, on logits of known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesionlens.confidence import softmax
from lesionlens.labels import IN_SCOPE, OUT_OF_SCOPE, Label
from lesionlens.records import Frame
from lesionlens.train.calibration import Calibration, calibrate

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
    assert lots.confident_at == pytest.approx(few.confident_at, abs=0.05)


def test_confident_answers_are_right_as_often_as_promised(rng: np.random.Generator) -> None:
    logits, frames = sample(6000, rng)
    threshold = calibrate({1: logits}, frames, LABELS, "").confident_at
    fresh_logits, fresh = sample(6000, rng)
    inside = np.array([frame.label in IN_SCOPE for frame in fresh])
    chosen = np.concatenate(
        [np.flatnonzero(inside), rng.choice(np.flatnonzero(~inside), inside.sum())]
    )
    top = softmax(fresh_logits)[chosen, :3]
    right = np.array([fresh[i].label for i in chosen]) == np.array(IN_SCOPE)[top.argmax(1)]
    confident = top.max(1) >= threshold
    assert confident.sum() > 100
    assert right[confident].mean() == pytest.approx(0.9, abs=0.04)


def test_a_calibration_comes_back_from_its_file(tmp_path: Path) -> None:
    made = Calibration({1: 0.7, 10: 0.65}, 0.4, "the validation part")
    made.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == made
