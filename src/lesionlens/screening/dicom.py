"""DICOM: the frames of a file as items, and a frame as what ``imaging.load_pixels`` reads.

A file of several frames gives an item for each, wherever it lies, and reading one takes no more
memory than that: it does not grow with their number. What is read and what is refused, and how
colours are understood, stands in docs/dicom.md.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from lesionlens.errors import ImageError, LesionLensError
from lesionlens.screening.dicom_files import headed, opened
from lesionlens.screening.dicom_headers import (
    CURE,
    DEFLATED,
    NATIVE,
    UNKNOWN_LENGTH,
    DicomImage,
    explained,
    library,
    name_of_uid,
    read_header,
    storage_of,
    text_of,
)
from lesionlens.screening.dicom_pixels import (
    LEAST_FRAME_BYTES,
    as_source,
    check_pixels,
    frame_content,
)
from lesionlens.screening.items import Item
from lesionlens.screening.places import MAX_BYTES, refusal
from lesionlens.screening.reading import Reading

if TYPE_CHECKING:
    from pydicom import Dataset

#: Storage classes that may hold a photo of skin, by UID: PS3.4, B.5.
STORAGE: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic Image",
    "1.2.840.10008.5.1.4.1.1.77.1.7": "Dermoscopic Photography Image",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
}
#: Attributes that are carried along where patient data is asked for: who, which study, which image.
PATIENT_COLUMNS: tuple[str, ...] = (
    "PatientID",
    "IssuerOfPatientID",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPClassUID",
    "SOPInstanceUID",
    "BurnedInAnnotation",
)
_DIRECTORY = "1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR


@dataclass(frozen=True)
class Look:
    """What the header of a DICOM file says."""

    n_frames: int  # to be read; 0: it is a list of files (DICOMDIR), which are found where they lie
    columns: dict[str, str]  # attributes by keyword


def look_at(item: Item, keep: Sequence[str] = ()) -> Look:
    """Read the header of a DICOM file.

    Args:
        item: the file.
        keep: attributes by keyword.

    Raises:
        ImageError, OSError: it cannot be read, or is none.
    """
    with headed(item, keep) as found:
        if storage_of(found.header) == _DIRECTORY:
            return Look(0, {})
        n = 1 if found.image is None else _n_frames(found.image, found.size)
        return Look(n, {name: text_of(found.header, name) for name in keep})


def frames_of(
    item: Item,
    *,
    keep: Sequence[str] = (),
    look: Callable[[Item, Sequence[str]], Look] = look_at,
) -> Iterator[Item]:
    """Return the frames of a DICOM file: itself where it has one, else ``name#1``, ``name#2`` ...

    Only the header is read, at once. A file that cannot be read is its own frame: reading it says
    why. A directory of DICOM files (DICOMDIR) has none.

    Args:
        item: the file.
        keep: attributes by keyword that the frames carry along as columns.
        look: what reads the header.
    """
    try:
        found = look(item, keep)
    except (ImageError, MemoryError, OSError):
        return iter((item,))
    extra = {**item.extra, **found.columns}
    if found.n_frames == 1:
        return iter((replace(item, extra=extra),))
    return (
        replace(item, uri=f"{item.uri}#{frame}", frame=frame, extra=extra)
        for frame in range(1, found.n_frames + 1)
    )


def read_frame(item: Item) -> Reading:
    """Read one frame of a DICOM file with several; no more than that is in memory in the end.

    Args:
        item: ``frame`` says which, from 1.

    Raises:
        ImageError: as ``read_content``.
    """
    assert item.frame is not None
    try:
        with opened(item) as file:
            before = os.fstat(file.fileno())
            reading = _read(file, item.uri, item.frame)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise refusal(error, item.uri) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImageError(
            f"{item.uri}: changed while it was read; run again when it is written",
            reason="changed_while_read",
        )
    return reading


def read_content(uri: str, content: bytes) -> Reading:
    """Read the one frame of a whole DICOM file.

    Args:
        uri: what to call it.
        content: of the file.

    Returns:
        The frame for ``imaging.load_pixels``: encoded where it is a JPEG, else an array of (H, W,
        3) RGB, uint8 or uint16; and the SHA-256 of the frame as it is in the file.

    Raises:
        ImageError: ``no_pixels``; ``unsupported_dicom``: greyscale, no photo, or encoded in a way
            that is not read; ``animated``: several frames, of a file that was not taken for
            DICOM when it was listed; ``truncated``, ``too_large``, ``unreadable``.
    """
    try:
        return _read(io.BytesIO(content), uri, None)
    except OSError as error:  # of memory, not of a disk: the file is damaged
        raise ImageError(f"{uri}: is a damaged DICOM file; {CURE}") from error


def listed_in(path: str) -> list[str]:
    """Return the files that a DICOMDIR lists, sorted.

    Args:
        path: of the DICOMDIR.

    Returns:
        Absolute paths, all of them below its folder; none where it cannot be read.
    """
    root = os.path.dirname(os.path.abspath(path))
    try:
        with opened(Item(path, path)) as file, explained(path):
            file.seek(0)
            records = library().dcmread(file, specific_tags=[0x00041220])
            found = {
                os.path.join(root, *parts)
                for record in records.get("DirectoryRecordSequence", ())
                if (parts := _file_parts(record))
            }
    except (ImageError, OSError, LesionLensError):
        return []
    return sorted(_as_mounted(name, root) for name in found)


def check_keywords(names: Sequence[str]) -> None:
    """Raise LesionLensError where a name is none of a DICOM attribute."""
    from pydicom.datadict import tag_for_keyword

    for name in names:
        if tag_for_keyword(name) is None:
            raise LesionLensError(
                f"{name!r}: is no keyword of a DICOM attribute; such as BodyPartExamined, "
                "Laterality or BurnedInAnnotation is accepted"
            )


def _file_parts(record: Dataset) -> list[str]:
    """Return the folders and the name of the file that a record means; none for no file."""
    value = record.get("ReferencedFileID") or []
    parts = [value] if isinstance(value, str) else [str(part) for part in value]
    is_inside = not any(set(part) & {"/", "\\", "\0"} or part in ("", ".", "..") for part in parts)
    return parts if is_inside else []


def _as_mounted(path: str, root: str) -> str:
    """Return the path in small letters where only that is there: as Linux shows a disc's names."""
    lower = os.path.join(root, os.path.relpath(path, root).lower())
    return lower if not os.path.exists(path) and os.path.exists(lower) else path


