"""The Ray engine: the rows of the local one, whatever happens to actors, nodes and the driver."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray.data")

import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.errors import LesionLensError
from lesionlens.screening import ray_cluster
from lesionlens.screening.items import Item
from lesionlens.screening.job import Job, make_settings
from lesionlens.screening.progress import Listener, Meter, Pause, Snapshot, Stop
from lesionlens.screening.ray_engine import RayOptions, run_ray
from lesionlens.screening.worker_process import Setup
from lesionlens.screening.writing import RunFacts, Totals, finish
from screening_kit import errors_of, items_in, rows_of, run, write_photos

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PLAIN = "lesionlens.screening.reading:read_item"


@pytest.fixture(autouse=True)
def workers_find_the_kits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "photos", 60)


def run_by_ray(
    out: Path,
    bundle: Bundle,
    items: Iterable[Item | Pause],
    *,
    workers: int = 2,
    reader: str = PLAIN,
    timeout_s: float = 30.0,
    address: str = "",
    stop: Stop | None = None,
    listener: Listener = lambda snapshot: None,
) -> Totals:
    """Run a job with the Ray engine; the counterpart of ``screening_kit.run``."""
    stop = stop or Stop()
    chosen = make_settings(bundle, ["photos"], policy="balanced", gate=False, views=1)
    with Job(out, chosen) as job:
        meter = Meter(job.n_done)
        setup = Setup(bundle, "balanced", 1, False, (), reader=reader)
        options = RayOptions(workers, timeout_s=timeout_s, address=address)
        run_ray(job, job.pending(items), setup, options, meter=meter, stop=stop, listener=listener)
        return finish(job, RunFacts("ray", workers, meter.tally.n, meter.seconds, False))


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


def test_files_that_kill_or_stop_their_process_are_failures_and_nothing_else_is_lost(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    for name in ("segfault", "leave", "eat", "hang"):
        shutil.copy(folder / "00000.jpg", folder / f"{name}.jpg")
    bad = {"reader": "screening_kit:read_badly", "timeout_s": 5.0}
    totals = run_by_ray(tmp_path / "ray", bundle, items_in(folder), **bad)
    assert totals.reasons == {"crashed": 2, "out_of_memory": 1, "timed_out": 1}
    run(tmp_path / "local", bundle, items_in(folder), **bad)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")
    assert errors_of(tmp_path / "ray") == errors_of(tmp_path / "local")


def actors() -> list[int]:
    """Process ids of the pool's actors on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::MapWorker"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_an_actor_that_is_killed_loses_nothing(tmp_path: Path, bundle: Bundle) -> None:
    folder = write_photos(tmp_path / "photos", 400)
    killed: list[int] = []

    def kill_one(snapshot: Snapshot) -> None:
        if snapshot.tally.n and not killed:
            killed.append(actors()[0])
            os.kill(killed[0], signal.SIGKILL)

    slow = {"reader": "screening_kit_ray:read_slowly"}
    totals = run_by_ray(tmp_path / "ray", bundle, items_in(folder), listener=kill_one, **slow)
    assert killed
    assert totals.n_judged == 400
    run(tmp_path / "local", bundle, items_in(folder))
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")


@pytest.fixture
def cluster(workers_find_the_kits: None) -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    if ray.is_initialized():
        ray.shutdown()
    made.shutdown()


def test_a_node_that_goes_loses_nothing(tmp_path: Path, bundle: Bundle, cluster: Any) -> None:
    other = cluster.add_node(num_cpus=1)
    folder = write_photos(tmp_path / "photos", 400)
    nodes: list[set[int]] = []

    def take_away(snapshot: Snapshot) -> None:
        if snapshot.tally.n >= 30 and not nodes:
            nodes.append(nodes_of_actors())
            cluster.remove_node(other, allow_graceful=False)

    totals = run_by_ray(
        tmp_path / "ray",
        bundle,
        items_in(folder),
        address=cluster.address,
        listener=take_away,
        reader="screening_kit_ray:read_slowly",
    )
    assert len(nodes[0]) == 2, "both nodes were to have an actor"
    assert totals.n_judged == 400
    run(tmp_path / "local", bundle, items_in(folder))
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")


