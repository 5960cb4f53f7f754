"""The history's database file: how it is opened, shared, scrubbed, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

from lesionlens.errors import HistoryError
from lesionlens.history.schema import APPLICATION_ID, VERSION, migrate, transaction, version_of

BUSY_MS = 10_000  # how long one process waits for another to finish writing

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


class Database:
    """An open file: one connection that threads take turns with, and errors that say what to do.

    Args:
        path: the file; None for memory.

    Raises:
        HistoryError: as of ``open_database``.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection, self.is_writable = open_database(path)

    def close(self) -> None:
        """Close the file; its log is taken over and removed. Closing twice is all right."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Have the connection for a block that changes nothing."""
        with self._lock, explained(self.path):
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Have the connection for a block that is done as a whole or not at all."""
        with self._lock, explained(self.path), transaction(self._connection):
            yield self._connection

    def scrub(self) -> None:
        """Empty the log, which holds what was there before, and give freed pages back.

        While another process reads, SQLite cannot; the last one to close the file does it then.
        """
        with self.reading() as connection:
            empty_log = "PRAGMA wal_checkpoint(TRUNCATE)"
            connection.execute(empty_log).fetchall()
            # A script, as ``execute`` would step once and give back a single page.
            connection.executescript("PRAGMA incremental_vacuum")
            connection.execute(empty_log).fetchall()

    def error(self, message: str) -> HistoryError:
        """Return an error that names the file."""
        return HistoryError(f"{self.path or 'history in memory'}: {message}")


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
        if not version_of(connection):
            # Freed pages are given back by moving those at the end: VACUUM would write the whole
            # file anew, gigabytes of photos, for every scan that is deleted.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _keep_a_log(connection)
        connection.execute("PRAGMA synchronous = FULL")  # a save outlives an empty battery
        migrate(connection)
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
            version = version_of(connection)
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


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Turn WAL mode on, as often as it takes while other processes open the new file too.

    SQLite waits for nobody here: a process that reads at that moment is "database is locked" at
    once, whatever the timeout (https://www.sqlite.org/wal.html#sometimes_queries_return_sqlite_busy).
    """
    deadline = monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                raise
            sleep(0.01)
        else:
            return


def _check_ours(connection: sqlite3.Connection, path: Path | None) -> None:
    """Raise HistoryError for another program's database, or one of a newer version."""
    with transaction(
        connection, writes=False
    ):  # all of one moment: another process may make it now
        version = version_of(connection)
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        n_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (version or n_tables):
        raise HistoryError(f"{path}: is another program's database, not a history; nothing changed")
    if version > VERSION:
        raise HistoryError(
            f"{path}: is of version {version}, this program reads up to version {VERSION}; install "
            "the newer LesionLens that wrote it. Nothing was changed"
        )
