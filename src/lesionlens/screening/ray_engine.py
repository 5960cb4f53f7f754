"""The Ray engine: the local engine's workers as actors of Ray Data, on one machine or a cluster.

The driver reads the source and cuts it into chunks; actors judge them; Parquet comes back to the
driver, which writes it into the run folder. So nodes need no disk in common for results, and a
run may be stopped, gone on with, and gone on with by the other engine. Rows are the same bit for
bit, failures too.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from lesionlens.errors import LesionLensError
from lesionlens.files import atomic_write
from lesionlens.screening import worker_process as wire
from lesionlens.screening.items import Item
from lesionlens.screening.job import Job
from lesionlens.screening.local import FIRST_ITEMS, MOST_ITEMS, Feed, LocalOptions
from lesionlens.screening.progress import Listener, Meter, Pause, Stop
from lesionlens.screening.ray_cluster import connect, disconnect, first_line, n_cores
from lesionlens.screening.ray_judge import Chunk, Made
from lesionlens.screening.ray_pool import ACTOR_CPUS, CHUNKS_AHEAD, Pool

#: Parts that what is left is cut into for each actor, so that all end at about the same time.
_END_PARTS = 4
_LOOK_S = 0.1
#: So long nothing may come back from a cluster that has become too small.
_PATIENCE_S = 120.0
#: What a chunk may take, as far as that is known: three of an actor's are waited for at the end.
_CHUNK_S = 20.0
#: Pools that may give back nothing, in a row.
_MAX_VAIN = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RayOptions(LocalOptions):
    """How the Ray engine runs, its actors being the workers; nothing of it changes a row."""

    address: str = ""  # of a cluster that this machine is a node of; empty: Ray on this machine


def run_ray(
    job: Job,
    items: Iterable[Item | Pause],
    setup: wire.Setup,
    options: RayOptions,
    *,
    meter: Meter,
    stop: Stop,
    listener: Listener = lambda snapshot: None,
) -> None:
    """Judge items and write them into the chunks of ``job``.

    Takes what ``local.run_local`` takes. Ray is ended, or the cluster left, on return.

    Raises:
        LesionLensError: Ray is missing or cannot be reached, workers do not start, a disk is
            full, the source failed, or the cluster has become too small. What was finished until
            then is kept, and the run can go on from there.
    """
    connect(options.address, cores=max(options.workers, 2))
    feed = Feed(items)
    try:
        _Driver(job, setup, options, meter=meter, stop=stop, listener=listener).run(feed)
    finally:
        feed.close()
        disconnect()


@dataclass(frozen=True)
class _Out:
    """A chunk that is not back yet."""

    chunk: Chunk
    place: int  # in line


class _Driver:
    """The side of the run folder: cuts chunks, hands them to a pool, writes what comes back."""

    def __init__(
        self,
        job: Job,
        setup: wire.Setup,
        options: RayOptions,
        *,
        meter: Meter,
        stop: Stop,
        listener: Listener,
    ) -> None:
        self.job, self.setup, self.options = job, setup, options
        self.meter, self.stop, self.listener = meter, stop, listener
        self.out: dict[int, _Out] = {}  # by number of the chunk
        self.n_chunks = 0
        self.seconds_per_item = 0.0

    def run(self, feed: Feed) -> None:
        """Work until the feed is at its end, or the end is asked for.

        Ray does again what an actor or a node had that was killed, but gives a pool up whose desk
        was, or an actor while it started. What has not come back then goes to another pool.
        """
        n_vain = 0
        while n_vain < _MAX_VAIN:
            n_before = self.meter.tally.n
            self.pool = Pool(
                self.setup, workers=self.options.workers, timeout_s=self.options.timeout_s
            )
            try:
                why = self._serve(feed)
            finally:
                self.pool.end()
            if self.stop.is_requested or (feed.is_empty and not self.out):
                self.listener(self.meter.snapshot())
                return
            _log.info("%s; another pool goes on with %d chunks", why, len(self.out))
            n_vain = 0 if self.meter.tally.n > n_before else n_vain + 1
        raise LesionLensError(
            f"Ray gave up what it was given, {_MAX_VAIN} times in a row ({why}); its own logs are "
            "in /tmp/ray/session_latest/logs"
        )

    def _serve(self, feed: Feed) -> str:
        """Hand out and write until all is back, or Ray has ended the pool; return why it did."""
        for out in list(self.out.values()):
            self._put(out.chunk)
        is_closed, heard = False, monotonic()
        while True:
            if not is_closed:
                self._hand_out(feed)
            is_at_end = self.stop.is_requested or feed.is_empty
            if is_at_end and not self.out:
                return ""
            if is_at_end and not is_closed:
                self.pool.close()
                is_closed = True
            with suppress(queue.Empty):
                event = self.pool.events.get(timeout=_LOOK_S)
                if event is None:
                    return "Ray ended the pool before all was back"
                if isinstance(event, BaseException):
                    return f"{type(event).__name__}: {first_line(event)}"
                self._write(event)
                heard = monotonic()
            if self.out and monotonic() - heard > _PATIENCE_S:
                self._check_size()
                self.pool.close()  # and what is out goes to another
                is_closed, heard = True, monotonic()
            self.listener(self.meter.snapshot())

    def _hand_out(self, feed: Feed) -> None:
        window = self.options.workers * CHUNKS_AHEAD
        while not self.stop.is_requested and len(self.out) < window:
            items = feed.take(self._chunk_items())
            if not items:
                break
            self._put(Chunk(self.job.new_chunk(), items))
            self.n_chunks += 1

    def _put(self, chunk: Chunk) -> None:
        self.out[chunk.number] = _Out(chunk, self.pool.put(chunk))

    def _chunk_items(self) -> int:
        """Return how many items the next chunk is to have: few at first, and few at the end."""
        most = min(FIRST_ITEMS << min(self.n_chunks // self.options.workers, 8), MOST_ITEMS)
        if self.seconds_per_item:
            most = max(1, min(most, round(_CHUNK_S / self.seconds_per_item)))
        if self.meter.n_total is None:
            return most
        # What is out counts as if chunks had the most that they may: less is left, not more.
        left = self.meter.n_total - self.meter.tally.n - len(self.out) * most
        return max(min(FIRST_ITEMS, most), min(most, left // (self.options.workers * _END_PARTS)))

    def _write(self, made: Made | wire.Broken) -> None:
        if isinstance(made, wire.Broken):
            raise LesionLensError(made.message)
        if made.number not in self.out:  # it was done twice
            return
        with atomic_write(self.job.chunk_path(made.number), "wb") as file:
            file.write(made.parquet)
        self.meter.tally.add(made.tally)
        each = made.seconds_per_item
        self.seconds_per_item = (self.seconds_per_item + each) / 2 or each
        self.pool.drop(self.out.pop(made.number).place)

    def _check_size(self) -> None:
        """Raise if actors wait for cores that the cluster has no more."""
        room = int(n_cores() / ACTOR_CPUS)
        if room < self.options.workers:
            raise LesionLensError(
                f"nothing has come back for {_PATIENCE_S:g} s: the cluster has room for {room} of "
                f"{self.options.workers} workers; add nodes, or give fewer --workers"
            )
