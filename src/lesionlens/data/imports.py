"""Any folder of dermoscopy that one already has, made into an archive folder.

Labels come from metadata tables (:mod:`lesionlens.data.tables`) or, where there are none, from
folders named after classes. The source is only read. Every image is decoded once before it is
taken; what could not be used is listed with the reason. Running it again copies nothing that
is there already.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from lesionlens.data.manifest import NONSKIN, NORMAL_COLUMNS, Unmapped, write_metadata
from lesionlens.data.notices import write_notices
from lesionlens.data.tables import ISIC_WORDS, Reading, Table, read_tables, recognise_table, row_of
from lesionlens.errors import DataError, ImageError, LesionLensError
from lesionlens.files import atomic_write, check_free_space, read_csv, sha256_file, write_csv
from lesionlens.imaging import SUFFIXES, load_pixels
from lesionlens.labels import Label, from_folder

#: Columns of ``unmapped.csv``.
UNMAPPED_COLUMNS = ("image_id", "reason")

# Drawn beside the images of the ISIC challenges; not images to classify.
_COMPANIONS = ("_segmentation", "_superpixels", "_mask")
_ACCEPTED = (
    "accepted are a metadata CSV with the ISIC export's columns (isic_id, diagnosis_1, ...), "
    "HAM10000's (image_id, dx, ...) or a one-hot ground truth (image, MEL, NV, BCC, ...), or "
    "folders named after classes (BCC, SCC, Normal, nevus, ...)"
)


@dataclass(frozen=True)
class ImportResult:
    """What an import found and made."""

    kind: str  # "isic", "ham10000", "one-hot" or "folders"
    counts: dict[Label, int]  # images in the archive, per label that occurs
    n_copied: int  # images copied or linked in this run, the others were there
    unmapped: tuple[Unmapped, ...]
    notes: tuple[str, ...]  # what a person should know about the labels

    @property
    def n_images(self) -> int:
        """Images in the archive."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class _Item:
    image_id: str
    source: Path
    target: Path
    label: Label
    row: dict[str, str]  # ISIC_COLUMNS, or NORMAL_COLUMNS for healthy skin


def _no_progress(total: int) -> AbstractContextManager[Callable[..., None]]:
    return nullcontext(lambda: None)


def import_archive(
    source: Path,
    output: Path,
    *,
    metadata: Path | None = None,
    link: bool = False,
    workers: int | None = None,
    progress: Callable[[int], AbstractContextManager[Callable[..., None]]] = _no_progress,
) -> ImportResult:
    """Make an archive folder of the images in ``source``.

    Args:
        source: folder with images and, somewhere in it, metadata tables or folders named after
            classes. It is not changed.
        output: archive folder to write; outside ``source``.
        metadata: the table to use where ``source`` holds several kinds.
        link: hard-link images instead of copying them, where both are on one disk.
        workers: threads that decode and copy; default: one per core.
        progress: called with the number of images when it is known; the context it returns
            gives a function that is called once per image that is done.

    Returns:
        What came of it. ``unmapped.csv`` in ``output`` lists what could not be used.

    Raises:
        DataError: no folder, no labels in it, or nothing that can be used; ``output`` lies in
            ``source`` or holds other images already.
        LesionLensError: ``output`` has too little room or cannot be written.
    """
    _check_places(source, output)
    unmapped: list[Unmapped] = []
    notes: tuple[str, ...] = ()
    tables = _find_tables(source, metadata)
    if tables:
        reading = read_tables(tables)
        kind = next(table.kind for table in tables if table.kind != "lesions")
        notes = reading.notes
        unmapped += reading.unmapped
        items = _items_of_rows(reading, source, output, unmapped)
    else:
        kind = "folders"
        items = _items_of_folders(source, output, unmapped)
    if not items:
        raise _nothing_usable(source, unmapped)
    _check_same_archive(output, items)
    to_copy = sum(0 if link else i.source.stat().st_size for i in items if not _is_done(i, link))
    check_free_space(output, to_copy)

    taken: list[_Item] = []
    n_copied = 0
    n_workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(n_workers) as pool, progress(len(items)) as advance:
        try:
            outcomes = pool.map(lambda item: _take(item, link), items)
            for item, outcome in zip(items, outcomes, strict=True):
                if isinstance(outcome, str):
                    unmapped.append(Unmapped(item.image_id, outcome))
                else:
                    taken.append(item)
                    n_copied += outcome
                advance()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if not taken:
        raise _nothing_usable(source, unmapped)

    taken.sort(key=lambda item: item.image_id)
    rows = [item.row for item in taken if item.label not in (Label.NORMAL, Label.NOT_SKIN)]
    write_metadata(output / "metadata.csv", rows)
    write_notices(output, (item.row for item in taken if item.label is not Label.NOT_SKIN))
    if normals := [item.row for item in taken if item.label is Label.NORMAL]:
        write_csv(output / "normal" / "metadata.csv", NORMAL_COLUMNS, normals)
    unmapped.sort(key=lambda row: (row.reason, row.image_id))
    if unmapped:
        write_csv(output / "unmapped.csv", UNMAPPED_COLUMNS, (vars(row) for row in unmapped))
    else:
        (output / "unmapped.csv").unlink(missing_ok=True)
    counts = Counter(item.label for item in taken)
    return ImportResult(
        kind=kind,
        counts={label: counts[label] for label in Label if counts[label]},
        n_copied=n_copied,
        unmapped=tuple(unmapped),
        notes=notes,
    )


