"""Measure what an image costs, stage by stage; prints the tables of docs/scale.md.

    python benchmarks/scale.py [--n 60] [--views 10] [--model BUNDLE]

Times are CPU time of one thread (``thread_time``), which other work on the machine stretches much
less than it does wall-clock time; medians over eights, as a worker judges them, of ``--n`` drawn
JPEGs a size. Reading is from the page cache: what a disk or a network adds is the bandwidth that
the last table asks for. The driver's cost of a chunk is what ``ray_engine`` does in its one
process: take and pickle 256 items, write and count what comes back.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import thread_time

SIZES = ((600, 450), (1024, 768), (4000, 3000))
N_IMAGES = 10_000_000
#: Name and cores at work.
PLACES = (("one machine of 64 cores", 64), ("20 nodes of 16 cores", 320))
CHUNK_ITEMS = 256
#: Columns of a row that hardly two images have the same number in.
DIFFERENT = ("probability_BCC", "probability_SCC", "probability_Normal", "scope", "risk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=60, help="images of each size")
    parser.add_argument("--views", type=int, help="views of each, if not what the model advises")
    parser.add_argument("--model", help="bundle folder, if not the shipped one")
    options = parser.parse_args()
    from lesionlens.bundle import load_bundle
    from lesionlens.classifier import Classifier

    bundle = load_bundle(options.model)
    classifier = Classifier(bundle, views=options.views, threads=1)
    print(f"model {bundle.spec.sha256[:12]}, {classifier.views} views\n")
    print("| image | file, kB | read and hash | decode | views and model | judge | all, CPU ms |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        for size_px in SIZES:
            kilobytes, stages, records = _cost(Path(folder), size_px, options.n, classifier)
            costs[size_px] = (sum(stages), kilobytes)
            cells = " | ".join(f"{ms:.1f}" for ms in stages)
            name = f"{size_px[0]}x{size_px[1]}"
            print(f"| {name} | {kilobytes:,.0f} | {cells} | {sum(stages):.1f} |")
        worker_ms, driver_ms, row_bytes = _chunk_cost(Path(folder), records)
    print(
        f"\na chunk of {CHUNK_ITEMS}: {worker_ms:.1f} ms of a worker to make Parquet of it, "
        f"{driver_ms:.1f} ms of the driver to hand it out, write and count it; "
        f"{row_bytes:.0f} bytes a row\n"
    )
    print(f"| {N_IMAGES / 1e6:g} million | where | hours | images/s | MB/s to read | driver busy |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for size_px, (image_ms, kilobytes) in costs.items():
        for place, cores in PLACES:
            rate = cores / (image_ms + worker_ms / CHUNK_ITEMS) * 1e3
            busy = rate / CHUNK_ITEMS * driver_ms / 1e3
            print(
                f"| {size_px[0]}x{size_px[1]} | {place} | {N_IMAGES / rate / 3600:.1f} | "
                f"{rate:,.0f} | {rate * kilobytes / 1e3:,.0f} | {busy:.1%} |"
            )


def _cost(folder: Path, size_px: tuple[int, int], n: int, classifier):
    """Return kilobytes a file, CPU milliseconds of each stage (medians), and the records."""
    import numpy as np

    from lesionlens.classifier import TOGETHER
    from lesionlens.imaging import load_pixels
    from lesionlens.phantoms import random_frames, save
    from lesionlens.screening.items import Item
    from lesionlens.screening.reading import read_item
    from lesionlens.screening.worker import judge_items

    rng = np.random.default_rng(0)
    n_drawn = min(n, 12)  # large ones take seconds to draw
    paths = [
        save(image, folder / f"{size_px[0]}-{index}.jpg")
        for index, (_, image) in enumerate(random_frames(n_drawn, rng=rng, size_px=size_px))
    ]
    items = [Item(path.name, str(path)) for path in paths]
    spent: list[tuple[float, ...]] = []
    for start in range(0, n + TOGETHER, TOGETHER):
        few = [items[index % n_drawn] for index in range(start, start + TOGETHER)]
        marks = [thread_time()]
        readings = [read_item(item) for item in few]
        marks.append(thread_time())
        pixels = [load_pixels(one.source, size_px=classifier.spec.input_px) for one in readings]
        marks.append(thread_time())
        answers = classifier.predict(pixels)
        marks.append(thread_time())
        # Within an answer only wall-clock time is told: its share of it is taken.
        stages = [answer.stage_ms for answer in answers]
        network = sum(stage["views"] + stage["model"] for stage in stages)
        share = network / (network + sum(stage["judge"] for stage in stages))
        read, decode, rest = ((after - before) * 1e3 for before, after in pairwise(marks))
        spent.append(tuple(t / TOGETHER for t in (read, decode, rest * share, rest * (1 - share))))
    warm = spent[1:]
    kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1e3
    records = judge_items(items, classifier)
    return kilobytes, [median(column) for column in zip(*warm, strict=True)], records


def _chunk_cost(folder: Path, records) -> tuple[float, float, float]:
    """Return CPU milliseconds of worker and driver a chunk, and bytes a row of the Parquet."""
    from dataclasses import replace

    import numpy as np

    from lesionlens.files import atomic_write
    from lesionlens.screening.items import TIMING_COLUMNS, Item, key_of
    from lesionlens.screening.progress import Tally
    from lesionlens.screening.writing import write_chunk

    rng = np.random.default_rng(0)
    many = [  # as little alike as rows of a real archive: what repeats, Parquet does not write
        replace(
            records[index % len(records)],
            uri=f"archive/part-{index % 7}/ISIC_{rng.integers(10**7):07}.jpg",
            sha256=rng.bytes(32).hex(),
            **{name: rng.random() for name in (*DIFFERENT, *TIMING_COLUMNS[:-1])},
        )
        for index in range(CHUNK_ITEMS)
    ]
    items = [Item(record.uri, f"/data/{record.uri}") for record in many]
    path, out = folder / "chunk.parquet", folder / "written.parquet"
    of_worker, of_driver = [], []
    for _ in range(20):
        began = thread_time()
        write_chunk(path, many, 1)
        tally = pickle.dumps(Tally.of(many))
        of_worker.append((thread_time() - began) * 1e3)
        content = path.read_bytes()
        total = Tally()
        began = thread_time()
        known = {key_of(item.name) for item in items}
        pickle.dumps((1, items))
        with atomic_write(out, "wb") as file:
            file.write(content)
        total.add(pickle.loads(tally))
        of_driver.append((thread_time() - began) * 1e3)
        assert len(known) == total.n == CHUNK_ITEMS
    return median(of_worker), median(of_driver), len(content) / CHUNK_ITEMS


if __name__ == "__main__":
    main()