def _n_frames(image: DicomImage, size: int) -> int:
    """Return how many frames to read: those announced, but few more than the file can hold.

    One more than it can: reading that says that the others are missing.
    """
    with explained(image.uri):
        if image.n_frames == 1:
            return 1
        if image.length == UNKNOWN_LENGTH or image.syntax not in NATIVE:
            least = LEAST_FRAME_BYTES
        else:
            least = max(LEAST_FRAME_BYTES, image.frame_bytes)
        if image.syntax == DEFLATED:
            size = MAX_BYTES
        return min(image.n_frames, size // least + 1)


def _read(file: BinaryIO, uri: str, frame: int | None) -> Reading:
    """Return the frame of this number, from 1; None: of a file with one."""
    header, image = read_header(file, uri)
    _check_storage(header, uri)
    if image is None:
        raise ImageError(
            f"{uri}: has no pixels: it is a header, or a document about images",
            reason="no_pixels",
        )
    with explained(uri):
        if frame is None and image.n_frames > 1:
            raise ImageError(
                f"{uri}: has {image.n_frames} frames, which are told apart when files are listed, "
                "and its header was not read then: name it .dcm, or try again (--retry) if the "
                "network failed",
                reason="animated",
            )
        check_pixels(image)
        encoded = frame_content(image, (frame or 1) - 1)
        return Reading(as_source(image, encoded), hashlib.sha256(encoded).hexdigest())


def _check_storage(header: Dataset, uri: str) -> None:
    storage = storage_of(header)
    if storage and storage not in STORAGE:
        name = name_of_uid(storage).removesuffix(" Storage")
        raise ImageError(
            f"{uri}: is no photo of skin but {name}; {', '.join(STORAGE.values())} are accepted",
            reason="unsupported_dicom",
        )
