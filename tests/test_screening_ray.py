"""The Ray engine on this machine: the rows of the local one, whatever happens to its processes."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray.data")

import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.errors import LesionLensError
from lesionlens.screening import ray_engine, ray_pool
from lesionlens.screening.items import Item
from lesionlens.screening.progress import Pause, Snapshot
from screening_kit import errors_of, items_in, rows_of, run, write_photos
from screening_kit_ray import SLOW, actors, processes, run_by_ray

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(autouse=True)
def workers_find_the_kits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos", 60)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("many") / "photos", 400)


def test_rows_are_those_of_the_local_engine(tmp_path: Path, bundle: Bundle, photos: Path) -> None:
    items = [*items_in(photos), Item("gone.jpg", str(photos / "gone.jpg"))]
    seen: list[int] = []
    totals = run_by_ray(tmp_path / "ray", bundle, items, listener=lambda s: seen.append(s.n_done))
    run(tmp_path / "local", bundle, items)
    assert totals.n_judged == 60
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")
    assert errors_of(tmp_path / "ray") == errors_of(tmp_path / "local")
    assert seen[-1] == 61
    assert len(set(seen)) > 2, "nothing was told before the end"


def test_an_actor_has_one_process_with_one_classifier_that_it_keeps(
    tmp_path: Path, bundle: Bundle, many: Path
) -> None:
    signed = many.with_name("signed")
    signed.mkdir()
    run_by_ray(tmp_path, bundle, items_in(many), reader="screening_kit_ray:read_and_sign")
    assert len(list((tmp_path / "chunks").glob("*.parquet"))) > 4
    # A process loads its Classifier before it reads anything (worker_process._work).
    assert len(list(signed.iterdir())) == 2


def test_files_that_kill_or_stop_their_process_are_failures_and_nothing_else_is_lost(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    for name in ("segfault", "leave", "eat", "hang"):
        shutil.copy(folder / "00000.jpg", folder / f"{name}.jpg")
    bad = {"reader": "screening_kit:read_badly", "timeout_s": 10.0}  # which no good one takes
    totals = run_by_ray(tmp_path / "ray", bundle, items_in(folder), **bad)
    assert totals.reasons == {"crashed": 2, "out_of_memory": 1, "timed_out": 1}
    run(tmp_path / "local", bundle, items_in(folder), **bad)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")
    assert errors_of(tmp_path / "ray") == errors_of(tmp_path / "local")


@pytest.mark.parametrize("title", ["ray::MapWorker", "ray::Desk", "ray::ReadChunks"])
def test_a_process_of_ray_that_is_killed_loses_nothing(
    tmp_path: Path, bundle: Bundle, many: Path, title: str
) -> None:
    killed: list[int] = []

    def kill_one(snapshot: Snapshot) -> None:
        if snapshot.tally.n and not killed:
            victim = processes(title=title)[0]
            victim.kill()
            killed.append(victim.pid)

    totals = run_by_ray(tmp_path / "ray", bundle, items_in(many), listener=kill_one, reader=SLOW)
    assert killed
    assert totals.n_judged == 400
    run(tmp_path / "local", bundle, items_in(many))
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")


DRIVER = """
import sys
from pathlib import Path
from lesionlens.bundle import load_bundle
from screening_kit import items_in
from screening_kit_ray import run_by_ray
out, bundle, photos = map(Path, sys.argv[1:])
run_by_ray(out, load_bundle(bundle), items_in(photos), reader="screening_kit_ray:read_first_half")
"""


def wait_for_a_chunk(out: Path) -> None:
    until = time.monotonic() + 120
    while not list((out / "chunks").glob("*.parquet")) and time.monotonic() < until:
        time.sleep(0.1)


def test_a_driver_that_is_killed_takes_its_actors_along_and_the_next_run_does_the_rest(
    tmp_path: Path, bundle: Bundle, many: Path
) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-c", DRIVER, out, bundle.directory, many]
    with subprocess.Popen(words) as driver:
        wait_for_a_chunk(out)
        mine = actors()
        driver.kill()
    done = len(list((out / "chunks").glob("[0-9]*.parquet")))
    assert done
    assert mine
    _, alive = psutil.wait_procs(mine, timeout=60)
    assert not alive
    # By the other engine: a run folder is neither's.
    totals = run(out, bundle, items_in(many))
    assert totals.n_judged == 400
    assert len(list((out / "chunks").glob("[0-9]*.parquet"))) > done
    run(tmp_path / "whole", bundle, items_in(many))
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_ctrl_c_finishes_what_has_begun_and_the_same_command_goes_on(
    tmp_path: Path, bundle: Bundle
) -> None:
    out, n_photos = tmp_path / "out", 1200  # some seconds: none is to be the last before Ctrl-C
    photos = write_photos(tmp_path / "photos", n_photos)
    words = [sys.executable, "-m", "lesionlens", "screen", photos, "-o", out, "--workers", "2"]
    words += ["--model", bundle.directory, "--no-review", "--engine"]
    # A session of its own: Ctrl-C reaches all of a terminal's processes, Ray's with them.
    with subprocess.Popen([*words, "ray"], start_new_session=True, stderr=subprocess.PIPE) as first:
        wait_for_a_chunk(out)
        os.killpg(first.pid, signal.SIGINT)
        _, told = first.communicate(timeout=120)
    assert first.returncode == 130, told.decode()
    assert b"Traceback" not in told
    assert 0 < len(rows_of(out)) < n_photos
    subprocess.run([*words, "local"], check=True, capture_output=True, timeout=120)
    assert len(rows_of(out)) == n_photos


def test_a_watched_folder_may_stay_empty_for_longer_than_ray_waits_for_progress(
    tmp_path: Path,
    bundle: Bundle,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import ray

    def some_and_later_the_rest() -> Iterator[Item | Pause]:
        items = items_in(photos)
        yield from items[:30]
        yield Pause()
        time.sleep(9)
        yield from items[30:]

    context = ray.data.DataContext.get_current()
    # Ray's own half hour is more than we have.
    monkeypatch.setattr(context, "execution_no_progress_timeout_s", 5)
    caplog.set_level(logging.INFO, ray_engine.__name__)
    assert run_by_ray(tmp_path, bundle, some_and_later_the_rest()).n_judged == 60
    assert "another pool" not in caplog.text


def test_what_ends_a_worker_for_good_ends_the_run_with_a_reason(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    with pytest.raises(LesionLensError, match=r"node .*: workers do not start"):
        run_by_ray(tmp_path / "out", bundle, items_in(photos), reader="no.such.module:read")


def test_a_node_of_another_version_ends_the_run_and_says_so(
    tmp_path: Path, bundle: Bundle, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "__version__", "0.0.1")  # the driver's; actors import their own
    with pytest.raises(LesionLensError, match=r"node .* has lesionlens .* started by 0\.0\.1"):
        run_by_ray(tmp_path / "out", bundle, items_in(photos))
