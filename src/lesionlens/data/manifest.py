"""The archive folder: what is in it, read into frames, and its metadata written.

An archive is ``metadata.csv`` in the columns of the ISIC archive's own export and the images
beside it as ``images/<isic_id>.jpg``. Crops of healthy skin, which no archive labels, lie in
``normal/`` with a metadata.csv of their own that says which frame each was cut out of. Photos of
what is not skin, for a model to learn what to refuse, lie in ``nonskin/`` without any metadata.

A row that cannot be used is never dropped in silence: it comes back as :class:`Unmapped` with
the reason. What makes the whole table ambiguous (no such column, an id twice) is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesionlens.errors import DataError
from lesionlens.files import read_csv, write_csv
from lesionlens.imaging import SUFFIXES
from lesionlens.labels import Label, from_isic
from lesionlens.records import Frame

#: Columns of an archive's ``metadata.csv``, named as in the ISIC archive's metadata export.
ISIC_COLUMNS: tuple[str, ...] = (
    "isic_id",
    "attribution",
    "copyright_license",
    "age_approx",
    "anatom_site_general",
    "diagnosis_1",
    "diagnosis_2",
    "diagnosis_3",
    "diagnosis_confirm_type",
    "image_type",
    "lesion_id",
    "patient_id",
    "sex",
    "pixels_x",
    "pixels_y",
)

#: Columns of ``normal/metadata.csv``: squares of healthy skin and where they were cut.
NORMAL_COLUMNS: tuple[str, ...] = (
    "image_id",
    "parent_isic_id",
    "lesion_id",
    "patient_id",
    "crop_x_px",
    "crop_y_px",
    "crop_size_px",
    "parent_size",
    "source",
    "image_type",
)

#: The one ``image_type`` that LesionLens is made for.
DERMOSCOPIC = "dermoscopic"

#: Folder of an archive for photos of things that are not skin; also the source of its frames.
NONSKIN = "nonskin"

# Without these a row has no name or no diagnosis. The export leaves out columns that are empty
# throughout, so the others may be missing from a file that is otherwise all right.
_REQUIRED_COLUMNS = ("isic_id", "diagnosis_1", "diagnosis_3")
_REQUIRED_NORMAL_COLUMNS = ("image_id", "parent_isic_id")


@dataclass(frozen=True)
class Unmapped:
    """A row of the metadata that gives no frame."""

    image_id: str
    reason: str  # a short phrase, the same for every row with the same cause


@dataclass(frozen=True)
class Archive:
    """The labelled images of an archive folder, and the rows that could not be used."""

    root: Path
    frames: tuple[Frame, ...]  # in the order of the metadata, whole frames before crops
    unmapped: tuple[Unmapped, ...]

    def counts(self) -> dict[Label, int]:
        """Return the number of frames per label, in the order of ``Label``; absent ones are 0."""
        found = Counter(frame.label for frame in self.frames)
        return {label: found[label] for label in Label}

    def reasons(self) -> dict[str, int]:
        """Return how many rows could not be used for which reason, the commonest first."""
        return dict(Counter(row.reason for row in self.unmapped).most_common())


def load_archive(root: Path, *, normals: Path | None = None) -> Archive:
    """Read an archive folder: its metadata, its labels, and where its images are.

    No image is decoded. ``root/metadata.csv`` is read, or ``root/isic/metadata.csv`` where the
    former does not exist; images are looked for in ``images/`` beside that file, then beside
    the file itself (as isic-cli leaves them). Crops of healthy skin are read from
    ``root/normal`` where that exists, and every image in ``root/nonskin`` is taken for a photo
    of something that is not skin.

    Args:
        root: the archive folder.
        normals: folder with the crops of healthy skin, if it is not ``root/normal``.

    Returns:
        The archive. A row whose diagnosis maps to no label, whose image is not dermoscopic or
        whose file is missing is in ``unmapped``. A crop inherits lesion, patient, source, age,
        sex and site from the frame it was cut out of, where the metadata knows that frame.

    Raises:
        DataError: no metadata.csv, a column missing, an id twice, or not one usable row.
    """
    root = Path(root)
    metadata = _find_metadata(root)
    rows = read_csv(metadata, required=_REQUIRED_COLUMNS)
    by_id = index_rows(rows, "isic_id", metadata)
    frames: list[Frame] = []
    unmapped: list[Unmapped] = []
    files = _image_files(metadata.parent)
    for image_id, row in by_id.items():
        _collect(_whole_frame(image_id, row, files), frames, unmapped)

    normal_root = normals if normals is not None else root / "normal"
    normal_metadata = normal_root / "metadata.csv"
    if normals is not None or normal_metadata.exists():
        crops = index_rows(
            read_csv(normal_metadata, required=_REQUIRED_NORMAL_COLUMNS),
            "image_id",
            normal_metadata,
        )
        if twice := sorted(by_id.keys() & crops.keys()):
            raise DataError(
                f"{normal_metadata}: {_some(twice)} also in {metadata}; every image needs its own"
                " id"
            )
        files = _image_files(normal_root)
        for image_id, row in crops.items():
            _collect(_crop(image_id, row, by_id, files), frames, unmapped)

    known = {frame.image_id for frame in frames}
    for image_id, path in _image_files(root / NONSKIN).items():
        if image_id in by_id or image_id in known:
            raise DataError(
                f"{path}: {image_id} is also in {metadata}; every image needs its own id"
            )
        frames.append(Frame(image_id, path, Label.NOT_SKIN, source=NONSKIN))

    archive = Archive(root=root, frames=tuple(frames), unmapped=tuple(unmapped))
    if not frames:
        why = "; ".join(f"{n} x {reason}" for reason, n in archive.reasons().items())
        raise DataError(f"{metadata}: none of its rows gives a frame ({why or 'it has no rows'})")
    return archive


def write_metadata(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write an archive's ``metadata.csv``: ``ISIC_COLUMNS``, one row per image, atomically.

    Args:
        path: the file to write.
        rows: a mapping per image; keys outside ``ISIC_COLUMNS`` are left out, missing ones
            and None become empty.
    """
    write_csv(path, ISIC_COLUMNS, rows)


