"""Runs by Ray, the processes behind them, and readers for tests that do something to a run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from lesionlens.bundle import Bundle
from lesionlens.screening.items import Item
from lesionlens.screening.job import Job
from lesionlens.screening.progress import Listener, Meter, Pause, Stop
from lesionlens.screening.ray_engine import RayOptions, run_ray
from lesionlens.screening.reading import Reading, read_item
from lesionlens.screening.settings import make_settings
from lesionlens.screening.worker_process import Setup
from lesionlens.screening.writing import RunFacts, Totals, finish

PLAIN = "lesionlens.screening.reading:read_item"
SLOW = "screening_kit_ray:read_slowly"


def run_by_ray(
    out: Path,
    bundle: Bundle,
    items: Iterable[Item | Pause],
    *,
    workers: int = 2,
    reader: str = PLAIN,
    timeout_s: float = 30.0,
    address: str = "",
    stop: Stop | None = None,
    listener: Listener = lambda snapshot: None,
) -> Totals:
    """Run a job with the Ray engine; the counterpart of ``screening_kit.run``."""
    stop = stop or Stop()
    chosen = make_settings(bundle, ["photos"], policy="balanced", gate=False, views=1)
    with Job(out, chosen) as job:
        meter = Meter(job.n_done)
        setup = Setup(bundle, "balanced", 1, False, (), reader=reader)
        options = RayOptions(workers, timeout_s=timeout_s, address=address)
        run_ray(job, job.pending(items), setup, options, meter=meter, stop=stop, listener=listener)
        return finish(job, RunFacts("ray", workers, meter.tally.n, meter.seconds, False))


def processes(*, title: str) -> list[Any]:
    """Those below this process whose title begins so: Ray gives each of its own one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(title):
                found.append(process)
        except psutil.Error:  # it has just ended
            continue
    return found


def actors() -> list[Any]:
    """Processes of the pool's actors."""
    return processes(title="ray::MapWorker")


def read_slowly(item: Item) -> Reading:
    time.sleep(0.02)
    return read_item(item)


def read_first_half(item: Item) -> Reading:
    """Read those of the first 200 files of a folder, and wait at any other for what is to come."""
    if item.uri >= "00200":
        time.sleep(3600)
    return read_item(item)


def read_and_sign(item: Item) -> Reading:
    """Read an item, and leave a file that is named for the process that does so.

    The first waits for a second, so that one that starts late has its share.
    """
    signed = Path(item.location).parent.with_name("signed")
    signed.joinpath(str(os.getpid())).touch()
    until = time.monotonic() + 20
    while len(list(signed.iterdir())) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    return read_item(item)
