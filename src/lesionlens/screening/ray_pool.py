"""A pool of Ray Data's actors that judge chunks: put in at one end, taken out at the other.

The way of a chunk: ``Desk`` (an actor on the driver's node) holds it until it is written;
a read task of Ray Data takes it from there; an actor of the pool makes Parquet of it. The desk
gives the same chunk for the same place in line as often as it is asked, so Ray may do again
whatever was lost with an actor or a node.
"""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lesionlens import __version__

if TYPE_CHECKING:
    import pyarrow as pa

    from lesionlens.screening.ray_judge import Chunk, Made
    from lesionlens.screening.worker_process import Broken, Setup

#: What an actor asks for, though it keeps a core busy. Ray packs a node to half of its cores
#: before it takes the next, which makes one actor a core; and when nodes go, the actors of up to
#: half of the cluster find room on the others instead of waiting for cores that do not come back.
ACTOR_CPUS = 0.5
#: Chunks of an actor: one it works at, one that waits there, one on the way.
CHUNKS_AHEAD = 3
#: So long a pool may take to end.
_END_S = 5.0


class Pool:
    """The pipeline of Ray Data that runs, and a thread that passes on what comes out of it.

    Args:
        setup: what the actors' processes are told.
        workers: actors.
        timeout_s: that an item may take.
    """

    def __init__(self, setup: Setup, *, workers: int, timeout_s: float) -> None:
        import ray

        here = ray.get_runtime_context().get_node_id()
        #: What actors made; at the end None, or what ended it.
        self.events: queue.Queue[Made | Broken | BaseException | None] = queue.Queue()
        self.n_places = 0  # that chunks were put at
        self._desk: Any = ray.remote(Desk).options(
            num_cpus=0, label_selector={"ray.io/node-id": here}, max_concurrency=1000
        ).remote()  # fmt: skip
        told = (ray.put(setup), timeout_s, here, __version__)
        self._dataset = _dataset(self._desk, here, told, workers)
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def put(self, chunk: Chunk) -> int:
        """Put a chunk at the end of the line; return its place."""
        place = self.n_places
        self._desk.put.remote(place, pickle.dumps(chunk))
        self.n_places += 1
        return place

    def drop(self, place: int) -> None:
        """Forget what is at a place: it is written."""
        self._desk.drop.remote(place)

    def close(self) -> None:
        """Say that no more will come."""
        self._desk.close.remote(self.n_places)

    def end(self) -> None:
        """Close it and wait for its end, which comes soon after; not for actors that hang.

        A pipeline that outlives Ray in this process ends this process.
        """
        self.close()
        self._thread.join(_END_S)
        if self._thread.is_alive():
            # What Ray Data itself calls when a dataset is thrown away; it has no public name.
            executor = getattr(self._dataset, "_current_executor", None)
            if executor is not None:
                executor.shutdown(force=True)
            self._thread.join(_END_S)

    def _receive(self) -> None:
        end: BaseException | None = None
        try:
            for table in self._dataset.iter_batches(
                batch_size=None, batch_format="pyarrow", prefetch_batches=0
            ):
                for made in table.column("made").to_pylist():
                    self.events.put(pickle.loads(made))
        except BaseException as error:
            end = error
        self.events.put(end)


def _dataset(desk: Any, here: str, told: tuple[Any, ...], workers: int) -> Any:
    """Return the dataset of what actors, told so, make of the desk's chunks."""
    import ray
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    from lesionlens.screening.ray_judge import Judge

    def take_all() -> Iterator[pa.Table]:
        import pyarrow as pa

        place = 0
        while (chunk := ray.get(desk.take.remote(place))) is not None:
            yield pa.table({"chunk": pa.array([chunk], pa.binary())})
            place += 1

    class Chunks(Datasource):
        """One task that reads the desk from the first chunk to the last."""

        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ReadTask]:
            unknown = BlockMetadata(
                num_rows=None, size_bytes=None, input_files=None, exec_stats=None
            )
            return [ReadTask(take_all, unknown)]

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a watched folder may stay empty for days
    with warnings.catch_warnings():  # the other one deals actors to nodes of any size alike
        warnings.simplefilter("ignore")
        context.scheduling_strategy = "DEFAULT"  # see ACTOR_CPUS
    context.target_max_block_size = 1  # a block a row, a row a chunk: none waits for another
    chunks = ray.data.read_datasource(
        Chunks(), num_cpus=0, override_num_blocks=1, label_selector={"ray.io/node-id": here}
    )
    return chunks.map_batches(
        Judge,
        fn_constructor_args=told,
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=workers, max_tasks_in_flight_per_actor=CHUNKS_AHEAD - 1
        ),
        num_cpus=ACTOR_CPUS,
    )


class Desk:
    """An actor that holds chunks until they are written, each at its place in line.

    Calls may come in another order than they were made: of actors whose methods are coroutines,
    Ray promises no order.
    """

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}  # by place; empty: written
        self._n_places: int | None = None  # once that is known
        self._changed = asyncio.Condition()

    async def put(self, place: int, chunk: bytes) -> None:
        """Put a chunk at a place."""
        async with self._changed:
            self._chunks.setdefault(place, chunk)  # unless it is written already
            self._changed.notify_all()

    async def take(self, place: int) -> bytes | None:
        """Return the chunk of a place as soon as it is there; None: no more will come.

        Of a place whose chunk is written it is empty: a read task that Ray runs anew must give
        as many as before.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: place in self._chunks or self._n_places == place)
            return self._chunks.get(place)

    async def drop(self, place: int) -> None:
        """Forget a chunk: it is written."""
        self._chunks[place] = b""

    async def close(self, n_places: int) -> None:
        """Say that no more will come than there are places."""
        async with self._changed:
            self._n_places = n_places
            self._changed.notify_all()
