"""benchmarks/bulk.py measures what it says, on a few images and without the others' libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "bulk.py"


@pytest.mark.slow
def test_a_quick_run_fills_every_table(tmp_path: Path) -> None:
    kept = tmp_path / "figures.json"
    run = subprocess.run(
        [sys.executable, SCRIPT, "--quick", "--against", "threads", "--only", "speed,start,memory",
         "--json", kept],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    figures = json.loads(kept.read_text())
    for turns in figures["speed"].values():
        for turn in turns:
            assert set(turn["rates"]) == {"ours 2", "ours 1", "threads"}
            # Engines and numbers of workers change no answer.
            assert set(turn["same"].values()) == {1.0}
            assert all(milliseconds > 0 for milliseconds in turn["stages"].values())
    assert all(0 < seconds < 120 for seconds in figures["start"])
    assert all(50 < megabytes < 2000 for megabytes in figures["memory"].values())
    for words in ("of the roofline", "2 workers against 1", "first rows", "growth"):
        assert words in run.stdout
