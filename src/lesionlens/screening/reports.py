"""DICOM reports on all that a run judged, by several processes, in memory that does not grow.

The source is gone through once more, for where the images are. Their answers are looked up in
``results.parquet``, of which some row groups are in memory at a time: both are in nearly the same
order. A report takes some 40 ms of work in Python, so other processes share it.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlens.children import start_child
from lesionlens.errors import LesionLensError
from lesionlens.files import write_csv
from lesionlens.parallel import map_ahead
from lesionlens.screening import report_process
from lesionlens.screening.items import Item, key_of
from lesionlens.screening.structured_report import Judged, Series, write_report

if TYPE_CHECKING:
    import subprocess

    import pyarrow as pa

#: In the folder of reports: what could not be reported.
ERRORS = "errors.csv"
#: Row groups of results that are in memory, a chunk or some each.
_GROUPS = 8
#: Fewer images than this for each process are not worth its start.
_LEAST_IMAGES = 64


@dataclass
class Reported:
    """What came of writing reports."""

    n: int = 0  # reports that are there now
    n_failed: int = 0  # images in ``errors.csv``, which is there only if there are any
    n_others: int = 0  # judged images that are no DICOM files: they have nothing to refer to
    n_gone: int = 0  # judged DICOM images that the source does not have any more


def write_reports(
    results: Path,
    items: Iterable[object],
    series: Series,
    *,
    workers: int = 1,
    listener: Callable[[int, int], None] = lambda n, n_all: None,
) -> Reported:
    """Write a report for each DICOM image that was judged: ``<study>/<report>.dcm``.

    A report that is there already is not written anew: its name follows from what it says.

    Args:
        results: ``results.parquet`` of a run that kept ``dicom.PATIENT_COLUMNS``.
        items: the run's source; what was not judged, or is no DICOM item, is passed over.
        series: where to, and what all reports have in common.
        workers: processes.
        listener: told after each report of how many images, of how many in all, there are any.

    Raises:
        LesionLensError: the disk is full, or the folder cannot be written.
    """
    rows = _Rows(results)
    reported = Reported(n_others=rows.n_others, n_gone=rows.n)
    workers = min(workers, 1 + rows.n // _LEAST_IMAGES)

    def failures(write: Callable[[Judged], str]) -> Iterator[dict[str, str]]:
        judged = _judged(items, rows)
        for image, error in map_ahead(write, judged, workers=workers, ahead=4 * workers):
            reported.n_gone -= len(image.answers)
            if error:
                reported.n_failed += 1
                yield {"uri": image.uri, "error": error}
            else:
                reported.n += 1
            listener(rows.n - reported.n_gone, rows.n)

    errors = series.folder / ERRORS
    if workers == 1:
        write_csv(errors, ("uri", "error"), failures(lambda image: write_report(image, series)))
    else:
        with _Writers(series) as writers:
            write_csv(errors, ("uri", "error"), failures(writers.write))
    if not reported.n_failed:
        errors.unlink()
    return reported


def _judged(items: Iterable[object], rows: _Rows) -> Iterator[Judged]:
    """Yield the images that were judged, each with the answers for its frames."""
    known = (item for item in items if isinstance(item, Item))
    for (_, uri), group in groupby(known, lambda item: (item.location, _name_of_file(item))):
        first: Item | None = None
        answers = []
        for item in group:
            row = rows.get(item)
            if row is not None:
                first = first or item
                answers.append((item.frame, row))
        if first is not None:
            yield Judged(uri, first, tuple(answers))


def _name_of_file(item: Item) -> str:
    return item.name if item.frame is None else item.name.rpartition("#")[0]


class _Rows:
    """The rows of DICOM images by name: 16 bytes an image, and some row groups."""

    def __init__(self, results: Path) -> None:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(results)
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()  # the latest last
        keys, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for group in range(self._file.num_row_groups):
            table = self._file.read_row_group(group, columns=["uri", "SOPInstanceUID"])
            uids = pc.fill_null(table.column("SOPInstanceUID"), "")
            indices = np.flatnonzero(pc.greater(pc.utf8_length(uids), 0).to_numpy())
            names = table.column("uri").take(indices).to_pylist()
            keys.append(np.fromiter(map(key_of, names), np.uint64, len(names)))
            places.append(group << 32 | indices)
        found = np.concatenate(keys)
        order = np.argsort(found)
        self._keys = found[order]
        self._places = np.concatenate(places)[order]
        self.n = len(found)
        self.n_others = self._file.metadata.num_rows - self.n

    def get(self, item: Item) -> dict[str, Any] | None:
        """Return the row of an item; None where it was not judged, or is no DICOM image."""
        key = np.uint64(key_of(item.name))
        found = int(np.searchsorted(self._keys, key))
        if found == self.n or self._keys[found] != key:
            return None
        place = int(self._places[found])
        (row,) = self._group(place >> 32).slice(place & 0xFFFFFFFF, 1).to_pylist()
        return row

    def _group(self, number: int) -> pa.Table:
        if number not in self._groups:
            self._groups[number] = self._file.read_row_group(number)
            if len(self._groups) > _GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(number)
        return self._groups[number]


class _Writers:
    """Processes that write reports, one for each thread that asks; a context manager."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._of_thread = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> _Writers:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._all:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()  # which ends it
        for process in self._all:
            process.wait()

    def write(self, image: Judged) -> str:
        """Have a report written; return why it could not be, or nothing.

        Raises:
            LesionLensError: as ``write_reports``, or the process died.
        """
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(image, process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise LesionLensError(
                f"{image.uri}: the process that wrote its DICOM report has ended, code "
                f"{process.wait()}; the reports that are there are whole, and the same command "
                "goes on with the others"
            ) from error
        if isinstance(answer, report_process.Broken):
            raise LesionLensError(answer.message)
        return str(answer)

    def _process(self) -> subprocess.Popen[bytes]:
        process = getattr(self._of_thread, "process", None)
        if process is None:
            process = self._of_thread.process = start_child(report_process.__name__)
            self._all.append(process)
            assert process.stdin is not None
            with suppress(OSError):  # it is dead already, which its answer will tell
                pickle.dump(self._series, process.stdin)
        return process
