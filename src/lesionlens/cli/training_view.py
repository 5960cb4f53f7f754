"""What a person sees while a network trains: a bar for the epoch, a line for each one done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lesionlens.cli import console

if TYPE_CHECKING:
    from lesionlens.train.runs import Hooks
    from lesionlens.train.stages import EpochLog


@contextmanager
def _ctrl_c_sets(stopped: threading.Event) -> Iterator[None]:
    """Let Ctrl-C set ``stopped``, to be acted on between two batches; a second one ends at once.

    Raised wherever it hits, a KeyboardInterrupt was now and then lost inside TensorFlow.
    """

    def note(number: int, frame: object) -> None:
        stopped.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def training_view(n_epochs: int) -> Iterator[Hooks]:
    """Show live progress on stderr; where that is no terminal, only the line of each epoch."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from lesionlens.train.runs import Hooks

    talk = console.stderr()
    stopped = threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} batches, left"),
        TimeRemainingColumn(),
    )
    with (
        _ctrl_c_sets(stopped),
        Progress(*columns, console=talk, disable=not talk.is_terminal, transient=True) as bar,
    ):
        task = bar.add_task("starting", total=1)

        def check_stop() -> None:
            if stopped.is_set():
                raise KeyboardInterrupt

        def on_part(name: str) -> None:
            check_stop()
            talk.print(f"[bold]{name}[/bold]")

        def on_batch(epoch: int, done: int, total: int) -> None:
            check_stop()
            bar.update(task, description=f"epoch {epoch}/{n_epochs}", completed=done, total=total)

        def on_epoch(row: EpochLog) -> None:
            kept = "  [green]kept[/green]" if row.is_best else ""
            talk.print(
                f"  epoch {row.epoch:>2}/{n_epochs} {row.stage:<9} "
                f"loss {row.train_loss:.3f}, validation {row.validation_loss:.3f}, "
                f"accuracy {row.validation_accuracy:.3f}, "
                f"balanced {row.validation_balanced_accuracy:.3f}, "
                f"{row.images_per_second:.0f} images/s{kept}",
                soft_wrap=True,
            )

        yield Hooks(on_part, on_batch, on_epoch)
