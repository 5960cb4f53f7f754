"""What a bulk run writes: chunks while it runs; results, errors and a summary at its end."""

from __future__ import annotations

import csv
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionlens.files import atomic_write, write_json
from lesionlens.screening.items import (
    ERROR_COLUMNS,
    TIMING_COLUMNS,
    Record,
    as_table,
    results_schema,
)
from lesionlens.screening.job import Job, chunk_files

if TYPE_CHECKING:
    import pyarrow as pa

#: More row groups than this make a Parquet file slow to open: several chunks then share one.
MAX_ROW_GROUPS = 1000


@dataclass(frozen=True)
class RunFacts:
    """What only the run that ends now knows of itself."""

    engine: str
    workers: int
    n: int  # items done in it
    seconds: float
    was_stopped: bool  # before the source was at its end


@dataclass
class Totals:
    """What is in a run folder, counted over all its chunks."""

    verdicts: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    stage_ms: Counter[str] = field(default_factory=Counter)  # summed

    @property
    def n_judged(self) -> int:
        """Rows of ``results.parquet``."""
        return self.verdicts.total()

    @property
    def n_failed(self) -> int:
        """Rows of ``errors.csv``."""
        return self.reasons.total()


def write_chunk(
    path: Path, records: Sequence[Record], number: int, *, keep: Sequence[str] = ()
) -> None:
    """Write a chunk, whole or not at all.

    Raises:
        LesionLensError: the disk is full, or the folder cannot be written.
    """
    import pyarrow.parquet as pq

    table = as_table(records, number, keep=keep)
    with atomic_write(path, "wb") as file:
        pq.write_table(table, file, compression="zstd")


def finish(job: Job, facts: RunFacts) -> Totals:
    """Write ``results.parquet``, ``errors.csv`` and ``summary.json`` of all chunks of a run.

    A row group a chunk, in the order of chunks. ``errors.csv`` exists only while there are any.

    Returns:
        What was counted on the way.

    Raises:
        LesionLensError: the disk is full, or the folder cannot be written.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    keep = job.settings.keep
    schema = results_schema(keep)
    chunks = chunk_files(job.chunks)
    least = sum(pq.read_metadata(path).num_rows for path in chunks) // MAX_ROW_GROUPS
    totals = Totals()
    with (
        atomic_write(job.directory / "results.parquet", "wb") as results,
        _errors(job.directory / "errors.csv", keep) as errors,
        pq.ParquetWriter(results, schema, compression="zstd") as writer,
    ):
        waiting: list[pa.Table] = []
        for path in chunks:
            table = pq.ParquetFile(path).read()
            is_judged = pc.is_null(table.column("reason"))
            judged = table.filter(is_judged).select(schema.names)
            failed = table.filter(pc.invert(is_judged)).select([*ERROR_COLUMNS, *keep])
            _count(totals, judged, failed)
            errors.writerows(failed.to_pylist())
            waiting.append(judged)
            if sum(part.num_rows for part in waiting) > least:
                _write_group(writer, waiting)
        _write_group(writer, waiting)
    if not totals.n_failed:
        (job.directory / "errors.csv").unlink()
    write_json(job.directory / "summary.json", summary_of(job, facts, totals))
    return totals


def summary_of(job: Job, facts: RunFacts, totals: Totals) -> dict[str, Any]:
    """Return the content of ``summary.json`` (docs/screen.md)."""
    n = totals.n_judged
    return {
        "format": 1,
        "job": job.content["id"],
        "lesionlens": job.settings.lesionlens,
        "started": job.content["started"],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_complete": not facts.was_stopped,
        "judged": n,
        "failed": totals.n_failed,
        "verdicts": dict(totals.verdicts.most_common()),
        "labels": dict(totals.labels.most_common()),
        "reasons": dict(totals.reasons.most_common()),
        "mean_ms": {name: totals.stage_ms[name] / n for name in totals.stage_ms} if n else {},
        "last_run": {
            **asdict(facts),
            "images_per_s": facts.n / facts.seconds if facts.seconds else 0.0,
        },
        "named_twice": job.n_twice,
        "settings": job.settings.as_json(),
        "machine": {
            "system": platform.system(),
            "release": platform.release(),
            "processor": platform.machine(),
            "python": platform.python_version(),
        },
        "note": "Decision support for research and education. Not a diagnosis.",
    }


def _write_group(writer: Any, waiting: list[pa.Table]) -> None:
    import pyarrow as pa

    table = pa.concat_tables(waiting) if waiting else None
    if table is not None and table.num_rows:
        writer.write_table(table, row_group_size=table.num_rows)
    waiting.clear()


def _count(totals: Totals, judged: pa.Table, failed: pa.Table) -> None:
    import pyarrow.compute as pc

    totals.verdicts.update(judged.column("verdict").to_pylist())
    totals.labels.update(judged.column("label").to_pylist())
    totals.reasons.update(failed.column("reason").to_pylist())
    for name in TIMING_COLUMNS:
        if name.endswith("_ms") and judged.num_rows:
            totals.stage_ms[name.removesuffix("_ms")] += pc.sum(judged.column(name)).as_py()


@contextmanager
def _errors(path: Path, keep: Sequence[str]) -> Iterator[csv.DictWriter[str]]:
    """Yield a writer of ``errors.csv``, which is there only when the block succeeds."""
    with atomic_write(path) as file:
        rows = csv.DictWriter(file, [*ERROR_COLUMNS, *keep], lineterminator="\n")
        rows.writeheader()
        yield rows
