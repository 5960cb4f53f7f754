"""The history taken elsewhere: a table for a spreadsheet, and a ZIP that can be read in again.

The ZIP holds ``scans.json`` (lossless), ``scans.csv`` (the same table that a person reads), and
``photos/``, ``thumbnails/`` and ``overlays/`` with a file per scan, named by its uuid. Nothing of
a ZIP is unpacked to disk: members are asked for by names that are made here.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from lesionlens.errors import HistoryError
from lesionlens.files import atomic_write, check_free_space
from lesionlens.history.records import (
    MAX_PICTURE_BYTES,
    PNG,
    ImportSummary,
    Lesion,
    Pictures,
    Rejected,
    Scan,
    as_text,
    as_utc,
    check_lesion,
    check_pictures,
    check_scan,
    prediction_as_json,
    prediction_from_json,
)
from lesionlens.labels import IN_SCOPE

if TYPE_CHECKING:
    from lesionlens.history.store import History

Progress = Callable[[int, int], None]

#: Version of scans.json; a newer one is refused.
FORMAT = 1
KIND = "lesionlens-history"
MAX_JSON_BYTES = 128 * 2**20  # about 50,000 scans
MAX_MEMBERS = 200_000
MAX_BYTES_IN_MEMORY = 512 * 2**20  # unpacked, for a history that has no file

COLUMNS: tuple[str, ...] = (
    "id",
    "taken_at",
    "label",
    "verdict",
    "confidence",
    *(f"probability_{label}" for label in IN_SCOPE),
    "scope",
    "prediction_set",
    "quality",
    "used_anyway",
    "policy",
    "views",
    "lesion",
    "body_site",
    "notes",
    "model",
    "model_sha256",
    "uuid",
)
_SCAN_KEYS = (
    "uuid", "taken_at", "prediction", "joint", "milliseconds", "model", "model_sha256",
    "used_anyway", "body_site", "notes", "lesion", "overlay",
)  # fmt: skip
_LESION_KEYS = ("uuid", "name", "body_site", "notes", "created_at")

# What a spreadsheet takes for a formula, at the start of a cell or of what a program that splits
# at semicolons or tabs takes for one (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[\s\"']{0,9}[=+\-@＝＋－＠])")


def safe_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula: an apostrophe is put before one."""
    return _FORMULA.sub(r"\1'", text)


def write_csv(history: History, stream: IO[str]) -> int:
    """Write a row per scan, newest first, and return how many; free text is made safe."""
    names = {lesion.id: lesion.name for lesion in history.lesions()}
    scans = history.scans()
    _write_table(stream, scans, names)
    return len(scans)


