"""A process that writes DICOM reports; see ``reports``.

It reads a ``Series`` and then images (``Judged``) from standard input, and answers each on
standard output with why it could not be reported, or with nothing. All are pickled.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass

from lesionlens.children import die_with
from lesionlens.errors import LesionLensError
from lesionlens.screening.structured_report import write_report


@dataclass(frozen=True)
class Broken:
    """The process cannot go on, and no other could: the disk is full."""

    message: str


def main() -> None:
    """Write reports until standard input ends; the argument is the parent's process id."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when to end
    die_with(int(sys.argv[1]))
    tasks = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
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
