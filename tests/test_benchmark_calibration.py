"""What benchmarks/calibration.py compares is what the package ships, and fits what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lesionlens import scoring
from lesionlens.confidence import combine, fit_temperature, softmax
from lesionlens.conformal import fit_conformal
from lesionlens.errors import TrainingError
from lesionlens.files import write_json
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
folds = pytest.importorskip("folds")
calibration = pytest.importorskip("calibration")

LABELS = (*IN_SCOPE, Label.NV, Label.MEL)


def draw(rng: np.random.Generator, n: int, *, sharpness: float = 1.0) -> folds.Pooled:
    """Answers that are calibrated but for ``sharpness``, truths drawn from them."""
    logits = rng.normal(0, 2, (n, len(LABELS)))
    truth = [LABELS[rng.choice(len(LABELS), p=row)] for row in softmax(logits)]
    return folds.Pooled(
        sharpness * logits,
        LABELS,
        np.array(truth, dtype=object),
        np.arange(n),
        np.arange(n) % 3,
        10,
    )


def write_fold(folder: Path, part: folds.Pooled, ids: list[str], *, named: list[str]) -> None:
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"labels": list(LABELS), "views": 10})
    np.savez(folder / "logits.npz", test_10=part.logits, test_ids=np.array(ids))
    PredictionTable(
        image_ids=tuple(named),
        groups=tuple(f"lesion of {name}" for name in named),
        sources=("",) * len(named),
        y_true=tuple(part.y_true),
        labels=LABELS,
        joint=softmax(part.logits),
    ).save(folder / "predictions-test.csv")


def test_folds_are_read_as_a_run_wrote_them(rng: np.random.Generator, tmp_path: Path) -> None:
    pooled = draw(rng, 30)
    for k in range(3):
        part = pooled.rows(pooled.fold_of == k)
        ids = [f"fold{k}-{i}" for i in range(10)]
        write_fold(tmp_path / f"fold{k}", part, ids, named=ids)
    found = folds.load_folds(tmp_path)
    assert found.logits == pytest.approx(
        np.concatenate([pooled.logits[pooled.fold_of == k] for k in range(3)])
    )
    assert list(found.y_true[:10]) == list(pooled.y_true[pooled.fold_of == 0])
    assert (found.labels, found.views) == (LABELS, 10)
    assert len(set(found.group_of)) == 30


def test_answers_before_calibration_are_softmax_of_the_logits(
    rng: np.random.Generator, tmp_path: Path
) -> None:
    pooled = draw(rng, 30)
    for k in range(3):
        part = pooled.rows(pooled.fold_of == k)
        ids = [f"fold{k}-{i}" for i in range(10)]
        write_fold(tmp_path / f"fold{k}", part, ids, named=ids)
    found = folds.load_uncalibrated(tmp_path)
    assert found.image_ids == tuple(f"fold{k}-{i}" for k in range(3) for i in range(10))
    assert found.groups == tuple(f"lesion of {name}" for name in found.image_ids)
    assert found.y_true[10:20] == tuple(pooled.y_true[pooled.fold_of == 1])
    assert found.joint[10:20] == pytest.approx(softmax(pooled.logits[pooled.fold_of == 1]))
    assert (found.verdicts, found.sets) == ((), None)


def test_truths_of_other_images_are_refused(rng: np.random.Generator, tmp_path: Path) -> None:
    for k in range(2):
        ids = [f"{k}-{i}" for i in range(10)]
        write_fold(tmp_path / f"fold{k}", draw(rng, 10), ids, named=ids[::-1])
    with pytest.raises(TrainingError, match="are of other images"):
        folds.load_folds(tmp_path)
    with pytest.raises(TrainingError, match="a run of folds is needed"):
        folds.load_folds(tmp_path / "elsewhere")


def test_no_fold_is_judged_by_what_was_fitted_on_it(rng: np.random.Generator) -> None:
    pooled = draw(rng, 300)
    seen: list[set[int]] = []

    def spy(part: folds.Pooled) -> object:
        seen.append(set(part.fold_of))
        return lambda logits: np.full(len(logits), len(seen))

    found = calibration.cross_fitted(spy, pooled, 1)[:, 0]
    assert seen == [{1, 2}, {0, 2}, {0, 1}]
    assert found.tolist() == (pooled.fold_of + 1.0).tolist()


def test_the_sets_called_shipped_are_those_of_the_package(rng: np.random.Generator) -> None:
    pooled = draw(rng, 900)
    score, by_class = calibration.SETS["joint probability, by class (ships)"]
    found = calibration.cross_fitted_sets(score, pooled, 0.9, by_class=by_class)
    for fold in range(3):
        own = pooled.fold_of == fold
        others = pooled.rows(~own & pooled.is_in_scope)
        truth = [IN_SCOPE.index(label) for label in others.y_true]
        temperature = fit_temperature(others.logits[:, :3], np.array(truth))
        sets = fit_conformal(
            combine(others.logits[:, None], temperature)[:, :3], list(others.y_true)
        )
        expected = sets.sets(combine(pooled.logits[own][:, None], temperature)[:, :3], 0.9)
        assert found[own].tolist() == expected.tolist()


@pytest.mark.parametrize("name", [*calibration.CLOSED])
def test_a_calibration_undoes_what_made_the_answers_too_sure(
    name: str, rng: np.random.Generator
) -> None:
    pooled = draw(rng, 3000, sharpness=3)
    closed = pooled.rows(pooled.is_in_scope)
    fresh = draw(rng, 3000, sharpness=3)
    fresh = fresh.rows(fresh.is_in_scope)
    probability = calibration.CLOSED[name](closed)(fresh.logits)
    assert probability.sum(axis=1) == pytest.approx(1)
    truth = calibration.truth_of(fresh)

    def loss(values: np.ndarray) -> float:
        return float(-np.log(values[np.arange(len(truth)), truth]).mean())

    best = loss(softmax(fresh.logits[:, :3] / 3))
    if name == "none":
        assert loss(probability) > best + 0.1
    else:
        assert loss(probability) < best + 0.03


@pytest.mark.parametrize("name", [*calibration.SCOPE])
def test_scope_is_a_probability_whatever_calibrates_it(name: str, rng: np.random.Generator) -> None:
    pooled = draw(rng, 1500, sharpness=2)
    found = calibration.cross_fitted(calibration.SCOPE[name], pooled, 1)[:, 0]
    assert ((found >= 0) & (found <= 1)).all()
    assert found[pooled.is_in_scope].mean() > found[~pooled.is_in_scope].mean() + 0.1


def test_scope_by_platt_means_what_it_says_where_half_are_others(rng: np.random.Generator) -> None:
    pooled = draw(rng, 6000, sharpness=3)
    found = calibration.cross_fitted(calibration.SCOPE["Platt"], pooled, 1)[:, 0]
    weights = calibration.half_and_half(pooled.is_in_scope)
    assert weights[pooled.is_in_scope].sum() == pytest.approx(weights[~pooled.is_in_scope].sum())
    assert np.average(found, weights=weights) == pytest.approx(0.5, abs=0.02)
    bins = calibration.weighted_bins(found, weights)
    error = scoring.calibration_errors(weights[None], found, pooled.is_in_scope, bins)
    assert error[0] < 0.03


def test_weighted_bins_hold_equal_weight_and_never_part_equal_values(
    rng: np.random.Generator,
) -> None:
    values, weights = rng.random(5000), rng.random(5000) ** 3
    bins = calibration.weighted_bins(values, weights)
    assert np.bincount(bins, weights) == pytest.approx(weights.sum() / 10, rel=0.05)
    tied = calibration.weighted_bins(rng.integers(0, 4, 1000) / 4, np.ones(1000))
    assert len(set(tied)) == 4


def test_the_adaptive_score_is_the_mass_of_what_is_no_likelier() -> None:
    joint = np.array([[0.5, 0.2, 0.0, 0.3]])
    found = calibration.less_likely(joint, [0, 1, 2])
    assert found == pytest.approx(np.array([[0.5, 0.0, 0.0]]), abs=1e-12)


def test_only_what_stands_between_the_marks_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\nkept\n<!-- end -->\n")
    folds.put_into(page, "<!-- x -->", "new\n")
    assert page.read_text() == (
        "a\n<!-- x -->\nnew\n<!-- end -->\nb\n<!-- y -->\nkept\n<!-- end -->\n"
    )
    with pytest.raises(SystemExit, match="has no <!-- z -->"):
        folds.put_into(page, "<!-- z -->", "new\n")


def test_vector_scaling_is_of_the_logits_as_they_come(rng: np.random.Generator) -> None:
    # A part that all logits of a row share matters where each has a factor of its own; of log
    # probabilities it would be gone, and the true factors out of reach.
    logits = rng.normal(0, 1, (9000, 3)) + rng.normal(0, 2, (9000, 1))
    true = softmax(logits * [0.5, 1.0, 1.5] + [0.0, 0.3, -0.3])
    truth = [IN_SCOPE[rng.choice(3, p=row)] for row in true]
    pooled = folds.Pooled(
        logits,
        IN_SCOPE,
        np.array(truth, dtype=object),
        np.arange(9000),
        np.arange(9000) % 3,
        10,
    )
    assert calibration.by_vector(pooled)(logits) == pytest.approx(true, abs=0.05)
    assert np.abs(calibration.by_temperature(pooled)(logits) - true).max() > 0.3
