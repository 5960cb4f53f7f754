"""Old files are brought up, newer ones and damaged ones are left alone and told apart."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lesionlens.errors import HistoryError
from lesionlens.history import schema
from lesionlens.history.records import prediction_as_json
from lesionlens.history.store import History
from sample_scans import ANSWER, ELSEWHERE, SHA256, jpeg, save

#: A file of version 1, as it was written: never to be changed.
VERSION_1 = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1281707109;
CREATE TABLE scans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    taken_at TEXT NOT NULL,
    verdict TEXT NOT NULL,
    label TEXT,
    notes TEXT NOT NULL,
    prediction TEXT NOT NULL,
    joint TEXT NOT NULL,
    milliseconds TEXT NOT NULL,
    model TEXT NOT NULL,
    model_sha256 TEXT NOT NULL,
    used_anyway INTEGER NOT NULL
);
CREATE TABLE pictures (
    scan_id INTEGER PRIMARY KEY REFERENCES scans (id) ON DELETE CASCADE,
    thumbnail BLOB NOT NULL,
    photo BLOB NOT NULL
);
CREATE INDEX scans_by_time ON scans (taken_at, id);
PRAGMA user_version = 1;
"""


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A file of version 1 with two scans."""
    path = tmp_path / "history.db"
    database = sqlite3.connect(path)
    database.executescript(VERSION_1)
    for number, answer in ((4, ANSWER), (9, ELSEWHERE)):
        label = "BCC" if answer is ANSWER else None
        time = f"2026-03-0{number}T09:30:00.000000+00:00"
        database.execute(
            "INSERT INTO scans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (number, time, answer.verdict, label, f"Árbol {number}",
             json.dumps(prediction_as_json(answer)), '{"BCC": 0.5}', '{"model": 7.5}',
             "lens 0.1.0", SHA256, 0),
        )  # fmt: skip
        database.execute(
            "INSERT INTO pictures VALUES (?, ?, ?)", (number, jpeg(number), jpeg(10 * number))
        )
    database.commit()
    database.close()
    return path


def version_of(path: Path) -> int:
    database = sqlite3.connect(path)
    version = database.execute("PRAGMA user_version").fetchone()[0]
    database.close()
    return int(version)


def schema_of(path: Path) -> set[tuple[str, str, str]]:
    database = sqlite3.connect(path)
    rows = database.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    database.close()
    return set(rows)


# --- versions ----------------------------------------------------------------------------


def test_a_file_of_the_oldest_version_is_brought_up_with_all_it_has(
    tmp_path: Path, old_file: Path
) -> None:
    with History(old_file) as history:
        newest, oldest = history.scans()
        assert (oldest.id, oldest.prediction, oldest.notes) == (4, ANSWER, "Árbol 4")
        assert (newest.id, newest.label, newest.body_site, newest.lesion_id) == (
            9,
            None,
            None,
            None,
        )
        assert len({newest.uuid, oldest.uuid}) == 2
        assert history.photo(4) == jpeg(40)
        assert history.thumbnail(4) == jpeg(4)
        assert history.overlay(4) is None
        assert [scan.id for scan in history.scans(search="arbol basal")] == [4]
        assert save(history, lesion_id=history.add_lesion("Mole").id).id > 9
    with History(tmp_path / "new.db"):
        pass
    assert version_of(old_file) == version_of(tmp_path / "new.db") == schema.VERSION
    assert {row[:2] for row in schema_of(old_file)} == {
        row[:2] for row in schema_of(tmp_path / "new.db")
    }


def test_version_2_keeps_its_lesions(old_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as past:
        past.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
        History(old_file).close()
    assert version_of(old_file) == 2
    database = sqlite3.connect(old_file)
    database.execute(
        "INSERT INTO lesions VALUES (1, 'Über', 'chest', '', '2026-03-04T10:00+00:00')"
    )
    database.execute("UPDATE scans SET lesion_id = 1, body_site = 'chest' WHERE id = 4")
    database.commit()
    database.close()
    with History(old_file) as history:
        (lesion,) = history.lesions()
        assert (lesion.name, lesion.body_site, lesion.n_scans) == ("Über", "chest", 1)
        assert len(lesion.uuid) == 32
        for search in ("uber", "anterior torso"):
            assert [scan.id for scan in history.scans(search=search)] == [4]


def test_a_step_that_fails_leaves_the_version_before(
    old_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with History(old_file):
        pass
    before = schema_of(old_file)
    steps = ("ALTER TABLE scans ADD COLUMN colour TEXT", "INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, steps))
    with pytest.raises(HistoryError, match=r"history\.db: .*nowhere"):
        History(old_file)
    assert schema_of(old_file) == before
    assert version_of(old_file) == schema.VERSION


def test_a_newer_file_is_refused_by_name_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with History(path) as history:
        save(history)
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    before = path.read_bytes()
    with pytest.raises(
        HistoryError, match=r"history\.db: is of version 99, .* up to version 3; install"
    ):
        History(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- files that are none -----------------------------------------------------------------


def another_program(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE bookmarks (url TEXT)")
    database.close()


def noise(path: Path) -> None:
    path.write_bytes(b"no database at all, but longer than its header is" * 100)


def torn(path: Path) -> None:
    with History(path) as history:
        save(history)
    data = path.read_bytes()
    path.write_bytes(data[:200] + b"\xa5" * 3000 + data[3200:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (another_program, "is another program's database"),
        (noise, "is damaged or no history at all; nothing of it was changed"),
        (torn, "is damaged or no history at all; .*set_aside"),
    ],
)
def test_what_is_no_history_is_refused_and_left_as_it_is(
    tmp_path: Path, make: object, message: str
) -> None:
    path = tmp_path / "history.db"
    make(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(HistoryError, match=rf"history\.db: {message}"):
        History(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    for _ in range(2):  # twice in a second: neither takes the other's name
        noise(path)
        (tmp_path / "history.db-wal").write_bytes(b"log")
        aside = History.set_aside(path)
        assert aside.name.startswith("history.corrupt-20")
        assert aside.suffix == ".db"
        assert aside.read_bytes().startswith(b"no database")
        assert aside.with_name(f"{aside.name}-wal").read_bytes() == b"log"
    assert len(list(tmp_path.glob("history.corrupt-*.db"))) == 2
    with History(path) as history:
        assert history.count() == 0
    with pytest.raises(HistoryError, match=r"gone\.db: cannot be set aside \(No such file"):
        History.set_aside(tmp_path / "gone.db")


def test_a_page_that_is_damaged_later_is_told_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with History(path) as history:
        ids = [save(history, number, photo=jpeg(number, 40_000)).id for number in range(3)]
    data = bytearray(path.read_bytes())
    for start in range(4096 * 12, len(data), 4096):
        data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    with History(path) as history, pytest.raises(HistoryError, match="is damaged"):
        [history.pictures(number) for number in ids]
    assert path.read_bytes() == bytes(data)


def test_an_empty_file_is_a_history_that_was_not_begun(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.touch()
    with History(path) as history:
        save(history)
    assert version_of(path) == schema.VERSION


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="is no file"):
        History(tmp_path)


# --- read-only ---------------------------------------------------------------------------

AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sample_scans import save
from lesionlens.errors import HistoryError
from lesionlens.history.store import History
if os.getuid() == 0:  # to whom nothing is read-only
    os.setgid(65534); os.setuid(65534)
folder = Path(sys.argv[1])
with History(folder / "history.db") as history:
    print(history.is_writable, history.count(), len(history.photo(1)))
    for change in (lambda: save(history), lambda: history.update(1, notes="x"), history.delete_all):
        try:
            change()
        except HistoryError as error:
            print(error)
    print(history.count())
for name in ("other.db", "old.db"):
    try:
        History(folder / name)
    except HistoryError as error:
        print(error)
"""


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o444, 0o666], ids=["file", "folder"])
def test_a_read_only_history_can_be_read_and_says_why_not_written(
    public_folder: Path, old_file: Path, mode: int
) -> None:
    path = public_folder / "history.db"
    with History(path) as history:
        save(history, 1)
    (public_folder / "old.db").write_bytes(old_file.read_bytes())
    for name in ("history.db", "old.db"):
        (public_folder / name).chmod(mode)
    before = path.read_bytes()
    public_folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(public_folder), str(Path(__file__).parent)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state, *refused, count, other, old = done.stdout.splitlines()
    assert (state, count) == ("False 1 604", "1")
    assert len(refused) == 3
    for line in refused:
        assert "history.db: cannot be written" in line
        assert "can still be read" in line
    assert "other.db: cannot be made (Permission denied)" in other
    assert "old.db: is of version 1 and has to be brought to version 3" in old
    assert path.read_bytes() == before
