"""Prediction sets hold what they promise, for any number of held-out images, class by class."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlens.conformal import ALWAYS, ConformalSets, fit_conformal
from lesionlens.errors import DataError
from lesionlens.labels import IN_SCOPE, Label

BCC, SCC, NORMAL = IN_SCOPE
#: Columns of the made-up classifier: the three, and all else.
N_OUTPUTS = 4


def same_for_all(*scores: float) -> ConformalSets:
    return ConformalSets(dict.fromkeys(IN_SCOPE, scores))


def draw(
    counts: tuple[int, ...], rng: np.random.Generator, *, sharpness: float = 1.0
) -> tuple[np.ndarray, list[Label]]:
    """Return joint probabilities (N, 4) of a middling classifier, and the truths.

    The first class is easy, the second hard; ``counts`` has a fourth number for other lesions.
    """
    truth = np.repeat(np.arange(N_OUTPUTS), counts)
    logits = rng.normal(0, 1.5, (len(truth), N_OUTPUTS))
    logits[np.arange(len(truth)), truth] += np.array([4.0, 1.0, 2.0, 2.0])[truth]
    joint = np.exp(sharpness * logits)
    joint /= joint.sum(axis=1, keepdims=True)
    return joint, [(*IN_SCOPE, Label.NV)[index] for index in truth]


# ---------------------------------------------------------------- which score is the threshold


@pytest.mark.parametrize(
    ("n", "coverage", "k"),
    [
        (9, 0.9, 1),  # (1 - 0.9) * 10 is a hair below 1 in binary
        (8, 0.9, 0),
        (10, 0.9, 1),
        (19, 0.9, 2),
        (19, 0.95, 1),
        (18, 0.95, 0),
        (99, 0.9, 10),
        (99, 0.95, 5),
        (1, 0.5, 1),
        (1, 0.9, 0),
    ],
)
def test_the_threshold_is_the_score_that_a_hand_would_count_out(
    n: int, coverage: float, k: int
) -> None:
    scores = tuple((np.arange(n) + 1) / (n + 1))
    expected = scores[k - 1] if k else ALWAYS
    assert same_for_all(*scores).thresholds(coverage).tolist() == [expected] * 3


def test_rounding_never_moves_the_threshold_by_one() -> None:
    for n in (*range(1, 60), 99, 199, 202, 294, 514, 999, 5000):
        scores = np.arange(1, n + 1) / (n + 1)
        sets = same_for_all(*scores)
        for percent in range(1, 100):
            k = math.floor(Fraction(100 - percent, 100) * (n + 1))
            expected = scores[k - 1] if k else ALWAYS
            assert sets.thresholds(percent / 100)[0] == expected, (n, percent)


def test_too_few_held_out_images_leave_no_class_out() -> None:
    sets = ConformalSets({BCC: (0.9,) * 8, SCC: (0.9,) * 9, NORMAL: (0.9,)})
    members = sets.sets(np.zeros((1, 3)), 0.9)
    assert members.tolist() == [[True, False, True]]


def test_a_probability_equal_to_the_threshold_belongs_to_the_set() -> None:
    sets = same_for_all(*[0.4] * 50)
    assert sets.sets(np.array([0.4, np.nextafter(0.4, 0), 0.4]), 0.9).tolist() == [
        True,
        False,
        True,
    ]


def test_a_set_may_be_empty_and_may_hold_all_three() -> None:
    sets = same_for_all(*np.linspace(0.3, 0.9, 100))
    assert sets.sets(np.array([[0.01, 0.02, 0.03], [0.34, 0.33, 0.33]]), 0.95).tolist() == [
        [False] * 3,
        [True] * 3,
    ]


# ---------------------------------------------------------------- the guarantee


@pytest.mark.parametrize("n", [9, 12, 19, 30, 101])
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_a_new_image_keeps_its_class_as_often_as_theory_says_and_never_less(
    n: int, coverage: float, rng: np.random.Generator
) -> None:
    # Over draws of n held-out scores and a new one, without ties, it is kept with probability
    # 1 - k / (n + 1): at least the asked coverage, at most 1 / (n + 1) more.
    n_draws = 6000
    held_out, new = rng.random((n_draws, n)), rng.random(n_draws)
    kept = 0
    for scores, value in zip(held_out, new, strict=True):
        sets = ConformalSets({BCC: tuple(scores), SCC: (0.5,), NORMAL: (0.5,)})
        kept += bool(sets.sets(np.array([value, 0, 0]), coverage)[0])
    exact = 1 - math.floor(Fraction(str(1 - coverage)).limit_denominator(100) * (n + 1)) / (n + 1)
    assert coverage <= exact + 1e-12 <= coverage + 1 / (n + 1) + 1e-9
    assert kept / n_draws == pytest.approx(exact, abs=4 * math.sqrt(0.25 * 0.2 / n_draws * 4))


@pytest.mark.parametrize("coverage", [0.9, 0.95])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_each_class_is_covered_however_rare_it_is_and_however_wrong_the_probabilities(
    coverage: float, sharpness: float, rng: np.random.Generator
) -> None:
    # The hard class is a twentieth of the held-out images and most of the new ones.
    joint, truth = draw((4000, 400, 2000, 1000), rng, sharpness=sharpness)
    sets = fit_conformal(joint[:, :3], truth)
    fresh, fresh_truth = draw((2000, 4000, 2000, 0), rng, sharpness=sharpness)
    members = sets.sets(fresh[:, :3], coverage)
    for column, label in enumerate(IN_SCOPE):
        is_it = np.array([found is label for found in fresh_truth])
        assert members[is_it, column].mean() == pytest.approx(coverage, abs=0.035)


def test_one_threshold_for_all_classes_would_have_failed_the_hard_one(
    rng: np.random.Generator,
) -> None:
    # What "class-conditional" is for: without it 90 % are covered on average only.
    joint, truth = draw((4000, 400, 2000, 0), rng)
    own = np.array([IN_SCOPE.index(label) for label in truth])
    scores = np.sort(joint[np.arange(len(own)), own])
    marginal = scores[math.floor(0.1 * (len(scores) + 1)) - 1]
    fresh, _ = draw((0, 4000, 0, 0), rng)
    assert (fresh[:, 1] >= marginal).mean() < 0.75
    sets = fit_conformal(joint[:, :3], truth)
    assert sets.sets(fresh[:, :3], 0.9)[:, 1].mean() > 0.86


def test_how_common_a_class_is_does_not_touch_another_ones_threshold(
    rng: np.random.Generator,
) -> None:
    joint, truth = draw((50, 60, 70, 80), rng)
    before = fit_conformal(joint[:, :3], truth).thresholds(0.9)
    more, more_truth = draw((900, 0, 0, 500), rng)
    after = fit_conformal(
        np.concatenate([joint[:, :3], more[:, :3]]), [*truth, *more_truth]
    ).thresholds(0.9)
    assert after[1:].tolist() == before[1:].tolist()
    assert after[0] != before[0]


# ---------------------------------------------------------------- against another's code


# MAPIE asks for more than 1 / (1 - coverage) held-out images; with fewer ours leave no class out.
@pytest.mark.filterwarnings("ignore:WARNING. your conformalization dataset has less labels")
@pytest.mark.parametrize(
    ("counts", "coverage"),
    [
        ((6, 7, 11), 0.8),
        ((12, 15, 19), 0.9),
        ((22, 29, 40), 0.95),
        *(((514, 202, 294), coverage) for coverage in (0.8, 0.9, 0.95)),
    ],
)
def test_the_sets_are_those_of_mapie(
    counts: tuple[int, int, int], coverage: float, rng: np.random.Generator
) -> None:
    """MAPIE's LAC sets, one conformalizer per class: that is the class-conditional method."""
    classification = pytest.importorskip("mapie.classification", reason="needs the extra test")
    joint, truth = draw((*counts, 20), rng)
    fresh, _ = draw((200, 200, 200, 200), rng)
    ours = fit_conformal(joint[:, :3], truth).sets(fresh[:, :3], coverage)
    theirs = np.zeros_like(ours)
    for column, label in enumerate(IN_SCOPE):
        rows = np.array([found is label for found in truth])
        model = classification.SplitConformalClassifier(
            as_it_is(), confidence_level=coverage, conformity_score="lac", prefit=True
        )
        model.conformalize(joint[rows], np.full(rows.sum(), column))
        theirs[:, column] = model.predict_set(fresh)[1][:, column, 0]
    assert ours.tolist() == theirs.tolist()
    assert 0.1 < ours.mean() < 0.9  # not trivially alike


