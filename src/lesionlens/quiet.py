"""Keeps the notes of C++ libraries off the terminal, and whatever else they say on it.

LiteRT and TensorFlow write to the file descriptors themselves, past ``sys.stderr``, and have
no setting that silences all of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

# The descriptors belong to the whole process: two threads must not turn them at the same time.
_LOCK = threading.RLock()


@contextmanager
def without_lines(starts: Sequence[bytes], *, descriptors: Sequence[int] = (2,)) -> Iterator[None]:
    """Drop lines that begin with one of ``starts``; all others come through at the end.

    If the block raises, everything comes through.

    Args:
        starts: beginnings of lines; ``b""`` drops every line.
        descriptors: 1 is stdout, 2 is stderr.
    """
    with _LOCK, ExitStack() as stack:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with suppress(OSError, ValueError):
                    stream.flush()
        for descriptor in descriptors:
            stack.enter_context(_turned(descriptor, tuple(starts)))
        yield


@contextmanager
def _turned(descriptor: int, starts: tuple[bytes, ...]) -> Iterator[None]:
    with tempfile.TemporaryFile() as kept:
        try:
            original = os.dup(descriptor)
        except OSError:  # it is closed: nothing to keep clean
            yield
            return
        dropped = starts
        try:
            os.dup2(kept.fileno(), descriptor)
            yield
        except BaseException:
            dropped = ()
            raise
        finally:
            os.dup2(original, descriptor)
            kept.seek(0)
            lines = kept.read().splitlines(keepends=True)
            talk = b"".join(line for line in lines if not line.startswith(dropped))
            if talk:
                os.write(original, talk)
            os.close(original)
