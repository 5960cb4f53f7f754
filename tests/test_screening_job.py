"""Run folders: what they refuse, what they remember, and what they write at the end."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny_model
from lesionlens.bundle import Bundle
from lesionlens.errors import DataError, LesionLensError
from lesionlens.screening import job as jobs
from lesionlens.screening import writing
from lesionlens.screening.items import Failure, Item, Row, column_names, key_of
from lesionlens.screening.job import Job
from lesionlens.screening.keys import Keys
from lesionlens.screening.progress import Pause
from lesionlens.screening.settings import Settings, Shard, make_settings
from lesionlens.screening.writing import RunFacts, finish, write_chunk

FACTS = RunFacts("local", 2, 5, 2.0, False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_model.write(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def settings(bundle: Bundle) -> Settings:
    return make_settings(bundle, ["photos"], policy="balanced")


def row(uri: str, **changes: object) -> Row:
    plain = Row(
        uri, "ab" * 32, "confident", "BCC", 0.5, 0.3, 0.2, 0.9, 0.72, "BCC|SCC", "", 600, 450,
        "balanced", 1, 1.0, 2.0, 3.0, 4.0, 10.0, "cd" * 32,
    )  # fmt: skip
    return replace(plain, **changes)


def named(*names: str) -> list[Item]:
    return [Item(name, f"/photos/{name}") for name in names]


def pending(job: Job, items: list[Item | Pause]) -> list[str]:
    return [item.uri for item in job.pending(items) if isinstance(item, Item)]


def test_what_is_in_a_chunk_is_not_pending(tmp_path: Path, settings: Settings) -> None:
    with Job(tmp_path / "out", settings) as job:
        assert pending(job, named("a", "b", "c")) == ["a", "b", "c"]
        number = job.new_chunk()
        failure = Failure("b", "not_found", "b: no such file")
        write_chunk(job.chunk_path(number), [row("a"), failure], number)
    with Job(tmp_path / "out", settings) as job:
        assert job.n_done == 2
        assert job.new_chunk() == number + 1
        assert pending(job, named("a", "b", "c")) == ["c"]


def test_an_item_named_twice_is_handed_out_once_and_counted(
    tmp_path: Path, settings: Settings
) -> None:
    with Job(tmp_path / "out", settings) as job:
        assert pending(job, named("a", "b", "a")) == ["a", "b"]
        assert job.n_twice == 1


def test_later_looks_at_a_source_find_only_what_is_new(tmp_path: Path, settings: Settings) -> None:
    with Job(tmp_path / "out", settings) as job:
        looks = [*named("a", "b"), Pause(), *named("a", "b", "c"), Pause()]
        assert pending(job, looks) == ["a", "b", "c"]
        assert job.n_twice == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"policy": "sensitive"}, "policy was balanced, now sensitive"),
        ({"views": 3}, "views was 1, now 3"),
        ({"gate": False}, "gate was True, now False"),
        ({"model_sha256": "12" * 32}, "model_sha256 was "),
        ({"spec_sha256": "12" * 32}, "spec_sha256 was "),
        ({"sources": ("/elsewhere",)}, "now /elsewhere"),
        ({"keep": ("patient",)}, "keep was nothing, now patient"),
        ({"shard": "1/2"}, "shard was nothing, now 1/2"),
        ({"schema": 0}, "schema was 1, now 0"),
        ({"lesionlens": "9.9"}, "lesionlens was "),
    ],
)
def test_other_settings_are_refused_and_restart_begins_anew(
    tmp_path: Path, settings: Settings, changes: dict[str, object], told: str
) -> None:
    out = tmp_path / "out"
    settings = replace(settings, views=1)
    with Job(out, settings) as job:
        write_chunk(job.chunk_path(0), [row("a")], 0)
        finish(job, FACTS)
    with pytest.raises(DataError, match="--restart") as error:
        Job(out, replace(settings, **changes))
    assert told in str(error.value)
    assert (out / "results.parquet").exists()
    with Job(out, replace(settings, **changes), restart=True) as job:
        assert job.n_done == 0
        assert pending(job, named("a")) == ["a"] or changes.get("shard")
    assert not (out / "results.parquet").exists()


def test_every_setting_that_makes_a_row_what_it_is_is_compared(settings: Settings) -> None:
    assert set(settings.as_json()) == {
        "sources", "model_sha256", "spec_sha256", "policy", "views", "gate", "keep", "shard",
        "schema", "lesionlens",
    }  # fmt: skip


def test_paths_are_the_same_from_anywhere_and_addresses_stay(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = make_settings(bundle, ["photos", "s3://b/c", "-"], policy="balanced")
    assert made.sources == (str(tmp_path / "photos"), "s3://b/c", "-")


def test_a_folder_of_other_things_is_no_run_folder(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(DataError, match=r"thesis\.docx is in it"):
        Job(tmp_path, settings)
    with pytest.raises(DataError, match=r"thesis\.docx is in it"):
        Job(tmp_path, settings, restart=True)
    assert (tmp_path / "thesis.docx").exists()


def test_a_file_cannot_be_a_run_folder(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(LesionLensError, match="out: cannot be written"):
        Job(tmp_path / "out", settings)


def test_chunks_without_a_job_are_not_believed(tmp_path: Path, settings: Settings) -> None:
    with Job(tmp_path / "out", settings) as job:
        write_chunk(job.chunk_path(0), [row("a")], 0)
    (tmp_path / "out" / "job.json").unlink()
    with pytest.raises(DataError, match=r"has chunks but no job\.json"):
        Job(tmp_path / "out", settings)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 99, "settings": {}}'])
def test_a_job_of_another_format_is_refused(
    tmp_path: Path, settings: Settings, content: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "job.json").write_text(content)
    with pytest.raises(DataError, match="--restart begins anew"):
        Job(tmp_path / "out", settings)


def test_a_damaged_chunk_is_judged_again(tmp_path: Path, settings: Settings) -> None:
    with Job(tmp_path / "out", settings) as job:
        write_chunk(job.chunk_path(0), [row("a")], 0)
        write_chunk(job.chunk_path(1), [row("b")], 1)
        job.chunk_path(0).write_bytes(b"PAR1 and then the power went")
    with Job(tmp_path / "out", settings) as job:
        assert job.n_damaged == 1
        assert pending(job, named("a", "b")) == ["a"]
        assert job.new_chunk() == 2


def test_what_failed_is_pending_again_on_demand(tmp_path: Path, settings: Settings) -> None:
    out = tmp_path / "out"
    with Job(out, settings) as job:
        write_chunk(job.chunk_path(0), [row("a"), Failure("b", "remote_error", "b: no")], 0)
        write_chunk(job.chunk_path(1), [row("c")], 1)
    with Job(out, settings, retry=True) as job:
        assert pending(job, named("a", "b", "c")) == ["b"]
        write_chunk(job.chunk_path(job.new_chunk()), [row("b")], 2)
        assert finish(job, FACTS).reasons == {}
    assert sorted(pq.read_table(out / "results.parquet").column("uri").to_pylist()) == [
        "a", "b", "c"
    ]  # fmt: skip
    assert not (out / "errors.csv").exists()


def test_what_a_killed_run_was_writing_is_swept_away(tmp_path: Path, settings: Settings) -> None:
    with Job(tmp_path / "out", settings) as job:
        part = job.chunks / ".00000000.parquet.x1.part"
        part.write_bytes(b"half")
    with Job(tmp_path / "out", settings):
        assert not part.exists()


def test_two_runs_do_not_work_in_one_folder(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl", reason="no such locks here")
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))
    told: list[str] = []
    with (
        Job(tmp_path / "out", settings),
        pytest.raises(LesionLensError, match="another run works in this folder"),
    ):
        Job(tmp_path / "out", settings, wait=told.append)
    assert len(told) == 1
    assert now_s > 50
    Job(tmp_path / "out", settings).lock.release()


def test_a_run_waits_for_the_workers_of_one_that_was_killed(
    tmp_path: Path, settings: Settings
) -> None:
    pytest.importorskip("fcntl", reason="no such locks here")
    job = Job(tmp_path / "out", settings)
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE,
        pass_fds=[job.lock.descriptor],
    )  # fmt: skip
    job.lock.release()
    told: list[str] = []

    def end_the_child(words: str) -> None:
        told.append(words)
        assert child.poll() is None
        child.communicate()

    with Job(tmp_path / "out", settings, wait=end_the_child):
        assert child.returncode == 0
    assert told == [f"{tmp_path / 'out'}: waiting for another run's workers to end"]


NAMES = [f"folder/{number}.jpg" for number in range(1000)]


def test_shards_are_a_partition(tmp_path: Path, settings: Settings) -> None:
    parts = []
    for index in range(1, 5):
        shard = Shard(index, 4)
        out = tmp_path / shard.folder
        with Job(out, replace(settings, shard=str(shard))) as job:
            parts.append(pending(job, named(*NAMES)))
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    assert all(190 < len(part) < 310 for part in parts)
    assert Shard(1, 1).has(key_of("anything"))


@pytest.mark.parametrize("text", ["", "3", "0/2", "3/2", "a/b", "1/0", "-1/2", "1/2/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(LesionLensError, match="write 2/8"):
        Shard.parse(text)


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_keys_are_a_set(before: list[int], added: list[int]) -> None:
    keys, plain = Keys(np.array(before, np.uint64)), set(before)
    for key in added:
        assert keys.add(key) == (key not in plain)
        plain.add(key)
    assert len(keys) == len(plain)
    assert all(key in keys for key in plain)
    assert (12345 in keys) == (12345 in plain)


def test_many_keys_take_few_bytes() -> None:
    keys = Keys()
    for key in range(0, 200_000 * 97, 97):
        assert keys.add(key)
    assert not keys.add(97)
    assert len(keys) == 200_000
    assert keys._sorted.nbytes + 70 * len(keys._recent) < 3_500_000


def chunks_of(job: Job) -> Iterator[list[Row | Failure]]:
    yield [row("b", risk=0.1), Failure("c", "empty", "c: is empty, alas")]
    yield [Failure("d", "empty", 'd: "quoted"'), Failure("e", "crashed", "e: crashed")]
    yield [row("a", verdict="uncertain", scope=None)]


def test_results_have_a_row_group_a_chunk_and_errors_are_apart(
    tmp_path: Path, settings: Settings
) -> None:
    with Job(tmp_path / "out", settings) as job:
        for records in chunks_of(job):
            number = job.new_chunk()
            write_chunk(job.chunk_path(number), records, number)
        totals = finish(job, FACTS)
    results = pq.ParquetFile(tmp_path / "out" / "results.parquet")
    assert results.num_row_groups == 2
    assert results.schema_arrow.names == list(column_names())
    assert results.read().column("uri").to_pylist() == ["b", "a"]
    assert results.read().column("chunk").to_pylist() == [0, 2]
    assert results.metadata.row_group(0).column(0).compression == "ZSTD"
    with (tmp_path / "out" / "errors.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["uri", "reason", "error"],
            ["c", "empty", "c: is empty, alas"],
            ["d", "empty", 'd: "quoted"'],
            ["e", "crashed", "e: crashed"],
        ]
    assert totals.n_judged == 2
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["judged"] == 2
    assert summary["failed"] == 3
    assert summary["verdicts"] == {"confident": 1, "uncertain": 1}
    assert summary["labels"] == {"BCC": 2}
    assert summary["reasons"] == {"empty": 2, "crashed": 1}
    assert summary["mean_ms"]["elapsed"] == 10
    assert summary["mean_ms"]["model"] == 3
    assert summary["last_run"]["images_per_s"] == 2.5
    assert summary["is_complete"] is True
    assert "Not a diagnosis" in summary["note"]


def test_errors_csv_is_there_only_while_there_are_any(tmp_path: Path, settings: Settings) -> None:
    with Job(tmp_path / "out", settings) as job:
        write_chunk(job.chunk_path(0), [Failure("c", "empty", "c: is empty")], 0)
        finish(job, FACTS)
        assert (tmp_path / "out" / "errors.csv").exists()
        write_chunk(job.chunk_path(0), [row("c")], 0)
        finish(job, FACTS)
    assert not (tmp_path / "out" / "errors.csv").exists()


def test_very_many_chunks_share_row_groups(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MAX_ROW_GROUPS", 4)
    with Job(tmp_path / "out", settings) as job:
        for _ in range(20):
            number = job.new_chunk()
            write_chunk(job.chunk_path(number), [row(f"{number}-{n}") for n in range(2)], number)
        finish(job, FACTS)
    results = pq.ParquetFile(tmp_path / "out" / "results.parquet")
    assert results.num_row_groups <= 4
    assert results.metadata.num_rows == 40


def test_columns_of_a_table_are_carried_into_results_and_errors(
    tmp_path: Path, settings: Settings
) -> None:
    out = tmp_path / "out"
    extra = {"patient": "p1"}
    with Job(out, replace(settings, keep=("patient",))) as job:
        records = [row("a", extra=extra), Failure("b", "empty", "b: is empty", extra)]
        write_chunk(job.chunk_path(0), records, 0, keep=("patient",))
        finish(job, FACTS)
    assert pq.read_table(out / "results.parquet").column("patient").to_pylist() == ["p1"]
    assert (out / "errors.csv").read_text().splitlines() == [
        "uri,reason,error,patient", "b,empty,b: is empty,p1"
    ]  # fmt: skip


def test_a_failed_ending_leaves_the_last_one_whole(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Job(tmp_path / "out", settings) as job:
        write_chunk(job.chunk_path(0), [row("a")], 0)
        finish(job, FACTS)
        before = (tmp_path / "out" / "results.parquet").read_bytes()
        write_chunk(job.chunk_path(1), [row("b")], 1)

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(LesionLensError, match="No space left"):
                finish(job, FACTS)
        assert (tmp_path / "out" / "results.parquet").read_bytes() == before
        assert finish(job, FACTS).n_judged == 2