def as_it_is() -> object:
    """Return a fitted scikit-learn classifier whose probabilities are its input."""
    from sklearn.base import BaseEstimator, ClassifierMixin

    class AsItIs(ClassifierMixin, BaseEstimator):
        def fit(self, x: np.ndarray, y: np.ndarray) -> AsItIs:
            self.classes_ = np.arange(N_OUTPUTS)
            self.n_features_in_ = N_OUTPUTS
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return np.asarray(x)

        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.asarray(x).argmax(axis=1)

    return AsItIs().fit(np.zeros((1, N_OUTPUTS)), np.zeros(1))


# ---------------------------------------------------------------- laws

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=60)
# Six decimals, as they are stored: ties are common.
ROUNDED = st.lists(
    st.integers(0, 20).map(lambda number: number / 20), min_size=1, max_size=60
)  # fmt: skip


@given(PROBABILITIES | ROUNDED, st.lists(st.floats(0, 1), min_size=3, max_size=3))
@settings(max_examples=200, deadline=None)
def test_asking_for_more_coverage_never_takes_a_class_out(
    scores: list[float], values: list[float]
) -> None:
    sets = same_for_all(*scores)
    members = [sets.sets(np.array(values), coverage) for coverage in (0.5, 0.8, 0.9, 0.95, 0.99)]
    for less, more in itertools.pairwise(members):
        assert (less <= more).all()


