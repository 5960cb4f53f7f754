"""Clusters of Ray: joined, of nodes that go, and what is told where one cannot be used."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray.data")

import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.errors import LesionLensError
from lesionlens.files import read_json
from lesionlens.screening.items import Item
from lesionlens.screening.progress import Snapshot
from lesionlens.screening.ray_cluster import connect, disconnect
from screening_kit import errors_of, items_in, rows_of, run, write_photos
from screening_kit_ray import SLOW, actors, run_by_ray

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose first node, this machine's, has one core, or as many as a parameter says."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # actors find the kits
    head = {"num_cpus": getattr(request, "param", 1), "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    yield made
    if ray.is_initialized():
        ray.shutdown()
    made.shutdown()


def wait_for_actors_on_nodes(n: int) -> None:
    """Wait until so many nodes have an actor of the pool; each node starts those that it has."""
    until = time.monotonic() + 120
    while len({actor.ppid() for actor in actors()}) < n:
        assert time.monotonic() < until, f"{n} nodes were to have an actor"
        time.sleep(0.1)


def test_a_node_that_goes_loses_nothing(tmp_path: Path, bundle: Bundle, cluster: Any) -> None:
    other = cluster.add_node(num_cpus=1)
    folder = write_photos(tmp_path / "photos", 400)
    n_before: list[int] = []

    def take_away(snapshot: Snapshot) -> None:
        """Remove a node a little after both have an actor: one may start seconds later."""
        if not n_before and snapshot.tally.n:
            wait_for_actors_on_nodes(2)
            n_before.append(snapshot.tally.n)
        elif len(n_before) == 1 and snapshot.tally.n >= n_before[0] + 30:
            cluster.remove_node(other, allow_graceful=False)
            n_before.append(snapshot.tally.n)

    totals = run_by_ray(
        tmp_path / "ray",
        bundle,
        items_in(folder),
        address=cluster.address,
        listener=take_away,
        reader=SLOW,
    )
    assert len(n_before) == 2, "no node was removed"
    assert n_before[1] < 400
    assert totals.n_judged == 400
    run(tmp_path / "local", bundle, items_in(folder))
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")


def test_the_verb_joins_a_cluster_and_has_a_worker_a_core_of_all_its_nodes(
    tmp_path: Path, bundle: Bundle, cluster: Any
) -> None:
    cluster.add_node(num_cpus=1)
    folder = write_photos(tmp_path / "photos", 60)
    words = [sys.executable, "-m", "lesionlens", "screen", folder, "--model", bundle.directory]
    words += ["--no-gate", "--no-review", "--json-progress", "-o"]
    by_ray = ["--engine", "ray", "--ray-address", cluster.address]
    subprocess.run([*words, tmp_path / "ray", *by_ray], check=True, timeout=180)
    subprocess.run([*words, tmp_path / "local"], check=True, timeout=180)
    assert rows_of(tmp_path / "ray") == rows_of(tmp_path / "local")
    last = read_json(tmp_path / "ray" / "summary.json")["last_run"]
    assert (last["engine"], last["workers"]) == ("ray", 2)


# The first node without a core: whichever actor is quickest, it is on the other.
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_what_another_node_does_not_find_names_the_node(
    tmp_path: Path, bundle: Bundle, cluster: Any
) -> None:
    cluster.add_node(num_cpus=2)
    items = [Item(f"{n}.jpg", f"/none/{n}.jpg") for n in range(40)]
    totals = run_by_ray(tmp_path / "ray", bundle, items, address=cluster.address)
    assert totals.reasons == {"not_found": 40}
    assert all("looked for on node" in line for line in errors_of(tmp_path / "ray"))


def test_a_cluster_that_cannot_be_joined_is_told_in_a_sentence() -> None:
    with pytest.raises(LesionLensError, match="Ray client server"):
        connect("ray://localhost:10001")
    began = time.monotonic()
    with pytest.raises(LesionLensError, match=r"127.0.0.1:9: is no Ray cluster .*refused"):
        connect("127.0.0.1:9")
    assert time.monotonic() - began < 10


def test_ray_that_is_missing_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LesionLensError, match=r"pip install 'lesionlens\[ray\]'"):
        connect()


def test_the_cluster_file_is_one_that_ray_takes() -> None:
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    path = Path(__file__).parent.parent / "examples" / "ray-cluster.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
    validate_config(prepare_config(config))


def test_without_a_cluster_on_this_machine_there_is_none_to_be_joined() -> None:
    skip_where_a_cluster_runs()
    try:
        connect("auto")
        told = ""
    except LesionLensError as error:
        told = str(error)
    finally:
        disconnect()
    skip_where_a_cluster_runs()  # which may have started since
    assert "auto: is no Ray cluster that can be joined" in told


def skip_where_a_cluster_runs() -> None:
    if any(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"])):
        pytest.skip("a cluster runs on this machine, another test file's perhaps")
