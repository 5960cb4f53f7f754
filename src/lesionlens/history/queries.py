"""What can be asked of a history: its scans and their pictures, its lesions; nothing changes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from lesionlens.history.database import Database, set_aside
from lesionlens.history.records import Lesion, Pictures, Scan
from lesionlens.history.rows import (
    SCAN_COLUMNS,
    SELECT_LESION,
    batches,
    lesion_from,
    matching,
    placeholders,
    scan_from,
)

_MOST_AT_ONCE = 500  # ids in one statement


class Queries:
    """An open history, read: what ``store.History`` can be asked.

    Args:
        path: as of ``store.History``, and what is raised likewise.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._database = Database(None if path is None else Path(path))

    set_aside = staticmethod(set_aside)

    @property
    def path(self) -> Path | None:
        """The file; None in memory."""
        return self._database.path

    @property
    def is_writable(self) -> bool:
        """Whether scans can be saved; not so in a read-only folder or on a full disk."""
        return self._database.is_writable

    def close(self) -> None:
        """Close the file; its log is taken over and removed. Closing twice is all right."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- scans ---------------------------------------------------------------------------

    def scan(self, scan_id: int) -> Scan:
        """Return a scan; HistoryError if there is none of this id."""
        return self._scans("WHERE scans.id = ?", (scan_id,), _missing("scan", scan_id))[0]

    def scans(
        self,
        *,
        search: str = "",
        verdict: str | None = None,
        label: str | None = None,
        body_site: str | None = None,
        lesion_id: int | None = None,
        limit: int | None = None,
        offset: int = 0,
        newest_first: bool = True,
    ) -> list[Scan]:
        """Return the scans that match everything that is told.

        Args:
            search: words that all have to be in the notes, the lesion's name, the place, the
                answer or the verdict; neither capitals nor accents matter.
            verdict: one of ``verdicts.VERDICTS``.
            label: what was answered; what is out of scope or a poor photo has no label.
            body_site: one of ``body_sites.BODY_SITES``.
            lesion_id: of this lesion.
            limit: at most so many; None for all.
            offset: leave out so many before.
            newest_first: by when they were taken; False for the oldest first.
        """
        where, values = matching(search, verdict, label, body_site, lesion_id)
        order = "DESC" if newest_first else "ASC"
        end = f"{where} ORDER BY taken_at {order}, scans.id {order} LIMIT ? OFFSET ?"
        return self._scans(end, (*values, -1 if limit is None else limit, offset))

    def count(
        self,
        *,
        search: str = "",
        verdict: str | None = None,
        label: str | None = None,
        body_site: str | None = None,
        lesion_id: int | None = None,
    ) -> int:
        """Return how many scans match; arguments as for ``scans``."""
        where, values = matching(search, verdict, label, body_site, lesion_id)
        with self._database.reading() as connection:
            statement = f"SELECT count(*) FROM scans {where}"
            return int(connection.execute(statement, values).fetchone()[0])

    def count_by_site(self) -> dict[str, int]:
        """Return body site -> how many scans are of it; sites without one are left out."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT body_site, count(*) FROM scans WHERE body_site IS NOT NULL "
                "GROUP BY body_site"
            ).fetchall()
        return dict(rows)

    def photo(self, scan_id: int) -> bytes:
        """Return the JPEG that was judged; HistoryError if there is no such scan."""
        return self._picture("photo", scan_id)  # type: ignore[return-value]

    def thumbnail(self, scan_id: int) -> bytes:
        """Return a scan's small JPEG; HistoryError if there is no such scan."""
        return self._picture("thumbnail", scan_id)  # type: ignore[return-value]

    def overlay(self, scan_id: int) -> bytes | None:
        """Return the picture of where the evidence was, None where none was saved."""
        return self._picture("overlay", scan_id)

    def pictures(self, scan_id: int) -> Pictures:
        """Return all pictures of a scan; HistoryError if there is no such scan."""
        with self._database.reading() as connection:
            statement = "SELECT photo, thumbnail, overlay FROM pictures WHERE scan_id = ?"
            row = connection.execute(statement, (scan_id,)).fetchone()
        if row is None:
            raise self._database.error(_missing("scan", scan_id))
        return Pictures(*row)

    def thumbnails(self, scan_ids: Iterable[int]) -> dict[int, bytes]:
        """Return the small JPEGs of many scans by id; ids that are not there are left out."""
        found: dict[int, bytes] = {}
        with self._database.reading() as connection:
            for ids in batches(scan_ids, _MOST_AT_ONCE):
                statement = (
                    f"SELECT scan_id, thumbnail FROM pictures WHERE scan_id IN {placeholders(ids)}"
                )
                found.update(connection.execute(statement, ids).fetchall())
        return found

    # --- lesions -------------------------------------------------------------------------

    def lesion(self, lesion_id: int) -> Lesion:
        """Return a lesion; HistoryError if there is none of this id."""
        with self._database.reading() as connection:
            row = connection.execute(
                f"{SELECT_LESION} WHERE lesions.id = ?", (lesion_id,)
            ).fetchone()
        if row is None:
            raise self._database.error(_missing("lesion", lesion_id))
        return lesion_from(row)

    def lesions(self) -> list[Lesion]:
        """Return every lesion, with how many scans and the last of them, by name."""
        with self._database.reading() as connection:
            found = connection.execute(
                f"{SELECT_LESION} ORDER BY lesions.search_text, lesions.id"
            ).fetchall()
        return [lesion_from(row) for row in found]

    # --- within --------------------------------------------------------------------------

    def _scans(self, end: str, values: tuple[Any, ...], missing: str = "") -> list[Scan]:
        with self._database.reading() as connection:
            found = connection.execute(f"SELECT {SCAN_COLUMNS} FROM scans {end}", values).fetchall()
        if missing and not found:
            raise self._database.error(missing)
        return [scan_from(row) for row in found]

    def _picture(self, column: str, scan_id: int) -> bytes | None:
        with self._database.reading() as connection:
            statement = f"SELECT {column} FROM pictures WHERE scan_id = ?"
            row = connection.execute(statement, (scan_id,)).fetchone()
        if row is None:
            raise self._database.error(_missing("scan", scan_id))
        picture: bytes | None = row[0]
        return picture


def _missing(kind: str, number: int) -> str:
    return f"has no {kind} {number}; it may have been deleted"
