"""Lists and tables of paths: text of one path a line, CSV, Parquet; read a part at a time."""

from __future__ import annotations

import csv
import io
import os
import posixpath
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote, urljoin

from lesionlens.errors import DataError, LesionLensError
from lesionlens.imaging import SUFFIXES
from lesionlens.screening.places import WEB, is_url, path_of, public_url, scheme_of

#: What a list is called; anything else that is named is an image, an archive or a folder.
LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})
CSV_SUFFIXES = frozenset({".csv", ".tsv"})
PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
#: Standard input, as a list.
STDIN = "-"
#: Columns that are taken for that of the paths, the first of them that is there.
PATH_COLUMNS = ("path", "file", "image", "uri", "image_id", "isic_id")
_PARQUET_ROWS = 4096
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Entry:
    """A line of a list or table."""

    path: str  # as written
    location: str  # absolute path, or address
    extra: dict[str, str] = field(default_factory=dict)


def is_table(path: str) -> bool:
    """Whether a file of this name is a list or table of paths."""
    suffix = Path(path).suffix.lower()
    return path == STDIN or suffix in LIST_SUFFIXES | CSV_SUFFIXES | PARQUET_SUFFIXES


class Table:
    """A list or table of paths; iterate for its entries, as often as needed (``-``: once).

    Args:
        path: text of one path a line, ``-`` for that on standard input, CSV, TSV or Parquet.
        root: folder that relative paths start from; empty: the table's own, for standard input
            the working directory.
        address: of the table, where ``path`` is a copy of it; relative paths start from there.
        column: of the paths; empty: the first of ``PATH_COLUMNS``.
        keep: columns whose values are carried along.

    Raises:
        DataError: on iteration; not readable, or without the columns. Names them.
    """

    def __init__(
        self,
        path: str,
        *,
        root: str = "",
        address: str = "",
        column: str = "",
        keep: Sequence[str] = (),
    ) -> None:
        self.path = path
        self._address = address
        self._name = public_url(address) if address else path
        own = os.getcwd() if path == STDIN else os.path.dirname(os.path.abspath(path))
        self.root = os.path.abspath(root) if root else own
        self._column = column
        self._keep = tuple(keep)
        self._suffix = ""  # of the last image that was found by its id

    def __iter__(self) -> Iterator[Entry]:
        suffix = Path(self.path).suffix.lower()
        if suffix in CSV_SUFFIXES:
            rows = self._csv("\t" if suffix == ".tsv" else ",")
        elif suffix in PARQUET_SUFFIXES:
            rows = self._parquet()
        else:
            rows = self._lines()
        for path, extra in rows:
            if path:
                yield Entry(path, self._located(path), extra)

    def _located(self, path: str) -> str:
        if is_url(path):
            return path
        if self._address:
            return _joined(self._address, path)
        return os.path.normpath(os.path.join(self.root, path))

    def _lines(self) -> Iterator[tuple[str, dict[str, str]]]:
        if self._keep:
            raise DataError(f"{self._name}: is a list of paths and has no columns to keep")
        with self._opened() as file:
            for number, line in enumerate(file):
                path = line.removeprefix(_BYTE_ORDER_MARK) if number == 0 else line
                yield os.fsdecode(path.strip(b"\r\n")), {}

    def _csv(self, delimiter: str) -> Iterator[tuple[str, dict[str, str]]]:
        with self._opened() as file:
            text = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
            reader = csv.DictReader(text, delimiter=delimiter)
            try:
                names = [name.strip() for name in reader.fieldnames or []]
                reader.fieldnames = names
                column = self._checked(names)
                for row in reader:
                    yield self._cell(column, row[column]), self._kept(row)
            except csv.Error as error:
                raise DataError(
                    f"{self._name}: line {reader.line_num}: is not CSV ({error})"
                ) from error

    def _parquet(self) -> Iterator[tuple[str, dict[str, str]]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.path) as file:
                column = self._checked(file.schema_arrow.names)
                columns = list(dict.fromkeys((column, *self._keep)))
                for batch in file.iter_batches(_PARQUET_ROWS, columns=columns):
                    for row in batch.to_pylist():
                        yield self._cell(column, row[column]), self._kept(row)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._name}: is not readable Parquet ({error})") from error

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.path == STDIN:
            if sys.stdin is None or sys.stdin.isatty():
                raise LesionLensError(
                    "-: reads one path a line from standard input, which is a terminal here; try: "
                    "find photos -name '*.jpg' | lesionlens screen - -o OUT"
                )
            yield sys.stdin.buffer
            return
        try:
            with open(self.path, "rb") as file:
                yield file
        except OSError as error:
            raise DataError(f"{self._name}: cannot be read ({error.strerror or error})") from error

    def _checked(self, names: Sequence[str]) -> str:
        """Return the column of the paths; raise DataError where it or one to keep is missing."""
        wanted = [self._column] if self._column else PATH_COLUMNS
        column = next((name for name in wanted if name in names), None)
        told = ", ".join(names) or "none"
        if column is None:
            raise DataError(
                f"{self._name}: has no column {' or '.join(wanted)} of paths; name it by "
                f"--path-column. It has {told}"
            )
        missing = [name for name in self._keep if name not in names]
        if missing:
            raise DataError(
                f"{self._name}: has no column {', '.join(missing)} to keep; it has {told}"
            )
        return column

    def _kept(self, row: dict[str, object]) -> dict[str, str]:
        """Return what is carried along of a row, addresses without what lets one in."""
        texts = {name: "" if row[name] is None else str(row[name]) for name in self._keep}
        return {name: public_url(text) if is_url(text) else text for name, text in texts.items()}

    def _cell(self, column: str, value: object) -> str:
        """Return the path that a cell means: that of the image, where it is an id."""
        text = "" if value is None else str(value).strip()
        if not column.endswith("_id") or not text or is_url(text):
            return text
        if os.path.splitext(text)[1].lower() in SUFFIXES:
            return text
        for suffix in dict.fromkeys((self._suffix or ".jpg", *sorted(SUFFIXES))):
            if os.path.exists(os.path.join(self.root, text + suffix)):
                self._suffix = suffix
                return text + suffix
        return text + (self._suffix or ".jpg")  # not there: whoever opens it says so


def _joined(address: str, path: str) -> str:
    """Return the address of a path that starts from the file at ``address``."""
    if scheme_of(address) in WEB:
        return urljoin(address, quote(path))
    folder = posixpath.dirname(path_of(address))
    place, _, rest = address.partition("://")
    key = posixpath.normpath(posixpath.join(folder, path))
    return f"{place}://{rest.partition('/')[0]}{key}"
