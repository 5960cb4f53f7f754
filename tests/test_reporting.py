from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlens import charts, figures, phantoms
from lesionlens.errors import DataError, LesionLensError
from lesionlens.intervals import Metric
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import Evaluation, evaluate
from lesionlens.prediction_table import PredictionTable
from lesionlens.reporting import (
    find_images,
    format_metric,
    load_reference,
    summarise,
    write_report,
)
from synthetic_predictions import judge_simply, make_table

pytest.importorskip("matplotlib", reason="needs the extra [report]")
pytest.importorskip("jinja2", reason="needs the extra [report]")

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page, checks that its tags close in order, keeps its text and its images."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data

    @property
    def images(self) -> list[str]:
        return [value for name, value in self.attributes if name == "src"]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(judge_simply(make_table(np.random.default_rng(5))), n_bootstrap=200)


@pytest.fixture(scope="module")
def report(evaluation, tmp_path_factory) -> Path:
    """A report with all there can be in it."""
    folder = tmp_path_factory.mktemp("report")
    images = {}
    for k, error in enumerate(figures.worst_errors(evaluation)[:3]):
        images[error.image_id] = folder / f"{error.image_id}.jpg"
        phantoms.draw("bcc", rng=np.random.default_rng(k)).save(images[error.image_id])
    images[figures.worst_errors(evaluation)[3].image_id] = folder / "is_not_there.jpg"
    weaker = evaluate(make_table(np.random.default_rng(5), skill=1.2), n_bootstrap=200)
    cautious = evaluate(judge_simply(evaluation.table, confident_at=0.8), n_bootstrap=200)
    return write_report(
        evaluation,
        folder / "out",
        title="A <script>alert(1)</script> & b",
        images=images,
        reference=load_reference("paper"),
        comparison=[("weaker <b>", weaker), ("cautious", cautious)],
        before=weaker,
    )


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(report.read_text(encoding="utf-8"))


