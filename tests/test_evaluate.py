from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from lesionlens.cli.main import main
from lesionlens.metrics import evaluate
from synthetic_predictions import judge_simply, make_table


@pytest.fixture(scope="module")
def table():
    return make_table(np.random.default_rng(8))


@pytest.fixture
def predictions(table, tmp_path) -> Path:
    path = tmp_path / "lens.csv"
    table.save(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run ``lesionlens evaluate`` in an empty folder: exit code, stdout and stderr."""

    def run_verb(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["lesionlens", "evaluate", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run_verb


def test_it_prints_numbers_with_intervals_and_writes_a_report(run, predictions, tmp_path):
    code, out, err = run(predictions, "--bootstrap", 100, "-o", "here", "--reference", "paper")
    assert code == 0
    assert "Accuracy" in out
    accuracy = json.loads((tmp_path / "here" / "metrics.json").read_text())["overall"]["accuracy"]
    low, high = accuracy["low"], accuracy["high"]
    assert f"{accuracy['value']:.3f} ({low:.2f}–{high:.2f})" in out
    assert (tmp_path / "here" / "report.html").is_file()
    assert "Report: here/report.html" in err
    assert "Report" not in out


def test_json_on_stdout_is_json_and_nothing_else(run, predictions, table, tmp_path):
    code, out, _ = run(predictions, "--format", "json", "--no-report", "--bootstrap", 100)
    assert code == 0
    # The table went through text with six digits; counts and shares do not feel it.
    expected = evaluate(table, n_bootstrap=100).to_json()
    assert json.loads(out)["confusion"] == expected["confusion"]
    assert json.loads(out)["by_class"]["SCC"]["recall"] == expected["by_class"]["SCC"]["recall"]
    assert not (tmp_path / "report").exists()


def test_answers_of_predict_are_scored_against_a_truth_file(run, tmp_path):
    (tmp_path / "answers.csv").write_text(
        "file,label,verdict,probability_BCC,probability_SCC,probability_Normal,scope,views,"
        "elapsed_ms\nx/a.jpg,BCC,confident,0.8,0.1,0.1,0.9,1,3\nx/b.jpg,BCC,confident,0.6,0.3,0.1,"
        "0.9,1,3\nx/c.jpg,BCC,confident,0.6,0.3,0.1,0.9,1,3\n"
    )
    (tmp_path / "truth.csv").write_text("file,y_true\na.jpg,BCC\nb.jpg,SCC\n")
    code, out, err = run(
        "answers.csv", "--truth", "truth.csv", "--no-report", "--format", "json",
        "--bootstrap", 100,
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert "1 of the answers have no truth" in err


def test_tables_are_compared_side_by_side(run, predictions, tmp_path):
    make_table(np.random.default_rng(8), skill=1.0).save(tmp_path / "other.csv")
    code, out, _ = run(
        predictions, "--compare", "plain recipe=other.csv", "--no-report", "--bootstrap", 100
    )
    assert code == 0
    header = next(line for line in out.splitlines() if "plain recipe" in line)
    assert "lens" in header


def test_verdicts_and_sets_of_a_table_are_printed_and_policies_compared(run, table, tmp_path):
    judge_simply(table).save(tmp_path / "balanced.csv")
    judge_simply(table, confident_at=0.8).save(tmp_path / "sensitive.csv")
    table.save(tmp_path / "raw.csv")
    code, out, _ = run(
        "balanced.csv", "--compare", "sensitive=sensitive.csv", "--before", "raw.csv",
        "--bootstrap", 100, "-o", "here",
    )  # fmt: skip
    assert code == 0
    plain = json.loads((tmp_path / "here" / "metrics.json").read_text())
    counts = plain["verdicts"]["by_label"]["MEL"]["counts"]
    melanoma = next(line for line in out.splitlines() if line.strip().startswith("MEL"))
    assert f"0 of {counts['confident']}" in melanoma
    assert "Confident, melanoma" in out
    assert "BCC and SCC that keep the right answer" in out
    assert plain["before"]["overall"] == plain["overall"]
    assert len(plain["selective"]["half"]["curve"]["error"]) == 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], "nowhere.csv: no such file"),
        (["lens.csv", "--truth", "nowhere.csv"], "nowhere.csv: no such file"),
        (["lens.csv", "--compare", "lens.csv"], "NAME=FILE.csv"),
        (["lens.csv", "--compare", "a=nowhere.csv"], "nowhere.csv: no such file"),
        (["lens.csv", "--before", "nowhere.csv"], "nowhere.csv: no such file"),
        (["lens.csv", "--images", "nowhere"], "nowhere"),
        (["lens.csv", "--bootstrap", "5"], "100"),
        (["lens.csv", "--reference", "hearsay"], "paper"),
        (["lens.csv", "-o", "lens.csv", "--bootstrap", "100"], "lens.csv"),
    ],
)
def test_bad_usage_exits_2_and_names_what_is_wrong(run, predictions, arguments, words):
    code, out, err = run(*arguments)
    assert code == 2
    assert words in err
    assert out == ""


def test_help_teaches_with_examples(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "--compare paper=paper.csv" in " ".join(out.split())
