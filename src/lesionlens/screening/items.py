"""What travels through a bulk run: an image to judge, its answer, or why it has none.

All are frozen dataclasses of plain values, so that they cross processes, machines and Parquet
without a special case. Engines of every kind make the same of them: ``Item`` in, ``Row`` or
``Failure`` out, a table by ``as_table``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from lesionlens.errors import IMAGE_REASONS

if TYPE_CHECKING:
    import pyarrow as pa

#: The version of the columns below; a run folder of another one is not gone on with.
SCHEMA_VERSION = 1

#: Why an item has no answer: what ``imaging`` says of an image, and what else can happen to one
#: of very many. ``unexpected`` is a fault of ours: please report it.
REASONS: tuple[str, ...] = (
    *IMAGE_REASONS,
    "not_found",
    "no_permission",
    "unsupported_format",
    "changed_while_read",
    "timed_out",
    "crashed",
    "out_of_memory",
    "bad_archive",
    "encrypted",
    "unsafe_path",
    "no_pixels",
    "unsupported_dicom",
    "remote_error",
    "unexpected",
)

# Of what `backslashreplace` makes of a byte that is no UTF-8.
_SPELLED = re.compile(r"\\udc[89a-f][0-9a-f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Item:
    """One image to judge, and how a worker gets at it."""

    uri: str  # its stable name: '/'-separated, below the root of its source, 'a.zip!/b.jpg', 'x#3'
    location: str  # what a worker opens: absolute path or URL; bytes that are no text as surrogates
    member: str = ""  # its name inside the archive at ``location``
    frame: int | None = None  # of a DICOM file with several, from 1
    kind: str = "file"  # "file", "zip", "tar", "dicom" or "remote": who reads it
    size: int | None = None  # encoded bytes, where enumerating told them
    extra: dict[str, str] = field(default_factory=dict)  # columns carried along from a table

    @property
    def name(self) -> str:
        """``uri`` as outputs have it: valid text."""
        return spelled(self.uri)


@dataclass(frozen=True)
class Row:
    """The answer for one item."""

    uri: str  # as ``Item.name``
    sha256: str  # of the encoded file, or of a DICOM frame's pixel data; 64 hexadecimal digits
    verdict: str  # one of lesionlens.verdicts.VERDICTS
    label: str  # the likeliest of the three classes
    # Of each class, given that it is one of the three; they sum to 1.
    probability_BCC: float  # noqa: N815 - named as every other table names it
    probability_SCC: float  # noqa: N815
    probability_Normal: float  # noqa: N815
    scope: float | None  # probability 0..1 that it is one of the three; None: the model cannot say
    risk: float  # scope x (P(BCC) + P(SCC)), 0..1: what to look at first
    prediction_set: str  # "BCC|SCC"; may be empty
    quality: str  # findings about the photo, "blur|glare"; empty: good enough
    width_px: int  # of the source, upright
    height_px: int  # of the source, upright
    policy: str
    views: int
    read_ms: float  # to get and hash the bytes
    decode_ms: float
    model_ms: float  # views and network
    judge_ms: float  # quality of the photo, verdict
    elapsed_ms: float  # all of it
    model_sha256: str  # of model.tflite
    extra: dict[str, str] = field(default_factory=dict)  # of the item


@dataclass(frozen=True)
class Failure:
    """Why an item has no answer."""

    uri: str  # as ``Item.name``
    reason: str  # one of REASONS
    error: str  # what is wrong and what would help, in a sentence that names the item
    extra: dict[str, str] = field(default_factory=dict)  # of the item


Record = Row | Failure

#: Columns of ``errors.csv``.
ERROR_COLUMNS: tuple[str, ...] = ("uri", "reason", "error")
#: Columns that say how a run went, not what was found: they differ from run to run.
TIMING_COLUMNS: tuple[str, ...] = (
    "read_ms",
    "decode_ms",
    "model_ms",
    "judge_ms",
    "elapsed_ms",
    "chunk",
)

_FLOATS = ("probability_", "scope", "risk", *TIMING_COLUMNS[:-1])
_WHOLES = ("width_px", "height_px", "views")


def spelled(text: str) -> str:
    r"""Return ``text`` as valid Unicode: bytes of a name that are no UTF-8 become ``\udcXX``.

    Two names never become one: where a name has such bytes, or reads as if it had, its
    backslashes are doubled first.

    >>> spelled("skin.jpg"), spelled("skin\udcff.jpg")
    ('skin.jpg', 'skin\\udcff.jpg')
    """
    if not _SURROGATE.search(text) and not _SPELLED.search(text):
        return text
    return text.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode("utf-8")


def key_of(name: str) -> int:
    """Return 64 bits that stand for an item's ``name``, on every machine and in every run."""
    digest = hashlib.blake2b(name.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def column_names(keep: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns of ``results.parquet``, those kept from a table last.

    Args:
        keep: columns of a source's table that are carried along (``Item.extra``).
    """
    return (*(f.name for f in fields(Row) if f.name != "extra"), "chunk", *keep)


def chunk_schema(keep: Sequence[str] = ()) -> pa.Schema:
    """Return the Arrow schema of a chunk: the columns of results, then ``reason`` and ``error``.

    A judged item has null in the last two, a failed one in all but them, ``uri`` and ``chunk``.
    """
    import pyarrow as pa

    def kind(column: str) -> pa.DataType:
        if column.startswith(_FLOATS):
            return pa.float64()
        if column == "chunk":
            return pa.int64()
        return pa.int32() if column in _WHOLES else pa.string()

    own = [pa.field(name, kind(name)) for name in column_names()]
    extra = [pa.field(name, pa.string()) for name in keep]
    return pa.schema(
        [*own, *extra, pa.field("reason", pa.string()), pa.field("error", pa.string())]
    )


def results_schema(keep: Sequence[str] = ()) -> pa.Schema:
    """Return the Arrow schema of ``results.parquet``."""
    import pyarrow as pa

    return pa.schema([f for f in chunk_schema(keep) if f.name not in ("reason", "error")])


def as_table(records: Sequence[Record], chunk: int, *, keep: Sequence[str] = ()) -> pa.Table:
    """Return the records of a chunk as an Arrow table of ``chunk_schema(keep)``, in their order."""
    import pyarrow as pa

    schema = chunk_schema(keep)
    lines = [_as_line(record, chunk, keep) for record in records]
    return pa.Table.from_pylist(lines, schema=schema)


def _as_line(record: Record, chunk: int, keep: Sequence[str]) -> dict[str, Any]:
    line = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "extra"}
    return {**line, "chunk": chunk, **{name: record.extra.get(name) for name in keep}}
