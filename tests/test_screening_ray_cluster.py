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
from lesionlens.screening.ray_cluster import connect
from screening_kit import errors_of, items_in, rows_of, run, write_photos
from screening_kit_ray import SLOW, actors, run_by_ray

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster whose first node, this machine's, has one core."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # actors find the kits
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
            nodes.append({actor.ppid() for actor in actors()})
            cluster.remove_node(other, allow_graceful=False)

    totals = run_by_ray(
        tmp_path / "ray",
        bundle,
        items_in(folder),
        address=cluster.address,
        listener=take_away,
        reader=SLOW,
    )
    assert len(nodes[0]) == 2, "both nodes were to have an actor"
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


def test_what_another_node_does_not_find_names_the_node(
    tmp_path: Path, bundle: Bundle, cluster: Any
) -> None:
    cluster.add_node(num_cpus=2)
    items = [Item(f"{n}.jpg", f"/none/{n}.jpg") for n in range(40)]
    totals = run_by_ray(tmp_path / "ray", bundle, items, workers=3, address=cluster.address)
    assert totals.reasons == {"not_found": 40}
    assert any("looked for on node" in line for line in errors_of(tmp_path / "ray"))


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
    if any(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"])):
        pytest.skip("a cluster runs on this machine, another test file's perhaps")
    with pytest.raises(LesionLensError, match="auto: is no Ray cluster that can be joined"):
        connect("auto")