def nodes_of_actors() -> set[int]:
    """Process ids of what starts an actor, one on each node of the cluster."""
    return {psutil.Process(pid).ppid() for pid in actors()}


def test_what_another_node_does_not_find_names_the_node(
    tmp_path: Path, bundle: Bundle, photos: Path, cluster: Any
) -> None:
    cluster.add_node(num_cpus=2)
    items = [Item(f"{n}.jpg", f"/none/{n}.jpg") for n in range(40)]
    totals = run_by_ray(tmp_path / "ray", bundle, items, workers=3, address=cluster.address)
    assert totals.reasons == {"not_found": 40}
    assert any("looked for on node" in line for line in errors_of(tmp_path / "ray"))


DRIVER = """
import sys
from pathlib import Path
from lesionlens.bundle import load_bundle
from screening_kit import items_in
from test_screening_ray import run_by_ray
out, bundle, photos = map(Path, sys.argv[1:])
slow = "screening_kit_ray:read_slowly"
run_by_ray(out, load_bundle(bundle), items_in(photos), reader=slow)
"""


def test_a_driver_that_is_killed_takes_its_actors_along_and_the_next_run_does_the_rest(
    tmp_path: Path, bundle: Bundle
) -> None:
    out, folder = tmp_path / "out", write_photos(tmp_path / "photos", 400)
    words = [sys.executable, "-c", DRIVER, out, bundle.directory, folder]
    with subprocess.Popen(words) as driver:
        until = time.monotonic() + 120
        while not list((out / "chunks").glob("*.parquet")) and time.monotonic() < until:
            time.sleep(0.1)
        mine = actors()
        driver.kill()
    done = len(list((out / "chunks").glob("[0-9]*.parquet")))
    assert done
    assert mine
    until = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in mine) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(psutil.pid_exists(pid) for pid in mine)
    # By the other engine: a run folder is neither's.
    totals = run(out, bundle, items_in(folder))
    assert totals.n_judged == 400
    assert len(list((out / "chunks").glob("[0-9]*.parquet"))) > done
    run(tmp_path / "whole", bundle, items_in(folder))
    assert rows_of(out) == rows_of(tmp_path / "whole")


def test_a_stop_finishes_what_runs_and_the_next_run_does_the_rest(
    tmp_path: Path, bundle: Bundle
) -> None:
    out, folder, stop = tmp_path / "out", write_photos(tmp_path / "photos", 400), Stop()

    def stop_soon(snapshot: Snapshot) -> None:
        if snapshot.tally.n:
            stop.request()

    first = run_by_ray(out, bundle, items_in(folder), stop=stop, listener=stop_soon)
    assert 0 < first.n_judged < 400
    assert run(out, bundle, items_in(folder)).n_judged == 400


def test_what_ends_a_worker_for_good_ends_the_run_with_a_reason(
    tmp_path: Path, bundle: Bundle, photos: Path
) -> None:
    with pytest.raises(LesionLensError, match=r"node .*: workers do not start"):
        run_by_ray(tmp_path / "out", bundle, items_in(photos), reader="no.such.module:read")


def test_a_cluster_that_cannot_be_joined_is_told_in_a_sentence() -> None:
    with pytest.raises(LesionLensError, match="Ray client server"):
        ray_cluster.connect("ray://localhost:10001")
    with pytest.raises(LesionLensError, match="auto: is no Ray cluster that can be joined"):
        ray_cluster.connect("auto")
    began = time.monotonic()
    with pytest.raises(LesionLensError, match=r"127.0.0.1:9: is no Ray cluster .*refused"):
        ray_cluster.connect("127.0.0.1:9")
    assert time.monotonic() - began < 10


def test_ray_that_is_missing_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LesionLensError, match=r"pip install 'lesionlens\[ray\]'"):
        ray_cluster.connect()


def test_the_cluster_file_is_one_that_ray_takes() -> None:
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    path = Path(__file__).parent.parent / "examples" / "ray-cluster.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
    validate_config(prepare_config(config))
