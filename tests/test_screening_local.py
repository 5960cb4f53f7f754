"""The local engine: the same rows whatever happens to the processes that make them."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.classifier import Classifier
from lesionlens.errors import LesionLensError
from lesionlens.screening import local
from lesionlens.screening.items import Item, Row
from lesionlens.screening.job import chunk_files
from lesionlens.screening.progress import Pause, Snapshot, Stop
from lesionlens.screening.worker import judge_items
from screening_kit import errors_of, hanging, items_in, rows_of, run, write_photos

BAD = "screening_kit:read_badly"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos", 60)


def test_rows_are_those_of_the_classifier_for_any_number_of_workers(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    items = items_in(photos)
    run(tmp_path / "one", bundle, items, workers=1)
    run(tmp_path / "three", bundle, items, workers=3)
    rows = rows_of(tmp_path / "one")
    assert rows == rows_of(tmp_path / "three")
    assert [row["uri"] for row in rows] == [item.uri for item in items]
    classifier = Classifier(bundle, views=1, threads=1, gate=False)
    for row, item in zip(rows, items, strict=True):
        [record] = judge_items([item], classifier)
        assert isinstance(record, Row)
        assert {name: getattr(record, name) for name in row} == row


def test_a_file_that_kills_its_process_is_one_failure_and_nothing_else_is_lost(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    for name in ("segfault", "abort", "leave-1", "leave-2", "eat", "once"):
        shutil.copy(folder / "00000.jpg", folder / f"{name}.jpg")
    totals = run(tmp_path / "out", bundle, items_in(folder), reader=BAD)
    assert totals.reasons == {"crashed": 4, "out_of_memory": 1}
    run(tmp_path / "good", bundle, items_in(photos))
    rows = rows_of(tmp_path / "out")
    once = rows.pop()  # what killed a process one time only is judged
    assert once["uri"] == "once.jpg"
    assert rows == rows_of(tmp_path / "good")
    errors = errors_of(tmp_path / "out")
    assert [line.split(",")[0] for line in errors] == [
        "abort.jpg", "eat.jpg", "leave-1.jpg", "leave-2.jpg", "segfault.jpg"
    ]  # fmt: skip
    assert "SIGABRT" in errors[0]
    assert "code 3" in errors[2]
    assert "SIGSEGV" in errors[4]


def test_a_file_that_hangs_is_one_failure(
    tmp_path: Path, bundle: Bundle, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that runs fast while one hangs, so that none is late that is only slow."""
    folder = shutil.copytree(photos, tmp_path / "photos")
    for name in ("hang", "spin"):
        shutil.copy(folder / "00000.jpg", folder / f"{name}.jpg")
    ahead_s = 0.0
    monkeypatch.setattr(local, "monotonic", lambda: time.monotonic() + ahead_s)
    monkeypatch.setattr(local, "_LOOK_S", 0.01)

    def hurry(snapshot: Snapshot) -> None:
        nonlocal ahead_s
        if any(map(psutil.pid_exists, hanging(folder))):
            ahead_s += 1

    totals = run(
        tmp_path / "out", bundle, items_in(folder), workers=1, reader=BAD, timeout_s=60.0,
        listener=hurry,
    )  # fmt: skip
    assert totals.reasons == {"timed_out": 2}
    assert totals.n_judged == 60
    assert len(hanging(folder)) >= 3  # what is in a chunk with it is not to blame


def test_a_stop_finishes_what_runs_and_the_next_run_does_the_rest(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    out, stop = tmp_path / "out", Stop()

    def stop_soon(snapshot: Snapshot) -> None:
        if snapshot.tally.n:
            stop.request()

    first = run(out, bundle, items_in(photos), workers=1, stop=stop, listener=stop_soon)
    assert 0 < first.n_judged < 60
    assert [row["uri"] for row in rows_of(out)] == [f"{n:05}.jpg" for n in range(first.n_judged)]
    seen: list[int] = []
    second = run(out, bundle, items_in(photos), listener=lambda s: seen.append(s.n_done))
    assert second.n_judged == 60
    assert seen[-1] == 60 - first.n_judged
    run(tmp_path / "whole", bundle, items_in(photos))
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_a_full_disk_ends_the_run_with_a_sentence_and_the_next_run_does_the_rest(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    out = tmp_path / "out"
    # One worker: another would be killed, and leave what it was writing to the next run to sweep.
    full = "screening_kit_full:read_until_full"
    with pytest.raises(LesionLensError, match=r"cannot be written \(No space left on device"):
        run(out, bundle, items_in(photos), workers=1, reader=full)
    kept = {path.name for path in (out / "chunks").iterdir()}
    assert "00000000.parquet" in kept
    assert all(name.endswith(".parquet") and not name.startswith(".") for name in kept)
    assert run(out, bundle, items_in(photos)).n_judged == 60
    run(tmp_path / "whole", bundle, items_in(photos))
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_workers_that_do_not_start_end_the_run_with_a_reason(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    with pytest.raises(LesionLensError, match="workers do not start"):
        run(tmp_path / "out", bundle, items_in(photos), reader="no.such.module:read")


def test_what_a_source_raises_ends_the_run_after_what_came_before(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    def items():
        yield from items_in(photos)[:20]
        raise LesionLensError("the share went away")

    with pytest.raises(LesionLensError, match="the share went away"):
        run(tmp_path / "out", bundle, items())
    assert run(tmp_path / "out", bundle, items_in(photos)).n_judged == 60


def test_a_pause_sends_out_what_is_there(
    tmp_path: Path, bundle: Bundle, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_PATIENCE_S", 3600)  # which would send it out, too
    done = threading.Event()

    def items():
        yield from items_in(photos)[:3]
        yield Pause()
        assert done.wait(60), "the first three wait for more"
        yield from items_in(photos)[3:]

    def listen(snapshot: Snapshot) -> None:
        if snapshot.tally.n == 3:
            done.set()

    assert run(tmp_path / "out", bundle, items(), listener=listen).n_judged == 60


def test_the_source_is_read_a_bounded_number_of_items_ahead(tmp_path: Path, bundle: Bundle) -> None:
    n_read, most_ahead = 0, 0

    def items():
        nonlocal n_read
        for number in range(6000):
            n_read += 1
            yield Item(f"{number}.jpg", f"/none/{number}.jpg")

    def listen(snapshot: Snapshot) -> None:
        nonlocal most_ahead
        most_ahead = max(most_ahead, n_read - snapshot.n_done)

    totals = run(tmp_path / "out", bundle, items(), listener=listen)
    assert totals.reasons == {"not_found": 6000}
    assert most_ahead < 3000


def test_an_idle_source_costs_no_rows_and_no_time(tmp_path: Path, bundle: Bundle) -> None:
    began = time.monotonic()
    assert run(tmp_path / "out", bundle, []).n_judged == 0
    assert time.monotonic() - began < 20
    assert rows_of(tmp_path / "out") == []


def test_the_last_chunks_are_small_where_the_end_is_known(tmp_path: Path, bundle: Bundle) -> None:
    none_there = [Item(f"{number}.jpg", f"/none/{number}.jpg") for number in range(2000)]
    run(tmp_path / "out", bundle, none_there, n_total=len(none_there))
    sizes = [pq.read_metadata(path).num_rows for path in chunk_files(tmp_path / "out" / "chunks")]
    assert sum(sizes) == 2000
    assert max(sizes) > 100
    assert max(sizes[-4:]) <= 8  # or one of two workers idles while the other has a hundred
