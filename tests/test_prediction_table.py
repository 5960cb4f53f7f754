from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from lesionlens.errors import DataError
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.prediction_table import PredictionTable, load_predictions
from synthetic_predictions import make_table

HEADER = "image_id,group_id,source,y_true,probability_BCC,probability_SCC,probability_Normal"
GOOD = f"{HEADER}\na,g1,X,BCC,0.7,0.2,0.1\nb,g1,X,SCC,0.1,0.8,0.1\nc,g2,,NV,0.3,0.3,0.4\n"
ANSWERS = (
    "file,label,verdict,probability_BCC,probability_SCC,probability_Normal,scope,views,elapsed_ms\n"
    "photos/a.jpg,BCC,confident,0.8,0.1,0.1,0.5,1,3.1\n"
    "photos/b.jpg,SCC,uncertain,0.2,0.5,0.3,0.9,1,3.0\n"
)


def _write(tmp_path: Path, text: str, name: str = "predictions.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_a_saved_table_reads_back_the_same(tmp_path, rng):
    table = make_table(rng)
    table.save(tmp_path / "predictions.csv")
    back = load_predictions(tmp_path / "predictions.csv")
    for name in ("image_ids", "groups", "sources", "y_true", "labels"):
        assert getattr(back, name) == getattr(table, name)
    np.testing.assert_allclose(back.joint, table.joint, atol=2e-6)
    np.testing.assert_allclose(back.joint.sum(axis=1), 1, atol=1e-12)


def test_columns_in_any_order_a_byte_order_mark_and_windows_line_ends_are_all_right(tmp_path):
    text = (
        "\ufeffy_true,probability_NV,probability_Normal,image_id,probability_SCC,probability_BCC\r\n"
        "basal cell carcinoma,0.1,0.2,a,0.3,0.4\r\n"
    )
    table = load_predictions(_write(tmp_path, text))
    assert table.labels == (Label.NV, Label.NORMAL, Label.SCC, Label.BCC)
    assert table.y_true == (Label.BCC,)
    assert table.groups == ("a",)  # without a group an image is its own
    np.testing.assert_allclose(table.scope, [0.9])
    np.testing.assert_allclose(table.conditional, [[4 / 9, 3 / 9, 2 / 9]])


def test_a_row_without_any_mass_in_scope_says_nothing_about_the_three():
    table = PredictionTable(
        ("a",), ("a",), ("",), (Label.NV,), (*IN_SCOPE, Label.NV), np.array([[0, 0, 0, 1.0]])
    )
    np.testing.assert_allclose(table.conditional, [[1 / 3] * 3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (HEADER + "\n", "no rows"),
        (GOOD.replace("y_true", "truth"), "no column y_true"),
        (GOOD.replace("image_id,", "id,"), "no column image_id"),
        (GOOD.replace("probability_SCC", "p_SCC"), "no column probability_SCC"),
        (GOOD.replace("probability_SCC", "probability_WART"), "column probability_WART"),
        (GOOD.replace("NV,0.3", "wart,0.3"), "y_true of c is 'wart'"),
        (GOOD.replace("NV,0.3", ",0.3"), "y_true of c is 'empty'"),
        (GOOD.replace("0.8", "nan"), "probability_SCC of b is 'nan'"),
        (GOOD.replace("0.8", ""), "probability_SCC of b is 'empty'"),
        (GOOD.replace("0.8", "much"), "probability_SCC of b is 'much'"),
        (GOOD.replace("0.8", "0.85"), "b (0.1, 0.85, 0.1, sum 1.05)"),
        (GOOD.replace("0.7,0.2", "1.1,-0.2"), "a (1.1, -0.2, 0.1, sum 1)"),
        (GOOD.replace("b,g1", "a,g1"), "image_id a more than once"),
        (ANSWERS, "--truth"),
    ],
)
def test_a_bad_table_is_refused_with_the_file_and_the_reason(tmp_path, text, words):
    path = _write(tmp_path, text)
    with pytest.raises(DataError) as caught:
        load_predictions(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_rounded_probabilities_are_accepted_and_made_to_sum_to_1(tmp_path):
    table = load_predictions(_write(tmp_path, GOOD.replace("0.7,0.2", "0.7005,0.2")))
    np.testing.assert_allclose(table.joint.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(
    "truth",
    [
        "file,y_true,group_id\nphotos/a.jpg,BCC,p1\nphotos/b.jpg,NV,p1\n",
        "image_id,y_true,group_id\nb,NV,p1\na,BCC,p1\n",
        "file,y_true,group_id\nelsewhere\\a.png,BCC,p1\nelsewhere\\b.png,NV,p1\n",
    ],
)
def test_answers_of_predict_are_matched_with_the_truth_by_path_or_by_name(tmp_path, truth):
    table = load_predictions(_write(tmp_path, ANSWERS), truth=_write(tmp_path, truth, "truth.csv"))
    assert (table.image_ids, table.groups) == (("a", "b"), ("p1", "p1"))
    assert table.y_true == (Label.BCC, Label.NV)
    assert table.remarks == ()
    np.testing.assert_allclose(table.scope, [0.5, 0.9])
    np.testing.assert_allclose(table.conditional, [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])


def test_answers_of_a_model_without_a_scope_stay_three_probabilities(tmp_path):
    answers = ANSWERS.replace(",0.5,1,3.1", ",,1,3.1").replace(",0.9,1,3.0", ",,1,3.0")
    truth = _write(tmp_path, "file,y_true\na.jpg,BCC\nb.jpg,SCC\n", "truth.csv")
    table = load_predictions(_write(tmp_path, answers), truth=truth)
    assert not table.has_other_outputs


def test_what_cannot_be_matched_is_left_out_and_told(tmp_path):
    answers = ANSWERS.replace("elapsed_ms\n", "elapsed_ms,error\n") + (
        "photos/broken.jpg,,,,,,,,,is empty\nphotos/stranger.jpg,SCC,confident,0,1,0,1,1,3.0,\n"
    )
    truth = "file,y_true\na.jpg,BCC\nb.jpg,SCC\nbroken.jpg,SCC\nunseen.jpg,SCC\n"
    table = load_predictions(_write(tmp_path, answers), truth=_write(tmp_path, truth, "truth.csv"))
    assert table.image_ids == ("a", "b")
    assert [remark.split()[0] for remark in table.remarks] == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        ("file,y_true\nx.jpg,BCC\n", "names none of the 2 images"),
        ("file,label\na.jpg,BCC\n", "no column y_true"),
        ("y_true\nBCC\n", "column file or image_id"),
        ("file,y_true\n", "column file or image_id"),
        ("file,y_true\na.jpg,BCC\na.jpg,SCC\n", "file a.jpg more than once"),
        ("file,y_true\none/a.jpg,BCC\ntwo/a.jpg,SCC\n", "photos/a.jpg fits several rows"),
        ("file,y_true\na.jpg,wart\nb.jpg,BCC\n", "is 'wart'"),
    ],
)
def test_a_bad_truth_is_refused_with_the_file_and_the_reason(tmp_path, truth, words):
    path = _write(tmp_path, truth, "truth.csv")
    with pytest.raises(DataError) as caught:
        load_predictions(_write(tmp_path, ANSWERS), truth=path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)


def test_a_table_made_in_code_is_checked_too(rng):
    table = make_table(rng)
    with pytest.raises(DataError, match="do not go with"):
        PredictionTable(
            table.image_ids,
            table.groups[1:],
            table.sources,
            table.y_true,
            table.labels,
            table.joint,
        )
    with pytest.raises(DataError, match="no rows"):
        table.subset(np.zeros(len(table), dtype=bool))


def test_verdicts_and_sets_come_back_from_the_file(tmp_path: Path) -> None:
    sets = np.array([[True, True, False], [False, False, False]])
    table = PredictionTable(
        image_ids=("a", "b"),
        groups=("a", "b"),
        sources=("", ""),
        y_true=(Label.BCC, Label.NV),
        labels=(*IN_SCOPE, Label.NOT_SKIN),
        joint=np.array([[0.5, 0.4, 0.05, 0.05], [0.1, 0.1, 0.1, 0.7]]),
        verdicts=("uncertain", "out_of_scope"),
        sets=sets,
    )
    table.save(tmp_path / "table.csv")
    found = load_predictions(tmp_path / "table.csv")
    assert found.verdicts == table.verdicts
    assert found.sets is not None
    assert np.array_equal(found.sets, sets)
    assert found.subset(np.array([1])).verdicts == ("out_of_scope",)


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("verdict", "certain", "verdict of a is 'certain'; one of confident"),
        ("verdict", "", "verdict of a is 'empty'; one of confident"),
        ("prediction_set", "BCC|NV", "prediction_set of a names 'NV'; BCC|SCC|Normal or a part"),
    ],
)
def test_a_verdict_or_a_set_that_cannot_be_is_named(
    tmp_path: Path, column: str, text: str, words: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(
        f"image_id,y_true,probability_BCC,probability_SCC,probability_Normal,{column}\n"
        f"a,BCC,0.8,0.1,0.1,{text}\n"
    )
    with pytest.raises(DataError, match=re.escape(words)):
        load_predictions(path)


JUDGED = (
    "file,label,verdict,probability_BCC,probability_SCC,probability_Normal,scope,prediction_set,"
    "quality,policy,views,elapsed_ms,error\n"
    "p/a.jpg,BCC,confident,0.8,0.1,0.1,0.9,BCC,,balanced,10,3,\n"
    "p/b.jpg,SCC,poor_image,0.2,0.5,0.3,0.9,BCC|SCC,blur|glare,balanced,10,3,\n"
    "p/c.jpg,,,,,,,,,,,,is empty\n"
    "p/d.jpg,BCC,out_of_scope,0.8,0.1,0.1,0.02,,,balanced,10,3,\n"
)
JUDGED_TRUTH = "file,y_true\na.jpg,BCC\nb.jpg,SCC\nc.jpg,BCC\nd.jpg,NotSkin\n"


def test_verdicts_and_sets_are_read_from_the_answers_of_predict(tmp_path: Path) -> None:
    truth = _write(tmp_path, JUDGED_TRUTH, "truth.csv")
    table = load_predictions(_write(tmp_path, JUDGED), truth=truth)
    assert table.image_ids == ("a", "b", "d")  # c could not be read: it has no verdict to refuse
    assert table.y_true == (Label.BCC, Label.SCC, Label.NOT_SKIN)
    assert table.verdicts == ("confident", "poor_image", "out_of_scope")
    assert table.sets is not None
    assert table.sets.tolist() == [[True, False, False], [True, True, False], [False] * 3]
    np.testing.assert_allclose(table.scope, [0.9, 0.9, 0.02])


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("confident", "sure", "verdict of a is 'sure'; one of confident, uncertain"),
        ("confident", "nan", "verdict of a is 'nan'"),
        (",confident", ",", "verdict of a is 'empty'"),
        ("0.9,BCC,", "0.9,nan,", "prediction_set of p/a.jpg names 'nan'; BCC|SCC|Normal or a part"),
        ("0.9,BCC,", "nan,BCC,", "scope of p/a.jpg is 'nan'; a number from 0 to 1"),
        ("0.9,BCC,", ",BCC,", "scope of p/a.jpg is 'empty'; a number from 0 to 1"),
        ("0.9,BCC,", "1.7,BCC,", "scope of p/a.jpg is '1.7'; a number from 0 to 1"),
        ("0.9,BCC,", "-0.1,BCC,", "scope of p/a.jpg is '-0.1'; a number from 0 to 1"),
        ("confident,0.8", "confident,nan", "probability_BCC of p/a.jpg is 'nan'"),
    ],
)
def test_a_bad_cell_among_the_answers_of_predict_is_told_with_the_file_once(
    tmp_path: Path, good: str, bad: str, words: str
) -> None:
    assert JUDGED.count(good) >= 1
    path = _write(tmp_path, JUDGED.replace(good, bad, 1))
    with pytest.raises(DataError) as caught:
        load_predictions(path, truth=_write(tmp_path, JUDGED_TRUTH, "truth.csv"))
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).count(str(path)) == 1
    assert words in str(caught.value)


@pytest.mark.parametrize("sets", [np.ones((1, 3), bool), np.ones((2, 2), bool)])
def test_sets_of_other_images_are_refused(sets: np.ndarray) -> None:
    with pytest.raises(DataError, match="2 images do not go with sets of shape"):
        PredictionTable(
            ("a", "b"), ("a", "b"), ("", ""), (Label.BCC, Label.SCC), IN_SCOPE, np.eye(3)[:2],
            sets=sets,
        )  # fmt: skip


def test_verdicts_of_other_images_are_refused() -> None:
    with pytest.raises(DataError, match="2 images do not go with 1 verdicts"):
        PredictionTable(
            ("a", "b"), ("a", "b"), ("", ""), (Label.BCC, Label.SCC), IN_SCOPE, np.eye(3)[:2],
            verdicts=("confident",),
        )  # fmt: skip
