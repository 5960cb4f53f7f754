"""Scans are kept on the device, found again, changed, and deleted for good."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, thread_time

import pytest

from lesionlens import body_sites
from lesionlens.errors import HistoryError
from lesionlens.history import database
from lesionlens.history.records import prediction_as_json, prediction_from_json
from lesionlens.history.store import History
from lesionlens.labels import Label
from lesionlens.records import Prediction
from sample_scans import ANSWER, BEGIN, ELSEWHERE, HEALTHY, jpeg, png, save

#: How long writers wait for each other here: one that has the file may not run for a while.
PATIENT_MS = 120_000


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "history.db") as opened:
        yield opened


def bytes_on_disk(folder: Path) -> bytes:
    """All that lies in a folder: the database, its log, whatever else."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


# --- saving ------------------------------------------------------------------------------


def test_a_scan_comes_back_as_it_was_saved_after_the_app_was_closed(tmp_path: Path) -> None:
    with History(tmp_path / "history.db") as history:
        saved = save(
            history, 1, overlay=png(5), notes="itches 🙂", body_site="left_ear", used_anyway=True,
            taken_at=datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))),
        )  # fmt: skip
    with History(tmp_path / "history.db") as history:
        scan = history.scan(saved.id)
        assert scan == saved
        assert scan.taken_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
        assert scan.taken_at.tzinfo is UTC
        assert scan.prediction == ANSWER
        assert scan.prediction.stage_ms == ANSWER.stage_ms
        assert scan.joint == {
            "BCC": (0.1 + 0.6) / 3,
            "SCC": 0.2000000000000001 / 3,
            "Normal": 0.1 / 3,
        }
        assert (scan.label, scan.confidence, scan.used_anyway) == (Label.BCC, 0.1 + 0.6, True)
        assert history.photo(scan.id) == jpeg(3)
        assert history.thumbnail(scan.id) == jpeg(4, 100)
        assert history.overlay(scan.id) == png(5)


def test_every_field_of_an_answer_is_kept() -> None:
    written = json.loads(json.dumps(prediction_as_json(ANSWER)))
    assert set(written) == {field.name for field in fields(Prediction)}
    assert repr(prediction_from_json(written)) == repr(ANSWER)


def test_all_outputs_are_kept_where_they_are_told(history: History) -> None:
    joint = {"BCC": 0.25, "SCC": 0.05, "Normal": 0.03, "NV": 0.67}
    assert history.scan(save(history, joint=joint).id).joint == joint


