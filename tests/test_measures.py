"""Scores of several conditions are those of the evaluation, and their differences are paired."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lesionlens.evidence import measures
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import evaluate, paired_differences
from lesionlens.prediction_table import PredictionTable
from synthetic_predictions import make_table


def test_scores_and_differences_are_those_of_the_evaluation() -> None:
    one = closed()
    two = disturbed(one)
    found = measures.compare(
        {"one": measures.closed_score(one), "two": measures.closed_score(two)},
        one.groups,
        n_bootstrap=300,
        seed=0,
    )
    for name, table in (("one", one), ("two", two)):
        evaluation = evaluate(table, n_bootstrap=300)
        for key in ("balanced_accuracy", "macro_f1", "expected_calibration_error"):
            assert found[name][key].value == pytest.approx(evaluation.overall[key].value)
        accuracy = evaluation.overall["accuracy"].value
        assert found[name]["accuracy"].value == pytest.approx(accuracy)
        for label in IN_SCOPE:
            recall = evaluation.by_class[label]["recall"].value
            assert found[name][f"recall_{label}"].value == pytest.approx(recall)
    differences = paired_differences(evaluate(one, n_bootstrap=300), evaluate(two, n_bootstrap=300))
    assert differences is not None
    for key in ("accuracy", "balanced_accuracy", "macro_f1"):
        ours, theirs = found["two"][f"{key}_difference"], differences[key]
        assert ours.value == pytest.approx(theirs.value)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_the_same_answers_do_not_differ() -> None:
    score = measures.closed_score(closed())
    found = measures.compare({"a": score, "b": score}, closed().groups, n_bootstrap=200, seed=0)
    assert "accuracy_difference" not in found["a"]
    difference = found["b"]["accuracy_difference"]
    assert difference.value == 0
    assert difference.low is None  # no draw changes it: that is not certainty
    assert found["a"]["accuracy"] == found["b"]["accuracy"]


def test_two_classes_are_told_apart_whatever_else_is_likely() -> None:
    joint = np.array([[0.1, 0.05, 0.85], [0.02, 0.03, 0.95], [0.2, 0.1, 0.7], [0.3, 0.6, 0.1]])
    table = PredictionTable(
        image_ids=tuple("abcd"),
        groups=tuple("abcd"),
        sources=("",) * 4,
        y_true=(Label.BCC, Label.SCC, Label.SCC, Label.NORMAL),
        labels=IN_SCOPE,
        joint=joint,
    )
    found = measures.pair_score(table, Label.BCC, Label.SCC)(np.ones((1, 4)))
    assert found["pair_balanced_accuracy"][0] == pytest.approx(0.75)
    assert found["pair_roc_auc"][0] == pytest.approx(0.75)  # a: above b, level with c


def test_an_answer_that_does_not_look_is_at_chance() -> None:
    table = closed()
    blind = PredictionTable(
        table.image_ids, table.groups, table.sources, table.y_true, IN_SCOPE,
        np.tile([0.2, 0.1, 0.7], (len(table), 1)),
    )  # fmt: skip
    weights = np.ones((1, len(table)))
    assert measures.closed_score(blind)(weights)["balanced_accuracy"][0] == pytest.approx(1 / 3)
    pair = measures.pair_score(blind, Label.BCC, Label.SCC)(weights)
    assert pair["pair_balanced_accuracy"][0] == pytest.approx(0.5)
    assert pair["pair_roc_auc"][0] == pytest.approx(0.5)


def test_few_lesions_say_nothing_however_many_images_there_are() -> None:
    holds = np.ones(50, bool)
    few = measures.share(holds, [f"lesion{k % 9}" for k in range(50)])
    assert few.value is None
    assert few.n == 50
    assert "fewer than 10 lesions" in few.note
    enough = measures.share(holds, [f"lesion{k % 10}" for k in range(50)])
    assert enough.value == 1
    assert measures.share(np.empty(0, bool), []).note == "no such image"


def closed() -> PredictionTable:
    """Answers among BCC, SCC and Normal."""
    table = make_table(np.random.default_rng(1))
    return table.subset(table.is_in_scope)


def disturbed(table: PredictionTable) -> PredictionTable:
    """The same images with noise on their answers."""
    noise = np.random.default_rng(2).normal(0, 1.5, table.joint.shape)
    joint = table.joint * np.exp(noise)
    joint /= joint.sum(axis=1, keepdims=True)
    return dataclasses.replace(table, joint=joint)
