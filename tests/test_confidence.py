from __future__ import annotations

import numpy as np
import pytest

from lesionlens.confidence import (
    NEVER,
    choose_confident_at,
    combine,
    fit_temperature,
    judge,
    softmax,
    split_scope,
)
from lesionlens.errors import DataError
from lesionlens.labels import IN_SCOPE, OUT_OF_SCOPE, Label

NINE = (*IN_SCOPE, *OUT_OF_SCOPE)
BCC, SCC, NORMAL, NV = Label.BCC, Label.SCC, Label.NORMAL, Label.NV


def test_softmax_agrees_with_a_worked_example() -> None:
    # exp(1), exp(2), exp(3) over their sum, 30.1929
    expected = [0.09003057, 0.24472847, 0.66524096]
    assert softmax(np.array([1.0, 2.0, 3.0])) == pytest.approx(expected, abs=1e-8)


def test_softmax_stands_huge_logits() -> None:
    assert softmax(np.array([[1e4, 0.0], [-1e4, 0.0]])).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_views_are_averaged_as_logits_then_tempered() -> None:
    views = np.array([[4.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert combine(views, 2.0) == pytest.approx(softmax(np.array([1.0, 0.5, 0.0])))


def test_many_images_combine_as_one_by_one(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(5, 10, 9))
    assert combine(logits, 1.3) == pytest.approx(np.stack([combine(x, 1.3) for x in logits]))


@pytest.mark.parametrize("truth", [0.4, 1.0, 3.0])
def test_the_temperature_that_made_the_data_is_found_again(
    rng: np.random.Generator, truth: float
) -> None:
    logits = rng.normal(0, 2.5 * truth, (20_000, 4))
    draws = rng.random((len(logits), 1))
    labels = (softmax(logits / truth).cumsum(axis=1) < draws).sum(axis=1).clip(max=3)
    assert fit_temperature(logits, labels) == pytest.approx(truth, rel=0.05)


def test_the_temperature_has_the_least_log_loss_of_a_fine_grid(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 3, (300, 9))
    labels = np.where(rng.random(300) < 0.7, logits.argmax(axis=1), rng.integers(0, 9, 300))

    def log_loss(temperature: float) -> float:
        return float(-np.log(softmax(logits / temperature)[np.arange(300), labels]).mean())

    found = fit_temperature(logits, labels)
    assert log_loss(found) <= min(log_loss(t) for t in np.geomspace(0.05, 20, 2000)) + 1e-9


def test_data_without_a_best_temperature_give_a_bound() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 2.0]])
    assert fit_temperature(logits, np.array([0, 1])) == 0.05
    assert fit_temperature(logits, np.array([1, 0])) == 20.0


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "needs logits"),
        (np.zeros((2, 3)), np.zeros(3, int), "needs logits"),
        (np.full((2, 3), np.nan), np.zeros(2, int), "finite"),
        (np.zeros((2, 3)), np.array([0, 3]), "columns 0..2"),
    ],
)
def test_a_temperature_of_impossible_data_is_refused(
    logits: np.ndarray, labels: np.ndarray, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        fit_temperature(logits, labels)


def test_scope_is_what_the_three_share_and_the_answer_is_given_that() -> None:
    joint = np.array([0.3, 0.1, 0.1, 0.5, 0, 0, 0, 0, 0])
    conditional, scope = split_scope(joint, NINE)
    assert scope == pytest.approx(0.5)
    assert conditional == pytest.approx({BCC: 0.6, SCC: 0.2, NORMAL: 0.2})


def test_labels_may_stand_in_any_order() -> None:
    conditional, scope = split_scope(np.array([0.5, 0.1, 0.1, 0.3]), (NV, NORMAL, SCC, BCC))
    assert conditional == pytest.approx({BCC: 0.6, SCC: 0.2, NORMAL: 0.2})
    assert scope == pytest.approx(0.5)


def test_a_model_of_three_outputs_does_not_claim_to_know_the_scope() -> None:
    conditional, scope = split_scope(np.array([0.7, 0.2, 0.1]), IN_SCOPE)
    assert scope is None
    assert sum(conditional.values()) == pytest.approx(1)


def test_an_image_that_is_surely_something_else_still_gives_finite_numbers() -> None:
    joint = np.array([0.0, 0.0, 0.0, 1.0, 0, 0, 0, 0, 0])
    conditional, scope = split_scope(joint, NINE)
    assert scope == 0.0
    assert conditional == pytest.approx(dict.fromkeys(IN_SCOPE, 1 / 3))


def test_a_model_without_one_of_the_three_is_refused() -> None:
    with pytest.raises(DataError, match="no output for SCC"):
        split_scope(np.array([0.5, 0.5]), (BCC, NORMAL))


ALONE = np.array([[True, False, False]])


def test_confident_needs_both_the_class_and_the_scope() -> None:
    sure = np.array([[0.9, 0.05, 0.03, 0.02]])
    torn = np.array([[0.5, 0.48, 0.01, 0.01]])
    elsewhere = np.array([[0.09, 0.005, 0.005, 0.9]])  # BCC 90 % given it is one of the three
    verdicts = [judge(x, (*IN_SCOPE, NV), ALONE, ALONE, 0.8)[0] for x in (sure, torn, elsewhere)]
    assert verdicts == ["confident", "uncertain", "uncertain"]


@pytest.mark.parametrize(
    ("members", "verdict"),
    [
        ((True, False, False), "confident"),
        ((True, True, False), "uncertain"),  # it may be two things
        ((False, True, False), "uncertain"),  # another one is what it may be
        ((False, False, False), "confident"),  # among the lowest tenth of a class that is easy
    ],
)
def test_the_set_has_its_say_in_the_verdict(members: tuple[bool, ...], verdict: str) -> None:
    joint = np.array([[0.9, 0.05, 0.05]])
    assert judge(joint, IN_SCOPE, np.array([members]), np.array([members]), 0.8) == [verdict]


def test_an_empty_set_and_a_low_probability_are_out_of_scope() -> None:
    joint, empty = np.array([[0.4, 0.1, 0.1, 0.4]]), np.zeros((1, 3), bool)
    assert judge(joint, (*IN_SCOPE, NV), empty, empty, 0.8) == ["out_of_scope"]
    assert judge(joint, (*IN_SCOPE, NV), empty, ALONE, 0.8) == ["uncertain"]  # not far enough off


def test_the_threshold_itself_is_confident() -> None:
    assert judge(np.array([[0.8, 0.1, 0.1]]), IN_SCOPE, ALONE, ALONE, 0.8) == ["confident"]


def _rows(*tops: float) -> np.ndarray:
    """Rows of (BCC, SCC, Normal, NV) whose top class is BCC with these probabilities."""
    return np.array([[top, 0.0, 0.0, 1 - top] for top in tops])


def _choose(joint: np.ndarray, truth: list[Label], precision: float = 0.9) -> float:
    sets = np.repeat(ALONE, len(joint), axis=0)
    return choose_confident_at(joint, (*IN_SCOPE, NV), truth, sets=sets, precision=precision)


def test_the_threshold_is_the_smallest_that_keeps_the_promise() -> None:
    joint = _rows(0.95, 0.9, 0.85, 0.8, 0.75, 0.7)
    truth = [BCC, BCC, BCC, SCC, BCC, SCC]  # shares right so far: 1, 1, 1, .75, .8, .67
    assert _choose(joint, truth, 0.9) == 0.85
    assert _choose(joint, truth, 0.8) == 0.75
    assert _choose(joint, truth, 0.5) == 0.7


def test_a_confident_answer_about_a_lesion_out_of_scope_counts_as_wrong() -> None:
    joint = _rows(0.9, 0.8)
    assert _choose(joint, [BCC, NV]) == 0.9
    assert _choose(joint, [NV, BCC]) == NEVER


def test_no_answer_is_confident_that_is_not_likelier_than_all_else_together() -> None:
    assert _choose(_rows(0.9, 0.6, 0.45), [BCC, BCC, BCC]) == 0.6
    assert _choose(_rows(0.45), [BCC]) == NEVER


def test_equal_probabilities_stand_or_fall_together() -> None:
    assert _choose(_rows(0.9, 0.9, 0.9), [BCC, SCC, SCC]) == NEVER


def test_answers_with_a_rival_have_no_say_in_the_threshold() -> None:
    joint, truth = _rows(0.9, 0.8, 0.7), [BCC, SCC, BCC]
    sets = np.array([[True, False, False], [True, True, False], [True, False, False]])
    assert choose_confident_at(joint, (*IN_SCOPE, NV), truth, sets=sets) == 0.7


def test_the_promise_holds_on_the_data_it_was_chosen_on(rng: np.random.Generator) -> None:
    joint = softmax(rng.normal(0, 2, (2000, 9)))
    truth = [NINE[rng.choice(9, p=row)] for row in joint]
    sets = joint[:, :3] >= 0.3
    threshold = choose_confident_at(joint, NINE, truth, sets=sets)
    verdicts = judge(joint, NINE, sets, sets, threshold)
    right = [
        NINE[int(row[:3].argmax())] == true
        for row, true, verdict in zip(joint, truth, verdicts, strict=True)
        if verdict == "confident"
    ]
    assert len(right) > 50
    assert np.mean(right) >= 0.9


def test_never_is_never_reached() -> None:
    assert judge(np.array([[1.0, 0.0, 0.0]]), IN_SCOPE, ALONE, ALONE, NEVER) == ["uncertain"]
