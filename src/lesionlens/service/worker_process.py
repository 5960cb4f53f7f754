"""The other end of `pool`: a process that judges one image after the other.

Its standard input has a pickled Setup, then pickled Tasks, each followed by the bytes of its
image; its standard output, a pickled answer to each.
"""

from __future__ import annotations

import pickle
import signal
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any

from lesionlens.children import limit_memory, take_orders
from lesionlens.errors import ImageError, LesionLensError
from lesionlens.verdicts import POLICIES

if TYPE_CHECKING:
    from lesionlens.bundle import Bundle
    from lesionlens.classifier import Classifier


@dataclass(frozen=True)
class Setup:
    """What a worker is told first."""

    bundle: Bundle  # whole, so that a worker that is started later answers as the others do
    memory_bytes: int = 3 << 29  # that it may take beyond what it has once it is loaded


@dataclass(frozen=True)
class Task:
    """An image to judge; its bytes come after it."""

    n_bytes: int
    policy: str
    views: int | None


@dataclass(frozen=True)
class Ready:
    """The worker is loaded."""


@dataclass(frozen=True)
class Refused:
    """The image cannot be judged."""

    reason: str  # one of errors.IMAGE_REASONS, "out_of_memory", "crashed"
    words: str  # what is wrong, in a sentence about "-"


@dataclass(frozen=True)
class Fault:
    """Something happened that should not; nothing in it comes from the image."""

    kind: str  # name of the exception
    place: str  # "file.py:123"


def main() -> None:
    """Judge what standard input says until it ends."""
    # Whoever stops the server may signal all of its processes; what runs is to be finished.
    tasks, answers = take_orders(signal.SIGINT, signal.SIGTERM)
    with suppress(BrokenPipeError):
        _work(tasks, answers)


def _work(tasks: IO[bytes], answers: IO[bytes]) -> None:
    setup: Setup = pickle.load(tasks)
    import numpy as np

    from lesionlens.classifier import Classifier

    try:
        classifiers = {
            policy: Classifier(setup.bundle, threads=1, policy=policy) for policy in POLICIES
        }
    except LesionLensError as error:
        _send(answers, error)
        return
    for classifier in classifiers.values():  # the first answer is to take no longer than others
        classifier.predict(np.zeros((64, 64, 3), np.uint8))
    limit_memory(setup.memory_bytes)
    _send(answers, Ready())
    with suppress(EOFError):
        while True:
            task: Task = pickle.load(tasks)
            _send(answers, _judge(classifiers[task.policy], tasks.read(task.n_bytes), task.views))


def _judge(classifier: Classifier, content: bytes, views: int | None) -> Any:
    try:
        return classifier.predict(content, views=views)
    except (ImageError, MemoryError) as error:
        if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
            words = "-: needs more memory than one image may take; scale it down first"
            return Refused("out_of_memory", words)
        return Refused(error.reason, str(error))
    except Exception as error:
        return fault_of(error)


def fault_of(error: BaseException) -> Fault:
    """Return what may be written down of an error: its words may quote a name or a pixel."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return Fault(type(error).__name__, place)


def _send(answers: IO[bytes], answer: Any) -> None:
    pickle.dump(answer, answers)
    answers.flush()
