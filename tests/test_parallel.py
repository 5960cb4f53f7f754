"""Results come in order, begun a few ahead, and nothing is begun that nobody waits for."""

from __future__ import annotations

import threading
import time

import pytest

from lesionlens.parallel import map_ahead


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_comes_with_its_result_in_order(workers: int) -> None:
    def slow_at_first(n: int) -> int:
        time.sleep(0.02 if n == 0 else 0)
        return n * n

    found = list(map_ahead(slow_at_first, range(20), workers=workers, ahead=6))
    assert found == [(n, n * n) for n in range(20)]


def test_no_more_are_begun_than_asked_for() -> None:
    begun: list[int] = []
    results = map_ahead(begun.append, range(1000), workers=4, ahead=8)
    for _ in range(10):
        next(results)
    time.sleep(0.05)
    assert len(begun) <= 10 + 8
    results.close()
    assert len(begun) < 1000


def test_several_run_at_the_same_time() -> None:
    meet = threading.Barrier(3, timeout=60)
    results = list(map_ahead(lambda _: meet.wait(), range(3), workers=3, ahead=3))
    assert len(results) == 3


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_comes_at_its_items_turn(workers: int) -> None:
    def fail_at_3(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    results = map_ahead(fail_at_3, range(10), workers=workers, ahead=6)
    assert [next(results)[1] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_leaving_early_lets_the_threads_go() -> None:
    before = threading.active_count()
    for item, _ in map_ahead(lambda n: n, range(100), workers=4, ahead=8):
        if item == 5:
            break
    deadline = time.monotonic() + 60
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
