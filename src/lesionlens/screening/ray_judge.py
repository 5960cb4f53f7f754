"""The actor of the Ray engine: a supervisor of one worker process, which has one Classifier.

What a damaged file kills is that process, not the actor: so failures, too, are those of the
local engine, whose two ends these are.
"""

from __future__ import annotations

import pickle
import platform
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlens import __version__
from lesionlens.errors import ImageError, LesionLensError
from lesionlens.screening import worker_process as wire
from lesionlens.screening.items import Item
from lesionlens.screening.job import Lock
from lesionlens.screening.local import Engine, LocalOptions
from lesionlens.screening.progress import Meter, Stop, Tally
from lesionlens.screening.reading import Reading, read_item

if TYPE_CHECKING:
    import pyarrow as pa

_DEFAULT_READER = f"{read_item.__module__}:{read_item.__name__}"


@dataclass(frozen=True)
class Chunk:
    """Items that go to an actor together."""

    number: int  # in the run folder
    items: list[Item]


@dataclass(frozen=True)
class Made:
    """What came of a chunk."""

    number: int
    parquet: bytes  # of ``chunk_schema``
    tally: Tally
    seconds_per_item: float  # lately, there


class Judge:
    """Makes Parquet of chunks.

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
        """Return ``made`` (a pickled ``Made``) of each ``chunk`` (a pickled ``Chunk``).

        ``Broken`` in its place says why the run must end; raised, it would be one of Ray's with a
        page of trace.
        """
        import pyarrow as pa

        made: list[Made | wire.Broken] = []
        try:
            if self._version != __version__:
                raise self._other_version()
            chunks = (pickle.loads(chunk) for chunk in batch.column("chunk").to_pylist() if chunk)
            made.extend(map(self._judge, chunks))
        except (LesionLensError, OSError) as error:
            made.append(wire.Broken(f"node {platform.node()}: {error}"))
        return pa.table({"made": pa.array(map(pickle.dumps, made), pa.binary())})

    def _other_version(self) -> LesionLensError:
        return LesionLensError(
            f"has lesionlens {__version__}, and the run was started by {self._version}; install "
            "the same on every node"
        )

    def _judge(self, chunk: Chunk) -> Made:
        self._spool.chunk, self._engine.meter.tally = chunk, Tally()
        self._engine.run(self._spool)
        path = self._spool.chunk_path(chunk.number)
        content = path.read_bytes()
        path.unlink()
        tally, each = self._engine.meter.tally, self._engine.seconds_per_item
        return Made(chunk.number, content, tally, each)


class Spool:
    """The one chunk that an actor is at: its items, and where its process writes it."""

    def __init__(self) -> None:
        self.chunk = Chunk(-1, [])
        self._folder = tempfile.TemporaryDirectory(prefix="lesionlens-")  # gone with this object
        self.lock = Lock(Path(self._folder.name) / ".lock", lambda words: None)

    @property
    def is_empty(self) -> bool:
        """Whether its items are taken."""
        return not self.chunk.items

    def take(self, n: int) -> list[Item]:
        """Return its items, all at once: the driver has cut it."""
        taken, self.chunk = self.chunk.items, replace(self.chunk, items=[])
        return taken

    def new_chunk(self) -> int:
        """Return the number that the driver gave."""
        return self.chunk.number

    def chunk_path(self, number: int) -> Path:
        """Return where chunk ``number`` is written."""
        return Path(self._folder.name) / f"{number:08}.parquet"


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
