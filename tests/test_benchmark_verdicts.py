"""What benchmarks/verdicts.py says a threshold costs is what the table's own verdicts cost."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionlens.confidence import is_unrivalled, top_in_scope
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.metrics import evaluate
from lesionlens.prediction_table import PredictionTable
from synthetic_predictions import make_table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
verdicts = pytest.importorskip("verdicts")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "N_BOOTSTRAP", 100)


def judged(*, poor: int = 0) -> PredictionTable:
    """Return a table judged at 0.7; its first ``poor`` images of BCC failed the quality gate."""
    table = make_table(np.random.default_rng(5))
    sets = table.joint_in_scope >= 0.2
    confident = is_unrivalled(table.joint, table.labels, sets)
    confident &= top_in_scope(table.joint, table.labels)[1] >= 0.7
    said = [
        "confident" if sure else "uncertain" if members.any() else "out_of_scope"
        for sure, members in zip(confident, sets, strict=True)
    ]
    for row in [k for k, label in enumerate(table.y_true) if label is Label.BCC][:poor]:
        said[row] = "poor_image"
    return replace(table, verdicts=tuple(said), sets=sets)


def cells(text: str, first: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def share(cell: str) -> float:
    return float(re.match(r"([\d.]+) %", cell).group(1)) / 100  # type: ignore[union-attr]


@pytest.mark.parametrize("poor", [0, 40])
def test_the_row_of_the_threshold_in_use_is_what_the_verdicts_say(poor: int) -> None:
    table = judged(poor=poor)
    found = evaluate(table, n_bootstrap=100)
    row = cells(verdicts.thresholds_table(table), "0.70")
    by_label = found.judgement.verdicts.by_label
    for cell, label in zip(row[1:4], IN_SCOPE, strict=True):
        assert share(cell) == pytest.approx(by_label[label].shares["confident"].value, abs=6e-4)
    others = found.judgement.verdicts.other_lesions.shares["confident"].value
    assert share(row[4]) == pytest.approx(others, abs=6e-4)
    wrong = found.selective.closed.confident_error.value
    assert share(row[-2]) == pytest.approx(wrong, abs=6e-4)
    assert share(row[-1]) == pytest.approx(found.selective.half.confident_error.value, abs=6e-4)


def test_a_higher_threshold_never_gives_more_confident_answers() -> None:
    text = verdicts.thresholds_table(judged())
    found = [share(cells(text, f"{at:.2f}")[1]) for at in verdicts.THRESHOLDS]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_poor_photos_have_a_column_where_there_are_any() -> None:
    without = verdicts.verdicts_table("balanced", evaluate(judged(), n_bootstrap=100))
    assert "| `poor_image` |" not in without
    assert "the quality gate was not asked" in without
    table = judged(poor=40)
    text = verdicts.verdicts_table("balanced", evaluate(table, n_bootstrap=100))
    assert "| `out_of_scope` | `poor_image` |" in text
    n_bcc = table.y_true.count(Label.BCC)
    row = cells(text, "Basal cell carcinoma")
    assert share(row[-1]) == pytest.approx(40 / n_bcc, abs=6e-4)
    assert sum(map(share, (row[2], *row[-3:]))) == pytest.approx(1, abs=2e-3)


def test_a_lesion_of_many_images_counts_once_in_the_coverage_by_lesion() -> None:
    # Nine images of one lesion are covered, the one image of another is not.
    n = 10
    table = PredictionTable(
        image_ids=tuple(f"i{k}" for k in range(n)),
        groups=("one",) * 9 + ("two",),
        sources=("",) * n,
        y_true=(Label.BCC,) * n,
        labels=IN_SCOPE,
        joint=np.tile([0.8, 0.1, 0.1], (n, 1)),
        verdicts=("uncertain",) * n,
        sets=np.array([[True, False, False]] * 9 + [[False, False, False]]),
    )
    assert verdicts.coverage_by_group(table)[Label.BCC].value == pytest.approx(0.5)


def test_a_table_without_verdicts_is_refused() -> None:
    bare = evaluate(make_table(np.random.default_rng(0)), n_bootstrap=100)
    with pytest.raises(SystemExit, match="hold no verdicts"):
        verdicts.verdicts_table("balanced", bare)
