"""Many clients at once: no answer is wrong and none is lost. benchmarks/serve.py, in small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the server: pip install -e '.[serve]'")

import tiny_model

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "serve.py"


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARK.is_file(), reason="a source archive has no benchmarks")
def test_sixteen_clients_get_all_their_answers_and_all_of_them_right(tmp_path: Path) -> None:
    bundle = tiny_model.write(tmp_path / "bundle").directory
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--requests", "1500", "--peak", "500", "--photos", "9"],
        env={**os.environ, "LESIONLENS_MODEL": str(bundle)},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| wrong or lost of 2,000 | 0 " in done.stdout
    assert "| exit code after SIGTERM | 0 |" in done.stdout
