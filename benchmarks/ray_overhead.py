"""Measure what the Ray engine costs beyond the local one; prints a row of a Markdown table.

    python benchmarks/ray_overhead.py [--n 20000] [--runs 3] [--workers 2]

Both screen the same folder by the command line, from start to results, in turn: a busy machine
slows both. Medians. The folder has ``--n`` names of 300 drawn JPEGs of 600 x 450 (hard links); the
two runs' rows are compared, all columns but times and chunk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

N_DRAWN = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=20_000, help="images")
    parser.add_argument("--runs", type=int, default=3, help="runs of each engine")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"local": [], "ray": []}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        _draw(root / "photos", options.n)
        print(f"load before: {os.getloadavg()[0]:.1f}", file=sys.stderr)
        for index in range(options.runs):
            for engine, spent in seconds.items():
                spent.append(_screen(root, engine, f"{engine}-{index}", options.workers))
                print(f"{engine}: {spent[-1]:.1f} s", file=sys.stderr)
        rows = [_rows(root / f"{engine}-0" / "results.parquet") for engine in seconds]
    if rows[0] != rows[1]:
        sys.exit("the engines' rows differ")
    local, ray = (median(spent) for spent in seconds.values())
    paired = median(b / a for a, b in zip(seconds["local"], seconds["ray"], strict=True))
    print("| images of 600x450 | workers | local, s | Ray, s | overhead, median of pairs |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    print(f"| {options.n:,} | {options.workers} | {local:.1f} | {ray:.1f} | {paired - 1:+.1%} |")


def _draw(folder: Path, n: int) -> None:
    import numpy as np

    from lesionlens.phantoms import random_frames, save

    folder.mkdir()
    rng = np.random.default_rng(0)
    drawn = [
        save(image, folder / f"{index:06}.jpg")
        for index, (_, image) in enumerate(random_frames(min(n, N_DRAWN), rng=rng))
    ]
    for index in range(len(drawn), n):
        os.link(drawn[index % len(drawn)], folder / f"{index:06}.jpg")


def _screen(root: Path, engine: str, name: str, workers: int) -> float:
    """Return the seconds that ``lesionlens screen`` takes."""
    began = perf_counter()
    subprocess.run(
        [
            sys.executable, "-m", "lesionlens", "screen", root / "photos", "-o", root / name,
            "--engine", engine, "--workers", str(workers), "--views", "1", "--no-review", "--quiet",
        ],
        check=True,
    )  # fmt: skip
    return perf_counter() - began


def _rows(path: Path) -> list[dict]:
    import pyarrow.parquet as pq

    from lesionlens.screening.items import TIMING_COLUMNS

    table = pq.read_table(path).drop_columns(list(TIMING_COLUMNS))
    return table.sort_by("uri").to_pylist()


if __name__ == "__main__":
    main()
