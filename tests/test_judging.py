from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lesionlens.intervals import proportion
from lesionlens.judging import evaluate_judgement
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import evaluate
from lesionlens.prediction_table import PredictionTable
from synthetic_predictions import judge_simply, make_table

# truth, joint probability of BCC, SCC, Normal (the rest is NV), set, verdict, source
ROWS = [
    (Label.BCC, (0.9, 0.05, 0.0), "BCC", "confident", "A"),
    (Label.BCC, (0.5, 0.4, 0.0), "BCC|SCC", "uncertain", "A"),
    (Label.BCC, (0.3, 0.6, 0.0), "BCC|SCC", "uncertain", "A"),  # wrong, and the set holds it
    (Label.BCC, (0.1, 0.8, 0.0), "SCC", "confident", "A"),  # wrong, and the set does not
    (Label.BCC, (0.3, 0.1, 0.0), "", "out_of_scope", "B"),  # right, and sent away
    (Label.SCC, (0.1, 0.3, 0.0), "", "uncertain", "B"),  # right, though the set is empty
    (Label.SCC, (0.1, 0.1, 0.7), "Normal", "confident", "B"),  # taken for healthy skin
    (Label.SCC, (0.1, 0.7, 0.0), "SCC", "poor_image", "B"),
    (Label.NORMAL, (0.0, 0.1, 0.9), "Normal", "confident", "B"),
    (Label.MEL, (0.8, 0.1, 0.0), "BCC", "confident", "B"),
    (Label.MEL, (0.1, 0.1, 0.0), "", "out_of_scope", "B"),
    (Label.NOT_SKIN, (0.1, 0.1, 0.6), "Normal", "confident", "B"),
]


def table_of(rows=ROWS) -> PredictionTable:
    names = tuple(f"i{k}" for k in range(len(rows)))
    inside = np.array([values for _, values, _, _, _ in rows])
    return PredictionTable(
        image_ids=names,
        groups=names,
        sources=tuple(source for *_, source in rows),
        y_true=tuple(row[0] for row in rows),
        labels=(*IN_SCOPE, Label.NV),
        joint=np.column_stack([inside, 1 - inside.sum(axis=1)]),
        verdicts=tuple(row[3] for row in rows),
        sets=np.array([[label in row[2].split("|") for label in IN_SCOPE] for row in rows]),
    )


def judged(table: PredictionTable):
    return evaluate_judgement(table, 100, np.random.default_rng(0))


def test_each_truth_has_its_verdicts_counted():
    verdicts = judged(table_of()).verdicts
    bcc = verdicts.by_label[Label.BCC]
    assert bcc.counts == {"confident": 2, "uncertain": 2, "out_of_scope": 1, "poor_image": 0}
    assert bcc.shares["confident"] == proportion(2, 5)
    assert bcc.confident_right == proportion(1, 5)
    assert bcc.right_of_confident == proportion(1, 2)
    assert verdicts.in_scope.n == 9
    assert verdicts.by_label[Label.MEL].right_of_confident == proportion(0, 1)


def test_pictures_of_no_skin_are_no_other_lesions():
    found = judged(table_of())
    assert found.verdicts.other_lesions.n == 2
    assert found.verdicts.other_lesions.shares["confident"] == proportion(1, 2)
    assert found.verdicts.by_label[Label.NOT_SKIN].shares["confident"] == proportion(1, 1)
    assert found.sets.other_lesions.n == 2


def test_a_cancer_is_kept_by_a_right_label_or_a_set_that_holds_it_unless_it_is_sent_away():
    # Kept: two right answers, the wrong one whose set holds it, the right one with an empty set.
    assert judged(table_of()).verdicts.kept_cancer == proportion(4, 8)


def test_a_cancer_is_pointed_to_by_either_name_and_others_should_not_be():
    verdicts = judged(table_of()).verdicts
    # Not: the one out of scope, the one taken for healthy skin, the poor image.
    assert verdicts.sensitivity_cancer == proportion(5, 8)
    assert verdicts.specificity_cancer == {
        Label.NORMAL: proportion(1, 1),
        Label.MEL: proportion(1, 2),
        Label.NOT_SKIN: proportion(1, 1),
    }


