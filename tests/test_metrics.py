from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import Evaluation, evaluate, paired_differences
from lesionlens.prediction_table import PredictionTable
from synthetic_predictions import COUNTS, OUTPUTS, make_table


@pytest.fixture(scope="module")
def table() -> PredictionTable:
    return make_table(np.random.default_rng(11))


@pytest.fixture(scope="module")
def evaluation(table) -> Evaluation:
    return evaluate(table, n_bootstrap=400)


def _table(rows: list[tuple[Label, list[float]]], labels=IN_SCOPE) -> PredictionTable:
    names = tuple(f"i{k}" for k in range(len(rows)))
    return PredictionTable(
        names,
        names,
        ("X",) * len(rows),
        tuple(y for y, _ in rows),
        labels,
        np.array([p for _, p in rows]),
    )


def test_closed_set_metrics_agree_with_scikit_learn(table, evaluation):
    from sklearn import metrics as theirs

    order = [label.value for label in IN_SCOPE]
    truth = np.array([y.value for y in table.y_true if y in IN_SCOPE])
    probabilities = table.conditional[table.is_in_scope]
    answer = np.array(order)[probabilities.argmax(axis=1)]
    one_hot = (truth[:, np.newaxis] == order).astype(int)
    precision, recall, f1, _ = theirs.precision_recall_fscore_support(truth, answer, labels=order)
    index = [order.index(y) for y in truth]
    expected = {
        "accuracy": theirs.accuracy_score(truth, answer),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, answer),
        "macro_precision": precision.mean(),
        "macro_recall": recall.mean(),
        "macro_f1": f1.mean(),
        "weighted_precision": theirs.precision_score(truth, answer, average="weighted"),
        "weighted_recall": theirs.recall_score(truth, answer, average="weighted"),
        "weighted_f1": theirs.f1_score(truth, answer, average="weighted"),
        "macro_roc_auc": theirs.roc_auc_score(index, probabilities, multi_class="ovr"),
        "macro_average_precision": theirs.average_precision_score(one_hot, probabilities),
        "log_loss": theirs.log_loss(index, probabilities),
        "brier": theirs.brier_score_loss(index, probabilities, scale_by_half=False),
    }
    for k, label in enumerate(order):
        expected |= {
            f"precision_{label}": precision[k],
            f"recall_{label}": recall[k],
            f"f1_{label}": f1[k],
            f"specificity_{label}": theirs.recall_score(truth != label, answer != label),
            f"roc_auc_{label}": theirs.roc_auc_score(truth == label, probabilities[:, k]),
            f"average_precision_{label}": theirs.average_precision_score(
                truth == label, probabilities[:, k]
            ),
        }
    found = evaluation.summary()
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value), name
    np.testing.assert_array_equal(
        evaluation.confusion, theirs.confusion_matrix(truth, answer, labels=order)
    )


def test_open_set_metrics_agree_with_scikit_learn(table, evaluation):
    from sklearn import metrics as theirs

    truth = np.array([y.value for y in table.y_true])
    found = evaluation.summary()
    for k, label in enumerate(IN_SCOPE):
        score = table.joint_in_scope[:, k]
        assert found[f"open_roc_auc_{label}"].value == pytest.approx(
            theirs.roc_auc_score(truth == label.value, score)
        )
        assert found[f"open_average_precision_{label}"].value == pytest.approx(
            theirs.average_precision_score(truth == label.value, score)
        )
    assert found["open_scope_roc_auc"].value == pytest.approx(
        theirs.roc_auc_score(table.is_in_scope, table.scope)
    )
    assert {
        label: sum(row.values()) for label, row in evaluation.open_set.answers.items()
    } == COUNTS


def test_every_metric_has_an_interval_that_holds_its_value_a_count_and_a_method(evaluation):
    summary = evaluation.summary()
    assert len(summary) > 40
    for name, metric in summary.items():
        assert metric.n > 0, name
        assert metric.method in ("Wilson score", "bootstrap by group"), name
        assert metric.low <= metric.value <= metric.high, name
        assert metric.low < metric.high, name


def test_counts_name_images_and_lesions(table, evaluation):
    in_scope = table.is_in_scope
    assert evaluation.n == in_scope.sum() == 600
    groups = {group for group, inside in zip(table.groups, in_scope, strict=True) if inside}
    assert evaluation.n_groups == len(groups) < 600
    assert evaluation.overall["accuracy"].n == 600
    assert evaluation.by_class[Label.SCC]["recall"].n == 120


