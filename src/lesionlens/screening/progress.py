"""How far a bulk run is, and how it is told to end.

What was found so far, how fast, how long it will take yet.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from lesionlens.screening.items import Failure, Record

#: The rate is that of the last so many seconds: a mean over a day would hide a disk gone slow.
_WINDOW_S = 30.0


@dataclass
class Tally:
    """What a number of records say, counted."""

    verdicts: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)  # of failures

    @classmethod
    def of(cls, records: Iterable[Record]) -> Tally:
        """Count records."""
        tally = cls()
        for record in records:
            if isinstance(record, Failure):
                tally.reasons[record.reason] += 1
            else:
                tally.verdicts[record.verdict] += 1
                tally.labels[record.label] += 1
        return tally

    def add(self, other: Tally) -> None:
        """Count another's in."""
        self.verdicts.update(other.verdicts)
        self.labels.update(other.labels)
        self.reasons.update(other.reasons)

    @property
    def n_judged(self) -> int:
        """Items with an answer."""
        return self.verdicts.total()

    @property
    def n_failed(self) -> int:
        """Items without one."""
        return self.reasons.total()

    @property
    def n(self) -> int:
        """All items."""
        return self.n_judged + self.n_failed


@dataclass(frozen=True)
class Snapshot:
    """How far a run is at a moment."""

    n_done: int  # in this run: judged or failed, those of unfinished chunks included
    n_before: int  # done by earlier runs
    n_total: int | None  # of this run; None as long as nobody has counted
    images_per_s: float  # lately; 0 before the first
    seconds: float  # since the start
    tally: Tally  # of finished chunks of this run

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None where that cannot be said yet."""
        if self.n_total is None or not self.images_per_s:
            return None
        return max(0, self.n_total - self.n_done) / self.images_per_s

    def as_json(self) -> dict[str, Any]:
        """Return the object of a line of ``--json-progress`` (docs/screen.md)."""
        left = self.seconds_left
        return {
            "event": "progress",
            "done": self.n_done,
            "done_before": self.n_before,
            "total": self.n_total,
            "images_per_s": round(self.images_per_s, 2),
            "seconds": round(self.seconds, 1),
            "seconds_left": None if left is None else round(left, 1),
            "verdicts": dict(self.tally.verdicts),
            "failed": dict(self.tally.reasons),
        }


class Meter:
    """Keeps count of a run and says how far it is.

    Args:
        n_before: items that earlier runs have done.
    """

    def __init__(self, n_before: int = 0) -> None:
        self.n_before = n_before
        self.n_total: int | None = None  # of this run; set as soon as somebody has counted
        self.tally = Tally()
        self._began = monotonic()
        self._marks: deque[tuple[float, int]] = deque([(self._began, 0)])

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return monotonic() - self._began

    def snapshot(self, *, n_running: int = 0) -> Snapshot:
        """Return how far the run is.

        Args:
            n_running: items done of chunks that are not finished.
        """
        now, n_done = monotonic(), self.tally.n + n_running
        if now - self._marks[-1][0] >= _WINDOW_S / 100:
            self._marks.append((now, n_done))
        while len(self._marks) > 2 and now - self._marks[1][0] > _WINDOW_S:
            self._marks.popleft()
        since, before = self._marks[0]
        rate = max(0, n_done - before) / (now - since) if now > since else 0.0
        return Snapshot(n_done, self.n_before, self.n_total, rate, now - self._began, self.tally)


#: Told how the run goes, some ten times a second.
Listener = Callable[[Snapshot], None]


class Stop:
    """Says that a run is to end: what is running is finished, nothing else begins."""

    def __init__(self) -> None:
        self.is_requested = False  # no Event: its lock must not be taken by a signal handler

    def request(self) -> None:
        """Ask for the end."""
        self.is_requested = True

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until the end is asked for; return whether it was."""
        until = monotonic() + seconds
        while not self.is_requested and (left := until - monotonic()) > 0:
            sleep(min(left, 0.1))
        return self.is_requested


class Pause:
    """Stands among items where their source has no more for now: what is there goes out."""