def write_zip(
    history: History, target: str | os.PathLike[str] | IO[bytes], progress: Progress | None
) -> int:
    """Write lesions, scans and pictures; see ``History.export_zip``."""
    if isinstance(target, str | os.PathLike):
        with atomic_write(target, "wb") as file:
            return write_zip(history, file, progress)
    scans = history.scans(newest_first=False)
    lesions = {lesion.id: lesion for lesion in history.lesions()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        entries = []
        for done, scan in enumerate(scans, start=1):
            pictures = history.pictures(scan.id)
            lesion = None if scan.lesion_id is None else lesions.get(scan.lesion_id)
            overlay = _overlay_suffix(pictures)
            entries.append(_scan_as_json(scan, lesion, overlay))
            for picture, member in _members(scan.uuid, overlay).items():
                # Compressed before, as JPEG and PNG: packing them again takes time, not space.
                archive.writestr(member, getattr(pictures, picture), zipfile.ZIP_STORED)
            if progress is not None:
                progress(done, len(scans))
        whole = {
            "kind": KIND,
            "format": FORMAT,
            "lesions": [_lesion_as_json(lesion) for lesion in lesions.values()],
            "scans": entries,
        }
        archive.writestr("scans.json", json.dumps(whole, indent=1))
        table = io.StringIO(newline="")
        _write_table(table, scans, {number: lesion.name for number, lesion in lesions.items()})
        # With a byte-order mark spreadsheets take it for UTF-8.
        archive.writestr("scans.csv", table.getvalue().encode("utf-8-sig"))
    return len(scans)


def read_zip(
    history: History, source: str | os.PathLike[str] | IO[bytes], progress: Progress | None
) -> ImportSummary:
    """Take in what ``write_zip`` wrote; see ``History.import_zip``."""
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "the ZIP"
    try:
        with zipfile.ZipFile(source) as archive:
            content = _check_archive(archive, name, history)
            return _take_in(archive, content, history, progress)
    except FileNotFoundError as error:
        raise HistoryError(f"{name}: no such file") from error
    except OSError as error:
        raise HistoryError(f"{name}: cannot be read ({error.strerror or error})") from error
    except zipfile.BadZipFile as error:
        raise HistoryError(
            f"{name}: is no ZIP, or was cut off ({error}); export it again"
        ) from error


def _take_in(
    archive: zipfile.ZipFile, content: dict[str, Any], history: History, progress: Progress | None
) -> ImportSummary:
    rejected: list[Rejected] = []
    lesion_ids: dict[str, int] = {}
    for place, value in enumerate(content["lesions"], start=1):
        try:
            lesion = check_lesion(_lesion_from_json(value))
        except HistoryError as error:
            rejected.append(Rejected(_row_name(value, f"lesion {place}"), str(error)))
        else:
            lesion_ids[lesion.uuid] = history.restore_lesion(lesion)
    added = already_there = 0
    for place, value in enumerate(content["scans"], start=1):
        try:
            scan = check_scan(_scan_from_json(value, lesion_ids))
            pictures = check_pictures(_read_pictures(archive, scan.uuid, value["overlay"]))
        except HistoryError as error:
            rejected.append(Rejected(_row_name(value, f"scan {place}"), str(error)))
        else:
            if history.restore(scan, pictures):
                added += 1
            else:
                already_there += 1
        if progress is not None:
            progress(place, len(content["scans"]))
    return ImportSummary(added, already_there, tuple(rejected))


def _check_archive(archive: zipfile.ZipFile, name: str, history: History) -> dict[str, Any]:
    """Return scans.json of an export that is safe to read; HistoryError says what is not."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise HistoryError(f"{name}: has {len(infos):,} files, at most {MAX_MEMBERS:,} are read")
    for info in infos:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in info.filename:
            raise HistoryError(
                f"{name}: has a file {info.filename!r} that points out of it; no export of "
                "LesionLens does. Nothing was read"
            )
    n_bytes = sum(info.file_size for info in infos)
    if history.path is not None:
        check_free_space(history.path.parent, n_bytes)
    elif n_bytes > MAX_BYTES_IN_MEMORY:
        raise HistoryError(
            f"{name}: unpacks to {n_bytes / 1e6:,.0f} MB, a history in memory takes at most "
            f"{MAX_BYTES_IN_MEMORY / 1e6:,.0f} MB"
        )
    try:
        content = json.loads(_read_member(archive, "scans.json", MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"{name}: scans.json is not readable JSON ({error})") from error
    except HistoryError as error:
        raise HistoryError(f"{name}: is no export of LesionLens ({error})") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise HistoryError(f"{name}: scans.json is not of a LesionLens history; export one anew")
    version = content.get("format")
    if not isinstance(version, int) or version < 1:
        raise HistoryError(f"{name}: scans.json is of format {version!r}, a number is needed")
    if version > FORMAT:
        raise HistoryError(
            f"{name}: is of format {version}, this program reads up to {FORMAT}; install the newer "
            "LesionLens that wrote it"
        )
    for key in ("lesions", "scans"):
        if not isinstance(content.get(key), list):
            raise HistoryError(f"{name}: scans.json has no list {key!r}; export it again")
    return content


def _read_member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """Return a file of the ZIP; never more than ``most_bytes``, whatever the ZIP says of it."""
    try:
        info = archive.getinfo(name)
        if info.file_size > most_bytes:
            raise HistoryError(
                f"{name}: unpacks to {info.file_size / 1e6:.1f} MB, at most "
                f"{most_bytes / 1e6:.1f} MB are read"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise HistoryError(f"{name}: is packed in another way than an export is")
        with archive.open(info) as file:
            # Told how much, zipfile unpacks no more than that; without, all that there is.
            return file.read(info.file_size)
    except KeyError as error:
        raise HistoryError(f"{name}: is not in the ZIP") from error
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError
    ) as error:  # fmt: skip
        raise HistoryError(f"{name}: is damaged or encrypted ({error})") from error


def _members(name: str, overlay: str | None) -> dict[str, str]:
    """Return picture -> its file in the ZIP, for a scan of uuid ``name``."""
    files = {"photo": f"photos/{name}.jpg", "thumbnail": f"thumbnails/{name}.jpg"}
    return files if overlay is None else {**files, "overlay": f"overlays/{name}.{overlay}"}


def _overlay_suffix(pictures: Pictures) -> str | None:
    if pictures.overlay is None:
        return None
    return "png" if pictures.overlay.startswith(PNG) else "jpg"


def _read_pictures(archive: zipfile.ZipFile, name: str, overlay: object) -> Pictures:
    if overlay not in (None, "jpg", "png"):
        raise HistoryError(f"overlay: is {overlay!r}, jpg, png or null is needed")
    return Pictures(
        **{
            picture: _read_member(archive, member, MAX_PICTURE_BYTES)
            for picture, member in _members(name, overlay).items()  # type: ignore[arg-type]
        }
    )


def _scan_as_json(scan: Scan, lesion: Lesion | None, overlay: str | None) -> dict[str, Any]:
    return {
        "uuid": scan.uuid,
        "taken_at": as_text(scan.taken_at),
        "prediction": prediction_as_json(scan.prediction),
        "joint": scan.joint,
        "milliseconds": scan.milliseconds,
        "model": scan.model,
        "model_sha256": scan.model_sha256,
        "used_anyway": scan.used_anyway,
        "body_site": scan.body_site,
        "notes": scan.notes,
        "lesion": None if lesion is None else lesion.uuid,
        "overlay": overlay,
    }


def _scan_from_json(value: Any, lesion_ids: dict[str, int]) -> Scan:
    _check_keys(value, *_SCAN_KEYS)
    lesion = value["lesion"]
    if lesion is not None and (not isinstance(lesion, str) or lesion not in lesion_ids):
        raise HistoryError(f"lesion {lesion!r}: is not among the lesions that were taken")
    if not isinstance(value["used_anyway"], bool):
        raise HistoryError(f"used_anyway: is {value['used_anyway']!r}, true or false is needed")
    return Scan(
        id=0,
        uuid=value["uuid"],
        taken_at=_moment(value["taken_at"]),
        prediction=prediction_from_json(value["prediction"]),
        joint=value["joint"],
        milliseconds=value["milliseconds"],
        model=value["model"],
        model_sha256=value["model_sha256"],
        used_anyway=value["used_anyway"],
        body_site=value["body_site"],
        notes=value["notes"],
        lesion_id=None if lesion is None else lesion_ids[lesion],
    )


def _lesion_as_json(lesion: Lesion) -> dict[str, Any]:
    return {
        "uuid": lesion.uuid,
        "name": lesion.name,
        "body_site": lesion.body_site,
        "notes": lesion.notes,
        "created_at": as_text(lesion.created_at),
    }


def _lesion_from_json(value: Any) -> Lesion:
    _check_keys(value, *_LESION_KEYS)
    created_at = _moment(value["created_at"])
    return Lesion(0, value["uuid"], value["name"], value["body_site"], value["notes"], created_at)


def _check_keys(value: Any, *keys: str) -> None:
    if not isinstance(value, dict):
        raise HistoryError(f"is {type(value).__name__}, an object is needed")
    missing = [key for key in keys if key not in value]
    if missing:
        raise HistoryError(f"has no {', '.join(missing)}")


def _moment(value: object) -> datetime:
    try:
        return as_utc(datetime.fromisoformat(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise HistoryError(f"{value!r}: is no time; 2026-01-31T09:30:00+00:00 is one") from error


def _row_name(value: Any, place: str) -> str:
    name = value.get("uuid") if isinstance(value, dict) else None
    return name if isinstance(name, str) and len(name) <= 40 else place


def _write_table(stream: IO[str], scans: list[Scan], lesion_names: dict[int, str]) -> None:
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(_row(scan, lesion_names) for scan in scans)


def _row(scan: Scan, lesion_names: dict[int, str]) -> dict[str, Any]:
    lesion = "" if scan.lesion_id is None else lesion_names.get(scan.lesion_id, "")
    return {
        "id": scan.id,
        "taken_at": as_text(scan.taken_at),
        "label": scan.label,
        "verdict": scan.verdict,
        "confidence": scan.confidence,
        **{f"probability_{label}": scan.probabilities[label] for label in IN_SCOPE},
        "scope": scan.scope,
        "prediction_set": "|".join(scan.prediction_set),
        "quality": "|".join(finding.name for finding in scan.quality.findings) or "good",
        "used_anyway": scan.used_anyway,
        "policy": scan.policy,
        "views": scan.views,
        "lesion": safe_cell(lesion),
        "body_site": scan.body_site,
        "notes": safe_cell(scan.notes),
        "model": safe_cell(scan.model),
        "model_sha256": scan.model_sha256,
        "uuid": scan.uuid,
    }
