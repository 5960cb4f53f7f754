"""The local engine: worker processes on this machine, each with a model of its own.

The parent hands out chunks and counts; a worker reads, judges and writes a chunk by itself, so
that no pixel and no answer crosses a process. A worker that dies, or is silent for too long
and therefore ended, has its chunk tried again item by item in a fresh process: what cannot be
judged becomes a row that says so, and nothing else is lost.

Processes rather than threads: only a process can be ended, and dies alone.
"""

from __future__ import annotations

import pickle
import queue
import subprocess
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from time import monotonic
from typing import IO, Any, Protocol

from lesionlens.children import start_child
from lesionlens.errors import LesionLensError
from lesionlens.screening import worker_process as wire
from lesionlens.screening.items import Item
from lesionlens.screening.job import Job, Lock
from lesionlens.screening.progress import Listener, Meter, Pause, Stop

#: Items of the first chunks, so that the first rows are there soon, and of no chunk more than.
FIRST_ITEMS, MOST_ITEMS = 8, 256
#: A chunk is to take this share of the time that the run took so far, within these seconds: what
#: a kill loses stays in proportion.
_CHUNK_SHARE, _LEAST_S, _MOST_S = 1 / 40, 0.5, 60.0
#: Towards the end, chunks of no more than half a worker's share of what is left, and no fewer
#: items than this: else some workers idle while one finishes. Guided self-scheduling,
#: Polychronopoulos and Kuck 1987, https://doi.org/10.1109/TC.1987.5009495.
_LAST_SHARE, _LAST_ITEMS = 1 / 2, 4
#: Items read ahead of those who judge them.
_AHEAD = 1024
#: A part of a chunk waits so long for the rest of it.
_PATIENCE_S = 0.5
#: A worker that has not loaded its model after this is given up.
_START_S = 120.0
_LOOK_S = 0.1
#: Not having looked for so long means that this process was stopped meanwhile, or starved.
_ASLEEP_S = 5.0
#: Starts that may fail in a row, and processes that an item may take with it, before we believe it.
_MAX_STARTS, _MAX_CRASHES = 3, 2


@dataclass(frozen=True)
class LocalOptions:
    """How the local engine runs; nothing of it changes a row."""

    workers: int  # processes
    timeout_s: float = 30.0  # that an item may take


def run_local(
    job: Job,
    items: Iterable[Item | Pause],
    setup: wire.Setup,
    options: LocalOptions,
    *,
    meter: Meter,
    stop: Stop,
    listener: Listener = lambda snapshot: None,
) -> None:
    """Judge items and write them into the chunks of ``job``.

    Args:
        job: the open run folder.
        items: those to judge, ``job.pending(...)``; read in a thread of its own, a few ahead.
        setup: what workers are told.
        options: how many there are, and what they may do.
        meter: counts what is done.
        stop: ends the run early.
        listener: told how it goes.

    Raises:
        LesionLensError: the disk is full, the workers do not start, or the source failed. What
            was finished until then is kept, and the run can go on from there.
    """
    engine = Engine(job, setup, options, meter=meter, stop=stop, listener=listener)
    feed = Feed(items)
    try:
        engine.run(feed)
    finally:
        feed.close()
        engine.close()


@dataclass(eq=False)
class _Worker:
    """A process, what it does, and since when nothing was heard of it."""

    process: subprocess.Popen[bytes]
    task: wire.Task | None = None
    is_ready: bool = False
    index: int = 0  # of the item it is at; -1: it writes
    heard: float = 0.0
    is_overdue: bool = False

    def send(self, message: Any) -> None:
        """Send a message; that the process is dead is told by the end of its own messages."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # dead; closed
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()


class Chunks(Protocol):
    """Where an engine's chunks go, and who keeps others away from there: ``Job`` is one."""

    @property
    def lock(self) -> Lock: ...  # noqa: D102 - as of Job

    def new_chunk(self) -> int: ...  # noqa: D102

    def chunk_path(self, number: int) -> Path: ...  # noqa: D102


class Items(Protocol):
    """What an engine takes items from: ``Feed`` is one."""

    @property
    def is_empty(self) -> bool: ...  # noqa: D102 - as of Feed

    def take(self, n: int) -> list[Item]: ...  # noqa: D102