@given(PROBABILITIES | ROUNDED, st.lists(st.floats(0, 1), min_size=3, max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_class_is_in_the_set_exactly_where_its_p_value_exceeds_what_may_be_missed(
    scores: list[float], values: list[float]
) -> None:
    sets = same_for_all(*scores)
    p = sets.p_values(np.array(values))
    assert ((p > 0) & (p <= 1)).all()
    for coverage in (0.5, 0.8, 0.9, 0.95):
        members = sets.sets(np.array(values), coverage)
        assert members.tolist() == (p > 1 - coverage + 1e-9).tolist()


@given(st.permutations([0.1, 0.2, 0.2, 0.5, 0.9, 0.95, 1.0, 0.0, 0.3, 0.4]))
def test_the_order_of_the_held_out_images_does_not_matter(scores: list[float]) -> None:
    sets = same_for_all(*scores)
    assert sets.scores[SCC] == tuple(sorted(scores))
    assert sets.thresholds(0.8).tolist() == [0.1] * 3


def test_p_values_of_new_images_are_spread_evenly(rng: np.random.Generator) -> None:
    sets = same_for_all(*rng.beta(3, 1, 999))
    p = sets.p_values(rng.beta(3, 1, (20_000, 3)))
    for level in (0.05, 0.1, 0.5, 0.9):
        assert (p <= level).mean() == pytest.approx(level, abs=0.045)


def test_the_worked_p_values() -> None:
    sets = ConformalSets({BCC: (0.2, 0.4, 0.4, 0.8), SCC: (0.5,), NORMAL: (0.1, 0.9)})
    found = sets.p_values(np.array([[0.4, 0.6, 0.5], [0.1, 0.4, 0.0], [1.0, 0.5, 1.0]]))
    assert found == pytest.approx(np.array([[4 / 5, 1, 2 / 3], [1 / 5, 1 / 2, 1 / 3], [1, 1, 1]]))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (5, 3), (2, 4, 3), (0, 3)])
def test_any_number_of_images_may_be_asked_about(shape: tuple[int, ...]) -> None:
    sets = same_for_all(0.2, 0.7)
    values = np.full(shape, 0.5)
    assert sets.sets(values, 0.5).shape == shape
    assert sets.sets(values, 0.5).dtype == bool
    assert sets.p_values(values).shape == shape


# ---------------------------------------------------------------- fitting, and bad input


def test_the_scores_are_the_probabilities_of_the_truth_and_nothing_of_other_lesions() -> None:
    joint = np.array([[0.7, 0.1, 0.1], [0.2, 0.3, 0.1], [0.1, 0.1, 0.8], [0.9, 0.0, 0.0]])
    sets = fit_conformal(joint, [BCC, SCC, NORMAL, Label.MEL])
    assert dict(sets.scores) == {BCC: (0.7,), SCC: (0.3,), NORMAL: (0.8,)}
    more = fit_conformal(np.concatenate([joint, joint[:1]]), [BCC, SCC, NORMAL, Label.MEL, BCC])
    assert more.scores[BCC] == (0.7, 0.7)


def test_one_image_of_each_class_is_enough_to_say_nothing() -> None:
    sets = fit_conformal(np.eye(3), list(IN_SCOPE))
    assert sets.sets(np.array([1.0, 0.0, 0.0]), 0.9).all()


@pytest.mark.parametrize("missing", IN_SCOPE)
def test_a_class_without_held_out_images_is_named(missing: Label) -> None:
    with pytest.raises(DataError, match=f"none for {missing}"):
        ConformalSets({label: (0.5,) for label in IN_SCOPE if label is not missing})
    with pytest.raises(DataError, match=f"none for {missing}"):
        fit_conformal(
            np.eye(3), [label if label is not missing else Label.NV for label in IN_SCOPE]
        )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.001, 1.001])
def test_a_score_that_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match=r"SCC has some that are not within 0\.\.1"):
        ConformalSets({BCC: (0.5,), SCC: (0.5, bad), NORMAL: (0.5,)})


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, 90, math.nan])
def test_a_coverage_that_no_set_can_have_is_refused(bad: float) -> None:
    sets = same_for_all(0.5)
    for ask in (sets.thresholds, lambda coverage: sets.sets(np.zeros(3), coverage)):
        with pytest.raises(DataError, match=r"above 0 and below 1, such as 0\.9"):
            ask(bad)


@pytest.mark.parametrize("shape", [(2, 3), (3, 4), (3,), (0, 3)])
def test_probabilities_that_do_not_go_with_the_labels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"need probabilities \(N, 3\) and N labels, got .* and 3"):
        fit_conformal(np.zeros(shape), list(IN_SCOPE))


def test_what_is_no_number_has_no_set() -> None:
    scores = same_for_all(0.2, 0.5, 0.8)
    for ask in (scores.p_values, lambda joint: scores.sets(joint, 0.5)):
        with pytest.raises(DataError, match="not numbers"):
            ask(np.array([0.5, np.nan, 0.1]))
