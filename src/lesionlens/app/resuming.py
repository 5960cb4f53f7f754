"""What is unfinished, on disk, so that it outlives the app: the photo in the crop, the camera.

A phone may end an app at any moment that it is not in front, with no word: while the camera, the
gallery or a call is. What lies in ``unfinished/`` is taken up with the next start. It is deleted
when the photo is judged or put away, and when it is older than a day; what is damaged is deleted
without a word, as it is worth no more than taking the photo again.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lesionlens.errors import LesionLensError
from lesionlens.files import atomic_write, read_json, write_json
from lesionlens.imaging import Box

#: A photo older than this is not brought back, nor is the camera started again unasked for after
#: a pause in which the person may have put the phone away.
PHOTO_AGE = timedelta(days=1)
CAMERA_AGE = timedelta(minutes=10)

_FORMAT = 1
_FOLDER, _PHOTO, _RECORD = "unfinished", "photo", "scan.json"


@dataclass(frozen=True)
class Unfinished:
    """What the person was about."""

    data: bytes | None = None  # the photo's file, untouched; None: there was none yet
    name: str = ""  # of that file
    origin: str = "gallery"  # as state.Draft has it
    box: Box = (0.0, 0.0, 1.0, 1.0)  # that was chosen
    is_camera_open: bool = False


def save(folder: Path, unfinished: Unfinished, *, now: datetime | None = None) -> None:
    """Write down what is unfinished, whole or not at all; the photo only where it is another one.

    Args:
        folder: the app's.
        unfinished: what there is.
        now: aware; None for the present.

    Raises:
        LesionLensError: the folder cannot be written.
    """
    place = folder / _FOLDER
    sha256 = ""
    if unfinished.data is not None:
        sha256 = hashlib.sha256(unfinished.data).hexdigest()
        if _hash_on_disk(place) != sha256:
            with atomic_write(place / _PHOTO, "wb") as file:
                file.write(unfinished.data)
    record = {
        "format": _FORMAT,
        "saved_at": (now or datetime.now(UTC)).isoformat(),
        "sha256": sha256,
        "name": unfinished.name,
        "origin": unfinished.origin,
        "box": list(unfinished.box),
        "is_camera_open": unfinished.is_camera_open,
    }
    write_json(place / _RECORD, record)


def load(folder: Path, *, now: datetime | None = None) -> Unfinished | None:
    """Return what was unfinished; None where nothing is. What cannot be used is deleted.

    Args:
        folder: the app's.
        now: aware; None for the present.
    """
    place = folder / _FOLDER
    if not place.is_dir():
        return None
    try:
        found = _read(place, now or datetime.now(UTC))
    except (LesionLensError, OSError, ValueError, KeyError, TypeError):
        found = None
    if found is None:
        discard(folder)
    return found


def discard(folder: Path) -> None:
    """Delete what is unfinished, if anything is."""
    shutil.rmtree(folder / _FOLDER, ignore_errors=True)


def _read(place: Path, now: datetime) -> Unfinished | None:
    record: dict[str, Any] = read_json(place / _RECORD)
    age = now - datetime.fromisoformat(record["saved_at"])
    if record["format"] != _FORMAT or not timedelta(0) <= age <= PHOTO_AGE:
        return None
    left, top, right, bottom = (float(edge) for edge in record["box"])
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        return None
    data = None
    if record["sha256"]:
        data = (place / _PHOTO).read_bytes()
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            return None
    is_camera_open = record["is_camera_open"] is True and age <= CAMERA_AGE
    if data is None and not is_camera_open:
        return None
    return Unfinished(
        data=data,
        name=str(record["name"]),
        origin=str(record["origin"]),
        box=(left, top, right, bottom),
        is_camera_open=is_camera_open,
    )


def _hash_on_disk(place: Path) -> str:
    """Return the checksum of the photo that is there, as the record has it; empty: none."""
    with suppress(LesionLensError, OSError, ValueError, KeyError, TypeError):
        if (place / _PHOTO).is_file():
            return str(read_json(place / _RECORD)["sha256"])
    return ""
