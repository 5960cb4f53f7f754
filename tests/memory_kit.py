"""Memory measured in a process of its own: one of a test run takes, and frees, at any moment."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import TypeVar

import pytest

from lesionlens.app.trial import forget_peak, read_memory

Result = TypeVar("Result")


def alone(work: Callable[..., Result], *arguments: object) -> Result:
    """Return what a function of a test's file returns in a fresh process; raise what it raises."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def growth_alone(work: Callable[..., Iterator[None]], *arguments: object) -> int:
    """Return by how many bytes the peak of a fresh process rises from the work's yield to its end.

    Skips the test where a system does not let the peak begin anew (others than Linux).
    """
    growth = alone(_growth, work, *arguments)
    if growth is None:
        pytest.skip("the peak of memory cannot be reset here")
    return growth


def _growth(work: Callable[..., Iterator[None]], *arguments: object) -> int | None:
    steps = work(*arguments)
    next(steps)
    with suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)  # what is free already would be taken first
    if not forget_peak():
        return None
    before = read_memory().now_bytes
    assert next(steps, "ended") == "ended", "work yields once, where the count begins"
    return read_memory().peak_bytes - before