def test_the_grouped_interval_of_accuracy_is_wider_than_wilson_when_lesions_repeat(evaluation):
    wilson, grouped = (evaluation.overall[name] for name in ("accuracy", "accuracy_by_group"))
    assert grouped.value == pytest.approx(wilson.value)
    assert grouped.high - grouped.low > wilson.high - wilson.low


def test_the_order_of_rows_does_not_matter(table, evaluation, rng):
    shuffled = evaluate(table.subset(rng.permutation(len(table))), n_bootstrap=400)
    for name, metric in evaluation.summary().items():
        other = shuffled.summary()[name]
        assert other.value == pytest.approx(metric.value), name
        assert other.low == pytest.approx(metric.low, abs=1e-9), name


def test_the_seed_decides_the_intervals_and_nothing_else(table, evaluation):
    again, other = evaluate(table, n_bootstrap=400), evaluate(table, seed=1, n_bootstrap=400)
    assert again.to_json() == evaluation.to_json()
    assert other.overall["brier"] != evaluation.overall["brier"]
    assert other.overall["brier"].value == evaluation.overall["brier"].value


def test_it_becomes_json_without_nan(evaluation):
    text = json.dumps(evaluation.to_json(), allow_nan=False)
    assert json.loads(text)["overall"]["accuracy"]["method"] == "Wilson score"


