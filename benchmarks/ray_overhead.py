"""Measure what the Ray engine costs beyond the local one; prints a Markdown table.

    python benchmarks/ray_overhead.py [--n 20000] [--pairs 1] [--workers 2] [--views N]

A pair is both engines by the command line over one folder, one after the other, local first in
every other pair. Two clocks, the same for both:

- whole: from the start of the command to its end, results written. So Ray's start and end are in
  it, and the loading of models.
- steady: from the first chunk on the disk to the last, and the images in between: without starts
  and ends, what Ray adds to each image.

The folder has ``--n`` names of 100 drawn JPEGs of 600 x 450 (hard links). Rows of each pair are
compared, all columns but times and chunk. The table has images a second, medians of the pairs, and
Ray's rate through the local one, the median of the pairs' ratios. On a busy machine, whose load
changes between the two, a single pair says nothing.

With the views that the model advises, 20,000 images at 70 a second take an engine five minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

N_DRAWN = 100
ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Rates:
    """Images a second of a run."""

    whole: float
    steady: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=20_000, help="images (%(default)s)")
    parser.add_argument("--pairs", type=int, default=1, help="runs of each engine (%(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="(all cores)")
    parser.add_argument("--views", type=int, help="an image (as the model advises)")
    options = parser.parse_args()
    pairs: list[dict[str, Rates]] = []
    with tempfile.TemporaryDirectory(prefix="ray-overhead-") as temporary:
        root = Path(temporary)
        _draw(root / "photos", options.n)
        for index in range(options.pairs):
            _tell(f"pair {index + 1} of {options.pairs}; load {os.getloadavg()[0]:.1f}")
            order = ENGINES if index % 2 == 0 else ENGINES[::-1]
            pairs.append({engine: _screen(root / engine, engine, options) for engine in order})
            first, second = (_rows(root / engine / "results.parquet") for engine in ENGINES)
            if not first.equals(second):
                sys.exit("the engines' rows differ")
            for engine in ENGINES:
                shutil.rmtree(root / engine)
    print(f"{options.n:,} images of 600x450, {options.workers} workers, pairs: {options.pairs}\n")
    print("| clock | local, images/s | Ray, images/s | Ray / local |")
    print("| --- | ---: | ---: | ---: |")
    for clock in ("whole", "steady"):
        rates = [[getattr(pair[engine], clock) for engine in ENGINES] for pair in pairs]
        local, ray = (median(column) for column in zip(*rates, strict=True))
        ratio = median(ray / local for local, ray in rates)
        print(f"| {clock} | {local:.1f} | {ray:.1f} | {ratio:.3f} |")


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


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


def _screen(out: Path, engine: str, options: argparse.Namespace) -> Rates:
    """Run ``lesionlens screen`` and return how fast it was."""
    views = [] if options.views is None else ["--views", str(options.views)]
    began = perf_counter()
    subprocess.run(
        [
            sys.executable, "-m", "lesionlens", "screen", out.with_name("photos"), "-o", out,
            "--engine", engine, "--workers", str(options.workers), *views, "--no-review", "--quiet",
        ],
        check=True,
    )  # fmt: skip
    rates = Rates(options.n / (perf_counter() - began), _steady(out / "chunks"))
    _tell(f"  {engine}: whole {rates.whole:.1f} images/s, steady {rates.steady:.1f}")
    return rates


def _steady(chunks: Path) -> float:
    """Return images a second from the first chunk on the disk to the last."""
    import pyarrow.parquet as pq

    paths = sorted(chunks.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    seconds = (paths[-1].stat().st_mtime_ns - paths[0].stat().st_mtime_ns) / 1e9
    return sum(pq.read_metadata(path).num_rows for path in paths[1:]) / seconds


def _rows(path: Path) -> Any:
    """Return the table of results by name, without what differs from run to run."""
    import pyarrow.parquet as pq

    from lesionlens.screening.items import TIMING_COLUMNS

    return pq.read_table(path).drop_columns(list(TIMING_COLUMNS)).sort_by("uri")


if __name__ == "__main__":
    main()
