"""A few of the damaged inputs, and that the harness would see what it looks for."""

from __future__ import annotations

from pathlib import Path

import decoders
import numpy as np
import pytest
from mutations import mutate
from seeds import make_seeds

pytest.importorskip("pydicom")


def test_undamaged_seeds_are_read_but_for_those_with_several_frames(tmp_path: Path) -> None:
    path = tmp_path / "input"
    for name, content in make_seeds(tmp_path).items():
        path.write_bytes(content)
        several = name in ("apng", "webp_animated", "tiff_pages")
        assert decoders.look(path, content) == ("animated" if several else "answered", ""), name


def test_an_input_is_known_by_its_number(tmp_path: Path) -> None:
    first, second = (
        [mutate(list(seeds.values()), np.random.default_rng([0, number])) for number in range(40)]
        for seeds in (make_seeds(tmp_path), make_seeds(tmp_path.parent))
    )
    assert first == second
    assert len(set(first)) == 40
    assert make_seeds(tmp_path) == make_seeds(tmp_path.parent)  # wherever they are made
    assert not set(first) & set(make_seeds(tmp_path).values())


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("raise KeyError('pixels')", "wrong"),
        ("while True: pass", "hung"),
        ("import os; os.kill(os.getpid(), 11)", "crashed"),
        ("import numpy; numpy.ones(80_000_000)", "memory"),
    ],
)
def test_what_is_looked_for_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, what: str
) -> None:
    """Each with a reader that does it to the second of three inputs."""
    (tmp_path / "sitecustomize.py").write_text(
        "import lesionlens.screening.reading as reading\n"
        "read, n = reading.read_item, 0\n"
        "def read_item(item):\n"
        "    global n\n"
        "    n += 1\n"
        f"    if n == 2:\n        {fault}\n"
        "    return read(item)\n"
        "reading.read_item = read_item\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    outcome = decoders.fuzz(0, 100, 3, keep=tmp_path / "kept")
    assert [finding["what"] for finding in outcome["findings"]] == [what]
    assert sum(outcome["outcomes"].values()) == 3
    assert [path.name.split("-")[0] for path in (tmp_path / "kept").iterdir()] == [what]


@pytest.mark.slow
def test_damaged_files_do_no_harm() -> None:
    outcome = decoders.fuzz(20, 0, 2000)
    assert outcome["findings"] == []
    assert outcome["outcomes"]["answered"] > 50
    assert outcome["peak_mb"] < decoders.MOST_MB