class Engine:
    """The parent's side: hands out, listens, buries, and starts anew.

    It may run several times; its workers stay until it is closed.
    """

    def __init__(
        self,
        job: Chunks,
        setup: wire.Setup,
        options: LocalOptions,
        *,
        meter: Meter,
        stop: Stop,
        listener: Listener = lambda snapshot: None,
    ) -> None:
        self.job, self.setup, self.options = job, setup, options
        self.meter, self.stop, self.listener = meter, stop, listener
        self.workers: list[_Worker] = []
        self.again: deque[wire.Task] = deque()  # chunks whose process died
        self.strikes: Counter[tuple[int, int]] = Counter()  # by chunk and index
        self.n_failed_starts = 0
        self.seconds_per_item = 0.0
        self.n_chunks = 0  # handed out
        self.n_items = 0  # in these
        self.looked = monotonic()
        self.events: queue.Queue[tuple[_Worker, Any]] = queue.Queue()

    def run(self, feed: Items) -> None:
        """Work until the feed is at its end, or the end is asked for."""
        while True:
            self._hand_out(feed)
            is_at_end = self.stop.is_requested or (feed.is_empty and not self.again)
            if is_at_end and not any(worker.task for worker in self.workers):
                break
            with suppress(queue.Empty):
                self._hear(*self.events.get(timeout=_LOOK_S))
                while True:
                    self._hear(*self.events.get_nowait())
            self._watch()
            running = (max(0, w.index) for w in self.workers if w.task and not w.task.is_careful)
            self.listener(self.meter.snapshot(n_running=sum(running)))
        self.listener(self.meter.snapshot())

    def close(self) -> None:
        """End the workers: idle ones by themselves, others at once."""
        for worker in self.workers:
            if worker.task or not worker.is_ready:
                worker.process.kill()
            assert worker.process.stdin is not None
            with suppress(OSError):
                worker.process.stdin.close()
        for worker in self.workers:
            worker.process.wait()

    def _hand_out(self, feed: Items) -> None:
        for worker in [w for w in self.workers if w.is_ready and w.task is None]:
            task = None if self.stop.is_requested else self._next_task(feed)
            if task is None:
                break
            worker.task, worker.index = task, 0
            worker.heard = monotonic()
            worker.send(task)
        is_needed = self.again or not feed.is_empty
        if is_needed and not self.stop.is_requested and len(self.workers) < self.options.workers:
            while len(self.workers) < self.options.workers:
                self.workers.append(self._start())

    def _next_task(self, feed: Items) -> wire.Task | None:
        if self.again:
            return self.again.popleft()
        items = feed.take(self._chunk_items())
        if not items:
            return None
        self.n_chunks += 1
        self.n_items += len(items)
        number = self.job.new_chunk()
        return wire.Task(number, tuple(items), self.job.chunk_path(number))

    def _chunk_items(self) -> int:
        """Return how many items the next chunk is to have."""
        workers = self.options.workers
        most = min(FIRST_ITEMS << min(self.n_chunks // workers, 8), MOST_ITEMS)
        if self.meter.n_total is not None:
            left = self.meter.n_total - self.n_items
            most = min(most, max(_LAST_ITEMS, ceil(left * _LAST_SHARE / workers)))
        if self.seconds_per_item:
            seconds = min(max(self.meter.seconds * _CHUNK_SHARE, _LEAST_S), _MOST_S)
            most = min(most, round(seconds / self.seconds_per_item))
        return max(1, most)

    def _start(self) -> _Worker:
        # The lock's descriptor goes along: the folder is taken until the last worker has ended.
        process = start_child(wire.__name__, pass_fds=[self.job.lock.descriptor])
        worker = _Worker(process, heard=monotonic())
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: _Worker) -> None:
        """Set a worker up, pass on what it says, and None at its end; in a thread of its own."""
        stream: IO[bytes] | None = worker.process.stdout
        assert stream is not None
        try:
            worker.send(self.setup)
            with stream, suppress(EOFError, OSError, pickle.UnpicklingError):
                while True:
                    self.events.put((worker, pickle.load(stream)))
        finally:
            self.events.put((worker, None))

    def _hear(self, worker: _Worker, message: Any) -> None:
        worker.heard = monotonic()
        match message:
            case wire.Ready():
                worker.is_ready, self.n_failed_starts = True, 0
            case wire.Beat():
                worker.index = message.index
            case wire.Judged() if worker.task is not None:
                worker.task.known[message.index] = message.record
            case wire.Wrote() if worker.task is not None:
                self.meter.tally.add(message.tally)
                if not worker.task.is_careful:
                    each = message.seconds / len(worker.task.items)
                    self.seconds_per_item = (self.seconds_per_item + each) / 2 or each
                worker.task = None
            case wire.Broken():
                raise LesionLensError(message.message)
            case None:
                self._bury(worker)

    def _watch(self) -> None:
        """End the workers of which nothing was heard for too long."""
        now = monotonic()
        has_slept = now - self.looked > _ASLEEP_S
        self.looked = now
        for worker in self.workers:
            if has_slept:  # we were stopped, and could not hear
                worker.heard = now
            if worker.is_ready:
                # What it is at now, one to read or a few to judge, began so soon after a beat.
                allowed = self.options.timeout_s + wire.BEAT_S
                is_overdue = worker.task is not None and worker.index >= 0
            else:
                allowed, is_overdue = _START_S, True
            if is_overdue and now - worker.heard > allowed:
                worker.is_overdue = True
                worker.process.kill()

    def _bury(self, worker: _Worker) -> None:
        """Take a dead worker out; its chunk is done again, with care."""
        self.workers.remove(worker)
        code = worker.process.wait()
        task = worker.task
        if not worker.is_ready:
            self.n_failed_starts += 1
            if self.n_failed_starts >= _MAX_STARTS:
                raise LesionLensError(
                    f"workers do not start (the last ended with code {code}); lesionlens doctor "
                    "says what is installed, fewer --workers need less memory"
                )
        if task is None:
            return
        known = dict(task.known)
        if task.is_careful:
            # Dead between two items or while it wrote, it is no item's fault.
            index = -1 if worker.index in known else worker.index
            self.strikes[task.number, index] += 1
            is_out = self.strikes[task.number, index] >= _MAX_CRASHES
            if index >= 0 and worker.is_overdue:
                known[index] = wire.timed_out(task.items[index], self.options.timeout_s)
            elif index >= 0 and is_out:
                known[index] = wire.crashed(task.items[index], code)
            elif is_out:
                raise LesionLensError(
                    f"{task.path}: a worker died writing it, again and again (code {code}); run "
                    "the same command again with fewer --workers"
                )
        self.again.append(replace(task, is_careful=True, known=known))


class Feed:
    """Items read ahead in a thread of its own, a bounded number of them.

    Args:
        items: what to read; what it raises is raised by ``take`` once all before is taken.
    """

    def __init__(self, items: Iterable[Item | Pause]) -> None:
        self._queue: queue.Queue[Item | Pause | BaseException | None] = queue.Queue(_AHEAD)
        self._waiting: list[Item] = []
        self._since = monotonic()  # when the first of those came
        self._is_paused = self._is_at_end = self._is_closed = False
        self._error: BaseException | None = None
        threading.Thread(target=self._read, args=(iter(items),), daemon=True).start()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to take, now and later."""
        self._fetch(1)
        return self._is_at_end and not self._waiting and self._error is None

    def take(self, n: int) -> list[Item]:
        """Return the next ``n`` items; fewer where no more will come soon, none while they may."""
        self._fetch(n)
        if self._error is not None and not self._waiting:
            raise self._error
        is_late = monotonic() - self._since > _PATIENCE_S
        if len(self._waiting) < n and not (self._is_at_end or self._is_paused or is_late):
            return []
        taken, self._waiting = self._waiting[:n], self._waiting[n:]
        self._since = monotonic()
        self._is_paused = self._is_paused and bool(self._waiting)
        return taken

    def close(self) -> None:
        """Let the thread end."""
        self._is_closed = True
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def _fetch(self, n: int) -> None:
        while len(self._waiting) < n and not self._is_paused and not self._is_at_end:
            try:
                found = self._queue.get_nowait()
            except queue.Empty:
                return
            if found is None:
                self._is_at_end = True
            elif isinstance(found, BaseException):
                self._error, self._is_at_end = found, True
            elif isinstance(found, Pause):
                self._is_paused = bool(self._waiting)
            else:
                if not self._waiting:
                    self._since = monotonic()
                self._waiting.append(found)

    def _read(self, items: Iterator[Item | Pause]) -> None:
        end: BaseException | None = None
        try:
            for item in items:
                self._queue.put(item)
                if self._is_closed:
                    return
        except BaseException as error:
            end = error
        self._queue.put(end)
