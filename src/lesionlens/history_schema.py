"""The history's database file: its tables, how it is opened, and what its errors mean.

``MIGRATIONS`` is append-only: each brings a file from the version before it, in one transaction.
The version is ``PRAGMA user_version``, so that an app killed in between goes on at the next start.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lesionlens.errors import HistoryError
from lesionlens.history_records import fold, search_text

#: ``PRAGMA application_id``: tells our files from other SQLite databases ("LeLe").
APPLICATION_ID = 0x4C654C65
BUSY_MS = 10_000  # how long one process waits for another to finish writing


def _fill_in_search(connection: sqlite3.Connection) -> None:
    """Give every scan and lesion of a version 2 file its uuid and what it is found by."""
    scans = connection.execute("SELECT id, notes, body_site, verdict, label FROM scans").fetchall()
    for number, notes, body_site, verdict, label in scans:
        text = search_text(notes=notes, body_site=body_site, verdict=verdict, label=label)
        connection.execute(
            "UPDATE scans SET uuid = ?, search_text = ? WHERE id = ?",
            (uuid.uuid4().hex, text, number),
        )
    for number, name in connection.execute("SELECT id, name FROM lesions").fetchall():
        connection.execute(
            "UPDATE lesions SET uuid = ?, search_text = ? WHERE id = ?",
            (uuid.uuid4().hex, fold(name), number),
        )


#: What makes version n of version n - 1: SQL, or a function of the connection.
MIGRATIONS: tuple[tuple[str | Callable[[sqlite3.Connection], None], ...], ...] = (
    (  # 1: scans, and their pictures in a table of their own, so that lists read no picture
        f"PRAGMA application_id = {APPLICATION_ID}",
        """CREATE TABLE scans (
            id INTEGER PRIMARY KEY AUTOINCREMENT,  -- the number of a deleted scan is not given out
            taken_at TEXT NOT NULL,                -- ISO 8601, UTC, microseconds: sorts by time
            verdict TEXT NOT NULL,
            label TEXT,                            -- NULL: nothing was answered
            notes TEXT NOT NULL,
            prediction TEXT NOT NULL,              -- JSON, history_records.prediction_as_json
            joint TEXT NOT NULL,                   -- JSON
            milliseconds TEXT NOT NULL,            -- JSON
            model TEXT NOT NULL,
            model_sha256 TEXT NOT NULL,
            used_anyway INTEGER NOT NULL
        )""",
        """CREATE TABLE pictures (
            scan_id INTEGER PRIMARY KEY REFERENCES scans (id) ON DELETE CASCADE,
            thumbnail BLOB NOT NULL,               -- first: read without the pages of the photo
            photo BLOB NOT NULL
        )""",
        "CREATE INDEX scans_by_time ON scans (taken_at, id)",
    ),
    (  # 2: lesions that are followed, and where on the body
        """CREATE TABLE lesions (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            body_site TEXT,
            notes TEXT NOT NULL,
            created_at TEXT NOT NULL
        )""",
        "ALTER TABLE scans ADD COLUMN body_site TEXT",
        "ALTER TABLE scans ADD COLUMN lesion_id INTEGER REFERENCES lesions (id) ON DELETE SET NULL",
        "CREATE INDEX scans_by_lesion ON scans (lesion_id, taken_at)",
    ),
    (  # 3: search, export that can be read in twice, and where the evidence was
        "ALTER TABLE pictures ADD COLUMN overlay BLOB",
        "ALTER TABLE scans ADD COLUMN uuid TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE scans ADD COLUMN search_text TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE lesions ADD COLUMN uuid TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE lesions ADD COLUMN search_text TEXT NOT NULL DEFAULT ''",
        _fill_in_search,
        "CREATE UNIQUE INDEX scans_by_uuid ON scans (uuid)",
        "CREATE UNIQUE INDEX lesions_by_uuid ON lesions (uuid)",
    ),
)
VERSION = len(MIGRATIONS)

#: SQLite's reasons for which a file is still opened for reading.
_UNWRITABLE = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
)
_READ_ONLY = (
    "cannot be written, as the file or its folder is read-only; allow writing there or choose "
    "another folder. What was saved can still be read"
)
_EXPLANATIONS: dict[int, str] = {
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_FULL: (
        "the disk is full, and nothing of this was saved; free some space and try again. What was "
        "saved before can still be read"
    ),
    sqlite3.SQLITE_IOERR: (
        "the disk failed; look whether it is full or was taken out, and try again. What was saved "
        "before is as it was"
    ),
    sqlite3.SQLITE_BUSY: (
        f"another program has been writing to it for over {BUSY_MS / 1000:.0f} seconds; close "
        "that one and try again"
    ),
    **dict.fromkeys(
        (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB),
        "is damaged or no history at all; nothing of it was changed or deleted. "
        "History.set_aside moves it out of the way, so that a new one can be begun",
    ),
}


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary code of an error, -1 for one of Python's own."""
    code = getattr(error, "sqlite_errorcode", None)
    return -1 if code is None else code & 0xFF


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into a HistoryError that says what happened, where, and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        why = _EXPLANATIONS.get(code_of(error), "the history cannot do that")
        raise HistoryError(f"{path or 'history in memory'}: {why} ({error})") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything of the block or nothing; waits for another writer before, not half-way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def open_database(path: Path | None) -> tuple[sqlite3.Connection, bool]:
    """Open the database of a history, made or brought to this version if need be.

    Args:
        path: the file, made with its folder and readable for its owner alone; None for memory.

    Returns:
        The connection, in autocommit mode and for any thread (one at a time), and whether it can
        be written: a file in a read-only folder or on a full disk is opened for reading.

    Raises:
        HistoryError: damaged, of a newer version, not ours, or nothing there and nothing can be
            made; the file is then as it was.
    """
    with explained(path):
        if path is None:
            return _open(":memory:", None), True
        _make_private(path)
        place = path.absolute().as_uri()
        try:
            return _open(f"{place}?mode=rw", path), True
        except sqlite3.OperationalError as error:
            if code_of(error) not in _UNWRITABLE or not path.stat().st_size:
                raise
            return _open_to_read(place, path), False


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be opened, and its log, and return where it is now.

    Raises:
        HistoryError: the folder cannot be written.
    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = path.with_name(f"{path.stem}.corrupt-{now}{path.suffix}")
    count = 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.stem}.corrupt-{now}-{count}{path.suffix}")
    try:
        path.rename(target)
        for end in ("-wal", "-shm"):
            log = path.with_name(path.name + end)
            if log.exists():
                log.rename(target.with_name(target.name + end))
    except OSError as error:
        raise HistoryError(f"{path}: cannot be set aside ({error.strerror or error})") from error
    return target