def archive_hash(frames: Iterable[Frame]) -> str:
    """Return a SHA-256 over what decides a split, whatever the order of the frames.

    Covered are image_id, label, lesion_id, patient_id and parent_id; not where the files are.
    """
    keys = sorted(
        (frame.image_id, frame.label.value, frame.lesion_id, frame.patient_id, frame.parent_id)
        for frame in frames
    )
    return hashlib.sha256(json.dumps(keys, ensure_ascii=False).encode()).hexdigest()


def find_images(folder: Path) -> list[Path]:
    """Return the image files directly in ``folder``, told by their suffix, sorted by name."""
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        )
    except (FileNotFoundError, NotADirectoryError):
        return []


def _find_metadata(root: Path) -> Path:
    for candidate in (root / "metadata.csv", root / "isic" / "metadata.csv"):
        if candidate.is_file():
            return candidate
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; an archive folder with metadata.csv is needed")
    raise DataError(
        f"{root}: has no metadata.csv (nor isic/metadata.csv); an archive folder is what "
        "`lesionlens data fetch` or `lesionlens data import` writes"
    )


def index_rows(rows: list[dict[str, str]], column: str, path: Path) -> dict[str, dict[str, str]]:
    """Return ``rows`` by id; an id twice or an empty one is an error, as labels may differ."""
    counts = Counter(row[column] for row in rows)
    if counts[""]:
        raise DataError(f"{path}: {counts['']} rows have no {column}; every image needs an id")
    if twice := sorted(image_id for image_id, n in counts.items() if n > 1):
        raise DataError(
            f"{path}: {_some(twice)} more than once in {column}; keep one row per image"
        )
    return {row[column]: row for row in rows}


def _some(ids: list[str]) -> str:
    shown = ", ".join(ids[:5])
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return f"{shown}{more} {'is' if len(ids) == 1 else 'are'} there"


def _image_files(folder: Path) -> dict[str, Path]:
    """Return the image files of an archive by id; ``images/`` and ``.jpg`` win over others."""
    found = [*find_images(folder / "images"), *find_images(folder)]
    files: dict[str, Path] = {}
    for path in sorted(found, key=lambda path: path.suffix != ".jpg"):
        files.setdefault(path.stem, path)
    return files


def _collect(outcome: Frame | Unmapped, frames: list[Frame], unmapped: list[Unmapped]) -> None:
    if isinstance(outcome, Frame):
        frames.append(outcome)
    else:
        unmapped.append(outcome)


def _whole_frame(image_id: str, row: dict[str, str], files: dict[str, Path]) -> Frame | Unmapped:
    image_type = row.get("image_type", "")
    if image_type and image_type.lower() != DERMOSCOPIC:
        return Unmapped(image_id, f"image_type is {image_type!r}, not {DERMOSCOPIC!r}")
    levels = [row.get(f"diagnosis_{level}", "") for level in (1, 2, 3)]
    label = from_isic(levels[0], levels[1], levels[2])
    if label is None:
        words = " / ".join(level for level in levels if level)
        return Unmapped(
            image_id, f"diagnosis {words!r} is none of the classes" if words else "no diagnosis"
        )
    if image_id not in files:
        return Unmapped(image_id, "image file is missing")
    return Frame(
        image_id=image_id,
        path=files[image_id],
        label=label,
        lesion_id=row.get("lesion_id", ""),
        patient_id=row.get("patient_id", ""),
        source=row.get("attribution", ""),
        age_approx=_age(row.get("age_approx", "")),
        sex=row.get("sex", ""),
        anatom_site=row.get("anatom_site_general", ""),
        is_benign=levels[0].lower() == "benign",
    )


def _crop(
    image_id: str,
    row: dict[str, str],
    parents: Mapping[str, Mapping[str, str]],
    files: dict[str, Path],
) -> Frame | Unmapped:
    if image_id not in files:
        return Unmapped(image_id, "image file is missing")
    parent = parents.get(row["parent_isic_id"], {})
    return Frame(
        image_id=image_id,
        path=files[image_id],
        label=Label.NORMAL,
        lesion_id=parent.get("lesion_id", "") or row.get("lesion_id", ""),
        patient_id=parent.get("patient_id", "") or row.get("patient_id", ""),
        parent_id=row["parent_isic_id"],
        source=parent.get("attribution", "") or row.get("source", ""),
        age_approx=_age(parent.get("age_approx", "")),
        sex=parent.get("sex", ""),
        anatom_site=parent.get("anatom_site_general", ""),
    )


def _age(text: str) -> float | None:
    """Return an age in years; the archive writes "85+" for the oldest, to protect them."""
    try:
        age = float(text.removesuffix("+"))
    except ValueError:
        return None
    return age if 0 <= age <= 150 else None
