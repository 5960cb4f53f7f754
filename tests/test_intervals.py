from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionlens.intervals import bootstrap, proportion


def _mean(values):
    return lambda weights: {"mean": weights @ values / weights.sum(axis=1)}


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # The classifier paper's 90 of 96.
        (90, 96, 0.870, 0.971),
        (0, 10, 0.0000, 0.2775),
        (10, 10, 0.7225, 1.0000),
    ],
)
def test_wilson_agrees_with_published_examples(successes, n, low, high):
    metric = proportion(successes, n)
    digits = 3 if n == 96 else 4
    assert metric.value == successes / n
    assert (round(metric.low, digits), round(metric.high, digits)) == (low, high)
    assert metric.n == n


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_value_stays_within_0_and_1_and_mirrors(case):
    successes, n = case
    metric, mirrored = proportion(successes, n), proportion(n - successes, n)
    assert 0 <= metric.low <= metric.value <= metric.high <= 1
    assert metric.low < metric.high
    assert mirrored.low == pytest.approx(1 - metric.high, abs=1e-12)


def test_a_share_of_nothing_has_no_value_and_says_why():
    metric = proportion(0, 0)
    assert metric.value is metric.low is metric.high is None
    assert metric.note


def test_bootstrap_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = bootstrap(_mean(values), np.arange(400), 4000, np.random.default_rng(1))["mean"]
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says_and_by_group():
    rng = np.random.default_rng(7)
    by_group = by_row = 0
    n_trials, n_groups, n_images = 200, 60, 5
    for _ in range(n_trials):
        values = np.repeat(rng.normal(0, 1, n_groups), n_images) + rng.normal(0, 0.3, 300)
        for grouped in (True, False):
            group_of = np.repeat(np.arange(n_groups), n_images) if grouped else np.arange(300)
            found = bootstrap(_mean(values), group_of, 200, rng)["mean"]
            covers = found.low <= 0 <= found.high
            by_group += grouped and covers
            by_row += (not grouped) and covers
    # 95 % less a little for 60 groups and 200 draws; 3 standard errors of 200 trials are 5 %.
    assert 0.88 <= by_group / n_trials <= 0.99
    assert by_row / n_trials < 0.75  # what taking images of one lesion for independent costs


def test_the_same_generator_state_gives_the_same_interval_whatever_the_batch(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    arguments = (_mean(values), np.arange(50) // 2, 300)
    whole = bootstrap(*arguments, np.random.default_rng(3))["mean"]
    monkeypatch.setattr("lesionlens.intervals._BATCH_CELLS", 1000)
    assert bootstrap(*arguments, np.random.default_rng(3))["mean"] == whole
    assert bootstrap(*arguments, np.random.default_rng(4))["mean"] != whole


def test_one_group_or_no_variation_gives_a_value_without_an_interval_and_says_why():
    values = np.array([1.0, 2.0, 3.0])
    alone = bootstrap(_mean(values), np.zeros(3, dtype=int), 200, np.random.default_rng(0))["mean"]
    same = bootstrap(_mean(np.ones(9)), np.arange(9), 200, np.random.default_rng(0))["mean"]
    for metric, value in ((alone, 2.0), (same, 1.0)):
        assert metric.value == value
        assert metric.low is metric.high is None
        assert metric.note