def test_an_absent_class_has_no_metric_and_averages_say_what_they_are_over():
    rng = np.random.default_rng(0)
    found = evaluate(make_table(rng, counts={Label.BCC: 60, Label.SCC: 60}), n_bootstrap=100)
    for metric in found.by_class[Label.NORMAL].values():
        assert metric.value is None
        assert metric.note == "no image is Normal"
    recalls = [found.by_class[label]["recall"].value for label in (Label.BCC, Label.SCC)]
    assert found.overall["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    assert "none is Normal" in found.overall["balanced_accuracy"].note
    json.dumps(found.to_json(), allow_nan=False)


def test_a_class_that_is_never_answered_has_no_precision_but_counts_as_zero_in_the_average():
    rows = [(Label.BCC, [0.8, 0.1, 0.1])] * 4 + [(Label.SCC, [0.8, 0.1, 0.1])] * 4
    found = evaluate(_table(rows), n_bootstrap=100)
    precision = found.by_class[Label.SCC]["precision"]
    assert (precision.value, precision.note) == (None, "never said SCC")
    assert found.overall["macro_precision"].value == pytest.approx(0.25)


def test_one_single_image_gives_what_can_be_said():
    found = evaluate(_table([(Label.BCC, [0.8, 0.1, 0.1])]), n_bootstrap=100)
    assert found.overall["accuracy"].value == 1
    assert found.overall["accuracy"].low == pytest.approx(0.2065, abs=1e-4)
    assert found.overall["log_loss"].low is None
    assert found.by_class[Label.BCC]["roc_auc"].value is None
    assert found.by_class[Label.BCC]["specificity"].note == "no image is of another class"
    json.dumps(found.to_json(), allow_nan=False)


def test_without_any_image_in_scope_only_the_open_set_is_left():
    rng = np.random.default_rng(0)
    found = evaluate(make_table(rng, counts={Label.NV: 30}), n_bootstrap=100)
    assert found.n == 0
    assert all(metric.value is None for metric in found.overall.values())
    assert found.open_set.n_out_of_scope == 30
    assert found.open_set.scope_roc_auc.note == "no image is in scope"
    json.dumps(found.to_json(), allow_nan=False)


def test_a_model_of_three_outputs_on_three_classes_has_no_open_set():
    counts = dict.fromkeys(IN_SCOPE, 20)
    table = make_table(np.random.default_rng(0), counts=counts, outputs=IN_SCOPE)
    assert evaluate(table, n_bootstrap=100).open_set is None


def test_a_model_of_three_outputs_cannot_tell_scope_and_says_so():
    counts = {Label.BCC: 30, Label.SCC: 30, Label.NORMAL: 30, Label.MEL: 30}
    table = make_table(np.random.default_rng(0), counts=counts, outputs=IN_SCOPE)
    open_set = evaluate(table, n_bootstrap=100).open_set
    assert open_set.scope_roc_auc.value is None
    assert "no output for other lesions" in open_set.scope_roc_auc.note
    assert open_set.by_class[Label.BCC]["roc_auc"].value is not None


def test_small_sources_are_named_but_not_judged(evaluation):
    smallest = evaluation.by_source[-1]
    assert [result.n for result in evaluation.by_source] == sorted(
        (result.n for result in evaluation.by_source), reverse=True
    )
    assert sum(result.n for result in evaluation.by_source) == evaluation.n
    assert smallest.n < 10
    assert smallest.accuracy.value is None
    assert smallest.accuracy.note == "too few to say"


def test_too_few_replicates_are_refused(table):
    with pytest.raises(ValueError, match="at least 100"):
        evaluate(table, n_bootstrap=10)


def test_a_better_model_on_the_same_images_differs_surely_and_itself_not_at_all(table, evaluation):
    joint = table.joint.copy()
    truths = [table.labels.index(y) for y in table.y_true]
    joint[np.arange(len(table)), truths] += 0.25
    better = evaluate(
        PredictionTable(
            table.image_ids,
            table.groups,
            table.sources,
            table.y_true,
            table.labels,
            joint / joint.sum(axis=1, keepdims=True),
        ),
        n_bootstrap=400,
    )
    gains = paired_differences(evaluation, better)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc"):
        expected = better.overall[name].value - evaluation.overall[name].value
        assert gains[name].value == pytest.approx(expected)
        assert gains[name].low > 0
    same = paired_differences(evaluation, evaluate(table, n_bootstrap=400))
    assert all(metric.value == 0 for metric in same.values())


def test_models_are_not_paired_on_different_images(table, evaluation):
    part = evaluate(table.subset(np.arange(len(table)) > 5), n_bootstrap=100)
    assert paired_differences(evaluation, part) is None


def test_pictures_of_no_skin_are_kept_apart_from_other_lesions(table, evaluation):
    from sklearn.metrics import roc_auc_score

    outputs = (*OUTPUTS, Label.NOT_SKIN)
    lesions = replace(table, labels=outputs, joint=np.column_stack([table.joint, np.zeros(900)]))
    photos = make_table(np.random.default_rng(3), counts={Label.NOT_SKIN: 60}, outputs=outputs)
    both = _concatenate(lesions, photos)
    with_photos = evaluate(both, n_bootstrap=100).open_set
    alone = evaluation.open_set
    assert (with_photos.n, with_photos.n_out_of_scope, with_photos.n_not_skin) == (900, 300, 60)
    assert with_photos.n_groups == alone.n_groups
    assert with_photos.scope_roc_auc.value == pytest.approx(alone.scope_roc_auc.value)
    for label in IN_SCOPE:
        assert with_photos.by_class[label]["roc_auc"].value == pytest.approx(
            alone.by_class[label]["roc_auc"].value
        )
    chosen = both.is_in_scope | np.array([y is Label.NOT_SKIN for y in both.y_true])
    expected = roc_auc_score(both.is_in_scope[chosen], both.scope[chosen])
    assert with_photos.not_skin_roc_auc.value == pytest.approx(expected)
    assert alone.not_skin_roc_auc is None


def _concatenate(first: PredictionTable, second: PredictionTable) -> PredictionTable:
    return PredictionTable(
        image_ids=first.image_ids + second.image_ids,
        groups=first.groups + second.groups,
        sources=first.sources + second.sources,
        y_true=first.y_true + second.y_true,
        labels=first.labels,
        joint=np.vstack([first.joint, second.joint]),
    )


def test_only_pictures_of_no_skin_leave_nothing_to_say_of_lesions():
    table = make_table(
        np.random.default_rng(3),
        counts={Label.NOT_SKIN: 5, Label.BCC: 5},
        outputs=(*IN_SCOPE, Label.NOT_SKIN),
    )
    found = evaluate(table, n_bootstrap=100).open_set
    assert found.scope_roc_auc.note == "no image is out of scope"
    assert found.not_skin_roc_auc.value is not None
    photos = table.subset(np.array([y is Label.NOT_SKIN for y in table.y_true]))
    found = evaluate(photos, n_bootstrap=100)
    assert found.open_set.n == 0
    assert found.open_set.not_skin_roc_auc.note == "no image is in scope"
    assert found.selective.closed is None
    json.dumps(found.to_json(), allow_nan=False)


def test_scope_is_judged_as_a_probability_with_as_many_other_lesions_as_of_the_three(table):
    copies = np.concatenate([np.flatnonzero(table.is_in_scope), np.flatnonzero(~table.is_in_scope)])
    open_set = evaluate(table.subset(copies), n_bootstrap=100).open_set
    squared = (table.scope - table.is_in_scope) ** 2
    half = (squared[table.is_in_scope].mean() + squared[~table.is_in_scope].mean()) / 2
    assert open_set.scope_brier.value == pytest.approx(half)
    error = open_set.scope_calibration_error
    assert 0 < error.low <= error.value <= error.high < 1
