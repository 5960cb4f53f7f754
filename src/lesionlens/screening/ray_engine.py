"""The Ray engine: the local engine's workers as actors of Ray Data, on one machine or a cluster.

The driver reads the source and cuts it into chunks; actors judge them; Parquet comes back to the
driver, which writes it into the run folder. So nodes need no disk in common for results, and a
run may be stopped, gone on with, and gone on with by the other engine. Rows are the same bit for
bit, failures too, because an actor is a supervisor of one process of ``worker_process``: what a
damaged file kills is that process, not the actor.

The way of a chunk: ``Desk`` (an actor on the driver's node) holds it until it is written;
a read task of Ray Data takes it from there; an actor of the pool makes Parquet of it. The desk
gives the same chunk for the same place in line as often as it is asked, so Ray may do again
whatever was lost with an actor or a node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import platform
import queue
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from lesionlens import __version__
from lesionlens.errors import ImageError, LesionLensError
from lesionlens.files import atomic_write
from lesionlens.quiet import without_lines
from lesionlens.screening import worker_process as wire
from lesionlens.screening.items import Item
from lesionlens.screening.job import Job, Lock
from lesionlens.screening.local import FIRST_ITEMS, MOST_ITEMS, Engine, Feed, LocalOptions
from lesionlens.screening.progress import Listener, Meter, Pause, Stop, Tally
from lesionlens.screening.reading import Reading, read_item

if TYPE_CHECKING:
    import pyarrow as pa

#: What an actor asks for, though it keeps a core busy. Ray packs a node to half of its cores
#: before it takes the next, which makes one actor a core; and when nodes go, the actors of up to
#: half of the cluster find room on the others instead of waiting for cores that do not come back.
_ACTOR_CPUS = 0.5
#: Chunks of an actor: one it works at, one that waits there, one on the way.
_CHUNKS_AHEAD = 3
#: Parts that what is left is cut into for each actor, so that all end at about the same time.
_END_PARTS = 4
_LOOK_S = 0.1
#: So long the address of a cluster may take to answer.
_REACH_S = 5.0
#: So long nothing may come back from a cluster that has become too small.
_PATIENCE_S = 120.0
#: A chunk is taken for lost when so many times those that are out at once have gone out after it.
_WINDOWS_BEHIND = 4
#: So long a pool may take to end.
_END_S = 5.0
#: Pools that may give back nothing, in a row.
_MAX_VAIN = 3
#: Objects in Ray's store are chunks of names and answers, some 100 kB each.
_STORE_BYTES = 256 << 20
_DEFAULT_READER = f"{read_item.__module__}:{read_item.__name__}"


@dataclass(frozen=True)
class RayOptions:
    """How the Ray engine runs; nothing of it changes a row."""

    workers: int  # actors
    timeout_s: float = 30.0  # that an item may take
    address: str = ""  # of a cluster that this machine is a node of; empty: Ray on this machine


def connect(address: str = "", *, cores: int | None = None) -> int:
    """Start Ray on this machine or join a cluster, quietly; again, it does nothing.

    Args:
        address: ``auto`` or ``host:port`` of a cluster that this machine is a node of; empty:
            Ray on this machine, until this process ends or ``disconnect`` is called.
        cores: that Ray on this machine is to have; None takes all. Of a cluster, nothing is asked.

    Returns:
        The cores that Ray has.

    Raises:
        LesionLensError: Ray is not installed, or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a change
    try:
        import ray
        import ray.data  # which is a package's extra of its own
    except ImportError as error:
        raise LesionLensError(
            "engine ray: Ray is not installed on this machine; pip install 'lesionlens[ray]', or "
            "use --engine local"
        ) from error
    if address.startswith("ray://"):
        raise LesionLensError(
            f"{address}: is the address of a Ray client server, through which Ray Data does not "
            "run well; start lesionlens on a node of the cluster (ray exec cluster.yaml '...') "
            "and give --ray-address auto"
        )
    if not ray.is_initialized():
        _check_listens(address)
        # That cores are still taken, where a second pool begins as the first one ends.
        warnings.filterwarnings("ignore", module=r"ray\.data\.")
        logging.getLogger("ray").setLevel(logging.ERROR)  # before it is set by `logging_level`
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address:
            options["address"] = address
        else:
            # "local", as RAY_ADDRESS in the environment means another command's cluster.
            options |= {
                "address": "local",
                "num_cpus": cores,
                "include_dashboard": False,
                "object_store_memory": _STORE_BYTES,
            }
        with _own_signals():
            try:
                with without_lines([b"["]):  # that a level of notes was set is noted, too
                    ray.init(**options)
            except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                where = f"{address}: is no Ray cluster that can be joined" if address else (
                    "engine ray: Ray does not start on this machine"
                )  # fmt: skip
                raise LesionLensError(
                    f"{where} ({_first_line(error)}). This machine must be a node of the cluster: "
                    "ray start --address=HOST:6379 makes it one; ray status says what there is"
                ) from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # errors are told by who raises them
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _check_listens(address: str) -> None:
    """Raise if nothing listens at ``host:port``: Ray itself goes on trying for minutes."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except (OSError, ValueError) as error:
        raise LesionLensError(
            f"{address}: is no Ray cluster that can be reached ({error}); give HOST:PORT as ray "
            "status or ray start --head told it, often HOST:6379, or auto on a node of the cluster"
        ) from error


def disconnect() -> None:
    """End Ray on this machine, or leave the cluster and end what this process has there."""
    import ray

    with _own_signals():
        ray.shutdown()


def run_ray(
    job: Job,
    items: Iterable[Item | Pause],
    setup: wire.Setup,
    options: RayOptions,
    *,
    meter: Meter,
    stop: Stop,
    listener: Listener = lambda snapshot: None,
) -> None:
    """Judge items and write them into the chunks of ``job``.

    Takes what ``local.run_local`` takes. Ray is ended, or the cluster left, on return.

    Raises:
        LesionLensError: Ray is missing or cannot be reached, workers do not start, a disk is
            full, the source failed, or the cluster has become too small. What was finished until
            then is kept, and the run can go on from there.
    """
    connect(options.address, cores=max(options.workers, 2))
    feed = Feed(items)
    try:
        _Driver(job, setup, options, meter=meter, stop=stop, listener=listener).run(feed)
    finally:
        feed.close()
        disconnect()


@dataclass(frozen=True)
class _Out:
    """A chunk that is not back yet."""

    place: int  # in line
    chunk: bytes  # pickled: its number, its items


class _Driver:
    """The side of the run folder: cuts chunks, hands them to the desk, writes what comes back."""

    def __init__(
        self,
        job: Job,
        setup: wire.Setup,
        options: RayOptions,
        *,
        meter: Meter,
        stop: Stop,
        listener: Listener,
    ) -> None:
        import ray

        self.job, self.setup, self.options = job, setup, options
        self.meter, self.stop, self.listener = meter, stop, listener
        self.here = ray.get_runtime_context().get_node_id()
        self.out: dict[int, _Out] = {}  # by number of the chunk, the longest away first
        self.n_chunks = 0
        self.desk: Any = None  # of the pool that runs

    def run(self, feed: Feed) -> None:
        """Work until the feed is at its end, or the end is asked for.

        Ray 2.60 sometimes takes a chunk for done that an actor had when it was killed, and none
        came of it. What did not come back is therefore handed out anew: on the way where chunks
        far behind it are back, at the end by another pool.
        """
        n_vain = 0
        while n_vain < _MAX_VAIN:
            n_before = self.meter.tally.n
            self._run_pool(feed)
            if self.stop.is_requested or (feed.is_empty and not self.out):
                self.listener(self.meter.snapshot())
                return
            n_vain = 0 if self.meter.tally.n > n_before else n_vain + 1
        raise LesionLensError(
            f"Ray lost {len(self.out)} chunks, {_MAX_VAIN} times; its own logs are in "
            "/tmp/ray/session_latest/logs"
        )

    def _run_pool(self, feed: Feed) -> None:
        """Hand out and write until all is back, or Ray has ended the pool."""
        import ray

        self.desk = ray.remote(Desk).options(
            num_cpus=0, label_selector={"ray.io/node-id": self.here}, max_concurrency=1000
        ).remote()  # fmt: skip
        self.n_places = 0
        for number in list(self.out):
            self._put(number, self.out[number].chunk)
        pool = _Pool(self.desk, self.setup, self.options, self.here)
        try:
            self._serve(feed, pool.events)
        finally:
            self.desk.close.remote()
            pool.end()

    def _serve(self, feed: Feed, events: queue.Queue[pa.Table | BaseException | None]) -> None:
        is_closed, heard = False, monotonic()
        while True:
            self._hand_out(feed, is_closed=is_closed)
            is_at_end = self.stop.is_requested or feed.is_empty
            if is_at_end and not self.out:
                return
            if is_at_end and not is_closed:
                self.desk.close.remote()
                is_closed = True
            with suppress(queue.Empty):
                event = events.get(timeout=_LOOK_S)
                if event is None:
                    return
                if isinstance(event, BaseException):
                    raise _explained(event)
                self._write(event)
                heard = monotonic()
            if self.out and monotonic() - heard > _PATIENCE_S:
                self._check_size()
                self.desk.close.remote()  # ends this pool; what is out goes to another
                is_closed, heard = True, monotonic()
            self.listener(self.meter.snapshot())

    def _hand_out(self, feed: Feed, *, is_closed: bool) -> None:
        window = self.options.workers * _CHUNKS_AHEAD
        while not is_closed and not self.stop.is_requested and len(self.out) < window:
            items = feed.take(self._chunk_items())
            if not items:
                break
            number = self.job.new_chunk()
            self._put(number, pickle.dumps((number, items)))
            self.n_chunks += 1
        oldest = next(iter(self.out), None)
        if oldest is not None and not is_closed:
            lost = self.out[oldest]
            if self.n_places - lost.place > window * _WINDOWS_BEHIND:
                self._put(oldest, lost.chunk)

    def _put(self, number: int, chunk: bytes) -> None:
        self.out.pop(number, None)  # it goes to the end
        self.out[number] = _Out(self.n_places, chunk)
        self.desk.put.remote(self.n_places, chunk)
        self.n_places += 1

    def _chunk_items(self) -> int:
        """Return how many items the next chunk is to have: few at first, and few at the end."""
        most = min(FIRST_ITEMS << min(self.n_chunks // self.options.workers, 8), MOST_ITEMS)
        if self.meter.n_total is None:
            return most
        # What is out counts as if chunks had the most that they may: less is left, not more.
        left = self.meter.n_total - self.meter.tally.n - len(self.out) * most
        return max(min(FIRST_ITEMS, most), min(most, left // (self.options.workers * _END_PARTS)))

    def _write(self, table: pa.Table) -> None:
        for made in table.to_pylist():
            if made["error"]:
                raise LesionLensError(made["error"])
            out = self.out.pop(made["number"], None)
            if out is None:  # it was done twice
                continue
            with atomic_write(self.job.chunk_path(made["number"]), "wb") as file:
                file.write(made["parquet"])
            self.meter.tally.add(pickle.loads(made["tally"]))
            self.desk.drop.remote(out.place)

    def _check_size(self) -> None:
        """Raise if actors wait for cores that the cluster has no more."""
        import ray

        room = int(ray.cluster_resources().get("CPU", 0) / _ACTOR_CPUS)
        if room < self.options.workers:
            raise LesionLensError(
                f"nothing has come back for {_PATIENCE_S:g} s: the cluster has room for {room} of "
                f"{self.options.workers} workers; add nodes, or give fewer --workers"
            )


class Desk:
    """An actor that holds chunks until they are written, each at its place in line."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}
        self._n = 0
        self._is_closed = False
        self._changed = asyncio.Condition()

    async def put(self, place: int, chunk: bytes) -> None:
        """Put a chunk at a place."""
        async with self._changed:
            self._chunks[place] = chunk
            self._n = max(self._n, place + 1)
            self._changed.notify_all()

    async def take(self, place: int) -> bytes | None:
        """Return the chunk of a place as soon as it is there; None: no more will come.

        Of a place whose chunk is written it is empty: a read task that Ray runs anew must give
        as many as before.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: place < self._n or self._is_closed)
            return self._chunks.get(place, b"") if place < self._n else None

    async def drop(self, place: int) -> None:
        """Forget a chunk: it is written."""
        self._chunks.pop(place, None)

    async def close(self) -> None:
        """Say that no more will come; calls of one caller arrive in the order they were made."""
        async with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class _Pool:
    """The pipeline of Ray Data that runs, and a thread that passes on what comes out of it."""

    def __init__(self, desk: Any, setup: wire.Setup, options: RayOptions, here: str) -> None:
        #: What actors made; at the end None, or what ended it.
        self.events: queue.Queue[pa.Table | BaseException | None] = queue.Queue()
        self._dataset = _dataset(desk, setup, options, here)
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for its end, which comes soon after the desk is closed; not for actors that hang.

        A pipeline that outlives Ray in this process ends this process.
        """
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
                self.events.put(table)
        except BaseException as error:
            end = error
        self.events.put(end)


