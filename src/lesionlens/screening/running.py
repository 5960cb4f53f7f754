"""A bulk run from its source to its results: engine, count beside it, ending."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlens.errors import LesionLensError
from lesionlens.files import check_free_space
from lesionlens.screening.items import Item
from lesionlens.screening.job import Job
from lesionlens.screening.local import LocalOptions, run_local
from lesionlens.screening.progress import Listener, Meter, Pause, Snapshot, Stop
from lesionlens.screening.settings import Settings
from lesionlens.screening.watching import watch
from lesionlens.screening.worker_process import Setup
from lesionlens.screening.writing import RunFacts, Totals, finish

if TYPE_CHECKING:
    from lesionlens.bundle import Bundle
    from lesionlens.screening.sources import ImageSource

#: Free disk that a run wants to see before it begins.
_LEAST_FREE_BYTES = 50_000_000
#: While watching, results are written anew when this many times of what it took have passed.
_FINISH_SHARE = 20


@dataclass(frozen=True)
class Plan:
    """What is to be run, where, and by how many."""

    directory: Path  # the run folder
    settings: Settings
    bundle: Bundle
    workers: int
    engine: str = "local"  # or "ray"
    ray_address: str = ""  # of a cluster; empty: Ray on this machine
    timeout_s: float = 30.0  # that an image may take
    limit: int | None = None  # images, at most
    is_restart: bool = False  # throw away what is there
    is_retry: bool = False  # judge again what failed before
    is_watching: bool = False  # go on as files arrive
    formats: tuple[str, ...] = ()  # some of formats.FORMATS, to be written, too


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    totals: Totals  # of the run folder
    n: int  # images done in this run
    n_before: int
    seconds: float
    was_stopped: bool


def run(
    plan: Plan,
    source: ImageSource,
    *,
    stop: Stop,
    listener: Listener,
    note: Callable[[str], None],
) -> Outcome:
    """Judge what a source has and a run folder lacks, and write results.

    Args:
        plan: what is to be run.
        source: where the images are.
        stop: ends it early, with what is running finished and results written.
        listener: told how it goes.
        note: told what a person should know.

    Raises:
        LesionLensError: the run cannot begin, or cannot go on. What was finished is kept.
    """
    check_free_space(plan.directory, _LEAST_FREE_BYTES)
    settings = plan.settings
    with Job(
        plan.directory, settings, restart=plan.is_restart, retry=plan.is_retry, wait=note
    ) as job:
        if job.n_damaged:
            note(
                f"{job.n_damaged:,} damaged chunks were thrown away; their images are judged again"
            )
        if job.n_done:
            note(f"{plan.directory}: {job.n_done:,} images are done already; going on")
        meter = Meter(job.n_done)
        ending = _Ending(plan, job, meter, stop)
        setup = Setup(plan.bundle, settings.policy, settings.views, settings.gate, settings.keep)
        if not plan.is_watching:
            _count_beside(job, source, plan.limit, meter)
        looks = watch(source, stop) if plan.is_watching else source
        items = _limited(job.pending(looks), plan.limit, ending)
        try:
            _engine(plan)(
                job,
                items,
                setup,
                meter=meter,
                stop=stop,
                listener=ending.beside(listener) if plan.is_watching else listener,
            )
        except LesionLensError as error:
            raise LesionLensError(
                f"{error}. {job.n_done + meter.tally.n:,} images are done and kept; run the same "
                "command again to go on"
            ) from error
        totals = ending.write()
        if plan.formats:
            from lesionlens.screening.formats import write_formats

            write_formats(
                job, source, plan.formats, plan.bundle.spec, note=note, workers=plan.workers
            )
        if job.n_twice:
            note(f"{job.n_twice:,} images have a name that came before, and were not judged again")
        return Outcome(totals, meter.tally.n, job.n_done, meter.seconds, stop.is_requested)


def _engine(plan: Plan) -> Callable[..., None]:
    """Return what judges: ``local.run_local`` or ``ray_engine.run_ray`` with its options."""
    if plan.engine == "ray":
        from lesionlens.screening.ray_engine import RayOptions, run_ray

        return partial(
            run_ray,
            options=RayOptions(plan.workers, timeout_s=plan.timeout_s, address=plan.ray_address),
        )
    return partial(run_local, options=LocalOptions(plan.workers, timeout_s=plan.timeout_s))


class _Ending:
    """Writes results: at the end, and now and then while a run watches for more."""

    def __init__(self, plan: Plan, job: Job, meter: Meter, stop: Stop) -> None:
        self.plan, self.job, self.meter, self.stop = plan, job, meter, stop
        self.is_limited = False
        self._n_written = -1
        self._next = 0.0

    def write(self) -> Totals:
        """Write results of all that is done."""
        is_cut = self.stop.is_requested or self.is_limited
        began = self.meter.seconds
        facts = RunFacts(self.plan.engine, self.plan.workers, self.meter.tally.n, began, is_cut)
        totals = finish(self.job, facts)
        self._n_written = self.meter.tally.n
        self._next = self.meter.seconds + _FINISH_SHARE * (self.meter.seconds - began)
        return totals

    def beside(self, listener: Listener) -> Listener:
        """Return a listener that also writes results whenever nothing is running."""

        def listen(snapshot: Snapshot) -> None:
            listener(snapshot)
            n = self.meter.tally.n
            is_idle = snapshot.n_done == n
            if is_idle and n != self._n_written and self.meter.seconds >= self._next:
                self.write()

        return listen


def _limited(
    items: Iterable[Item | Pause], limit: int | None, ending: _Ending
) -> Iterator[Item | Pause]:
    """Yield no more than ``limit`` items, and say so if there were more."""
    n = 0
    for item in items:
        if limit is not None and isinstance(item, Item):
            if n == limit:
                ending.is_limited = True
                return
            n += 1
        yield item


def _count_beside(job: Job, source: ImageSource, limit: int | None, meter: Meter) -> None:
    """Count in a thread what there is to do, for the time left."""

    def count() -> None:
        try:
            n = source.count(job.is_to_do)
        except LesionLensError:  # whoever judges comes by the same, and tells
            return
        if n is not None:
            meter.n_total = n if limit is None else min(n, limit)

    threading.Thread(target=count, name="lesionlens-count", daemon=True).start()
