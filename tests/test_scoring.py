from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlens import scoring
from lesionlens.labels import IN_SCOPE
from synthetic_predictions import make_table


def _rows(n: int, *, seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, answer and probabilities of rows that have every class."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([[0, 1, 2], rng.integers(0, 3, n - 3)])
    logits = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if ties:
        probabilities = np.round(probabilities, 1) + 0.05
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return truth, probabilities.argmax(axis=1), probabilities


def _real_like(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = make_table(np.random.default_rng(seed))
    chosen = table.is_in_scope
    truth = np.array([IN_SCOPE.index(y) for y in table.y_true if y in IN_SCOPE])
    probabilities = table.conditional[chosen]
    return truth, probabilities.argmax(axis=1), probabilities


CASES = [
    pytest.param(*_rows(60, seed=1, ties=False), id="random"),
    pytest.param(*_rows(400, seed=2, ties=True), id="ties"),
    pytest.param(*_real_like(3), id="real-like"),
]


@pytest.mark.parametrize(("truth", "answer", "probabilities"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_class_rates_agree_with_scikit_learn(truth, answer, probabilities, weighted):
    from sklearn import metrics as theirs

    n = len(truth)
    weights = np.random.default_rng(0).integers(0, 4, n).astype(float) if weighted else np.ones(n)
    confusion = scoring.confusion_counts(weights[np.newaxis], truth, answer, 3)
    np.testing.assert_array_equal(
        confusion[0], theirs.confusion_matrix(truth, answer, sample_weight=weights)
    )
    rates = scoring.class_rates(confusion)
    precision, recall, f1, support = theirs.precision_recall_fscore_support(
        truth, answer, sample_weight=weights, zero_division=0
    )
    np.testing.assert_allclose(rates.precision[0], precision)
    np.testing.assert_allclose(rates.recall[0], recall)
    np.testing.assert_allclose(rates.f1[0], f1)
    np.testing.assert_allclose(rates.support[0], support)
    for k in range(3):
        specificity = theirs.recall_score(truth != k, answer != k, sample_weight=weights)
        assert rates.specificity[0, k] == pytest.approx(specificity)
    for average, class_weights in (("macro", None), ("weighted", rates.support)):
        expected = theirs.precision_recall_fscore_support(
            truth, answer, average=average, sample_weight=weights, zero_division=0
        )
        for values, figure in zip(
            (rates.precision, rates.recall, rates.f1), expected[:3], strict=True
        ):
            assert scoring.mean_over_classes(values, class_weights)[0] == pytest.approx(figure)
    balanced = theirs.balanced_accuracy_score(truth, answer, sample_weight=weights)
    assert scoring.mean_over_classes(rates.recall)[0] == pytest.approx(balanced)


@pytest.mark.parametrize(("truth", "answer", "probabilities"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_ranking_scores_agree_with_scikit_learn(truth, answer, probabilities, weighted):
    from sklearn import metrics as theirs

    n = len(truth)
    weights = np.random.default_rng(0).integers(0, 4, n).astype(float) if weighted else np.ones(n)
    areas = []
    for k in range(3):
        (area,), (precision,) = scoring.ranking_scores(
            weights[np.newaxis], truth == k, probabilities[:, k]
        )
        options = {"sample_weight": weights}
        assert area == pytest.approx(
            theirs.roc_auc_score(truth == k, probabilities[:, k], **options)
        )
        assert precision == pytest.approx(
            theirs.average_precision_score(truth == k, probabilities[:, k], **options)
        )
        areas.append(area)
    if not weighted:
        macro = theirs.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
        assert np.mean(areas) == pytest.approx(macro)


@pytest.mark.parametrize(("truth", "answer", "probabilities"), CASES)
def test_probability_scores_agree_with_scikit_learn(truth, answer, probabilities):
    from sklearn import metrics as theirs

    weights = np.random.default_rng(0).integers(0, 4, len(truth)).astype(float)
    options = {"labels": [0, 1, 2], "sample_weight": weights}
    (loss,) = scoring.log_losses(weights[np.newaxis], probabilities[np.arange(len(truth)), truth])
    assert loss == pytest.approx(theirs.log_loss(truth, probabilities, **options))
    (brier,) = scoring.brier_scores(weights[np.newaxis], probabilities, np.eye(3)[truth])
    expected = theirs.brier_score_loss(truth, probabilities, scale_by_half=False, **options)
    assert brier == pytest.approx(expected)


@pytest.mark.parametrize(("truth", "answer", "probabilities"), CASES)
def test_curves_agree_with_scikit_learn(truth, answer, probabilities):
    from sklearn import metrics as theirs

    is_positive, score = truth == 1, probabilities[:, 1]
    false_rate, true_rate = scoring.roc_curve(is_positive, score)
    expected_false, expected_true, _ = theirs.roc_curve(is_positive, score, drop_intermediate=False)
    np.testing.assert_allclose(false_rate, expected_false)
    np.testing.assert_allclose(true_rate, expected_true)
    recall, precision = scoring.precision_recall_curve(is_positive, score)
    expected_precision, expected_recall, _ = theirs.precision_recall_curve(is_positive, score)
    np.testing.assert_allclose(recall, expected_recall[::-1][1:])  # theirs begins at recall 0
    np.testing.assert_allclose(precision, expected_precision[::-1][1:])


def test_many_weightings_at_once_equal_one_at_a_time():
    truth, _, probabilities = _rows(80, seed=5, ties=True)
    weights = np.random.default_rng(0).integers(0, 3, (7, 80)).astype(float)
    together = scoring.ranking_scores(weights, truth == 0, probabilities[:, 0])
    for row in range(7):
        alone = scoring.ranking_scores(weights[row : row + 1], truth == 0, probabilities[:, 0])
        assert (together[0][row], together[1][row]) == (alone[0][0], alone[1][0])


def test_a_weight_is_the_same_as_repeating_the_row():
    truth, _, probabilities = _rows(50, seed=6, ties=True)
    counts = np.random.default_rng(0).integers(0, 4, 50)
    repeated = np.repeat(np.arange(50), counts)
    weighted = scoring.ranking_scores(counts[np.newaxis] * 1.0, truth == 2, probabilities[:, 2])
    plain = scoring.ranking_scores(
        np.ones((1, len(repeated))), truth[repeated] == 2, probabilities[repeated, 2]
    )
    np.testing.assert_allclose(weighted, plain)


def test_scores_of_one_value_rank_like_a_coin():
    is_positive = np.array([True, False, True, False, False])
    (area,), (precision,) = scoring.ranking_scores(np.ones((1, 5)), is_positive, np.full(5, 0.3))
    assert area == 0.5
    assert precision == pytest.approx(2 / 5)


def test_without_a_positive_or_a_negative_there_is_no_area():
    score = np.array([0.1, 0.9])
    for answer in scoring.ranking_scores(np.ones((1, 2)), np.array([False, False]), score):
        assert np.isnan(answer).all()
    area, precision = scoring.ranking_scores(np.ones((1, 2)), np.array([True, True]), score)
    assert np.isnan(area).all()
    assert precision[0] == 1


def test_calibration_error_of_a_worked_example():
    # Two bins of five: confident at 0.55 on average with 3 of 5 right, 0.9 with 4 of 5.
    confidence = np.array([0.45, 0.5, 0.55, 0.6, 0.65, 0.8, 0.85, 0.9, 0.95, 1.0])
    is_right = np.array([1, 0, 1, 0, 1, 1, 1, 1, 0, 1], dtype=bool)
    bin_of = scoring.calibration_bin_of(confidence, n_bins=2)
    assert bin_of.tolist() == [0] * 5 + [1] * 5
    (error,) = scoring.calibration_errors(np.ones((1, 10)), confidence, is_right, bin_of)
    assert error == pytest.approx(0.5 * abs(0.55 - 0.6) + 0.5 * abs(0.9 - 0.8))


def test_equal_confidences_share_a_calibration_bin():
    confidence = np.array([0.5, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.95])
    bin_of = scoring.calibration_bin_of(confidence, n_bins=4)
    assert len(set(bin_of[1:7].tolist())) == 1


probability = st.floats(0.001, 0.999)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.booleans(), st.integers(0, 40)), min_size=2, max_size=60),
    seed=st.integers(0, 2**32 - 1),
)
def test_ranking_is_the_same_under_monotone_maps_and_any_order_of_rows(rows, seed):
    is_positive = np.array([positive for positive, _ in rows])
    score = np.array([level for _, level in rows]) / 40
    weights = np.ones((1, len(rows)))
    before = scoring.ranking_scores(weights, is_positive, score)
    np.testing.assert_array_equal(
        before, scoring.ranking_scores(weights, is_positive, np.exp(3 * score) - 7)
    )
    order = np.random.default_rng(seed).permutation(len(rows))
    np.testing.assert_allclose(
        before, scoring.ranking_scores(weights, is_positive[order], score[order])
    )
    flipped = scoring.ranking_scores(weights, ~is_positive, -score)[0]
    np.testing.assert_allclose(flipped, before[0])


@settings(max_examples=60, deadline=None)
@given(
    confidence=st.lists(probability, min_size=1, max_size=80),
    seed=st.integers(0, 2**32 - 1),
)
def test_calibration_error_is_a_share_and_does_not_depend_on_the_order_of_rows(confidence, seed):
    rng = np.random.default_rng(seed)
    values = np.array(confidence)
    is_right = rng.random(len(values)) < values
    order = rng.permutation(len(values))

    def error(values, is_right):
        bin_of = scoring.calibration_bin_of(values)
        return scoring.calibration_errors(np.ones((1, len(values))), values, is_right, bin_of)[0]

    assert 0 <= error(values, is_right) <= 1
    assert error(values[order], is_right[order]) == pytest.approx(error(values, is_right))


def test_risk_and_coverage_of_a_worked_example():
    score = np.array([0.9, 0.8, 0.8, 0.5])
    is_wrong = np.array([False, True, False, True])
    answered, error = scoring.risk_coverage_curve(score, is_wrong)
    assert answered.tolist() == [0.25, 0.75, 1.0]  # equal scores are answered together
    assert error.tolist() == pytest.approx([0, 1 / 3, 1 / 2])
    area = scoring.risk_coverage_areas(np.ones((1, 4)), score, is_wrong)
    assert area.tolist() == pytest.approx([(0 + 1 / 3 + 1 / 3 + 1 / 2) / 4])


def test_the_area_below_risk_and_coverage_is_the_mean_risk_of_geifman(rng):
    score, is_wrong = rng.permutation(200) / 200, rng.random(200) < 0.3
    ranked = is_wrong[np.argsort(-score)]
    expected = np.mean([ranked[: k + 1].mean() for k in range(200)])
    weights = np.vstack([np.ones(200), rng.integers(0, 4, 200)])
    found = scoring.risk_coverage_areas(weights, score, is_wrong)
    assert found[0] == pytest.approx(expected)
    repeated = np.repeat(np.arange(200), weights[1].astype(int))
    once = scoring.risk_coverage_areas(
        np.ones((1, len(repeated))), score[repeated], is_wrong[repeated]
    )
    assert found[1] == pytest.approx(once[0])


def test_half_and_half_gives_either_kind_the_same_weight_and_nan_where_one_is_missing():
    is_in_scope = np.array([True, True, False])
    found = scoring.half_and_half(np.array([[1.0, 1, 1], [1, 0, 4], [1, 1, 0]]), is_in_scope)
    assert found[:2].tolist() == [[1, 1, 2], [1, 0, 1]]
    assert np.isnan(found[2].sum())


def test_weighted_bins_hold_equal_mass_and_equal_weights_change_nothing(rng):
    confidence, weights = rng.random(1000), rng.integers(1, 9, 1000).astype(float)
    bin_of = scoring.calibration_bin_of(confidence, weights=weights)
    mass = np.bincount(bin_of, weights) / weights.sum()
    assert len(mass) == scoring.CALIBRATION_BINS
    assert mass == pytest.approx(np.full(10, 0.1), abs=0.005)
    plain = scoring.calibration_bin_of(confidence)
    assert np.bincount(plain).tolist() == pytest.approx([100] * 10, abs=1)
    assert (scoring.calibration_bin_of(confidence, weights=np.ones(1000)) == plain).mean() > 0.98
