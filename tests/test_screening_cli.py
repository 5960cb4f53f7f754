"""``lesionlens screen``: whole runs, stopped in every way, and what they say of themselves."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tiny_model
from lesionlens import phantoms
from lesionlens.screening import running, watching
from lesionlens.screening.items import Item
from lesionlens.screening.progress import Stop
from lesionlens.screening.watching import watch
from screening_kit import errors_of, rows_of, write_photos

Run = Callable[..., SimpleNamespace]
COMMAND = [sys.executable, "-m", "lesionlens", "screen"]
N_TOO_MANY = 20_000


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle").directory


@pytest.fixture
def run(bundle_dir: Path, monkeypatch: pytest.MonkeyPatch, run_command: Run) -> Run:
    monkeypatch.setenv("LESIONLENS_MODEL", str(bundle_dir))

    def call(*arguments: object) -> SimpleNamespace:
        return run_command("screen", *arguments)

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five good images and one that is text."""
    folder = write_photos(tmp_path / "photos", 5)
    (folder / "below").mkdir()
    shutil.copy(folder / "00000.jpg", folder / "below" / "again.jpg")
    (folder / "text.jpg").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A few photos that take a while."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(3)
    return [
        phantoms.save(image, folder / f"{n}.jpg")
        for n, (_, image) in enumerate(phantoms.random_frames(6, rng=rng))
    ]


def link(drawn: list[Path], folder: Path, n: int) -> Path:
    """Fill a folder with ``n`` photos: links to a few."""
    for number in range(n):
        os.link(drawn[number % len(drawn)], folder / f"{number:05}.jpg")
    return folder


@pytest.fixture(scope="module")
def many(drawn: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 photos."""
    return link(drawn, tmp_path_factory.mktemp("many"), 600)


@pytest.fixture(scope="module")
def too_many(drawn: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More photos than a run gets through, should the test that is to stop it not be let run."""
    return link(drawn, tmp_path_factory.mktemp("too-many"), N_TOO_MANY)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(bundle_dir: Path) -> Iterator[Start]:
    """A function that starts the command; what still runs when a test has failed is killed."""
    begun: list[subprocess.Popen[str]] = []

    def call(*arguments: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                # stderr is buffered, as for most, whatever the tests are run with.
                env={**os.environ, "LESIONLENS_MODEL": str(bundle_dir), "PYTHONUNBUFFERED": ""},
                stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
            )
        )  # fmt: skip
        return begun[-1]

    yield call
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def n_done(out: Path) -> int:
    chunks = out / "chunks"
    return sum(pq.read_metadata(path).num_rows for path in chunks.glob("[0-9]*.parquet"))


def names_done(out: Path) -> set[str]:
    chunks = out / "chunks"
    tables = (pq.read_table(path) for path in chunks.glob("[0-9]*.parquet"))
    return {name for table in tables for name in table.column("uri").to_pylist()}


