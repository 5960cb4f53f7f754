"""The access log: an object a line, of things that are the server's own.

Neither addresses with their queries nor headers, names of files, messages of errors or anything
of an image are written: whoever collects logs collects no patients.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lesionlens.service.worker_process import Fault

#: Takes a line.
Write = Callable[[str], None]


@dataclass
class Exchange:
    """A request and what became of it."""

    method: str  # of a closed set
    route: str = "-"  # the template of its path; a path may be anything
    status: int = 0  # 0: nothing was sent yet
    received: int = 0  # bytes of its body
    sent: int = 0  # bytes of the answer's body
    seconds: float = 0.0


def to_stderr(line: str) -> None:
    """Write a line where talk goes."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Journal:
    """Writes down what happened."""

    def __init__(self, write: Write = to_stderr, *, has_requests: bool = True) -> None:
        """Begin.

        Args:
            write: takes a line without its end.
            has_requests: whether requests are written down, too, not faults and events alone.
        """
        self._write, self._has_requests = write, has_requests

    def exchange(self, done: Exchange) -> None:
        """Write down a request that was answered."""
        if self._has_requests:
            self._line(
                "request",
                method=done.method,
                route=done.route,
                status=done.status,
                ms=round(done.seconds * 1e3, 1),
                bytes_in=done.received,
                bytes_out=done.sent,
            )

    def fault(self, fault: Fault) -> None:
        """Write down what happened that should not have."""
        self._line("fault", type=fault.kind, at=fault.place)

    def event(self, name: str, **members: Any) -> None:
        """Write down something else."""
        self._line(name, **members)

    def _line(self, event: str, **members: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._write(json.dumps({"time": now, "event": event, **members}))


class JournalHandler(logging.Handler):
    """Writes what uvicorn logs of its own down as lines of the journal, without tracebacks."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record down: its constant text, without what was filled in."""
        self._journal.event("server", level=record.levelname.lower(), text=str(record.msg))