def _dataset(desk: Any, setup: wire.Setup, options: RayOptions, here: str) -> Any:
    """Return the dataset of what a pool of actors makes of the desk's chunks."""
    import ray
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

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
    with warnings.catch_warnings():  # the other one deals actors to nodes of any size alike
        warnings.simplefilter("ignore")
        context.scheduling_strategy = "DEFAULT"  # see _ACTOR_CPUS
    context.target_max_block_size = 1  # a block a row, a row a chunk: none waits for another
    chunks = ray.data.read_datasource(
        Chunks(), num_cpus=0, override_num_blocks=1, label_selector={"ray.io/node-id": here}
    )
    return chunks.map_batches(
        Judge,
        fn_constructor_args=(ray.put(setup), options.timeout_s, here, __version__),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            size=options.workers, max_tasks_in_flight_per_actor=_CHUNKS_AHEAD - 1
        ),
        num_cpus=_ACTOR_CPUS,
    )


class Judge:
    """An actor of the pool: makes Parquet of chunks, by one process that has one Classifier.

    Args:
        setup: reference of the ``Setup`` that its process is told.
        timeout_s: that an item may take.
        home: id of the driver's node.
        version: of lesionlens there.
    """

    def __init__(self, setup: Any, timeout_s: float, home: str, version: str) -> None:
        import ray

        told: wire.Setup = ray.get(setup)
        if ray.get_runtime_context().get_node_id() != home and told.reader == _DEFAULT_READER:
            told = replace(told, reader=f"{__name__}:{read_away.__name__}")
        self._version = version
        self._spool = Spool()
        self._engine = Engine(
            self._spool, told, LocalOptions(1, timeout_s=timeout_s), meter=Meter(), stop=Stop()
        )

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return ``number``, ``parquet`` and ``tally`` (pickled) of each ``chunk`` (pickled).

        ``error`` says why the run must end; raised, it would be one of Ray's with a page of trace.
        """
        import pyarrow as pa

        made: list[dict[str, Any]] = []
        try:
            if self._version != __version__:
                raise self._other_version()
            made += [self._judge(chunk) for chunk in batch.column("chunk").to_pylist() if chunk]
        except (LesionLensError, OSError) as error:
            made.append({"error": f"node {platform.node()}: {error}"})
        return pa.Table.from_pylist(
            made,
            schema=pa.schema(
                [
                    ("number", pa.int64()),
                    ("parquet", pa.binary()),
                    ("tally", pa.binary()),
                    ("error", pa.string()),
                ]
            ),
        )

    def _other_version(self) -> LesionLensError:
        return LesionLensError(
            f"has lesionlens {__version__}, and the run was started by {self._version}; install "
            "the same on every node"
        )

    def _judge(self, chunk: bytes) -> dict[str, Any]:
        number, items = pickle.loads(chunk)
        self._spool.number = number
        self._engine.meter.tally = Tally()
        self._engine.run(_Whole(items))
        path = self._spool.chunk_path(number)
        content = path.read_bytes()
        path.unlink()
        tally = pickle.dumps(self._engine.meter.tally)
        return {"number": number, "parquet": content, "tally": tally}


class Spool:
    """Where an actor's process writes the one chunk that it is at: a temporary folder."""

    def __init__(self) -> None:
        self.number = -1
        self._folder = tempfile.TemporaryDirectory(prefix="lesionlens-")  # gone with this object
        self.lock = Lock(Path(self._folder.name) / ".lock", lambda words: None)

    def new_chunk(self) -> int:
        """Return the number of the chunk that the driver gave."""
        return self.number

    def chunk_path(self, number: int) -> Path:
        """Return where chunk ``number`` is written."""
        return Path(self._folder.name) / f"{number:08}.parquet"


class _Whole:
    """Items of one chunk: taken all at once."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items

    @property
    def is_empty(self) -> bool:
        return not self._items

    def take(self, n: int) -> list[Item]:
        taken, self._items = self._items, []
        return taken


def read_away(item: Item) -> Reading:
    """Read an item on another node than the driver's, and name the node where it is not there.

    Raises:
        ImageError: as ``reading.read_item``.
    """
    try:
        return read_item(item)
    except ImageError as error:
        if error.reason != "not_found":
            raise
        raise ImageError(
            f"{error}; it was looked for on node {platform.node()}: every node must see the "
            "images at the same path as the machine that started the run, or by an address "
            "(s3://, https://)",
            reason=error.reason,
        ) from error


class _own_signals:  # noqa: N801 - a context manager, as contextlib names its own
    """Keeps handlers of SIGINT and SIGTERM that are ours: Ray sets its own when it starts."""

    def __enter__(self) -> None:
        self._before = {
            number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *exception: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)


def _explained(error: BaseException) -> BaseException:
    """Return what ended the pipeline in our own words."""
    if isinstance(error, Exception):
        return LesionLensError(f"Ray ended the run ({type(error).__name__}: {_first_line(error)})")
    return error


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__
