"""Measure how fast an archive becomes a cache, and whether threads or processes should do it.

    python benchmarks/prepare.py FOLDER [FOLDER ...]

Each folder of images is decoded and hashed by one thread, by threads and by processes (one per
core), then prepared twice into a temporary cache: from nothing, and with nothing to do. The
files are read once before, so that the disk does not decide.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from lesionlens.data.manifest import find_images
from lesionlens.data.prepare import prepare_cache
from lesionlens.imaging import load_pixels
from lesionlens.labels import Label
from lesionlens.records import Frame


def decode(path: Path) -> tuple[str, bytes]:
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), load_pixels(content).rgb.tobytes()


def rate(n_images: int, job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return n_images / (time.perf_counter() - start)


def drain(executor: Executor, paths: list[Path]) -> None:
    with executor:
        for _ in executor.map(decode, paths, chunksize=32):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=3000, help="images of each folder")
    arguments = parser.parse_args()
    cores = os.cpu_count() or 1
    print(f"images a second, {cores} cores")
    print(
        f"{'folder':<30}{'n':>6}{'serial':>9}{'threads':>9}{'processes':>11}{'cache':>8}{'again':>9}"
    )
    for folder in arguments.folders:
        paths = find_images(folder)[: arguments.limit]
        frames = [Frame(path.stem, path, Label.UNK) for path in paths]
        for path in paths:
            path.read_bytes()
        n = len(paths)
        serial = rate(n, lambda paths=paths: [decode(path) for path in paths])
        threads = rate(n, lambda paths=paths: drain(ThreadPoolExecutor(cores), paths))
        processes = rate(n, lambda paths=paths: drain(ProcessPoolExecutor(cores), paths))
        with tempfile.TemporaryDirectory() as cache:
            job = lambda frames=frames, cache=cache: prepare_cache(frames, cache)  # noqa: E731
            first, again = rate(n, job), rate(n, job)
        print(
            f"{folder.name:<30}{n:>6}{serial:>9.0f}{threads:>9.0f}{processes:>11.0f}"
            f"{first:>8.0f}{again:>9.0f}"
        )


if __name__ == "__main__":
    main()
