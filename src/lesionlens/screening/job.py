"""A run folder: what it is a run of, what is done already, and what is still to do.

    OUT/job.json                  what makes rows what they are (``Settings``)
    OUT/chunks/00000012.parquet   finished chunks, each written whole or not at all
    OUT/.lock                     held while an engine or one of its workers writes here

A chunk is the unit of loss: what is in one is done for good, what is in none is to be done.
Items are told apart by name, and whoever goes on with a run enumerates the source anew and
leaves out what it knows: files that came or went since do no harm.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lesionlens.errors import DataError, LesionLensError
from lesionlens.files import atomic_write, read_json, write_json
from lesionlens.screening.items import Item, key_of
from lesionlens.screening.keys import Keys
from lesionlens.screening.progress import Pause
from lesionlens.screening.settings import Settings, Shard

#: The version of ``job.json``.
FORMAT = 1
JOB_FILE = "job.json"
CHUNKS = "chunks"
#: What a run leaves besides chunks; ``--restart`` removes these and nothing else.
OUTPUTS: tuple[str, ...] = (
    "results.parquet",
    "errors.csv",
    "summary.json",
    "review.html",
    "fhir.ndjson",
)
#: How long to wait for the workers of a run that was killed.
_LOCK_PATIENCE_S = 60.0
#: Folder of previews beside review.html.
PREVIEWS = "review-images"
#: Folder of DICOM reports.
REPORTS = "sr"


class Job:
    """An open run folder; a context manager that keeps others out of it.

    Args:
        directory: the run folder; made if need be.
        settings: what is to be run.
        restart: whether to throw away what an earlier run left there.
        retry: whether what failed before is to be done again.
        wait: called with a sentence when another process still holds the folder.

    Raises:
        DataError: the folder is a run of something else, or no run and not empty.
        LesionLensError: another process works in it, or it cannot be written.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        settings: Settings,
        *,
        restart: bool = False,
        retry: bool = False,
        wait: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.directory = Path(directory)
        self.settings = settings
        self.chunks = self.directory / CHUNKS
        self._shard = Shard.parse(settings.shard) if settings.shard else None
        self.n_damaged = 0  # chunks that could not be read; what was in them is judged again
        self.n_twice = 0  # items of a name that came before in this run
        self._open(restart, retry, wait)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *exception: object) -> None:
        self.lock.release()

    @property
    def n_done(self) -> int:
        """Items that earlier runs have done."""
        return len(self._done)

    def chunk_path(self, number: int) -> Path:
        """Return where chunk ``number`` is written."""
        return self.chunks / f"{number:08}.parquet"

    def new_chunk(self) -> int:
        """Return the number of the next chunk; each once."""
        self._n_chunks += 1
        return self._n_chunks - 1

    def pending(self, items: Iterable[Item | Pause]) -> Iterator[Item | Pause]:
        """Yield the items of this shard that are neither done nor handed out yet, and pauses."""
        is_first_look = True
        for item in items:
            if isinstance(item, Pause):
                is_first_look = False
                yield item
            elif self.is_to_do(item):
                if self._handed.add(key_of(item.name)):
                    yield item
                elif is_first_look:  # two items of one name; later looks find the same ones again
                    self.n_twice += 1

    def is_to_do(self, item: Item) -> bool:
        """Return whether an item is of this shard and no earlier run has done it."""
        key = key_of(item.name)
        return (self._shard is None or self._shard.has(key)) and key not in self._done

    def _open(self, restart: bool, retry: bool, wait: Callable[[str], None]) -> None:
        file = self.directory / JOB_FILE
        if self.directory.is_dir() and not file.exists() and any(self.directory.iterdir()):
            left = [p.name for p in self.directory.iterdir() if p.name not in (".lock", CHUNKS)]
            left = [name for name in left if not name.startswith((".job.json.", "shard-"))]
            if left:
                raise DataError(
                    f"{self.directory}: is no run folder, and {sorted(left)[0]} is in it; give "
                    "--output a new or an empty folder"
                )
        try:
            self.chunks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LesionLensError(
                f"{self.directory}: cannot be written ({error.strerror or error})"
            ) from error
        self.lock = Lock(self.directory / ".lock", wait)
        try:
            if restart:
                self._clear()
            if file.exists():
                self._check(read_json(file))
            else:
                self._create(file)
            for part in (*self.directory.glob(".*.part"), *self.chunks.glob(".*.part")):
                part.unlink()  # of a run that was killed while it wrote
            self._done = Keys(self._read_keys(retry))
            self._handed = Keys()
        except BaseException:
            self.lock.release()
            raise

    def _clear(self) -> None:
        shutil.rmtree(self.chunks)
        self.chunks.mkdir()
        for name in (PREVIEWS, REPORTS):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        for name in (*OUTPUTS, JOB_FILE):
            (self.directory / name).unlink(missing_ok=True)

    def _create(self, file: Path) -> None:
        if any(self.chunks.glob("*.parquet")):
            raise DataError(
                f"{self.directory}: has chunks but no {JOB_FILE} that says what they are of; "
                "--restart throws them away, or give --output another folder"
            )
        self.content = {
            "format": FORMAT,
            "id": secrets.token_hex(8),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": self.settings.as_json(),
        }
        write_json(file, self.content)

    def _check(self, content: Any) -> None:
        found = content.get("settings") if isinstance(content, dict) else None
        if not isinstance(found, dict) or content.get("format") != FORMAT:
            raise DataError(
                f"{self.directory / JOB_FILE}: is not a run that this lesionlens can go on with; "
                "--restart begins anew, or give --output another folder"
            )
        wanted = self.settings.as_json()
        changed = [f.name for f in fields(Settings) if found.get(f.name) != wanted[f.name]]
        if changed:
            told = "; ".join(
                f"{name} was {_shown(found.get(name))}, now {_shown(wanted[name])}"
                for name in changed
            )
            raise DataError(
                f"{self.directory}: was begun with other settings, and their rows are not mixed: "
                f"{told}. Give the same again to go on, --restart to throw away what is there and "
                "begin anew, or --output another folder"
            )
        self.content = content

    def _read_keys(self, retry: bool) -> np.ndarray:
        self._n_chunks = 0
        paths = chunk_files(self.chunks)
        if not paths:  # the import below takes longer than a first chunk
            return np.empty(0, np.uint64)
        import pyarrow as pa
        import pyarrow.parquet as pq

        keys = []
        for path in paths:
            self._n_chunks = max(self._n_chunks, int(path.stem) + 1)
            try:
                if retry:
                    _drop_failures(path)
                names = pq.ParquetFile(path).read(columns=["uri"]).column("uri").to_pylist()
            except (OSError, pa.ArrowException):
                path.unlink()
                self.n_damaged += 1
                continue
            keys.append(np.fromiter(map(key_of, names), np.uint64, len(names)))
        return np.concatenate(keys) if keys else np.empty(0, np.uint64)