def test_sets_are_told_by_truth():
    sets = judged(table_of()).sets
    bcc = sets.by_label[Label.BCC]
    assert bcc.coverage == proportion(3, 5)
    assert bcc.mean_size.value == pytest.approx(6 / 5)
    assert bcc.mean_size.n == 5
    assert (bcc.empty, bcc.single) == (proportion(1, 5), proportion(2, 5))
    assert sets.by_label[Label.MEL].coverage is None
    assert sets.in_scope.coverage == proportion(5, 9)


def test_coverage_by_source_is_not_told_of_a_handful_of_images():
    many = [*ROWS, *([ROWS[1]] * 8), *([ROWS[3]] * 2)]  # ten more of BCC from A, eight covered
    sets = judged(table_of(many)).sets
    first, second = sets.by_source
    assert (first.source, first.n, second.source, second.n) == ("A", 14, "B", 5)
    assert first.coverage[Label.BCC] == proportion(11, 14)
    assert first.coverage[Label.SCC].note == "no such image"
    assert second.coverage[Label.BCC].note == "too few to say"
    assert second.mean_size.n == 5


def test_coverage_of_sets_from_quantiles_is_what_was_asked_for():
    table = make_table(np.random.default_rng(4))
    truth = np.array([y.value for y in table.y_true])
    at = [
        np.quantile(table.joint_in_scope[truth == label, k], 0.1)
        for k, label in enumerate(IN_SCOPE)
    ]
    found = judged(replace(table, sets=table.joint_in_scope >= np.array(at))).sets
    for label in IN_SCOPE:
        coverage = found.by_label[label].coverage
        assert coverage.value == pytest.approx(0.9, abs=0.01)
        assert coverage.low < 0.9 < coverage.high


def test_a_table_without_verdicts_or_sets_says_nothing_of_them():
    table = table_of()
    neither = judged(replace(table, verdicts=(), sets=None))
    assert (neither.verdicts, neither.sets) == (None, None)
    assert neither.summary() == {}
    only_verdicts = judged(replace(table, sets=None))
    assert only_verdicts.sets is None
    # Without sets only the label counts: the wrong answer whose set held the truth is lost.
    assert only_verdicts.verdicts.kept_cancer == proportion(3, 8)
    assert judged(replace(table, verdicts=())).verdicts is None


def test_one_single_image_and_absent_classes_give_what_can_be_said():
    found = evaluate(table_of(ROWS[9:10]), n_bootstrap=100)
    verdicts, sets = found.judgement.verdicts, found.judgement.sets
    assert verdicts.kept_cancer.note == "no such image"
    assert verdicts.in_scope.n == 0
    assert list(verdicts.by_label) == [Label.MEL]
    assert sets.in_scope.mean_size.value is None
    assert sets.by_source == ()
    json.dumps(found.to_json(), allow_nan=False)


def test_no_confident_answer_is_told_as_such():
    row = judged(table_of(ROWS[1:3])).verdicts.by_label[Label.BCC]
    assert row.right_of_confident.value is None
    assert row.right_of_confident.note == "no confident answer"


def test_a_table_that_went_through_a_file_is_judged_alike(tmp_path):
    from lesionlens.prediction_table import load_predictions

    table = judge_simply(make_table(np.random.default_rng(6)))
    table.save(tmp_path / "t.csv")
    first = judged(table).to_json()
    assert judged(load_predictions(tmp_path / "t.csv")).to_json() == first
    assert json.loads(json.dumps(first, allow_nan=False)) == first


def test_every_figure_of_the_summary_is_in_the_evaluation_under_one_name():
    found = evaluate(judge_simply(make_table(np.random.default_rng(6))), n_bootstrap=100)
    names = found.summary().keys()
    assert {
        "confident_in_scope", "confident_other_lesions", "confident_MEL", "confident_error",
        "half_confident", "half_confident_error", "kept_cancer", "sensitivity_cancer",
        "specificity_cancer_NV", "coverage_BCC", "mean_set_size", "risk_coverage_area",
    } <= names  # fmt: skip
