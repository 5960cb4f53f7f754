"""The history of scans: one SQLite file on the device, and nowhere else.

Pictures lie in the file too, so that a save is one transaction: an app killed in the middle of
one loses nothing that was saved before and leaves no half. ``History(None)`` lives in memory:
two of them, as of two browser sessions, never see one another.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import IO, Final

from lesionlens.history.queries import Queries
from lesionlens.history.records import (
    ImportSummary,
    Lesion,
    Pictures,
    Scan,
    as_utc,
    check_lesion,
    check_name,
    check_pictures,
    check_scan,
    fold,
    joint_of,
)
from lesionlens.history.rows import (
    batches,
    id_of,
    insert_lesion,
    insert_scan,
    placeholders,
    search_text_of,
)
from lesionlens.records import Prediction


class Keep(Enum):
    """Stands for what is not told, where None is a value."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP

_DELETED_AT_ONCE = 50  # scans, of 250 kB: the log grows by so much before it is emptied


class History(Queries):
    """Scans and lesions, saved, found, changed, deleted, exported.

    May be used from any thread, and by several processes at a time: a writer waits for another.

    Args:
        path: the file, made with its folder, for its owner alone; None keeps all in memory.

    Raises:
        HistoryError: the file is damaged, of a newer version or not ours (it is left as it is),
            or cannot be made. Every other method raises it too, where the disk or another
            program is in the way; what was saved stays readable.
    """

    # --- scans ---------------------------------------------------------------------------

    def add(
        self,
        prediction: Prediction,
        *,
        photo: bytes,
        thumbnail: bytes,
        overlay: bytes | None = None,
        taken_at: datetime | None = None,
        milliseconds: Mapping[str, float],
        joint: Mapping[str, float] | None = None,
        model: str,
        model_sha256: str,
        body_site: str | None = None,
        notes: str = "",
        lesion_id: int | None = None,
        used_anyway: bool = False,
    ) -> Scan:
        """Save a judged picture; once this returns, it outlives a crash.

        Args:
            prediction: the answer, kept to the last digit.
            photo: JPEG of the square crop that was judged, at most 8 MB.
            thumbnail: JPEG.
            overlay: JPEG or PNG that shows where the evidence was.
            taken_at: with a time zone; None for now.
            milliseconds: step -> how long it took.
            joint: output -> joint probability, where more than the answer is known
                (``Classifier.joint``); None keeps those of the three.
            model: name and version.
            model_sha256: of its ``model.tflite``.
            body_site: one of ``body_sites.BODY_SITES``; None takes that of the lesion.
            notes: the person's own words.
            lesion_id: which lesion it is of.
            used_anyway: the person was told that the photo is poor, and went on.

        Raises:
            HistoryError: a value that cannot be kept, no such lesion, or it cannot be written.
        """
        scan = Scan(
            id=0,
            uuid=uuid.uuid4().hex,
            taken_at=datetime.now(UTC) if taken_at is None else as_utc(taken_at),
            prediction=prediction,
            joint=joint_of(prediction) if joint is None else dict(joint),
            milliseconds=dict(milliseconds),
            model=model,
            model_sha256=model_sha256,
            used_anyway=used_anyway,
            body_site=body_site,
            notes=notes,
            lesion_id=lesion_id,
        )
        check_scan(scan)
        pictures = check_pictures(Pictures(photo, thumbnail, overlay))
        with self._database.writing() as connection:
            if lesion_id is not None:
                site = self.lesion(lesion_id).body_site
                scan = replace(scan, body_site=body_site or site)
            return insert_scan(connection, scan, pictures)

    def update(
        self,
        scan_id: int,
        *,
        notes: str | Keep = KEEP,
        body_site: str | Keep | None = KEEP,
        lesion_id: int | Keep | None = KEEP,
    ) -> Scan:
        """Change what a person may change, and return the scan; what is not told stays.

        A scan without a place takes that of the lesion it is given to. What is replaced is
        overwritten in the file.

        Raises:
            HistoryError: no such scan or lesion, a value that cannot be kept, or a file that
                cannot be written.
        """
        with self._database.writing() as connection:
            scan = self.scan(scan_id)
            if not isinstance(notes, Keep):
                scan = replace(scan, notes=notes)
            if not isinstance(lesion_id, Keep):
                scan = replace(scan, lesion_id=lesion_id)
                if lesion_id is not None and scan.body_site is None:
                    scan = replace(scan, body_site=self.lesion(lesion_id).body_site)
            if not isinstance(body_site, Keep):
                scan = replace(scan, body_site=body_site)
            self._rewrite(connection, scan)
        self._database.scrub()
        return scan

    # --- lesions -------------------------------------------------------------------------

    def add_lesion(self, name: str, *, body_site: str | None = None, notes: str = "") -> Lesion:
        """Begin to follow a lesion; HistoryError for an empty name or an unknown place."""
        new = Lesion(0, uuid.uuid4().hex, name, body_site, notes, datetime.now(UTC))
        check_lesion(new)
        with self._database.writing() as connection:
            return insert_lesion(connection, new)

    def update_lesion(
        self,
        lesion_id: int,
        *,
        name: str | Keep = KEEP,
        body_site: str | Keep | None = KEEP,
        notes: str | Keep = KEEP,
    ) -> Lesion:
        """Change a lesion and return it; what is not told stays.

        Its scans go along to a new place, but for those that were given another one.

        Raises:
            HistoryError: no such lesion, a value that cannot be kept, or a file that cannot be
                written.
        """
        with self._database.writing() as connection:
            old = self.lesion(lesion_id)
            new = replace(
                old,
                name=old.name if isinstance(name, Keep) else check_name(name),
                body_site=old.body_site if isinstance(body_site, Keep) else body_site,
                notes=old.notes if isinstance(notes, Keep) else notes,
            )
            check_lesion(new)
            connection.execute(
                "UPDATE lesions SET name = ?, body_site = ?, notes = ?, search_text = ? "
                "WHERE id = ?",
                (new.name, new.body_site, new.notes, fold(new.name), lesion_id),
            )
            if new.body_site != old.body_site:
                for scan in self.scans(lesion_id=lesion_id):
                    if scan.body_site in (None, old.body_site):
                        self._rewrite(connection, replace(scan, body_site=new.body_site))
        self._database.scrub()
        return new

    def delete_lesion(self, lesion_id: int, *, with_scans: bool) -> None:
        """Delete a lesion, and its scans for good, or leave them as scans of no lesion."""
        if with_scans:
            self.delete(*(scan.id for scan in self.scans(lesion_id=lesion_id)))
        with self._database.writing() as connection:
            self.lesion(lesion_id)
            connection.execute("DELETE FROM lesions WHERE id = ?", (lesion_id,))
        self._database.scrub()

    # --- deleting ------------------------------------------------------------------------

    def delete(self, *scan_ids: int) -> None:
        """Delete scans for good: rows and pictures are overwritten, and the file gets smaller.

        Ids that are not there are passed over. Many go in steps, so that a disk that is nearly
        full has room for it; those of a step go together. What a file system or a flash memory
        keeps of blocks that it was given back is beyond a program's reach.
        """
        # From the newest on: what lies at the end of the file is cut off and not moved first.
        for ids in batches(sorted(scan_ids, reverse=True), _DELETED_AT_ONCE):
            with self._database.writing() as connection:
                connection.execute(f"DELETE FROM scans WHERE id IN {placeholders(ids)}", ids)
            self._database.scrub()

    def delete_all(self) -> None:
        """Delete every scan and every lesion for good, as ``delete`` does."""
        with self._database.reading() as connection:
            ids = [number for (number,) in connection.execute("SELECT id FROM scans")]
        self.delete(*ids)
        with self._database.writing() as connection:
            connection.execute("DELETE FROM lesions")
        self._database.scrub()

    # --- taking elsewhere ----------------------------------------------------------------

    def export_csv(self, stream: IO[str]) -> int:
        """Write every scan as a row for a spreadsheet; returns how many (``transfer``)."""
        from lesionlens.history.transfer import write_csv

        return write_csv(self, stream)

    def export_zip(
        self,
        target: str | os.PathLike[str] | IO[bytes],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write all there is, pictures too, into a ZIP; returns how many scans.

        Args:
            target: path, written whole or not at all, or a binary stream.
            progress: told (scans done, scans in all) after each.

        Raises:
            LesionLensError: the target cannot be written.
        """
        from lesionlens.history.transfer import write_zip

        return write_zip(self, target, progress)

    def import_zip(
        self,
        source: str | os.PathLike[str] | IO[bytes],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImportSummary:
        """Take in what ``export_zip`` wrote; scans that are there already are left as they are.

        Row by row: a bad one is told with its reason and the others are saved, each in a
        transaction of its own, so that an import that was stopped goes on when it is repeated.

        Raises:
            HistoryError: the file is no such ZIP, of a newer version, or larger than what is
                accepted; nothing was added. Or the disk is full: what was added stays.
        """
        from lesionlens.history.transfer import read_zip

        return read_zip(self, source, progress)

    def restore(self, scan: Scan, pictures: Pictures) -> bool:
        """Add a scan of another history, as it is but for its id; False if it is there already.

        ``scan.lesion_id`` is that of a lesion of this history (``restore_lesion``).
        """
        check_scan(scan)
        check_pictures(pictures)
        with self._database.writing() as connection:
            if id_of(connection, "scans", scan.uuid) is not None:
                return False
            insert_scan(connection, scan, pictures)
            return True

    def restore_lesion(self, lesion: Lesion) -> int:
        """Add a lesion of another history, unless it is there already; returns its id here."""
        check_lesion(lesion)
        with self._database.writing() as connection:
            known = id_of(connection, "lesions", lesion.uuid)
            return insert_lesion(connection, lesion).id if known is None else known

    # --- within --------------------------------------------------------------------------

    def _rewrite(self, connection: sqlite3.Connection, scan: Scan) -> None:
        check_scan(scan)
        if scan.lesion_id is not None:
            self.lesion(scan.lesion_id)
        connection.execute(
            "UPDATE scans SET notes = ?, body_site = ?, lesion_id = ?, search_text = ? "
            "WHERE id = ?",
            (scan.notes, scan.body_site, scan.lesion_id, search_text_of(scan), scan.id),
        )
