"""Fetching from an archive over real HTTP: pages, faults, resumption, and what is kept."""

from __future__ import annotations

import csv
import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archive_server import ArchiveServer, Fault, Served, jpeg
from lesionlens.cli.main import app
from lesionlens.data.downloads import Connection, RetryPolicy
from lesionlens.data.isic import FetchResult, fetch, make_plan
from lesionlens.data.manifest import ISIC_COLUMNS, load_archive
from lesionlens.data.queries import Selection, build_selections, diagnosis_query
from lesionlens.errors import DataError, FetchError, LesionLensError
from lesionlens.files import read_csv
from lesionlens.labels import Label, from_isic

pytest.importorskip("httpx", reason="the [data] extra is not installed")

ALL = Selection("all", 'diagnosis_3:"Basal cell carcinoma"')
QUICK = RetryPolicy(attempts=4, base_s=0.01)


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    with ArchiveServer() as running:
        yield running


def run(
    server: ArchiveServer,
    output: Path,
    selection: Selection = ALL,
    *,
    retry: RetryPolicy = QUICK,
    timeout_s: float = 60.0,
) -> FetchResult:
    with Connection(retry=retry, timeout_s=timeout_s) as connection:
        plan = make_plan(connection, [selection], base_url=server.url, store=output)
        return fetch(connection, plan, output, base_url=server.url, workers=3)


def on_disk(output: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((output / "images").iterdir())}


def answers(server: ArchiveServer, isic_id: str) -> list[Served]:
    return [served for served in server.served if served.isic_id == isic_id]


def assert_no_byte_twice(server: ArchiveServer) -> None:
    for isic_id, data in server.files.items():
        spans = sorted((s.start, s.end) for s in answers(server, isic_id) if s.end > s.start)
        assert spans[0][0] == 0
        assert spans[-1][1] == len(data)
        assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


# --- what comes --------------------------------------------------------------------------


def test_all_pages_are_followed_and_every_image_arrives(
    server: ArchiveServer, tmp_path: Path
) -> None:
    result = run(server, tmp_path)
    assert on_disk(tmp_path) == server.files
    assert (result.n_fetched, result.n_present, result.n_archive) == (5, 0, 5)
    assert len(server.searches) == 3  # 5 images in pages of 2
    assert [page.get("cursor") for page in server.searches] == [None, "2", "4"]
    assert_no_byte_twice(server)


