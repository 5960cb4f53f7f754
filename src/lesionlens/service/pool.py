"""Worker processes that judge images, one image each at a time, and what waits for them.

Processes rather than threads: a picture from the network that crashes a decoder, hangs it or
fills the memory ends a process that is started anew, and no other request; and one that takes too
long can be ended. docs/serve.md has what each costs.
"""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from lesionlens.bundle import Bundle
from lesionlens.children import start_child
from lesionlens.errors import LesionLensError
from lesionlens.records import Prediction
from lesionlens.service import worker_process
from lesionlens.service.worker_process import Fault, Ready, Refused, Setup, Task

#: A worker that has not loaded its model after this is given up.
_START_S = 120.0
#: Processes that an image may take with it before we believe that it is the image.
_MAX_CRASHES = 2


class WorkerFaultError(LesionLensError):
    """A worker met something that should not happen."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.kind} at {fault.place}")
        self.fault = fault


@dataclass(frozen=True)
class Question:
    """An image and how it is to be judged."""

    content: bytes  # the encoded image
    policy: str  # one of verdicts.POLICIES
    views: int | None  # 1..10; None: what the model advises


class Pool:
    """Some workers, and a line of questions before them."""

    def __init__(
        self, bundle: Bundle, *, n_workers: int, on_restart: Callable[[], None] = lambda: None
    ) -> None:
        """Start the workers and wait until each can answer.

        Args:
            bundle: the model.
            n_workers: processes side by side, 1 or more.
            on_restart: called, in any thread, when a worker had to be started anew.

        Raises:
            LesionLensError: a worker cannot load the model; says why.
        """
        self.n_workers = n_workers
        self._on_restart = on_restart
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(n_workers, thread_name_prefix="worker")
        self._is_closing = False
        self._workers = [_Worker(Setup(bundle)) for _ in range(n_workers)]
        try:
            for worker in self._workers:
                worker.wait_until_ready()
        except LesionLensError:
            self.close()
            raise
        for worker in self._workers:
            self._idle.put(worker)

    def ask(self, question: Question, *, until: float) -> asyncio.Future[Prediction | Refused]:
        """Return the answer to a question, once it is there.

        Args:
            question: is judged after those that were asked before.
            until: when to give up, by ``time.monotonic``.

        Returns:
            A future; cancelling it takes the question out of the line, if it is still there. It
            raises TimeoutError where there was no answer in time, and WorkerFaultError.
        """
        return asyncio.wrap_future(self._threads.submit(self._answer, question, until))

    def close(self) -> None:
        """End the workers, whatever they are doing; open questions raise TimeoutError."""
        self._is_closing = True
        self._threads.shutdown(wait=False, cancel_futures=True)  # no thread takes another now
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown()
        for worker in self._workers:
            worker.end()

    def _answer(self, question: Question, until: float) -> Prediction | Refused:
        worker = self._idle.get()  # there are as many as threads
        try:
            for _ in range(_MAX_CRASHES):
                _check_time(until)
                try:
                    return worker.ask(question, until)
                except EOFError:  # its process is dead
                    self._restart(worker)
        except WorkerFaultError:
            raise
        except TimeoutError:
            if worker.is_busy:
                self._restart(worker)
            raise
        except LesionLensError as error:  # a process could not be started again
            self._restart(worker)
            raise WorkerFaultError(Fault(type(error).__name__, "start of a worker")) from error
        finally:
            self._idle.put(worker)
        return Refused(
            "crashed",
            "-: the process that read it crashed, twice; the file is damaged or not what it seems. "
            "Open and save it again with a program that can read it",
        )

    def _restart(self, worker: _Worker) -> None:
        if self._is_closing:
            raise TimeoutError
        self._on_restart()
        worker.restart()
        if self._is_closing:  # meanwhile, and it was the one before that was ended
            worker.kill()


def _check_time(until: float) -> None:
    """Raise TimeoutError where it is too late."""
    if monotonic() >= until:
        raise TimeoutError


class _Worker:
    """A process that judges."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._start()

    def _start(self) -> None:
        self._process = start_child(worker_process.__name__)
        self._is_ready = False
        self.is_busy = False  # it was asked and has not answered
        self._send(pickle.dumps(self._setup))

    def restart(self) -> None:
        """End the process and start another; it loads while others judge."""
        self.end()
        self._start()

    def wait_until_ready(self) -> None:
        """Wait until the model is loaded.

        Raises:
            LesionLensError: it cannot be loaded.
        """
        if self._is_ready:
            return
        try:
            answer = self._receive(monotonic() + _START_S)
        except (EOFError, TimeoutError) as error:
            raise LesionLensError(
                "a worker process could not be started; lesionlens doctor says what is missing"
            ) from error
        if not isinstance(answer, Ready):
            raise answer
        self._is_ready = True

    def ask(self, question: Question, until: float) -> Prediction | Refused:
        """Return the answer to a question.

        Raises:
            EOFError: the process died.
            TimeoutError: there was no answer in time; the process is dead, or of no more use.
            WorkerFaultError: something happened that should not.
        """
        self.wait_until_ready()
        _check_time(until)  # loading may have taken all of it
        self.is_busy = True
        content = question.content
        head = pickle.dumps(Task(len(content), question.policy, question.views))
        self._send(head, content)
        answer: Prediction | Refused | Fault = self._receive(until)
        self.is_busy = False
        if isinstance(answer, Fault):
            raise WorkerFaultError(answer)
        return answer

    def kill(self) -> None:
        """End the process, in any thread; whoever waits for it hears of its end."""
        self._process.kill()

    def end(self) -> None:
        """End the process and wait until it is gone."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()

    def _send(self, *parts: bytes) -> None:
        """Send; that the process is dead is told by the end of what it says."""
        assert self._process.stdin is not None
        with suppress(OSError):
            for part in parts:
                self._process.stdin.write(part)
            self._process.stdin.flush()

    def _receive(self, until: float) -> Any:
        """Return what the process says next; raises EOFError, or TimeoutError after ending it."""
        assert self._process.stdout is not None
        too_late = threading.Event()

        def end_it() -> None:
            too_late.set()
            self._process.kill()

        # A pipe cannot be waited for with a limit on every system; its end can be brought about.
        timer = threading.Timer(max(0.0, until - monotonic()), end_it)
        timer.daemon = True
        timer.start()
        try:
            return pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            if too_late.is_set():
                raise TimeoutError from error
            raise EOFError from error
        finally:
            timer.cancel()