def _check_places(source: Path, output: Path) -> None:
    if not source.is_dir():
        raise DataError(f"{source}: no such folder")
    if output.resolve().is_relative_to(source.resolve()):
        raise DataError(
            f"{output}: lies in {source}, which an import does not change; choose a folder "
            "outside it"
        )


def _check_same_archive(output: Path, items: list[_Item]) -> None:
    for metadata, column in (
        (output / "metadata.csv", "isic_id"),
        (output / "normal" / "metadata.csv", "image_id"),
    ):
        if not metadata.exists():
            continue
        there = {row[column] for row in read_csv(metadata, required=(column,))}
        if others := sorted(there - {item.image_id for item in items}):
            raise DataError(
                f"{metadata}: already lists {len(others)} images that are not in this import "
                f"({others[0]}, ...); choose another folder"
            )


def _nothing_usable(source: Path, unmapped: list[Unmapped]) -> DataError:
    if not unmapped:
        return DataError(f"{source}: has no images; {_ACCEPTED}")
    reasons = Counter(row.reason for row in unmapped).most_common(3)
    why = "; ".join(f"{n} x {reason}" for reason, n in reasons)
    return DataError(f"{source}: nothing in it can be used ({why}); {_ACCEPTED}")


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _find_tables(source: Path, metadata: Path | None) -> list[Table]:
    found = []
    for path in _walk(source):
        # HAM10000 comes from its publisher as "HAM10000_metadata", without a suffix.
        if path.suffix.lower() == ".csv" or path.name == "HAM10000_metadata":
            table = recognise_table(path)
            if table is not None:
                found.append(table)
    if metadata is not None:
        table = recognise_table(metadata)
        if table is None or table.kind == "lesions":
            raise DataError(
                f"{metadata}: is not a table of diagnoses that is known, or not there; {_ACCEPTED}"
            )
        return [table, *(other for other in found if other.kind == "lesions")]
    return found if any(table.kind != "lesions" for table in found) else []


def _find_images(source: Path) -> list[Path]:
    return [
        path
        for path in _walk(source)
        if path.suffix.lower() in SUFFIXES and not path.stem.lower().endswith(_COMPANIONS)
    ]