def test_nothing_that_was_not_answered_is_labelled(history: History) -> None:
    assert save(history, 1, ELSEWHERE).label is None
    assert save(history, 2, replace(ANSWER, verdict="poor_image")).label is None
    save(history, 3)
    assert [scan.label for scan in history.scans(label="BCC")] == ["BCC"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"photo": b"no picture"}, "photo: is not a JPEG"),
        ({"photo": jpeg(1, 9_000_000)}, r"photo: has 9\.0 MB, at most 8\.4 MB"),
        ({"overlay": b"GIF89a"}, "overlay: is not a JPEG or PNG"),
        ({"taken_at": datetime(2026, 3, 1)}, "has no time zone"),
        ({"body_site": "tail"}, "body site 'tail': is not one of scalp, face"),
        ({"notes": "half \ud800"}, "notes: holds characters that are no text"),
        ({"notes": "x" * 20_001}, "notes: has 20,001 characters"),
        ({"model_sha256": "AB"}, "model_sha256 'AB': is not 64"),
        ({"milliseconds": {"model": float("nan")}}, "milliseconds: is nan"),
        ({"lesion_id": 7}, "has no lesion 7"),
        ({"answer": replace(ANSWER, verdict="sure")}, "verdict 'sure' is not one of confident"),
        ({"answer": replace(ANSWER, probabilities={Label.BCC: 1.0})}, "that sum to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(
    history: History, wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(HistoryError, match=message):
        save(history, **wrong)  # type: ignore[arg-type]
    assert history.count() == 0


def test_two_histories_in_memory_never_see_one_another() -> None:
    with History(None) as one, History(None) as other:
        save(one)
        assert (one.count(), other.count(), one.path) == (1, 0, None)
        one.delete_all()
        assert one.count() == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "app" / "history.db"
    before = os.umask(0)
    try:
        with History(path) as history:
            save(history)
            modes = {item.name: item.stat().st_mode & 0o777 for item in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert modes["history.db"] == modes["history.db-wal"] == 0o600


# --- finding -----------------------------------------------------------------------------


def test_scans_come_newest_first_in_pages(history: History) -> None:
    ids = [save(history, number).id for number in (3, 1, 2, 0)]
    assert [scan.id for scan in history.scans()] == [ids[0], ids[2], ids[1], ids[3]]
    assert [scan.id for scan in history.scans(limit=2, offset=1)] == [ids[2], ids[1]]
    assert history.scans(newest_first=False)[0].id == ids[3]


def test_filters_are_taken_together(history: History) -> None:
    mole = history.add_lesion("Mole", body_site="chest")
    save(history, 0, HEALTHY, body_site="face")
    save(history, 1, HEALTHY, lesion_id=mole.id)
    save(history, 2, ANSWER, lesion_id=mole.id)
    assert history.count() == 3
    assert history.count(verdict="confident") == 2
    assert history.count(label=Label.NORMAL, lesion_id=mole.id) == 1
    assert [scan.taken_at for scan in history.scans(body_site="face")] == [BEGIN]
    assert history.count(verdict="confident", label="BCC") == 0


def test_scans_are_counted_by_place(history: History) -> None:
    assert history.count_by_site() == {}
    for number, site in enumerate(["face", None, "chest", "face"]):
        save(history, number, body_site=site)
    assert history.count_by_site() == {"face": 2, "chest": 1}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("melanoma", {0}), ("MELANÓMA", {0}), ("grew", {0, 1}), ("grew cream", {1}),
        ("basal cell", {0}), ("out of scope", {1}), ("out_of_scope", {1}), ("left ear", {1}),
        ("head/neck", {1}), ("Café", {2}), ("cafe healthy", {2}), ("100%", {2}), ("%", {2}),
        ("", {0, 1, 2}), ("nothing of it", set()), ("strasse", {0}), ("'\"; --", set()),
    ],
)  # fmt: skip
def test_search_minds_neither_accents_nor_capitals(
    history: History, search: str, found: set[int]
) -> None:
    cafe = history.add_lesion("Café au lait")
    save(history, 0, notes="Is it a melanóma? It grew. Straße 5")
    save(history, 1, ELSEWHERE, notes="grew; cream", body_site="left_ear")
    save(history, 2, HEALTHY, notes="100% better", lesion_id=cafe.id)
    hours = {(scan.taken_at - BEGIN) // timedelta(hours=1) for scan in history.scans(search=search)}
    assert hours == found
    assert history.count(search=search) == len(found)


def test_thumbnails_come_many_at_a_time_and_what_is_gone_is_left_out(history: History) -> None:
    ids = [save(history, number).id for number in range(3)]
    history.delete(ids[1])
    assert history.thumbnails([*ids, *range(1000, 2500)]) == {
        ids[0]: jpeg(1, 100), ids[2]: jpeg(7, 100),
    }  # fmt: skip


@pytest.mark.parametrize("ask", ["scan", "photo", "thumbnail", "overlay", "pictures", "lesion"])
def test_what_is_not_there_is_named(history: History, ask: str) -> None:
    with pytest.raises(HistoryError, match=r"history\.db: has no (scan|lesion) 7"):
        getattr(history, ask)(7)


# --- changing ----------------------------------------------------------------------------


def test_what_is_not_told_stays_when_a_scan_is_changed(history: History) -> None:
    lesion = history.add_lesion("Mole", body_site="chest")
    scan = save(history, notes="old")
    assert history.update(scan.id, notes="new") == replace(scan, notes="new")
    moved = history.update(scan.id, lesion_id=lesion.id)
    assert (moved.notes, moved.lesion_id, moved.body_site) == ("new", lesion.id, "chest")
    freed = history.update(scan.id, lesion_id=None, body_site=None)
    assert history.scan(scan.id) == freed == replace(scan, notes="new")
    assert history.count(search="new") == 1
    assert history.count(search="old") == 0


@pytest.mark.parametrize("wrong", [{"body_site": "tail"}, {"lesion_id": 9}, {"notes": "\x00"}])
def test_a_change_that_cannot_be_kept_changes_nothing(
    history: History, wrong: dict[str, object]
) -> None:
    scan = save(history, notes="as it was")
    with pytest.raises(HistoryError):
        history.update(scan.id, **wrong)  # type: ignore[arg-type]
    assert history.scan(scan.id) == scan


def test_lesions_know_how_many_scans_they_have_and_the_last(history: History) -> None:
    zebra, apple = history.add_lesion("  Zebra "), history.add_lesion("äpple", notes="round")
    save(history, 5, lesion_id=zebra.id)
    last = save(history, 8, lesion_id=zebra.id)
    save(history, 6, lesion_id=zebra.id)
    first, second = history.lesions()
    assert first == apple
    assert second == history.lesion(zebra.id)
    assert (second.name, second.n_scans, second.last_scan_id) == ("Zebra", 3, last.id)
    assert second.last_taken_at == last.taken_at
    assert (first.n_scans, first.last_scan_id, first.last_taken_at) == (0, None, None)


def test_scans_go_along_when_a_lesion_gets_another_place(history: History) -> None:
    lesion = history.add_lesion("Mole", body_site="chest")
    along = save(history, 0, lesion_id=lesion.id)
    other = save(history, 1, lesion_id=lesion.id, body_site="face")
    assert along.body_site == "chest"
    changed = history.update_lesion(lesion.id, name="Spot", body_site="abdomen")
    assert (changed.name, changed.body_site, changed.notes) == ("Spot", "abdomen", "")
    assert history.scan(along.id).body_site == "abdomen"
    assert history.scan(other.id).body_site == "face"
    assert history.count(search="spot") == 2
    assert history.count(search="mole") == 0


@pytest.mark.parametrize("wrong", ["", "  ", None])
def test_a_lesion_needs_a_name(history: History, wrong: str) -> None:
    with pytest.raises(HistoryError, match="lesion:"):
        history.add_lesion(wrong)
    assert history.lesions() == []


@pytest.mark.parametrize("with_scans", [True, False])
def test_a_lesion_goes_with_its_scans_or_leaves_them(history: History, with_scans: bool) -> None:
    lesion = history.add_lesion("Mole")
    save(history, 0, lesion_id=lesion.id)
    other = save(history, 1)
    history.delete_lesion(lesion.id, with_scans=with_scans)
    assert history.lesions() == []
    assert history.count() == (1 if with_scans else 2)
    assert all(scan.lesion_id is None for scan in history.scans())
    assert history.photo(other.id) == jpeg(3)


# --- deleting ----------------------------------------------------------------------------


@pytest.mark.parametrize("delete", ["delete", "delete_all", "delete_lesion", "update"])
def test_what_is_deleted_is_nowhere_on_the_disk(tmp_path: Path, delete: str) -> None:
    secret = "the secret note of one person"
    with History(tmp_path / "history.db") as history:
        lesion = history.add_lesion("the secret name", notes="the secret remark")
        kept = [save(history, number, notes=f"kept {number}") for number in range(1, 4)]
        scan = save(
            history, 0, photo=jpeg(90, 60_000), thumbnail=jpeg(91, 6000), overlay=png(92),
            notes=secret, lesion_id=lesion.id,
        )  # fmt: skip
        kept += [save(history, number, notes=f"kept {number}") for number in range(4, 8)]
        traces = [secret.encode()]
        if delete != "update":
            # From the middle: what lies in the pages of a photo, not only where it begins.
            traces += [jpeg(90, 60_000)[n : n + 24] for n in range(100, 60_000, 1000)]
            traces += [jpeg(91, 6000)[50:90], png(92)[50:90]]
        if delete in ("delete_all", "delete_lesion"):
            traces += [b"the secret name", b"the secret remark"]
        before = bytes_on_disk(tmp_path)
        assert all(trace in before for trace in traces)
        if delete == "delete":
            history.delete(scan.id, 12345)
        elif delete == "delete_lesion":
            history.delete_lesion(lesion.id, with_scans=True)
        elif delete == "update":
            history.update(scan.id, notes="another")
        else:
            history.delete_all()
        after = bytes_on_disk(tmp_path)  # while it is open, with log and all
        assert [trace for trace in traces if trace in after] == []
        if delete == "delete_all":
            assert (history.count(), history.lesions()) == (0, [])
        else:
            assert all(history.photo(scan.id)[4:] in after for scan in kept)
        if delete != "update":
            n_free = history._database._connection.execute("PRAGMA freelist_count").fetchone()[0]
            n_pages = history._database._connection.execute("PRAGMA page_count").fetchone()[0]
            assert (n_free, n_pages * 4096) == (0, (tmp_path / "history.db").stat().st_size)
        assert save(history).id > scan.id  # a number is not given out twice


# --- threads and processes ---------------------------------------------------------------


def test_threads_may_share_it(history: History) -> None:
    def work(number: int) -> int:
        scan = save(history, number)
        history.update(scan.id, notes=str(number))
        assert history.scan(scan.id).notes == str(number)
        history.scans(limit=5)
        return scan.id

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(work, range(40)))
    assert len(set(ids)) == 40 == history.count()


