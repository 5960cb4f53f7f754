"""Folders of drawn images, runs over them, and a reader that does what damaged files may do."""

from __future__ import annotations

import ctypes
import io
import os
import re
import signal
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from lesionlens.bundle import Bundle
from lesionlens.screening.items import TIMING_COLUMNS, Item
from lesionlens.screening.job import Job
from lesionlens.screening.local import LocalOptions, run_local
from lesionlens.screening.progress import Listener, Meter, Pause, Stop
from lesionlens.screening.reading import Reading, read_item
from lesionlens.screening.settings import make_settings
from lesionlens.screening.worker_process import Setup
from lesionlens.screening.writing import RunFacts, Totals, finish


def write_photos(folder: Path, n: int, *, size_px: tuple[int, int] = (64, 48)) -> Path:
    """Write ``n`` small JPEGs, each of another colour."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    for index in range(n):
        pixels = np.empty((size_px[1], size_px[0], 3), np.uint8)
        pixels[:] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(folder / f"{index:05}.jpg", quality=90)
    return folder


def zipped(photos: dict[str, bytes]) -> bytes:
    """A ZIP of these files by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in photos.items():
            archive.writestr(name, content)
    return stream.getvalue()


def items_in(folder: Path) -> list[Item]:
    return [Item(path.name, str(path)) for path in sorted(folder.iterdir())]


def run(
    out: Path,
    bundle: Bundle,
    items: Iterable[Item | Pause],
    *,
    workers: int = 2,
    reader: str = "lesionlens.screening.reading:read_item",
    timeout_s: float = 30.0,
    memory_bytes: int = 2 << 30,
    n_total: int | None = None,
    stop: Stop | None = None,
    listener: Listener = lambda snapshot: None,
    **settings: Any,
) -> Totals:
    """Run a job with the local engine, as the verb does, to its end."""
    stop = stop or Stop()
    # Images of one colour are no photos to be proud of: the gate stays open.
    settings = {"policy": "balanced", "gate": False, "views": 1, **settings}
    chosen = make_settings(bundle, ["photos"], **settings)
    with Job(out, chosen) as job:
        meter = Meter(job.n_done)
        meter.n_total = n_total
        setup = Setup(
            bundle, chosen.policy, chosen.views, chosen.gate, chosen.keep, memory_bytes, reader
        )
        options = LocalOptions(workers, timeout_s=timeout_s)
        run_local(
            job, job.pending(items), setup, options, meter=meter, stop=stop, listener=listener
        )
        return finish(
            job, RunFacts("local", workers, meter.tally.n, meter.seconds, stop.is_requested)
        )


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The rows of a run sorted by name, without what differs from run to run."""
    table = pq.read_table(out / "results.parquet").drop_columns(list(TIMING_COLUMNS))
    return sorted(table.to_pylist(), key=lambda row: row["uri"])


def errors_of(out: Path) -> list[str]:
    """The lines of errors.csv, sorted; none where there is no such file."""
    path = out / "errors.csv"
    return sorted(path.read_text().splitlines()[1:]) if path.exists() else []


def read_badly(item: Item) -> Reading:
    """Read an item, unless its name says what is to happen instead."""
    match item.uri.partition(".")[0].partition("-")[0]:
        case "segfault":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "leave":
            os._exit(3)
        case "hang":
            _note_hanging(item)
            time.sleep(3600)
        case "spin":  # and never lets another thread of the interpreter run
            _note_hanging(item)
            re.match(r"(a+)+b", "a" * 60)
        case "eat":
            np.ones(1 << 33, np.uint8)
        case "once":  # as if the system had killed it for another's sake
            trace = Path(item.location).with_suffix(".trace")
            if not trace.exists():
                trace.touch()
                os.kill(os.getpid(), signal.SIGKILL)
    return read_item(item)


def _note_hanging(item: Item) -> None:
    folder = Path(item.location).parent.with_name("hanging")
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()


def hanging(photos: Path) -> list[int]:
    """The processes, alive or not, in which an item of the folder ``photos`` hangs or hung."""
    folder = photos.with_name("hanging")
    return [int(path.name) for path in folder.iterdir()] if folder.exists() else []
