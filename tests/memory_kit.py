"""Memory measured in a process of its own: one of a test run takes, and frees, at any moment."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import psutil

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")

Result = TypeVar("Result")


def alone(work: Callable[..., Result], *arguments: object) -> Result:
    """Return what a function of a test's file returns in a fresh process; raise what it raises."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def growth_alone(work: Callable[..., Iterator[None]], *arguments: object) -> int:
    """Return by how many bytes the peak of a fresh process rises from the work's yield to its end.

    Where the peak cannot be reset (other systems than Linux) it is what is held at the end.
    """
    return alone(_growth, work, *arguments)


def _growth(work: Callable[..., Iterator[None]], *arguments: object) -> int:
    steps = work(*arguments)
    next(steps)
    can_see_peak = _forget_peak()
    before = psutil.Process().memory_info().rss
    assert next(steps, "ended") == "ended", "work yields once, where the count begins"
    return (_peak() if can_see_peak else psutil.Process().memory_info().rss) - before


def _forget_peak() -> bool:
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what is free already would be taken first
        _CLEAR_REFS.write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return False
    return True


def _peak() -> int:
    words = _STATUS.read_text(encoding="ascii").split()
    return int(words[words.index("VmHWM:") + 1]) * 1024