def test_a_second_writer_waits_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", PATIENT_MS)
    with History(tmp_path / "history.db") as history:
        other = sqlite3.connect(
            tmp_path / "history.db", isolation_level=None, check_same_thread=False
        )
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        started = perf_counter()
        timer.start()
        save(history)
        assert perf_counter() - started > 0.25
        timer.join()
        other.close()


WRITER = f"""
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sample_scans import jpeg, save
from lesionlens.history import database
database.BUSY_MS = {PATIENT_MS}
from lesionlens.history.store import History
with History(Path(sys.argv[1])) as history:
    for number in range(int(sys.argv[3])):
        print(save(history, number, photo=jpeg(number, 50_000)).id, flush=True)
"""


def start_writer(path: Path, n_scans: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent), str(n_scans)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_a_time_from_the_first_moment(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    writers = [start_writer(path, 10) for _ in range(2)]
    ids = [line for writer in writers for line in writer.communicate(timeout=200)[0].split()]
    assert [writer.returncode for writer in writers] == [0, 0]
    with History(path) as history:
        assert len(set(ids)) == 20 == history.count()


def test_processes_that_open_a_new_file_at_the_same_moment_wait_for_each_other(
    tmp_path: Path,
) -> None:
    """A process that saw another's file half made called it another program's, or locked."""
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        for number in range(60):
            path = tmp_path / f"history-{number}.db"
            at = time.time() + 0.02
            opening = [pool.submit(open_and_close, path, at) for _ in range(3)]
            assert [future.exception() for future in opening] == [None] * 3


def open_and_close(path: Path, at: float) -> None:
    database.BUSY_MS = PATIENT_MS
    while time.time() < at:
        pass
    History(path).close()


def test_an_app_killed_while_saving_loses_nothing_that_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    told: list[int] = []
    for n_lines in (1, 6, 13):
        writer = start_writer(path, 1000)
        assert writer.stdout is not None
        told += [int(writer.stdout.readline()) for _ in range(n_lines)]
        writer.kill()
        told += [int(line) for line in writer.communicate(timeout=60)[0].splitlines() if line]
    with History(path) as history:
        scans = history.scans()
        assert set(told) <= {scan.id for scan in scans}
        assert all(len(history.photo(scan.id)) == 50_004 for scan in scans)
        assert len(history.thumbnails(scan.id for scan in scans)) == len(scans)
    saved = sqlite3.connect(path)
    assert saved.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert saved.execute("PRAGMA foreign_key_check").fetchall() == []
    assert saved.execute("SELECT count(*) FROM pictures").fetchone() == (len(scans),)
    saved.close()


# --- disks -------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_what_was_saved_stays_readable(history: History) -> None:
    saved = save(history, 1)
    n_pages = history._database._connection.execute("PRAGMA page_count").fetchone()[0]
    history._database._connection.execute(f"PRAGMA max_page_count = {n_pages}")
    with pytest.raises(HistoryError, match=r"history\.db: the disk is full, .* free some space"):
        save(history, 2, photo=jpeg(2, 100_000))
    assert history.scans() == [saved]
    assert history.photo(saved.id) == jpeg(3)
    history._database._connection.execute("PRAGMA max_page_count = 100000")
    assert save(history, 2).id > saved.id


def test_a_closed_history_says_so(tmp_path: Path) -> None:
    history = History(tmp_path / "history.db")
    save(history)
    history.close()
    history.close()
    assert not list(tmp_path.glob("*-wal"))
    with pytest.raises(HistoryError, match=r"history\.db: .*closed"):
        history.count()


# --- body sites --------------------------------------------------------------------------


def test_every_place_has_a_word_of_the_archive_and_a_side_of_the_map() -> None:
    fields_of_isic = pytest.importorskip("isic_metadata.fields")
    known = {site.value for site in fields_of_isic.AnatomSiteGeneralEnum}
    assert set(body_sites.ISIC_SITES.values()) == known
    assert tuple(body_sites.ISIC_SITES) == body_sites.BODY_SITES
    assert set(body_sites.FRONT_SITES) | set(body_sites.BACK_SITES) == set(body_sites.BODY_SITES)
    lefts = {site.removeprefix("left_") for site in body_sites.BODY_SITES if "left_" in site}
    rights = {site.removeprefix("right_") for site in body_sites.BODY_SITES if "right_" in site}
    assert lefts == rights
    assert "chest" not in body_sites.BACK_SITES
    assert "upper_back" not in body_sites.FRONT_SITES


# --- speed -------------------------------------------------------------------------------


def test_two_thousand_scans_are_listed_and_searched_at_once() -> None:
    with History(None) as history:
        for number in range(2000):
            notes = "needle" if number == 77 else f"scan of {number}, as always, nothing to see"
            save(history, number, photo=jpeg(1), thumbnail=jpeg(2), notes=notes)
        times = []
        for _ in range(3):
            started = thread_time()
            assert len(history.scans(limit=50)) == 50
            assert history.count(search="needle") == 1
            times.append(thread_time() - started)
    assert min(times) < 0.2  # seen: 0.01 s; many times that only if a list reads every row