def test_the_report_is_one_file_that_asks_for_nothing(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert len(page.images) == 9
    assert all(source.startswith("data:image/") for source in page.images)
    assert not [name for name, _ in page.attributes if name in ("href", "srcset", "onclick")]


def test_names_given_by_the_user_are_shown_and_not_run(page):
    assert "A <script>alert(1)</script> & b" in page.text
    assert "weaker <b>" in page.text


def test_it_begins_with_plain_words_and_says_that_it_is_no_diagnosis(page, evaluation):
    right = int(np.trace(evaluation.confusion))
    assert f"Of 600 images of BCC, SCC and healthy skin, from {evaluation.n_groups}" in page.text
    assert f"the model names {right} rightly" in page.text
    assert "Not a diagnosis." in page.text


def test_every_metric_stands_in_it_with_its_interval(page, evaluation):
    text = " ".join(page.text.split())
    for name, metric in evaluation.summary().items():
        assert format_metric(metric) in text, name


def test_the_paper_stands_beside_with_its_own_interval(page, evaluation):
    text = " ".join(page.text.split())
    assert "93.75 % (87.0–97.1 %)" in text
    assert "three different accuracies" in text
    assert "36 / 36 / 24" in text
    assert f"{100 * evaluation.overall['accuracy'].value:.2f} %" in text


def test_models_on_the_same_images_are_compared_by_their_difference(page):
    assert "on the same images, drawn together" in page.text
    assert "−0." in page.text


def test_metrics_json_holds_all_of_it(report, evaluation):
    plain = json.loads((report.parent / "metrics.json").read_text(encoding="utf-8"))
    assert plain["overall"] == evaluation.to_json()["overall"]
    assert plain["reference"]["accuracy"]["value"] == 0.9375
    assert plain["comparison"]["weaker <b>"]["n_images"] == 600
    gain = plain["differences"]["weaker <b>"]["accuracy"]
    assert gain["low"] <= gain["value"] <= gain["high"] < 0


def test_verdicts_begin_with_plain_words_and_stand_beside_those_of_another_policy(page, evaluation):
    row = evaluation.judgement.verdicts.by_label[Label.MEL]
    text = " ".join(page.text.split())
    assert f"{100 * row.shares['confident'].value:.1f} % of the images of melanoma" in text
    assert f"none of {row.counts['confident']}" in text
    assert "Confident, melanoma" in text.split("Side by side")[1]


def test_calibration_before_and_after_must_be_of_the_same_images(evaluation, tmp_path):
    other = evaluate(make_table(np.random.default_rng(1), counts={Label.BCC: 9}), n_bootstrap=100)
    with pytest.raises(DataError, match="of the same images is needed"):
        write_report(evaluation, tmp_path, title="x", before=other)


def test_only_the_same_answers_judged_otherwise_are_marked_on_the_curve(evaluation):
    cautious = evaluate(judge_simply(evaluation.table, confident_at=0.8), n_bootstrap=100)
    weaker = judge_simply(make_table(np.random.default_rng(5), skill=1.2))
    others = [("cautious", cautious), ("weaker", evaluate(weaker, n_bootstrap=100))]
    legend = charts.draw_risk_coverage(evaluation, others).axes[0].get_legend()
    words = [text.get_text() for text in legend.get_texts()]
    assert "cautious" in words
    assert "weaker" not in words


def test_the_bars_of_verdicts_add_up_to_all_images(evaluation):
    axes = charts.draw_verdicts(evaluation.judgement.verdicts).axes[0]
    ends = {}
    for bar in axes.patches:
        ends[round(bar.get_y(), 3)] = bar.get_x() + bar.get_width()
    assert len(ends) == 5
    assert list(ends.values()) == pytest.approx([1] * 5)


def test_a_model_that_cannot_tell_scope_has_no_picture_of_its_reliability():
    table = make_table(np.random.default_rng(2), outputs=IN_SCOPE, counts={Label.BCC: 30})
    assert charts.draw_scope_reliability(evaluate(table, n_bootstrap=100)) is None


def test_figures_are_pictures_of_some_size_with_something_on_them(report):
    names = {path.stem for path in (report.parent / "figures").iterdir()}
    assert names == {
        "confusion", "roc", "precision_recall", "reliability", "worst_errors", "comparison",
        "verdicts", "risk_coverage", "scope_reliability",
    }  # fmt: skip
    for path in (report.parent / "figures").iterdir():
        with Image.open(path) as image:
            assert min(image.size) > 400
            assert np.asarray(image.convert("L")).std() > 10


def test_without_images_the_gallery_of_an_earlier_report_goes_and_a_hint_comes(tmp_path):
    unjudged = evaluate(make_table(np.random.default_rng(5)), n_bootstrap=100)
    stale = tmp_path / "figures" / "worst_errors.png"
    stale.parent.mkdir()
    stale.write_bytes(b"of another table")
    page = Page(write_report(unjudged, tmp_path, title="x").read_text(encoding="utf-8"))
    assert not stale.exists()
    assert "--images DIR" in page.text
    assert len(page.images) == 6
    assert "Verdicts" not in page.text
    assert "the table holds no verdicts" in page.text


def test_a_table_without_an_image_in_scope_still_gives_a_report(tmp_path):
    table = make_table(np.random.default_rng(0), counts={Label.NV: 30})
    path = write_report(evaluate(table, n_bootstrap=100), tmp_path, title="nevi")
    text = Page(path.read_text(encoding="utf-8")).text
    assert "nothing can be told apart" in text
    assert "no image is in scope" in text


def test_a_single_image_still_gives_a_report(tmp_path):
    table = PredictionTable(
        ("one",), ("one",), ("",), (Label.SCC,), IN_SCOPE, np.array([[0.6, 0.3, 0.1]])
    )
    judged = replace(table, verdicts=("uncertain",), sets=np.array([[True, True, False]]))
    path = write_report(evaluate(judged, n_bootstrap=100), tmp_path, title="one")
    text = Page(path.read_text(encoding="utf-8")).text
    assert "no image is Normal" in text
    assert "no interval" in text


def test_a_folder_that_cannot_be_written_is_named(evaluation, tmp_path):
    (tmp_path / "report").write_text("a file in the way")
    with pytest.raises(LesionLensError, match="report"):
        write_report(evaluation, tmp_path / "report", title="x")


def test_worst_errors_are_wrong_and_the_most_confident_first(evaluation):
    errors = figures.worst_errors(evaluation, 1000)
    assert len(errors) == evaluation.confusion.sum() - np.trace(evaluation.confusion)
    assert all(error.truth != error.answer for error in errors)
    probabilities = [error.probability for error in errors]
    assert probabilities == sorted(probabilities, reverse=True)
    assert figures.worst_errors(evaluation, 5) == errors[:5]


def test_no_figure_touches_the_global_state_of_pyplot():
    code = Path(figures.__file__).read_text(encoding="utf-8").split('"""', 2)[2]
    assert "pyplot" not in code


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (Metric(0.8612, 0.802, 0.9121, 10, "m"), "0.861 (0.80–0.91)"),
        (Metric(0.9965, 0.9921, 0.9999, 10, "m"), "0.997 (0.992–1.000)"),
        (Metric(1.0, None, None, 10, "m"), "1.000 (no interval)"),
        (Metric(None, None, None, 0, "m", "no image is SCC"), "– (no image is SCC)"),
    ],
)
def test_a_metric_is_written_with_its_interval_or_the_reason_for_none(metric, text):
    assert format_metric(metric) == text


