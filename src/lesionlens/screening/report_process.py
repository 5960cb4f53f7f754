"""A process that writes DICOM reports; see ``reports``.

It reads a ``Series`` and then images (``Judged``) from standard input, and answers each on
standard output with why it could not be reported, or with nothing. All are pickled.
"""

from __future__ import annotations

import pickle
import signal
from contextlib import suppress
from dataclasses import dataclass

from lesionlens.children import take_orders
from lesionlens.errors import LesionLensError
from lesionlens.screening.structured_report import write_report


@dataclass(frozen=True)
class Broken:
    """The process cannot go on, and no other could: the disk is full."""

    message: str


def main() -> None:
    """Write reports until standard input ends."""
    tasks, answers = take_orders(signal.SIGINT)
    with suppress(EOFError, BrokenPipeError):
        series = pickle.load(tasks)
        while True:
            image = pickle.load(tasks)
            try:
                answer: str | Broken = write_report(image, series)
            except LesionLensError as error:
                answer = Broken(str(error))
            pickle.dump(answer, answers)
            answers.flush()