def _items_of_rows(
    reading: Reading, source: Path, output: Path, unmapped: list[Unmapped]
) -> list[_Item]:
    by_id: dict[str, list[Path]] = {}
    for path in _find_images(source):
        by_id.setdefault(path.stem, []).append(path)
    items = []
    for image_id, row in reading.rows.items():
        paths = by_id.pop(image_id, [])
        if not paths:
            unmapped.append(Unmapped(image_id, "no image file of that name"))
        elif len(paths) > 1 and len({sha256_file(path) for path in paths}) > 1:
            unmapped.append(Unmapped(image_id, "several different image files have that name"))
        else:
            target = _target(output, image_id, paths[0])
            items.append(_Item(image_id, paths[0], target, reading.labels[image_id], row))
    known = {row.image_id for row in unmapped}
    unmapped += (Unmapped(name, "no row in the metadata") for name in by_id if name not in known)
    return items


def _items_of_folders(source: Path, output: Path, unmapped: list[Unmapped]) -> list[_Item]:
    paths = _find_images(source)
    stems = Counter(path.stem for path in paths)
    items = []
    for path in paths:
        inside = path.relative_to(source)
        image_id = path.stem
        if stems[image_id] > 1:  # told apart by where they lie
            image_id = "_".join([*inside.parent.parts, path.stem])
        names = [*reversed(inside.parent.parts), source.resolve().name]
        folder, label = next(
            ((name, found) for name in names if (found := from_folder(name)) is not None),
            (inside.parent.name, None),
        )
        if label is None:
            reason = f"folder {folder!r} is not named after a class" if folder else "in no folder"
            unmapped.append(Unmapped(image_id, reason))
        elif label is Label.NORMAL:
            row = dict.fromkeys(NORMAL_COLUMNS, "") | {"image_id": image_id, "source": source.name}
            target = _target(output / "normal", image_id, path)
            items.append(_Item(image_id, path, target, label, row))
        elif label is Label.NOT_SKIN:
            target = _target(output / NONSKIN, image_id, path)
            items.append(_Item(image_id, path, target, label, {}))
        elif label in ISIC_WORDS:
            row = row_of(label, isic_id=image_id, attribution=source.name)
            items.append(_Item(image_id, path, _target(output, image_id, path), label, row))
        else:
            unmapped.append(Unmapped(image_id, f"folder {folder!r} names no diagnosis"))
    twice = [image_id for image_id, n in Counter(i.image_id for i in items).items() if n > 1]
    if twice:
        raise DataError(
            f"{source}: several images would be called {twice[0]}; rename one of the files"
        )
    return items


def _target(root: Path, image_id: str, source: Path) -> Path:
    suffix = source.suffix.lower()
    return root / "images" / f"{image_id}{'.jpg' if suffix in ('.jpeg', '.jpe') else suffix}"


def _is_done(item: _Item, link: bool) -> bool:
    try:
        there, here = item.target.stat(), item.source.stat()
    except OSError:
        return False
    same_file = (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    # A copy carries the time of its source, so that a changed source is seen.
    copied = (there.st_size, there.st_mtime_ns) == (here.st_size, here.st_mtime_ns)
    return same_file or (copied and not link)


def _take(item: _Item, link: bool) -> bool | str:
    """Bring one image into the archive; return whether it was new, or why it is unusable."""
    if _is_done(item, link):
        return False
    try:
        load_pixels(item.source)
    except ImageError as error:
        return str(error).removeprefix(f"{item.source}: ")
    if link and _link(item):
        return True
    with open(item.source, "rb") as source, atomic_write(item.target, "wb") as target:
        shutil.copyfileobj(source, target)
    times = item.source.stat()
    os.utime(item.target, ns=(times.st_atime_ns, times.st_mtime_ns))
    return True


def _link(item: _Item) -> bool:
    """Hard-link the image; return False where source and archive are on different disks."""
    try:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        item.target.unlink(missing_ok=True)
        item.target.hardlink_to(item.source)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            return False
        raise LesionLensError(
            f"{item.target}: cannot be written ({error.strerror or error})"
        ) from error
    return True