def test_the_summary_of_a_perfect_table_names_no_weakest_class():
    joint = np.repeat(np.eye(3) * 0.97 + 0.01, 20, axis=0)
    names = tuple(str(k) for k in range(60))
    truths = tuple(np.repeat(np.array(IN_SCOPE, dtype=object), 20))
    table = PredictionTable(names, names, ("",) * 60, truths, IN_SCOPE, joint)
    sentences = summarise(evaluate(table, n_bootstrap=100))
    assert "names 60 rightly: an accuracy of 100.0 %" in sentences[0]
    assert "between 94.0 % and 100.0 %" in sentences[0]
    assert not any("least often" in sentence for sentence in sentences)


def test_the_reference_holds_the_counts_and_works_out_the_rest():
    paper = load_reference("paper")
    assert (paper.n, paper.n_right, paper.views) == (96, 90, 10)
    assert round(paper.accuracy.low, 3) == 0.870
    assert round(paper.accuracy.high, 3) == 0.971
    with pytest.raises(DataError, match="there is paper"):
        load_reference("hearsay")


def test_images_are_found_by_name_in_any_folder_below(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for path in ("a.JPG", "deep/er/b.png", "deep/c.txt"):
        (tmp_path / path).write_bytes(b"")
    found = find_images(tmp_path, ["a", "b", "c", "d"])
    assert found == {"a": tmp_path / "a.JPG", "b": tmp_path / "deep" / "er" / "b.png"}
    with pytest.raises(DataError, match="is not a folder"):
        find_images(tmp_path / "nowhere", ["a"])


def test_worst_errors_of_real_frames_are_shown(data_dir, tmp_path):
    images = sorted((data_dir / "normal" / "images").iterdir())[:12]
    names = tuple(path.stem for path in images)
    joint = np.tile([0.7, 0.2, 0.1], (12, 1))
    table = PredictionTable(names, names, ("",) * 12, (Label.NORMAL,) * 12, IN_SCOPE, joint)
    errors = figures.worst_errors(evaluate(table, n_bootstrap=100))
    found = find_images(data_dir / "normal", [error.image_id for error in errors])
    assert len(found) == 12
    figures.draw_worst_errors(errors, found).savefig(tmp_path / "gallery.png", dpi=60)
    with Image.open(tmp_path / "gallery.png") as gallery:
        colours = np.asarray(gallery.convert("RGB")).reshape(-1, 3).std(axis=0)
    assert colours.min() > 10
