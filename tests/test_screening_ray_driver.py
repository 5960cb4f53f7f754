"""The driver of the Ray engine over a pool that loses, repeats and gives up, as Ray's may."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.errors import LesionLensError
from lesionlens.screening import ray_engine
from lesionlens.screening.items import Failure, Item
from lesionlens.screening.job import Job
from lesionlens.screening.progress import Meter, Stop, Tally
from lesionlens.screening.ray_engine import RayOptions, run_ray
from lesionlens.screening.ray_judge import Chunk, Made
from lesionlens.screening.ray_pool import Desk
from lesionlens.screening.settings import make_settings
from lesionlens.screening.worker_process import Setup
from lesionlens.screening.writing import RunFacts, finish, write_chunk


class FakePool:
    """A pool in this process that answers a chunk at once: all its items have failed.

    ``react`` may do something else: it is called with the pool and the chunk, and returns how
    many times the chunk is to be answered.
    """

    made: list[FakePool]
    react: Callable[[FakePool, Chunk], int]
    folder: Path
    seconds_per_item = 0.0

    def __init__(self, setup: Setup, *, workers: int, timeout_s: float) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.n_places = 0
        self.given: list[Chunk] = []
        self.dropped: list[int] = []
        self.is_closed = self.is_over = False
        FakePool.made.append(self)

    def put(self, chunk: Chunk) -> int:
        self.given.append(chunk)
        for _ in range(FakePool.react(self, chunk)):
            self.answer(chunk)
        self.n_places += 1
        return self.n_places - 1

    def answer(self, chunk: Chunk) -> None:
        failures = [Failure(item.name, "not_found", f"{item.name}: no") for item in chunk.items]
        path = FakePool.folder / "chunk.parquet"
        write_chunk(path, failures, chunk.number)
        made = Made(chunk.number, path.read_bytes(), Tally.of(failures), FakePool.seconds_per_item)
        self.events.put(made)

    def give_up(self, error: BaseException | None) -> None:
        self.is_over = True
        self.events.put(error)

    def drop(self, place: int) -> None:
        self.dropped.append(place)

    def close(self) -> None:
        if not self.is_closed and not self.is_over:
            self.events.put(None)
        self.is_closed = True

    def end(self) -> None:
        self.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(autouse=True)
def _pools_are_fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    FakePool.made, FakePool.folder = [], tmp_path
    monkeypatch.setattr(FakePool, "react", lambda pool, chunk: 1, raising=False)
    monkeypatch.setattr(ray_engine, "Pool", FakePool)
    monkeypatch.setattr(ray_engine, "MOST_ITEMS", 16)  # in a chunk
    monkeypatch.setattr(ray_engine, "connect", lambda address, cores: cores)
    monkeypatch.setattr(ray_engine, "disconnect", lambda: None)


@pytest.fixture
def run(tmp_path: Path, bundle: Bundle) -> Callable[..., int]:
    """Run ``n`` items over the pools that there are; return how many are in the results."""

    def call(n: int, *, stop: Stop | None = None) -> int:
        items = (Item(f"{index}.jpg", f"/none/{index}.jpg") for index in range(n))
        settings = make_settings(bundle, ["none"], policy="balanced")
        with Job(tmp_path / "run", settings) as job:
            meter = Meter()
            run_ray(
                job, job.pending(items), Setup(bundle, "balanced", 1, False, ()), RayOptions(2),
                meter=meter, stop=stop or Stop(),
            )  # fmt: skip
            totals = finish(job, RunFacts("ray", 2, meter.tally.n, meter.seconds, False))
            assert meter.tally.n == totals.n_failed
            return totals.n_failed

    return call


def test_a_chunk_that_is_lost_goes_to_another_pool_and_is_there_once(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_third_at_first(pool: FakePool, chunk: Chunk) -> int:
        return int(chunk.number != 2 or len(FakePool.made) > 1)

    monkeypatch.setattr(FakePool, "react", lose_the_third_at_first)
    assert run(1_000) == 1_000
    first, second = FakePool.made
    assert [chunk.number for chunk in second.given] == [2]
    assert len(first.dropped) == len(first.given) - 1
    assert second.dropped == [0]


def test_a_chunk_that_comes_twice_counts_once(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakePool, "react", lambda pool, chunk: 2)
    assert run(200) == 200


def test_a_chunk_that_is_slow_is_given_to_one_actor(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer_the_first_last(pool: FakePool, chunk: Chunk) -> int:
        if chunk.number == 60:
            pool.answer(pool.given[0])
        return int(chunk.number != 0)

    monkeypatch.setattr(FakePool, "react", answer_the_first_last)
    assert run(1_000) == 1_000
    (pool,) = FakePool.made
    assert [chunk.number for chunk in pool.given].count(0) == 1


def test_another_pool_goes_on_where_ray_gives_one_up(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up_at_the_fifth(pool: FakePool, chunk: Chunk) -> int:
        if len(pool.given) == 5 and len(FakePool.made) < 5:
            pool.give_up(RuntimeError("an actor died"))
        return int(not pool.is_over)

    monkeypatch.setattr(FakePool, "react", give_up_at_the_fifth)
    assert run(500) == 500
    assert len(FakePool.made) == 5


def test_pools_that_give_nothing_back_end_the_run_with_what_ray_said(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(pool: FakePool, chunk: Chunk) -> int:
        if not pool.is_over:
            pool.give_up(RuntimeError("no module named lesionlens\na page of trace"))
        return 0

    monkeypatch.setattr(FakePool, "react", give_up)
    with pytest.raises(LesionLensError, match=r"3 times in a row .*named lesionlens\)") as caught:
        run(100)
    assert "trace" not in str(caught.value)
    assert len(FakePool.made) == 3


def test_a_pool_that_is_silent_for_long_makes_room_for_another(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(ray_engine, "monotonic", lambda: now_s)
    monkeypatch.setattr(ray_engine, "n_cores", lambda: 1)  # half a core an actor

    def be_silent_at_first(pool: FakePool, chunk: Chunk) -> int:
        nonlocal now_s
        if len(FakePool.made) > 1:
            return 1
        now_s += ray_engine._PATIENCE_S + 1
        return 0

    monkeypatch.setattr(FakePool, "react", be_silent_at_first)
    assert run(100) == 100
    assert len(FakePool.made) == 2


def test_a_cluster_that_has_become_too_small_ends_the_run_and_says_so(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_engine, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(ray_engine, "n_cores", lambda: 0)
    monkeypatch.setattr(FakePool, "react", lambda pool, chunk: 0)
    with pytest.raises(LesionLensError, match="room for 0 of 2 workers"):
        run(100)


def test_chunks_of_slow_images_are_small(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakePool, "seconds_per_item", 2.0)
    assert run(300) == 300
    (pool,) = FakePool.made
    sizes = [len(chunk.items) for chunk in pool.given]
    assert max(sizes) > 10  # before anything is known
    assert max(sizes[10:]) == 10  # 20 s


def test_a_stop_waits_for_what_is_out_and_takes_no_more(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()

    def stop_at_the_tenth(pool: FakePool, chunk: Chunk) -> int:
        if len(pool.given) == 10:
            stop.request()
        return 1

    monkeypatch.setattr(FakePool, "react", stop_at_the_tenth)
    n = run(500, stop=stop)
    (pool,) = FakePool.made
    assert len(pool.given) == 10
    assert n == sum(len(chunk.items) for chunk in pool.given)


def test_a_desk_gives_every_place_its_chunk_in_whatever_order_calls_arrive() -> None:
    async def use() -> None:
        desk = Desk()
        await desk.close(3)
        first = asyncio.create_task(desk.take(0))
        await desk.put(1, b"second")
        await desk.drop(2)
        await desk.put(2, b"written before it came")
        await asyncio.sleep(0)
        assert not first.done(), "the chunk is on its way"
        await desk.put(0, b"first")
        assert await first == b"first"
        assert [await desk.take(place) for place in (1, 2, 3)] == [b"second", b"", None]

    asyncio.run(asyncio.wait_for(use(), 60))
