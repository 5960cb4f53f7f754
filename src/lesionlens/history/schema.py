"""The tables of the history's database, and how a file of an older version gets them.

``MIGRATIONS`` is append-only: each brings a file from the version before it, in one transaction.
The version is ``PRAGMA user_version``, so that an app killed in between goes on at the next start.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lesionlens.history.records import fold, search_text

#: ``PRAGMA application_id``: tells our files from other SQLite databases ("LeLe").
APPLICATION_ID = 0x4C654C65


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
            prediction TEXT NOT NULL,              -- JSON, records.prediction_as_json
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


@contextmanager
def transaction(connection: sqlite3.Connection, *, writes: bool = True) -> Iterator[None]:
    """Everything of the block or nothing; waits for another writer before, not half-way.

    One that only reads sees the file as it was at a single moment, and keeps nobody from writing.
    """
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a file, 0 for one that has nothing yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to this version, one transaction a step."""
    for number, steps in enumerate(MIGRATIONS, start=1):
        with transaction(connection):
            if version_of(connection) >= number:  # as it is, or by another process just now
                continue
            for step in steps:
                connection.execute(step) if isinstance(step, str) else step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
