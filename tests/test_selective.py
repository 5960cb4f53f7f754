from __future__ import annotations

import json

import numpy as np
import pytest

from lesionlens.labels import IN_SCOPE, Label
from lesionlens.selective import evaluate_selective
from synthetic_predictions import judge_simply, make_table


@pytest.fixture(scope="module")
def table():
    return judge_simply(make_table(np.random.default_rng(12)))


@pytest.fixture(scope="module")
def found(table):
    return evaluate_selective(table, 200, np.random.default_rng(0))


def test_the_curves_end_where_everything_is_answered(table, found):
    truth = np.array([y.value for y in table.y_true])
    answer = np.array(IN_SCOPE)[table.joint_in_scope.argmax(axis=1)]
    error = (answer != truth)[table.is_in_scope].mean()
    assert found.closed.answered[-1] == found.half.answered[-1] == 1
    assert found.closed.error[-1] == pytest.approx(error)
    # Half of the weight are other lesions, about which any answer is wrong.
    assert found.half.error[-1] == pytest.approx((error + 1) / 2)


def test_withholding_improbable_answers_helps_a_model_that_knows_what_it_knows(found):
    for curve in (found.closed, found.half):
        assert curve.area.value < curve.error[-1]
        assert curve.area.low < curve.area.value < curve.area.high


def test_the_confident_answers_are_those_of_the_verdicts(table, found):
    confident = np.array(table.verdicts) == "confident"
    answer = np.array(IN_SCOPE)[table.joint_in_scope.argmax(axis=1)]
    is_wrong = answer != np.array([y.value for y in table.y_true])
    inside = table.is_in_scope
    assert found.closed.confident.value == pytest.approx(confident[inside].mean())
    assert found.closed.confident_error.value == pytest.approx(is_wrong[inside & confident].mean())
    share_in, share_out = confident[inside].mean(), confident[~inside].mean()
    wrong_in = (is_wrong & confident)[inside].mean()
    assert found.half.confident.value == pytest.approx((share_in + share_out) / 2)
    expected = (wrong_in + share_out) / (share_in + share_out)
    assert found.half.confident_error.value == pytest.approx(expected)


def test_more_nevi_in_the_table_change_nothing_at_half_and_half(table, found):
    others = np.flatnonzero(~table.is_in_scope)
    thrice = table.joint[np.concatenate([np.arange(len(table)), others, others])]
    rows = np.concatenate([np.arange(len(table)), others, others])
    again = type(table)(
        image_ids=tuple(f"{k}" for k in range(len(rows))),
        groups=tuple(table.groups[k] for k in rows),
        sources=("",) * len(rows),
        y_true=tuple(table.y_true[k] for k in rows),
        labels=table.labels,
        joint=thrice,
    )
    half = evaluate_selective(again, 100, np.random.default_rng(0)).half
    assert half.area.value == pytest.approx(found.half.area.value)
    assert half.confident is None


def test_pictures_of_no_skin_are_not_among_the_other_lesions(table):
    photos = make_table(np.random.default_rng(0), counts={Label.BCC: 20, Label.NOT_SKIN: 20})
    assert evaluate_selective(photos, 100, np.random.default_rng(0)).half is None


def test_without_an_image_in_scope_there_is_no_curve():
    nevi = make_table(np.random.default_rng(0), counts={Label.NV: 10})
    found = evaluate_selective(nevi, 100, np.random.default_rng(0))
    assert (found.closed, found.half) == (None, None)
    assert found.to_json() == {"closed": None, "half": None}


def test_the_curve_in_json_has_few_points_and_keeps_both_ends(found):
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))["closed"]["curve"]
    assert len(plain["answered"]) == len(plain["error"]) == 100
    assert plain["answered"] == sorted(plain["answered"])
    assert plain["answered"][-1] == 1


def test_a_table_of_one_image_has_a_curve_of_one_point(table):
    one = table.subset(np.array([0]))
    found = evaluate_selective(one, 100, np.random.default_rng(0)).closed
    assert found.answered.tolist() == [1]
    assert found.area.low is None