def test_the_folder_is_an_archive_with_metadata_attribution_and_licences(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.licenses["ISIC_0000004"] = "CC-0"
    server.attributions["ISIC_0000004"] = "Anonymous"
    run(server, tmp_path)
    rows = read_csv(tmp_path / "metadata.csv")
    assert tuple(rows[0]) == ISIC_COLUMNS
    assert rows[0]["isic_id"] == "ISIC_0000000"
    assert rows[0]["attribution"] == "Clinic of Örebro, Sweden"
    assert (rows[0]["age_approx"], rows[0]["pixels_x"], rows[0]["sex"]) == ("60", "96", "")
    loaded = load_archive(tmp_path)
    assert loaded.counts()[Label.BCC] == 5
    attribution = (tmp_path / "attribution.txt").read_text(encoding="utf-8")
    assert attribution.index("Örebro") < attribution.index("Anonymous")
    assert "4 images, licence: CC-BY\n" in attribution
    assert sorted(path.name for path in (tmp_path / "licenses").iterdir()) == [
        "CC-0.txt",
        "CC-BY.txt",
    ]
    assert "https://creativecommons.org/licenses/by/4.0/" in (
        tmp_path / "licenses" / "CC-BY.txt"
    ).read_text(encoding="utf-8")


def test_a_limit_stops_the_search_and_the_images(server: ArchiveServer, tmp_path: Path) -> None:
    assert run(server, tmp_path, Selection("some", "x", limit=3)).n_archive == 3
    assert len(server.searches) == 2
    assert len(on_disk(tmp_path)) == 3


def test_a_second_run_asks_the_network_for_nothing(server: ArchiveServer, tmp_path: Path) -> None:
    run(server, tmp_path)
    n_searches, n_served = len(server.searches), len(server.served)
    result = run(server, tmp_path)
    assert (result.n_fetched, result.n_present) == (0, 5)
    assert (len(server.searches), len(server.served)) == (n_searches, n_served)


def test_another_selection_into_the_same_folder_adds_to_it(
    server: ArchiveServer, tmp_path: Path
) -> None:
    run(server, tmp_path, Selection("first", "x", limit=1))
    result = run(server, tmp_path, Selection("all", "y"))
    assert (result.n_fetched, result.n_present, result.n_archive) == (4, 1, 5)
    assert len(load_archive(tmp_path).frames) == 5


def test_a_folder_with_somebody_elses_metadata_is_left_alone(
    server: ArchiveServer, tmp_path: Path
) -> None:
    text = ",".join([*ISIC_COLUMNS, "my_notes"]) + "\n" + "A" + "," * len(ISIC_COLUMNS) + "\n"
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(DataError, match="my_notes"):
        run(server, tmp_path)
    assert (tmp_path / "metadata.csv").read_text() == text


# --- faults ------------------------------------------------------------------------------


def test_a_connection_dropped_mid_body_goes_on_where_it_broke(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.faults["ISIC_0000001"] = [Fault("drop"), Fault("drop")]
    assert run(server, tmp_path).failures == ()
    assert on_disk(tmp_path) == server.files
    assert [served.status for served in answers(server, "ISIC_0000001")] == [200, 206, 206]
    assert_no_byte_twice(server)


def test_a_body_that_ends_early_without_saying_so_is_completed(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.faults["ISIC_0000001"] = [Fault("truncate")]
    assert run(server, tmp_path).failures == ()
    assert on_disk(tmp_path) == server.files
    assert_no_byte_twice(server)


def test_a_500_is_asked_again(server: ArchiveServer, tmp_path: Path) -> None:
    server.faults["ISIC_0000002"] = [Fault("status", 500), Fault("status", 503)]
    server.faults["search"] = [Fault("status", 502)]
    assert run(server, tmp_path).failures == ()
    assert on_disk(tmp_path) == server.files
    assert [served.status for served in answers(server, "ISIC_0000002")] == [500, 503, 200]


def test_a_silent_server_is_asked_again(server: ArchiveServer, tmp_path: Path) -> None:
    server.faults["ISIC_0000002"] = [Fault("silence")]
    patient = RetryPolicy(attempts=100, base_s=0.01, cap_s=0.1)  # answers may take 0.3 s, too
    assert run(server, tmp_path, retry=patient, timeout_s=0.3).failures == ()
    assert on_disk(tmp_path) == server.files


@pytest.mark.parametrize(("target", "seconds"), [("search", "0.4"), ("ISIC_0000000", "1")])
def test_a_429_is_obeyed_for_as_long_as_it_says(
    server: ArchiveServer, tmp_path: Path, target: str, seconds: str
) -> None:
    server.faults[target] = [Fault("status", 429, {"Retry-After": seconds})]
    start = time.monotonic()
    assert run(server, tmp_path).failures == ()
    assert time.monotonic() - start >= float(seconds)
    assert on_disk(tmp_path) == server.files


def test_back_off_grows_and_is_capped() -> None:
    import random

    policy = RetryPolicy(base_s=1.0, cap_s=8.0)
    waits = [max(policy.wait_s(n, random.Random(s)) for s in range(200)) for n in range(1, 8)]
    assert waits == sorted(waits)
    assert 0.9 < waits[0] <= 1.0
    assert 7.5 < waits[-1] <= 8.0


def test_a_server_that_keeps_failing_is_given_up_after_the_attempts(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.faults["search"] = [Fault("status", 503)] * 4
    with pytest.raises(FetchError, match="503 Service Unavailable; gave up after 4 attempts"):
        run(server, tmp_path)
    assert len(server.searches) == 4


def test_nobody_listening_is_a_clear_error(tmp_path: Path) -> None:
    with (
        Connection(retry=QUICK) as connection,
        pytest.raises(FetchError, match="gave up after 4 attempts"),
    ):
        make_plan(connection, [ALL], base_url="http://127.0.0.1:9/api/v2/")


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with Connection() as connection, pytest.raises(FetchError, match="protocol"):
        make_plan(connection, [ALL], base_url="archive.example/api/v2/")


def test_a_query_that_the_archive_cannot_read_is_passed_on(
    server: ArchiveServer, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match=r"400 Bad Request .*Could not parse query"):
        run(server, tmp_path, Selection("bad", 'diagnosis_3:"open'))


def test_something_else_than_the_archive_is_recognised(server: ArchiveServer) -> None:
    server.metadata["ISIC_0000000"] = {"acquisition": None}
    with (
        Connection(retry=QUICK) as connection,
        pytest.raises(FetchError, match="a shape that this version does not know"),
    ):
        make_plan(connection, [ALL], base_url=server.url)


def test_an_id_that_would_leave_the_folder_is_refused(server: ArchiveServer) -> None:
    data = server.files.pop("ISIC_0000000")
    for table in (server.metadata, server.licenses, server.attributions, server.sizes):
        table["../evil"] = table["ISIC_0000000"]  # type: ignore[index, assignment]
    server.files["../evil"] = data
    with (
        Connection(retry=QUICK) as connection,
        pytest.raises(FetchError, match="is not an image id"),
    ):
        make_plan(connection, [ALL], base_url=server.url)


def test_an_expired_address_is_renewed(server: ArchiveServer, tmp_path: Path) -> None:
    server.signature, server.listed_signature = "fresh", "stale"
    assert run(server, tmp_path).failures == ()
    assert on_disk(tmp_path) == server.files


def test_an_image_that_does_not_decode_is_a_failure_and_not_in_the_archive(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.files["ISIC_0000003"] = b"<html>sorry</html>".ljust(500)
    server.sizes["ISIC_0000003"] = 500
    result = run(server, tmp_path)
    assert "ISIC_0000003" not in on_disk(tmp_path)
    (failure,) = result.failures
    assert failure.error == (
        "ISIC_0000003.jpg: arrived in full but is not an image, whatever its name says; "
        "JPEG, PNG, WebP, TIFF and BMP are accepted"
    )
    assert len(answers(server, "ISIC_0000003")) == 1  # bad at its source: asking again is no use
    assert len(load_archive(tmp_path).frames) == 4


def test_a_file_larger_than_announced_is_a_failure(server: ArchiveServer, tmp_path: Path) -> None:
    server.sizes["ISIC_0000003"] -= 100
    (failure,) = run(server, tmp_path).failures
    assert "is larger than the" in failure.error


# --- going on after a kill ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["kill", "Ctrl-C"])
def test_a_fetch_that_was_ended_goes_on_without_one_byte_served_twice(
    server: ArchiveServer, tmp_path: Path, end: signal.Signals
) -> None:
    for isic_id in ("ISIC_0000001", "ISIC_0000002"):
        server.faults[isic_id] = [Fault("stall")]
    command = [sys.executable, "-m", "lesionlens.cli.main", "data", "fetch", "-d", "BCC"]
    command += ["--workers", "2", "-o", str(tmp_path)]
    environment = {**os.environ, "LESIONLENS_ISIC_URL": server.url}
    victim = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        for _ in range(2):
            assert server.stalled.acquire(timeout=60)
        halves = {s.isic_id: s.end for s in server.served if s.end < len(server.files[s.isic_id])}
        parts = {name: tmp_path / ".fetch" / "parts" / f"{name}.jpg.part" for name in halves}
        deadline = time.monotonic() + 60
        while any(
            not parts[name].exists() or parts[name].stat().st_size < end_
            for name, end_ in halves.items()
        ):
            assert time.monotonic() < deadline, "what was served did not reach the disk"
            time.sleep(0.01)
        victim.send_signal(end)
        out, err = victim.communicate(timeout=25)  # it waits 30 s for a server that is silent
    finally:
        victim.kill()
        victim.wait()
    assert len(halves) == 2
    assert "ISIC_0000001" not in on_disk(tmp_path)
    assert all(path.suffix == ".jpg" for path in (tmp_path / "images").iterdir())
    if end is signal.SIGINT:
        assert victim.returncode == 130
        assert out == ""
        assert "Traceback" not in err
    n_searches = len(server.searches)

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert on_disk(tmp_path) == server.files
    assert len(server.searches) == n_searches  # the pages were kept too
    assert_no_byte_twice(server)
    assert not list((tmp_path / ".fetch" / "parts").iterdir())


def test_a_part_of_a_file_that_has_changed_meanwhile_is_thrown_away(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.faults["ISIC_0000001"] = [Fault("drop")]
    run(server, tmp_path, retry=RetryPolicy(attempts=1))
    assert "ISIC_0000001" not in on_disk(tmp_path)
    changed = jpeg(77)[: server.sizes["ISIC_0000001"]]
    server.files["ISIC_0000001"] = changed.ljust(server.sizes["ISIC_0000001"], b"\0")
    assert run(server, tmp_path).failures == ()
    assert on_disk(tmp_path) == server.files


def test_a_whole_part_that_was_not_moved_yet_is_not_fetched_again(
    server: ArchiveServer, tmp_path: Path
) -> None:
    part = tmp_path / ".fetch" / "parts" / "ISIC_0000001.jpg.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.files["ISIC_0000001"])
    assert run(server, tmp_path).failures == ()
    assert answers(server, "ISIC_0000001") == []


def test_a_bad_seam_is_healed_by_fetching_that_file_once_more(
    server: ArchiveServer, tmp_path: Path
) -> None:
    part = tmp_path / ".fetch" / "parts" / "ISIC_0000001.jpg.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not the beginning of a JPEG")
    assert run(server, tmp_path).failures == ()
    assert on_disk(tmp_path) == server.files


def test_stopping_lets_the_workers_go_and_keeps_what_arrived(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.faults["ISIC_0000000"] = [Fault("status", 429, {"Retry-After": "60"})]
    with Connection(retry=RetryPolicy(attempts=2)) as connection:
        plan = make_plan(connection, [ALL], base_url=server.url, store=tmp_path)
        threading.Timer(0.5, connection.stop).start()
        start = time.monotonic()
        result = fetch(connection, plan, tmp_path, workers=1)
    assert time.monotonic() - start < 30  # half a second; a worker that was not woken, 60
    assert {failure.error.rpartition(" ")[2] for failure in result.failures} == {"stopped"}


# --- before it starts --------------------------------------------------------------------


def test_a_full_disk_is_noticed_before_the_first_image(
    server: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(server.sizes.values())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(LesionLensError, match="needs 0 MB, the disk has 0 MB left"):
        run(server, tmp_path)
    assert server.served == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    assert run(server, tmp_path).n_archive == 5


def test_a_folder_that_cannot_be_written_stops_everything(
    server: ArchiveServer, tmp_path: Path
) -> None:
    (tmp_path / ".fetch").mkdir()
    (tmp_path / ".fetch" / "parts").write_text("in the way")
    with pytest.raises(LesionLensError, match=r"\.part: cannot be written"):
        run(server, tmp_path)


def test_licences_reach_the_query_of_the_server(server: ArchiveServer, tmp_path: Path) -> None:
    (selection,) = build_selections(diagnoses=["bcc"], licenses=["CC-0", "CC-BY"])
    run(server, tmp_path, selection)
    assert server.searches[0]["query"] == (
        '((diagnosis_3:"Basal cell carcinoma") AND image_type:"dermoscopic") AND '
        '(copyright_license:"CC-0" OR copyright_license:"CC-BY")'
    )
    assert server.searches[0]["limit"] == "100"


def test_a_labels_query_matches_exactly_what_maps_to_the_label() -> None:
    from isic_metadata.fields import DiagnosisEnum

    for label in (Label.BCC, Label.SCC, Label.MEL, Label.BKL, Label.AK, Label.DF):
        terms = {
            tuple(term.rstrip('"').split(':"', 1)) for term in diagnosis_query(label).split(" OR ")
        }
        for member in DiagnosisEnum:
            levels = [level or "" for level in DiagnosisEnum.levels(member.value)]
            matches = any((f"diagnosis_{n}", word) in terms for n, word in enumerate(levels, 1))
            assert matches == (from_isic(*levels[:3]) is label), member.value


@pytest.mark.parametrize("label", [Label.NV, Label.VASC])
def test_the_query_of_a_whole_branch_finds_everything_that_maps_to_the_label(label: Label) -> None:
    # Not exact: the branches hold a "Nevus anemicus" that maps by its first word.
    from isic_metadata.fields import DiagnosisEnum

    query = diagnosis_query(label)
    for member in DiagnosisEnum:
        levels = [level or "" for level in DiagnosisEnum.levels(member.value)]
        if from_isic(*levels[:3]) is label:
            assert any(f'diagnosis_{n}:"{word}"' in query for n, word in enumerate(levels, 1))


def test_the_archives_own_words_are_found_at_any_level() -> None:
    assert diagnosis_query("benign") == 'diagnosis_1:"Benign"'
    nodular = diagnosis_query("basal cell carcinoma, nodular")
    assert nodular == 'diagnosis_4:"Basal cell carcinoma, Nodular"'


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({}, "nothing to fetch"),
        ({"diagnoses": ["basal cel carcinoma"]}, "perhaps Basal cell carcinoma"),
        ({"diagnoses": ["Normal"]}, "labels no healthy skin"),
        ({"diagnoses": ["BCC"], "licenses": ["MIT"]}, "accepted: CC-0, CC-BY, CC-BY-NC"),
        ({"preset": "papier"}, "accepted: paper"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(wishes: dict[str, object], message: str) -> None:
    with pytest.raises(FetchError, match=message):
        build_selections(**wishes)  # type: ignore[arg-type]


def test_the_paper_preset_asks_for_what_the_paper_used() -> None:
    assert [(s.name, s.limit) for s in build_selections(preset="paper")] == [
        ("BCC", 500),
        ("SCC", 500),
        ("benign", 2000),
    ]
    assert {s.limit for s in build_selections(preset="paper", limit=40)} == {40}


# --- the verb ----------------------------------------------------------------------------


def fetch_verb(server: ArchiveServer, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["data", "fetch", "--base-url", server.url, *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_missing_image_is_listed_and_makes_the_exit_code_1(
    server: ArchiveServer, tmp_path: Path
) -> None:
    server.faults["ISIC_0000002"] = [Fault("status", 404)]
    code, out, err = fetch_verb(server, "-d", "BCC", "-o", str(tmp_path))
    assert code == 1
    assert out == f"{tmp_path / 'metadata.csv'}\n"
    assert "4 fetched, 0 there already, 1 failed" in err
    with open(tmp_path / "errors.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["isic_id"] == "ISIC_0000002"
    assert row["error"] == "answered 404 Not Found"
    assert len(load_archive(tmp_path).frames) == 4

    code, _, _ = fetch_verb(server, "-d", "BCC", "-o", str(tmp_path))  # it is there now
    assert code == 0
    assert not (tmp_path / "errors.csv").exists()
    assert on_disk(tmp_path) == server.files


def test_a_dry_run_says_what_would_come_and_writes_nothing(
    server: ArchiveServer, tmp_path: Path
) -> None:
    code, out, _ = fetch_verb(server, "-d", "BCC", "--limit", "3", "--dry-run", "-o", str(tmp_path))
    size = sum(server.sizes[f"ISIC_{i:07d}"] for i in range(3)) / 1e6
    assert code == 0
    assert out == f"selection,images,megabytes\nBCC,3,{size:.1f}\ntotal,3,{size:.1f}\n"
    assert list(tmp_path.iterdir()) == []


def test_refresh_searches_anew(server: ArchiveServer, tmp_path: Path) -> None:
    fetch_verb(server, "-d", "BCC", "-o", str(tmp_path))
    n = len(server.searches)
    fetch_verb(server, "-d", "BCC", "-o", str(tmp_path), "--refresh")
    assert len(server.searches) == 2 * n
