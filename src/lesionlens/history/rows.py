"""Rows of the history's database, as the records they stand for, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from lesionlens.history.records import (
    Lesion,
    Pictures,
    Scan,
    as_text,
    fold,
    prediction_as_json,
    prediction_from_json,
    search_text,
)

#: Columns of ``scans`` in the order that ``scan_from`` takes.
SCAN_COLUMNS = (
    "scans.id, scans.uuid, taken_at, prediction, joint, milliseconds, model, model_sha256, "
    "used_anyway, scans.body_site, scans.notes, lesion_id"
)
#: Lesions in the order that ``lesion_from`` takes.
SELECT_LESION = """
    SELECT lesions.id, lesions.uuid, name, lesions.body_site, lesions.notes, created_at,
        (SELECT count(*) FROM scans WHERE lesion_id = lesions.id),
        newest.id, newest.taken_at
    FROM lesions LEFT JOIN scans AS newest ON newest.id = (
        SELECT id FROM scans WHERE lesion_id = lesions.id ORDER BY taken_at DESC, id DESC LIMIT 1)
"""


def matching(
    search: str,
    verdict: str | None,
    label: str | None,
    body_site: str | None,
    lesion_id: int | None,
) -> tuple[str, tuple[Any, ...]]:
    """Return the rest of a statement that begins with FROM scans, and its values."""
    conditions: list[str] = []
    values: list[Any] = []
    filters = {
        "verdict": verdict, "label": label, "scans.body_site": body_site, "lesion_id": lesion_id,
    }  # fmt: skip
    for column, value in filters.items():
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    words = fold(search.replace("_", " ")).split()
    for word in words:
        found = "instr(scans.search_text, ?) OR instr(coalesce(lesions.search_text, ''), ?)"
        conditions.append(f"({found})")
        values += [word, word]
    join = "LEFT JOIN lesions ON lesions.id = lesion_id" if words else ""
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{join} {where}", tuple(values)


def search_text_of(scan: Scan) -> str:
    """Return what a scan is found by, but for the name of its lesion."""
    return search_text(
        notes=scan.notes, body_site=scan.body_site, verdict=scan.verdict, label=scan.label
    )


def scan_from(row: tuple[Any, ...]) -> Scan:
    """Return the scan of a row of ``SCAN_COLUMNS``."""
    number, name, taken_at, prediction, joint, milliseconds, *rest = row
    model, model_sha256, used_anyway, body_site, notes, lesion_id = rest
    return Scan(
        id=number,
        uuid=name,
        taken_at=datetime.fromisoformat(taken_at),
        prediction=prediction_from_json(json.loads(prediction)),
        joint=json.loads(joint),
        milliseconds=json.loads(milliseconds),
        model=model,
        model_sha256=model_sha256,
        used_anyway=bool(used_anyway),
        body_site=body_site,
        notes=notes,
        lesion_id=lesion_id,
    )


def lesion_from(row: tuple[Any, ...]) -> Lesion:
    """Return the lesion of a row of ``SELECT_LESION``."""
    number, name, title, body_site, notes, created_at, n_scans, last_scan_id, last = row
    return Lesion(
        id=number,
        uuid=name,
        name=title,
        body_site=body_site,
        notes=notes,
        created_at=datetime.fromisoformat(created_at),
        n_scans=n_scans,
        last_scan_id=last_scan_id,
        last_taken_at=None if last is None else datetime.fromisoformat(last),
    )


def id_of(connection: sqlite3.Connection, table: str, name: str) -> int | None:
    """Return the id of the scan or lesion of uuid ``name``; None where there is none."""
    row = connection.execute(f"SELECT id FROM {table} WHERE uuid = ?", (name,)).fetchone()
    return None if row is None else int(row[0])


def insert_scan(connection: sqlite3.Connection, scan: Scan, pictures: Pictures) -> Scan:
    """Insert a scan and its pictures, both or none within a transaction; returns it with its id."""
    cursor = connection.execute(
        "INSERT INTO scans (uuid, taken_at, verdict, label, notes, prediction, joint, "
        "milliseconds, model, model_sha256, used_anyway, body_site, lesion_id, search_text) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            scan.uuid,
            as_text(scan.taken_at),
            scan.verdict,
            scan.label,
            scan.notes,
            json.dumps(prediction_as_json(scan.prediction)),
            json.dumps(scan.joint),
            json.dumps(scan.milliseconds),
            scan.model,
            scan.model_sha256,
            scan.used_anyway,
            scan.body_site,
            scan.lesion_id,
            search_text_of(scan),
        ),
    )
    number = cursor.lastrowid
    assert number is not None  # of an INSERT there is one
    connection.execute(
        "INSERT INTO pictures (scan_id, thumbnail, photo, overlay) VALUES (?, ?, ?, ?)",
        (number, pictures.thumbnail, pictures.photo, pictures.overlay),
    )
    return replace(scan, id=number)


def insert_lesion(connection: sqlite3.Connection, lesion: Lesion) -> Lesion:
    """Insert a lesion that is checked before; returns it with its id."""
    lesion = replace(lesion, name=lesion.name.strip())
    cursor = connection.execute(
        "INSERT INTO lesions (uuid, name, body_site, notes, created_at, search_text) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            lesion.uuid,
            lesion.name,
            lesion.body_site,
            lesion.notes,
            as_text(lesion.created_at),
            fold(lesion.name),
        ),
    )
    number = cursor.lastrowid
    assert number is not None
    return replace(lesion, id=number)


def batches(ids: Iterable[int], most: int) -> Iterator[list[int]]:
    """Yield ids in lists of at most ``most``."""
    every = list(ids)
    for start in range(0, len(every), most):
        yield every[start : start + most]


def placeholders(ids: list[int]) -> str:
    """Return what stands for ``ids`` behind IN in a statement."""
    return f"({', '.join('?' * len(ids))})"
