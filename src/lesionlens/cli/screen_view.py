"""What a bulk run shows of itself: a live display, a line now and then, JSON lines, or nothing."""

from __future__ import annotations

import json
import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from lesionlens.cli import console
from lesionlens.cli.writers import VERDICT_SIGNS

if TYPE_CHECKING:
    from rich.text import Text

    from lesionlens.screening.progress import Snapshot

#: Seconds between two lines in a log, and between two objects for a program.
_LOG_S, _JSON_S = 30.0, 1.0


class View(Protocol):
    """Shows how a run goes, on stderr."""

    def note(self, words: str) -> None:
        """Say something that a person should know."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how far the run is; called some ten times a second."""

    def close(self) -> None:
        """Show nothing more."""


def make_view(*, quiet: bool, as_json: bool) -> View:
    """Return what shows the run: JSON lines, next to nothing, a live display or lines in a log."""
    if as_json:
        return JsonView()
    if quiet:
        return QuietView()
    return LiveView() if console.stderr().is_terminal else LogView()


class QuietView:
    """Says what a person should know, and nothing of how it goes."""

    def note(self, words: str) -> None:
        """Say it."""
        console.stderr().print(words, markup=False, soft_wrap=True)

    def show(self, snapshot: Snapshot) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Nothing is shown."""


class LogView(QuietView):
    """A line now and then, for a log."""

    def __init__(self) -> None:
        self._next = monotonic() + _LOG_S

    def show(self, snapshot: Snapshot) -> None:
        """Write a line if it is time."""
        if monotonic() >= self._next:
            self._next = monotonic() + _LOG_S
            self.note(f"{amount_words(snapshot)} · {finding_words(snapshot).plain}")


class JsonView:
    """An object a line: ``progress`` every second, ``note`` for what a person should know."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last: Snapshot | None = None

    def note(self, words: str) -> None:
        """Write it as an object."""
        self._write({"event": "note", "text": words})

    def show(self, snapshot: Snapshot) -> None:
        """Write an object if it is time."""
        self._last = snapshot
        if monotonic() >= self._next:
            self._next = monotonic() + _JSON_S
            self._write(snapshot.as_json())

    def close(self) -> None:
        """Write how far it came."""
        if self._last is not None:
            self._write({**self._last.as_json(), "event": "end"})

    def _write(self, content: dict[str, Any]) -> None:
        sys.stderr.write(json.dumps(content) + "\n")
        sys.stderr.flush()


class LiveView:
    """A bar with rate and time left, and under it what was found so far."""

    def __init__(self) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.text import Text

        self._console = console.stderr()
        self._bar = Progress(
            TextColumn("screening"), BarColumn(), TextColumn("{task.fields[words]}")
        )
        self._task = self._bar.add_task("", total=None, words="starting")
        self._found = Text()
        self._group = Group(self._bar, self._found)
        self._live = Live(self._group, console=self._console, refresh_per_second=8)
        self._live.start()

    def note(self, words: str) -> None:
        """Print it above the bar."""
        self._console.print(words, markup=False, soft_wrap=True)

    def show(self, snapshot: Snapshot) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            total=snapshot.n_total,
            completed=snapshot.n_done,
            words=amount_words(snapshot),
        )
        self._group.renderables[1] = finding_words(snapshot)

    def close(self) -> None:
        """Leave the last state on the screen."""
        self._live.stop()


def amount_words(snapshot: Snapshot) -> str:
    """Return how many are done, how fast, and how long it will take yet."""
    total = "" if snapshot.n_total is None else f" of {snapshot.n_total:,}"
    words = f"{snapshot.n_done:,}{total} images · {snapshot.images_per_s:,.1f}/s"
    left = snapshot.seconds_left
    return words if left is None else f"{words} · {duration_words(left)} left"


def finding_words(snapshot: Snapshot) -> Text:
    """Return what was found so far, verdict by verdict, and what failed."""
    from rich.text import Text

    text = Text()
    for verdict, (symbol, colour) in VERDICT_SIGNS.items():
        count = snapshot.tally.verdicts[verdict]
        text.append(f"{symbol} {count:,} {verdict.replace('_', ' ')}  ", style=colour)
    return text.append(f"! {snapshot.tally.n_failed:,} failed")


def duration_words(seconds: float) -> str:
    """Return a duration as people say it: ``12 s``, ``3 min 20 s``, ``5 h 07 min``, ``3 d 4 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
