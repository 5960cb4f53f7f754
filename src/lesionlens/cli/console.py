"""What every verb says and shows: talk and progress on stderr, data on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from lesionlens.errors import MissingExtraError

if TYPE_CHECKING:
    from rich.console import Console

#: Called with how many more items are done: ``advance()`` or ``advance(10)``.
Advance = Callable[..., None]


def stderr() -> Console:
    """Return a console for talk; it writes to stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextmanager
def progress(description: str, total: int | None, *, unit: str = "images") -> Iterator[Advance]:
    """Show a progress bar with rate and time left on stderr; silent where that is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = stderr()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda n=1: bar.update(task, advance=n)


def require(verb: str, extra: str, *packages: str) -> None:
    """Raise MissingExtraError, naming the pip install, unless every package can be imported."""
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(verb, extra, package)