def wait_for(is_there: Callable[[], object], *, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not is_there():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def test_a_folder_becomes_results_errors_and_a_summary(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(photos, "-o", out, "--no-gate", "--workers", 2, "--views", 1)
    assert done.code == 1, done.err
    assert [row["uri"] for row in rows_of(out)] == [
        *(f"{n:05}.jpg" for n in range(5)), "below/again.jpg"
    ]  # fmt: skip
    assert len({row["sha256"] for row in rows_of(out)}) == 5
    (error,) = errors_of(out)
    assert error.startswith('text.jpg,not_an_image,"text.jpg: is not an image, ')
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["judged"], summary["failed"], summary["is_complete"]) == (6, 1, True)
    assert summary["last_run"]["workers"] == 2
    assert "6 judged altogether, 1 failed" in done.err
    assert "1 not an image" in done.err
    assert not done.out


def test_the_same_command_again_does_nothing_more(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (photos / "text.jpg").unlink()
    assert run(photos, "-o", out).code == 0
    before = rows_of(out)
    again = run(photos, "-o", out)
    assert again.code == 0
    assert "6 images are done already" in again.err
    assert rows_of(out) == before
    shutil.copy(photos / "00001.jpg", photos / "new.jpg")
    (photos / "00002.jpg").unlink()
    assert run(photos, "-o", out).code == 0
    assert len(rows_of(out)) == len(before) + 1


def test_another_option_is_refused_and_restart_begins_anew(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(photos, "-o", out)
    refused = run(photos, "-o", out, "--policy", "sensitive")
    assert refused.code == 2
    assert "policy was balanced, now sensitive" in refused.err
    assert "--restart" in refused.err
    assert {row["policy"] for row in rows_of(out)} == {"balanced"}
    run(photos, "-o", out, "--policy", "sensitive", "--restart")
    assert {row["policy"] for row in rows_of(out)} == {"sensitive"}


def test_shards_together_are_the_whole(run: Run, photos: Path, tmp_path: Path) -> None:
    write_photos(photos, 30)
    run(photos, "-o", tmp_path / "whole")
    parts: list[dict[str, Any]] = []
    failed: list[str] = []
    for index in (1, 2, 3):
        run(photos, "-o", tmp_path / "parts", "--shard", f"{index}/3")
        folder = tmp_path / "parts" / f"shard-{index}-of-3"
        assert rows_of(folder)
        parts += rows_of(folder)
        failed += errors_of(folder)
    assert sorted(parts, key=lambda row: row["uri"]) == rows_of(tmp_path / "whole")
    assert failed == errors_of(tmp_path / "whole")


def test_a_limit_ends_the_run_early_and_more_can_follow(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run(photos, "-o", out, "--limit", 2).code == 0
    assert len(rows_of(out)) == 2
    assert json.loads((out / "summary.json").read_text())["is_complete"] is False
    run(photos, "-o", out)
    assert len(rows_of(out)) == 6


def test_a_dry_run_says_what_it_takes_and_writes_nothing(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(photos, "-o", out, "--dry-run", "--workers", 2)
    assert done.code == 0
    assert "7 images to judge" in done.out
    assert re.search(r"by 2 workers, from 7 images drawn at random: \d+\.\d ms each", done.out)
    assert re.search(r"MB in .*; the disk has [\d,]+ MB left", done.out)
    assert "1 of those 7 could not be judged" in done.out
    assert not out.exists()
    run(photos, "-o", out, "--limit", 3)
    before = rows_of(out)
    assert "4 images to judge, beside 3 that are done" in run(photos, "-o", out, "--dry-run").out
    assert rows_of(out) == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shard", "3/2"], "write 2/8"),
        (["--policy", "bold"], "is not one of balanced, sensitive"),
        (["--dry-run", "--watch"], "not both"),
        (["--keep-columns", "verdict"], "rename it in the table"),
    ],
)
def test_bad_usage_is_told_and_nothing_is_made(
    run: Run, photos: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    done = run(photos, "-o", tmp_path / "out", *arguments)
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "out").exists()


def test_progress_as_json_is_an_object_a_line(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count_beside = running._count_beside

    def count_first(*arguments: Any) -> None:
        count_beside(*arguments)
        for thread in threading.enumerate():
            if thread.name == "lesionlens-count":  # else it may end behind a run so short
                thread.join()

    monkeypatch.setattr(running, "_count_beside", count_first)
    done = run(photos, "-o", tmp_path / "out", "--json-progress", "--no-gate")
    events = [json.loads(line) for line in done.err.splitlines()]
    assert {event["event"] for event in events} == {"progress", "end", "note"}
    (end,) = (event for event in events if event["event"] == "end")
    assert (end["done"], end["total"], end["failed"]) == (7, 7, {"not_an_image": 1})
    assert sum(end["verdicts"].values()) == 6


def test_quiet_shows_only_how_it_ended(run: Run, photos: Path, tmp_path: Path) -> None:
    done = run(photos, "-o", tmp_path / "out", "--quiet")
    assert len(done.err.splitlines()) == 4
    assert "errors.csv: 1 not an image\n" in done.err


def test_columns_of_a_table_come_along_if_asked(run: Run, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,patient,age\nphotos/00000.jpg,p7,50\nphotos/none.jpg,p8,60\n")
    out = tmp_path / "out"
    run(table, "-o", out, "--keep-columns", "patient")
    (row,) = rows_of(out)
    assert row["patient"] == "p7"
    assert "age" not in row
    assert errors_of(out)[0].endswith(",p8")
    run(table, "-o", tmp_path / "bare")
    assert "patient" not in rows_of(tmp_path / "bare")[0]


def test_a_full_disk_is_told_with_what_is_kept(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
        done = run(photos, "-o", tmp_path / "out")
    assert done.code == 2
    assert "needs 50 MB" in done.err
    assert not (tmp_path / "out").exists()


def kill_after(chance: random.Random, process: subprocess.Popen[str], out: Path) -> bool:
    """Kill a run at some moment: before its first chunk, or some chunks on; not by the clock, as a
    busy machine may still be starting it. Return whether it had not ended before."""
    wanted = n_done(out) + chance.choice([0, 1, 20, 60])
    wait_for(lambda: n_done(out) >= wanted or process.poll() is not None)
    time.sleep(chance.random() * 0.3)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_rows(
    start: Start, many: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    process = start(many, "-o", whole, "--workers", 2, "--quiet")
    assert process.wait(300) == 0, process.communicate()
    chance = random.Random(11)
    were_killed: list[bool] = []
    for _ in range(6):  # who kills may come late, but never so late that all is done
        process = start(many, "-o", out, "--workers", 2, "--quiet", "--limit", 90)
        were_killed.append(kill_after(chance, process, out))
    assert any(were_killed)
    assert 0 < n_done(out) < 600
    process = start(many, "-o", out, "--workers", 2, "--quiet")
    _, talk = process.communicate(timeout=300)
    assert process.returncode == 0, talk
    assert rows_of(out) == rows_of(whole)
    assert n_done(out) == 600
    assert not list(out.rglob(".*.part"))


def test_ctrl_c_finishes_what_runs_and_says_how_to_go_on(
    start: Start, too_many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(too_many, "-o", out, "--workers", 2)
    wait_for(lambda: n_done(out) > 0)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
    _, talk = process.communicate(timeout=120)
    assert process.returncode == 130, talk
    assert "stopping: what has begun is finished" in talk
    assert "stopped; run the same command again to go on" in talk
    assert "Traceback" not in talk
    assert 0 < len(rows_of(out)) == n_done(out) < N_TOO_MANY
    assert json.loads((out / "summary.json").read_text())["is_complete"] is False


def test_a_second_ctrl_c_ends_at_once_and_no_worker_stays(
    start: Start, too_many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(too_many, "-o", out, "--workers", 2, "--timeout", 600)
    assert process.stderr is not None
    wait_for(lambda: n_done(out) > 0)
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 2
    for worker in workers:
        worker.suspend()  # so that what has begun is never finished
    process.send_signal(signal.SIGINT)
    first = next(line for line in process.stderr if "stopping" in line)
    assert "once more ends it at once" in first
    process.send_signal(signal.SIGINT)
    try:
        wait_for(lambda: any(map(has_ended, workers)), seconds=60)
    finally:
        for worker in workers:  # one that had just written its chunk is waited for
            with suppress(psutil.NoSuchProcess):
                worker.resume()
    talk = process.stderr.read()  # to its end, which is that of the last who holds it
    assert process.wait(60) == 130, talk
    assert "judged altogether" not in talk, "it ended in good order"
    assert "Traceback" not in talk
    assert all(map(has_ended, workers))


def test_ctrl_c_is_heard_while_nobody_takes_what_is_written(
    start: Start, too_many: Path, tmp_path: Path
) -> None:
    """As in a terminal that Ctrl-S holds: the signal comes in the middle of a write."""
    out = tmp_path / "out"
    taken, full = os.pipe()
    os.set_blocking(full, False)
    with suppress(BlockingIOError):
        while True:
            os.write(full, b"\n")
    os.set_blocking(full, True)
    process = start(too_many, "-o", out, "--workers", 2, "--json-progress", stderr=full)
    os.close(full)
    main = psutil.Process(process.pid)
    wait_for(lambda: len(main.children()) == 2 and is_held_up(main))
    process.send_signal(signal.SIGINT)
    with open(taken, encoding="utf-8") as stream:
        talk = stream.read().strip()
    assert process.wait(60) == 130, talk
    assert "Traceback" not in talk
    assert all(map(json.loads, talk.splitlines()))


def is_held_up(process: psutil.Process) -> bool:
    """Whether a process that looks ten times a second how it goes has not done so for a while."""
    before = process.num_ctx_switches()
    time.sleep(1)
    return process.num_ctx_switches() == before


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def write_steadily(path: Path, content: bytes, out: Path) -> bool:
    """Write a file for some seconds, and see that it is not taken; return whether it never stood
    still for as long as a whole one does, as it does while this process is not let run."""
    half = len(content) // 2
    began = time.monotonic()
    with path.open("wb", buffering=0) as file:
        file.write(content[:half])
        for place in range(half, len(content), 40):
            time.sleep(5 / ((len(content) - half) / 40))
            before, began = began, time.monotonic()
            file.write(content[place : place + 40])
            if time.monotonic() - before > watching.STABLE_S - 0.1:  # less what clocks round
                return False
            assert path.name not in names_done(out)
    return True


def test_files_are_judged_as_they_arrive_and_not_while_they_are_written(
    start: Start, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (photos / "text.jpg").unlink()
    content = (photos / "00000.jpg").read_bytes()
    process = start(photos, "-o", out, "--watch", "--workers", 1, "--no-gate")
    wait_for(lambda: n_done(out) == 6)
    for n_in_vain in range(10):
        name = f"slow-{n_in_vain}.jpg"
        if write_steadily(photos / name, content, out):
            break
    else:
        pytest.fail("this process was never let run for five seconds")
    wait_for(lambda: name in names_done(out))
    # Results are written now and then, the more seldom the longer that takes.
    results = out / "results.parquet"
    wait_for(lambda: results.exists() and name in [row["uri"] for row in rows_of(out)], seconds=300)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert n_in_vain or (n_done(out) == 7 and not errors_of(out))


def test_a_look_takes_files_only_once_they_have_stayed_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, ahead = tmp_path / "old.jpg", tmp_path / "ahead.jpg"
    old.touch()
    ahead.touch()
    now = time.time()
    os.utime(ahead, (now + 3600, now + 3600))  # a clock on another machine that is wrong
    clock = SimpleNamespace(wall=now + 60, monotonic=0.0)
    monkeypatch.setattr(time, "time", lambda: clock.wall)
    monkeypatch.setattr(time, "monotonic", lambda: clock.monotonic)
    stop = Stop()
    items = [Item(path.name, str(path)) for path in (old, ahead)] + [Item("u", "http://x/u.jpg")]

    def look() -> Iterator[Item]:
        yield from items
        clock.monotonic += 1.5
        clock.wall += 1.5

    class Source:
        def __iter__(self) -> Iterator[Item]:
            return look()

    found: list[list[str]] = [[]]
    for item in watch(Source(), stop, every_s=0):
        if isinstance(item, Item):
            found[-1].append(item.uri)
            continue
        found.append([])
        if len(found) == 2:
            ahead.write_bytes(b"more")
            os.utime(ahead, (now + 3600, now + 3600))
        if len(found) == 5:
            stop.request()
    assert found == [
        ["old.jpg", "u"],
        ["old.jpg", "u"],
        ["old.jpg", "u"],
        ["old.jpg", "ahead.jpg", "u"],
        [],
    ]


@pytest.mark.parametrize("ahead_s", [0, 3600])  # an hour: a clock on another machine that is wrong
def test_a_pause_behind_a_look_is_not_taken_for_the_age_of_a_file(
    ahead_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    growing = tmp_path / "growing.jpg"
    growing.touch()
    began = time.time()
    os.utime(growing, (began + ahead_s, began + ahead_s))
    clock = SimpleNamespace(now=0.0, pause_s=0.0)
    monkeypatch.setattr(time, "time", lambda: began + clock.now)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)

    def look_and_be_stopped(path: str) -> os.stat_result:
        found = os.stat(path)
        clock.now += clock.pause_s
        return found

    monkeypatch.setattr(watching, "os", SimpleNamespace(stat=look_and_be_stopped))
    item, first, second = Item("growing.jpg", str(growing)), {}, {}
    assert not watching.is_settled(item, {}, first)
    clock.now, clock.pause_s = 1.0, 10.0  # what was seen is that it is a second old
    assert not watching.is_settled(item, first, second)
    clock.pause_s = 0.0
    assert watching.is_settled(item, second, {})


def test_it_works_on_pictures_of_every_format(run: Run, tmp_path: Path) -> None:
    for suffix in ("jpg", "png", "webp", "tif", "bmp"):
        path = tmp_path / "photos" / f"a.{suffix}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(tiny_model.colour(200, 30, 30)).save(path)
    out = tmp_path / "out"
    assert run(tmp_path / "photos", "-o", out, "--no-gate").code == 0
    assert {row["label"] for row in rows_of(out)} == {"BCC"}
    assert len(rows_of(out)) == 5