def _make_private(path: Path) -> None:
    """Make the file, empty, for its owner alone, before SQLite would make it for everybody."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError as error:
        if not path.is_file():
            raise HistoryError(
                f"{path}: is no file; the history needs a file of its own"
            ) from error
    except OSError as error:
        if not path.is_file():
            raise HistoryError(
                f"{path}: cannot be made ({error.strerror or error}); allow writing there or "
                "choose another folder"
            ) from error


def _open(name: str, path: Path | None) -> sqlite3.Connection:
    connection = _connect(name)
    try:
        _check_ours(connection, path)
        if not _version(connection):
            # Freed pages are given back by moving those at the end: VACUUM would write the whole
            # file anew, gigabytes of photos, for every scan that is deleted.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a save outlives an empty battery
        for number, steps in enumerate(MIGRATIONS, start=1):
            with transaction(connection):
                if _version(connection) >= number:  # as it is, or by another process just now
                    continue
                for step in steps:
                    connection.execute(step) if isinstance(step, str) else step(connection)
                connection.execute(f"PRAGMA user_version = {number}")
    except BaseException:
        connection.close()
        raise
    return connection


def _open_to_read(place: str, path: Path) -> sqlite3.Connection:
    """Open a file that cannot be written, which SQLite needs some persuasion for."""
    log = path.with_name(path.name + "-wal")
    # SQLite wants to make files beside a database in WAL mode; told that nothing will change, it
    # does without. It would then overlook a log that has not been taken over yet.
    is_settled = not log.exists() or not log.stat().st_size
    for how in ("mode=ro", *(["mode=ro&immutable=1"] if is_settled else [])):
        connection = _connect(f"{place}?{how}")
        try:
            _check_ours(connection, path)
            version = _version(connection)
        except sqlite3.OperationalError:
            connection.close()
            continue
        except BaseException:
            connection.close()
            raise
        if version == VERSION:
            return connection
        connection.close()
        raise HistoryError(
            f"{path}: is of version {version} and has to be brought to version {VERSION}, but "
            "cannot be written; free some space on the disk or allow writing there"
        )
    raise HistoryError(
        f"{path}: can be neither written nor read; free some space on the disk, allow writing in "
        "its folder, and close other programs that use it"
    )


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        name,
        uri=True,
        timeout=BUSY_MS / 1000,
        isolation_level=None,  # transactions begin where ``transaction`` says
        check_same_thread=False,  # History holds a lock
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten with zeros
    connection.execute("PRAGMA temp_store = MEMORY")  # nothing of it in any other file
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_ours(connection: sqlite3.Connection, path: Path | None) -> None:
    """Raise HistoryError for another program's database, or one of a newer version."""
    version = _version(connection)
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    n_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (version or n_tables):
        raise HistoryError(f"{path}: is another program's database, not a history; nothing changed")
    if version > VERSION:
        raise HistoryError(
            f"{path}: is of version {version}, this program reads up to version {VERSION}; install "
            "the newer LesionLens that wrote it. Nothing was changed"
        )
