"""The other end of ``local.py``: a process that judges chunks and writes them.

It reads pickled tasks from standard input and writes pickled messages to standard output, so
that it needs nothing of the parent's: no fork of a process that has threads, no second import
of its main module. It dies with the parent, and what kills it (a decoder that crashes, hangs
or eats memory) kills nothing else.
"""

from __future__ import annotations

import pickle
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter
from typing import IO, TYPE_CHECKING, Any

from lesionlens.children import limit_memory, take_orders
from lesionlens.errors import LesionLensError
from lesionlens.screening.items import Failure, Item, Record
from lesionlens.screening.progress import Tally

if TYPE_CHECKING:
    from lesionlens.bundle import Bundle
    from lesionlens.classifier import Classifier
    from lesionlens.screening.worker import Reader

#: How often a worker says where it is.
BEAT_S = 0.1


@dataclass(frozen=True)
class Setup:
    """What a worker is told first."""

    bundle: Bundle  # whole, so that every worker has the one that the run was begun with
    policy: str
    views: int
    gate: bool
    keep: tuple[str, ...]
    # That it may take beyond what it has once it is loaded. The largest files that are read need up
    # to 0.9 GB; DICOM frames in JPEG 2000 take more a pixel (docs/decoding.md).
    memory_bytes: int = 3 << 29
    reader: str = "lesionlens.screening.reading:read_item"  # module:name of what reads items


@dataclass(frozen=True)
class Task:
    """A chunk to judge and write."""

    number: int
    items: tuple[Item, ...]
    path: Path  # to write it to
    is_careful: bool = False  # say what becomes of each item: one of them killed a process
    known: dict[int, Record] = field(default_factory=dict)  # by index: judged before, or hopeless


@dataclass(frozen=True)
class Ready:
    """The worker is loaded."""

    seconds: float


@dataclass(frozen=True)
class Beat:
    """The worker is at the item of this index, or at a few from it on; -1: it writes the chunk."""

    index: int


@dataclass(frozen=True)
class Judged:
    """What came of an item, where that was asked for."""

    index: int
    record: Record


@dataclass(frozen=True)
class Wrote:
    """The chunk is on the disk."""

    tally: Tally
    seconds: float  # to judge and write it


@dataclass(frozen=True)
class Broken:
    """The worker cannot go on, and no other could: the disk is full, the model does not load."""

    message: str


def main() -> None:
    """Judge what standard input says until it ends."""
    tasks, messages = take_orders(signal.SIGINT)
    with suppress(BrokenPipeError):
        try:
            _work(tasks, messages)
        except LesionLensError as error:
            _send(messages, Broken(str(error)))


def _work(tasks: IO[bytes], messages: IO[bytes]) -> None:
    began = perf_counter()
    setup: Setup = pickle.load(tasks)
    from importlib import import_module

    from lesionlens.classifier import Classifier
    from lesionlens.screening.writing import write_chunk

    classifier = Classifier(
        setup.bundle, views=setup.views, threads=1, policy=setup.policy, gate=setup.gate
    )
    module, _, name = setup.reader.partition(":")
    read: Reader = getattr(import_module(module), name)
    limit_memory(setup.memory_bytes)
    _send(messages, Ready(perf_counter() - began))
    while True:
        try:
            task: Task = pickle.load(tasks)
        except EOFError:
            return
        began = perf_counter()
        records = _judge(task, classifier, read, messages)
        _send(messages, Beat(-1))
        write_chunk(task.path, records, task.number, keep=setup.keep)
        _send(messages, Wrote(Tally.of(records), perf_counter() - began))


def _judge(task: Task, classifier: Classifier, read: Reader, messages: IO[bytes]) -> list[Record]:
    """Return the records of a chunk; with care, item by item."""
    from lesionlens.classifier import TOGETHER
    from lesionlens.screening.worker import judge_items

    last_beat = -BEAT_S
    found = dict(task.known)
    waiting = [index for index in range(len(task.items)) if index not in found]
    n_together = 1 if task.is_careful else TOGETHER
    for start in range(0, len(waiting), n_together):
        indices = waiting[start : start + n_together]

        def tell(first: int = indices[0]) -> None:
            nonlocal last_beat
            if task.is_careful or monotonic() - last_beat >= BEAT_S:
                last_beat = monotonic()
                _send(messages, Beat(first))

        items = [task.items[index] for index in indices]
        records = judge_items(items, classifier, read=read, tell=tell)
        found.update(zip(indices, records, strict=True))
        if task.is_careful:
            _send(messages, Judged(indices[0], records[0]))
    return [found[index] for index in range(len(task.items))]


def _send(messages: IO[bytes], message: Any) -> None:
    pickle.dump(message, messages)
    messages.flush()


def timed_out(item: Item, seconds: float) -> Failure:
    """Return the failure of an item that took longer than it may."""
    return Failure(
        item.name,
        "timed_out",
        f"{item.name}: was not read and judged within {seconds:g} s; its process was ended. Try "
        "it alone, or give it longer (--timeout)",
        item.extra,
    )


def crashed(item: Item, code: int) -> Failure:
    """Return the failure of an item whose process ended with ``code`` (negative: a signal)."""
    if code < 0:
        how = f"killed by {signal.Signals(-code).name}" if -code in _SIGNALS else f"signal {-code}"
        if -code == getattr(signal, "SIGKILL", 9):
            how += ", as a system does that runs out of memory"
    else:
        how = f"ended with code {code}"
    return Failure(
        item.name,
        "crashed",
        f"{item.name}: the process that read it crashed, twice ({how}); the file is damaged or "
        "not what it seems. Open and save it again with a program that can read it",
        item.extra,
    )


_SIGNALS = {int(number) for number in signal.Signals}
