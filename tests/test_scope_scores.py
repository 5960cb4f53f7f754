"""The scope scores that benchmarks/scope.py compares, against brute force and scikit-learn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lesionlens.confidence import softmax
from lesionlens.conformal import ConformalSets
from lesionlens.labels import IN_SCOPE, Label

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
scores = pytest.importorskip("scope_scores")
tables = pytest.importorskip("scope_tables")

LABELS = (*IN_SCOPE, Label.NV, Label.MEL)
N_FEATURES = 12


@pytest.fixture
def known(rng: np.random.Generator) -> scores.Answers:
    """40 images of each class around a mean of its own, with logits that know it roughly."""
    labels = np.array([label for label in LABELS for _ in range(40)], dtype=object)
    means = rng.normal(0, 3, (len(LABELS), N_FEATURES)) + 8
    index = np.arange(len(labels)) // 40
    features = means[index] + rng.normal(0, 1, (len(labels), N_FEATURES))
    logits = rng.normal(0, 1, (len(labels), len(LABELS)))
    logits[np.arange(len(labels)), index] += 2
    return scores.Answers(logits, features.astype(np.float32), labels)


def test_explicit_mass_is_the_log_odds_of_the_joint_probabilities(known: scores.Answers) -> None:
    joint = softmax(known.logits)
    inside = joint[:, :3].sum(axis=1)
    expected = np.log(inside / (1 - inside))
    np.testing.assert_allclose(scores.explicit(known.logits, known.features), expected)


def test_mahalanobis_is_the_distance_under_the_shrunk_covariance(known: scores.Answers) -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    inside = known[np.flatnonzero(known.is_in_scope)]
    means = [inside.features[inside.labels == label].mean(axis=0) for label in IN_SCOPE]
    centred = np.concatenate(
        [inside.features[inside.labels == k] - m for k, m in zip(IN_SCOPE, means, strict=True)]
    )
    # The spread is shrunk in units of each feature's own deviation.
    scale = centred.std(axis=0)
    shrunk, _ = covariance.ledoit_wolf(centred / scale, assume_centered=True)
    inverse = np.linalg.inv(shrunk)
    expected = []
    for row in known.features:
        differences = [(row - mean) / scale for mean in means]
        expected.append(-np.sqrt(min(d @ inverse @ d for d in differences)))
    found = scores.Mahalanobis.fit(known)(known.logits, known.features)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_as_many_directions_as_features_change_no_distance_much(known: scores.Answers) -> None:
    whole = scores.Mahalanobis.fit(known)(known.logits, known.features)
    turned = scores.Mahalanobis.fit(known, N_FEATURES)(known.logits, known.features)
    np.testing.assert_allclose(turned, whole, rtol=1e-3)


def test_neighbours_are_those_of_scikit_learn(known: scores.Answers) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    unit = known.features / np.linalg.norm(known.features, axis=1, keepdims=True)
    search = neighbors.NearestNeighbors(n_neighbors=scores.N_NEIGHBOURS)
    distances, _ = search.fit(unit[known.is_in_scope]).kneighbors(unit)
    found = scores.Neighbours.fit(known)(known.logits, known.features)
    np.testing.assert_allclose(-found, distances[:, -1] ** 2, atol=1e-5)


def test_a_small_bank_holds_so_many_of_each_class(known: scores.Answers) -> None:
    small = scores.Neighbours.fit(known, 8)
    assert small.bank.shape == (3 * 8, N_FEATURES)
    assert scores.n_bytes(small) == 3 * 8 * N_FEATURES * 2


def test_a_largest_p_value_under_the_level_is_an_empty_set(known: scores.Answers) -> None:
    score = scores.ConformalP.fit(known)
    joint = softmax(known.logits)
    sets = ConformalSets(
        {
            label: tuple(joint[known.labels == label, column])
            for column, label in enumerate(IN_SCOPE)
        }
    )
    for coverage in (0.8, 0.9, 0.95):
        is_empty = ~sets.sets(joint[:, :3], coverage).any(axis=1)
        largest = sets.p_values(joint[:, :3]).max(axis=1)
        assert is_empty.any()
        # Ties are broken by less than a step of the p-values.
        found = score(known.logits, known.features)
        assert (np.floor(found * 41 + 1e-9) == np.round(largest * 41)).all()
        np.testing.assert_array_equal(is_empty, np.floor(found * 41 + 1e-9) / 41 <= 1 - coverage)


def test_a_gate_puts_what_is_far_off_below_all_else(known: scores.Answers) -> None:
    gated = scores.Gated.fit(scores.Neighbours.fit(known), known)
    far = -known.features[:5]
    sure = np.tile([9.0, 0, 0, 0, 0], (5, 1))  # the outputs are sure that it is a carcinoma
    near = gated(known.logits, known.features)
    kept = near[known.is_in_scope]
    assert gated(sure, far).max() < kept[kept > -500].min()
    lost = np.mean(kept < -500)
    assert lost <= scores.GATE_LOSES
    is_near = near > -500
    np.testing.assert_allclose(near[is_near], scores.explicit(known.logits, 0)[is_near])


def test_a_combination_is_no_worse_than_its_parts_where_both_tell(known: scores.Answers) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    nearness = scores.Neighbours.fit(known)
    both = scores.Combination.fit((scores.explicit, nearness), known)

    def area(score: scores.Score) -> float:
        return metrics.roc_auc_score(known.is_in_scope, score(known.logits, known.features))

    assert area(both) >= max(area(scores.explicit), area(nearness)) - 0.01
    assert scores.n_bytes(both) > scores.n_bytes(nearness)


def test_rejection_is_counted_at_the_score_that_keeps_enough_cancers(
    rng: np.random.Generator,
) -> None:
    score = np.round(rng.normal(size=300), 1)  # with ties
    cancers, outside = np.arange(100), np.arange(120, 300)
    weights = rng.integers(0, 3, (20, 300)).astype(float)
    found = tables.rejection(weights, score, cancers, outside)
    for sample, share in zip(weights, found, strict=True):
        kept = {
            limit: sample[cancers][score[cancers] >= limit].sum() / sample[cancers].sum()
            for limit in np.unique(score[cancers])
        }
        limit = max(limit for limit, part in kept.items() if part >= 0.95)
        below = sample[outside][score[outside] < limit].sum()
        assert share == pytest.approx(below / sample[outside].sum())