def _drop_failures(path: Path) -> None:
    """Write a chunk anew without what failed, so that this is to be done again."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read()
    judged = table.filter(pc.is_null(table.column("reason")))
    if judged.num_rows < table.num_rows:
        with atomic_write(path, "wb") as file:
            pq.write_table(judged, file, compression="zstd")


def chunk_files(directory: Path) -> list[Path]:
    """Return the finished chunks of a run, in order."""
    return sorted(path for path in directory.glob("*.parquet") if path.stem.isdecimal())


class Lock:
    """Keeps a folder for this process and its children, until the last of them has ended.

    A lock of the file's open description: workers inherit it by descriptor, so that the next run
    waits for those of one that was killed, which may be writing their last chunk. Where the
    system has none (Windows), nothing is kept.

    Raises:
        LesionLensError: somebody else has it and keeps it.
    """

    def __init__(self, path: Path, wait: Callable[[str], None]) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            import fcntl
        except ImportError:
            return
        until = time.monotonic() + _LOCK_PATIENCE_S
        is_told = False
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    self.release()
                    raise LesionLensError(
                        f"{path.parent}: another run works in this folder; wait for it, stop it, "
                        "or give --output another folder"
                    ) from error
                if not is_told:
                    wait(f"{path.parent}: waiting for another run's workers to end")
                    is_told = True
                time.sleep(0.2)

    def release(self) -> None:
        """Give the lock up."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _shown(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return (text if len(text) <= 60 else f"{text[:12]}…") or "nothing"
