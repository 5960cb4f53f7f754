"""Every script of examples/ runs and says what it promises."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tiny_model
from lesionlens import phantoms
from lesionlens.bundle import load_bundle
from lesionlens.verdicts import VERDICTS

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *arguments: object, model: Path | None = None) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "LESIONLENS_MODEL"}
    if model is not None:
        environment["LESIONLENS_MODEL"] = str(model)
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(params=["tiny", "shipped"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A bundle built in code, and the shipped one where there is one."""
    if request.param == "shipped":
        return request.getfixturevalue("shipped_bundle")
    return tiny_model.write(tmp_path / "bundle").directory


def test_a_folder_is_classified_and_a_bad_file_is_told(bundle: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    phantoms.write_samples(photos, np.random.default_rng(0), size_px=(160, 120))
    (photos / "broken.jpg").write_text("no image")
    done = run("classify_folder.py", photos, model=bundle)
    lines = done.stdout.splitlines()
    assert len(lines) == len(phantoms.KINDS)
    for line in lines:
        said, verdict = line.rsplit(", ", 1)
        assert re.fullmatch(r"drawn-\w+\.jpg: (BCC|SCC|Normal) \d+%, in scope \d+%", said)
        assert verdict in VERDICTS
    assert "broken.jpg: is not an image" in done.stderr


def test_all_outputs_of_a_model_are_shown_and_sum_to_1(bundle: Path, phantom_jpeg: Path) -> None:
    done = run("joint_probabilities.py", phantom_jpeg, model=bundle)
    rows = re.findall(r"^[* ] +([\d.]+)%  (.+)$", done.stdout, re.MULTILINE)
    assert len(rows) == len(load_bundle(bundle).spec.labels)
    assert sum(float(share) for share, _ in rows) == pytest.approx(100, abs=0.5)
    assert "if it is one of the three" in done.stdout


def test_a_table_of_ones_own_is_scored_with_intervals(tmp_path: Path) -> None:
    made_up = run("score_your_model.py").stdout
    assert "120 images of 60 lesions or patients" in made_up
    table = tmp_path / "mine.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        names = [f"probability_{name}" for name in ("BCC", "SCC", "Normal")]
        rows.writerow(["image_id", "y_true", *names])
        rows.writerows([[f"a{i}", "BCC", 0.8, 0.1, 0.1] for i in range(10)])
        rows.writerows([[f"b{i}", "SCC", 0.7, 0.2, 0.1] for i in range(10)])
        rows.writerows([[f"c{i}", "Normal", 0.1, 0.1, 0.8] for i in range(10)])
    mine = run("score_your_model.py", table).stdout
    assert "accuracy: 0.667 (0.488 to 0.808, Wilson score, 30 images)" in mine
    assert "recall of SCC: 0.000 (0.000 to 0.278, Wilson score, 10 images)" in mine


def test_a_leak_that_was_made_is_found() -> None:
    done = run("audit_a_split.py")
    assert "drawn, not photographed" in done.stdout
    assert "honest: True, leaks: 0\n" in done.stdout
    assert re.search(r"moved: honest: False, leaks: [1-9]", done.stdout)
    assert "lesion DRAWN_" in done.stdout


def test_no_example_is_left_out() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f'"{path.name}"' in here
