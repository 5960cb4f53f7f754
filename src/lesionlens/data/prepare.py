"""Decode an archive once: image files in, a memory-mapped array of the model's pixels out.

A cache folder holds ``images.npy`` (N, 224, 224, 3) uint8, ``manifest.csv`` (which row is which
image, and the hash of the file it came from), ``cache.json`` (how the pixels were made) and
``errors.csv`` (what could not be read). Every pixel goes through ``lesionlens.imaging``.

Built to be killed. Pixels are written and flushed before the manifest names them, so the
manifest never promises what is not there; whatever a kill leaves behind the last manifest line
is written over by the next run, which decodes only what is missing or has changed. Files are
written with ``write``, not through a memory map, because a full disk turns the former into an
error that can be told and the latter into a bus error.

Threads, not processes: Pillow decodes and hashlib hashes outside the interpreter lock, and
pixels need not be copied between processes (3,300 against 2,190 images of 224 pixels a second
on two cores, 261 against 230 of 600 x 450; ``benchmarks/prepare.py``).
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from lesionlens import imaging
from lesionlens.errors import DataError, ImageError, LesionLensError
from lesionlens.files import check_free_space, read_csv, read_json, write_csv, write_json
from lesionlens.parallel import map_ahead
from lesionlens.records import Frame

MANIFEST_COLUMNS = ("row", "image_id", "path", "sha256", "width_px", "height_px")
ERROR_COLUMNS = ("path", "error")

#: How the pixels are made. A cache made otherwise is made anew; raise ``version`` whenever
#: ``imaging`` comes to give other pixels for the same file.
PIXEL_PATH: dict[str, Any] = {
    "format": 1,
    "size_px": imaging.INPUT_PX,
    "draft_px": imaging.DRAFT_PX,
    "filter": "bilinear",
    "version": 1,
}

_IMAGE_SHAPE = (imaging.INPUT_PX, imaging.INPUT_PX, 3)
_ROW_BYTES = imaging.INPUT_PX * imaging.INPUT_PX * 3
#: Images decoded between two flushes to the disk; what a kill can cost at most.
_CHUNK = 128


@dataclass(frozen=True)
class ImageFailure:
    """An image that could not be read, and why."""

    path: Path
    error: str


@dataclass(frozen=True)
class PrepareReport:
    """What a run of ``prepare_cache`` did."""

    n_done: int  # images decoded in this run
    n_kept: int  # images that an earlier run had decoded and that are unchanged
    errors: tuple[ImageFailure, ...]  # images that are not in the cache


@dataclass(frozen=True)
class Cache:
    """A decoded archive, opened read-only; ``images[i]`` is ``image_ids[i]``."""

    directory: Path
    images: np.ndarray  # uint8, (N, 224, 224, 3), RGB, memory-mapped
    image_ids: tuple[str, ...]
    row_of: Mapping[str, int]  # image_id -> row of ``images``
    sha256s: tuple[str, ...]  # of the image files, 64 hexadecimal digits each
    sizes_px: np.ndarray  # int32, (N, 2), width and height of the image files


@dataclass(frozen=True)
class _Entry:
    """A line of the manifest."""

    row: int
    image_id: str
    path: str
    sha256: str
    width_px: int
    height_px: int


@dataclass(frozen=True)
class _Decoded:
    """What a worker hands back: the hash always, the pixels where they were asked for."""

    sha256: str
    pixels: imaging.Pixels | None


class _NamedBytes(io.BytesIO):
    """Bytes read once, hashed and decoded, that still know their file for error messages."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def prepare_cache(
    frames: Sequence[Frame],
    directory: str | os.PathLike[str],
    *,
    workers: int | None = None,
    advance: Callable[..., None] | None = None,
) -> PrepareReport:
    """Decode every frame into ``directory``, leaving alone what is there and unchanged.

    Args:
        frames: what to decode; frames that an earlier run decoded and that are not among
            these stay in the cache.
        directory: the cache folder; made if need be.
        workers: threads; None takes one per core and one more, for the reading.
        advance: called after each image, for a progress bar.

    Returns:
        What was done. Unreadable images are in ``errors`` and in ``errors.csv``; every other
        image is in the cache.

    Raises:
        DataError: two frames share an ``image_id``, or the folder holds something else.
        LesionLensError: the disk is full or cannot be written. What was decoded until then is
            kept, and the same call goes on from there.
    """
    folder = Path(directory)
    _check_unique(frames)
    entries = _read_entries(folder)
    n_new = sum(frame.image_id not in entries for frame in frames)
    check_free_space(folder, n_new * _ROW_BYTES + 1_000_000)
    with _telling_full_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not entries:
            # Before cache.json: no moment may show old pixels under the new description.
            (folder / "manifest.csv").unlink(missing_ok=True)
    if not entries:
        write_json(folder / "cache.json", PIXEL_PATH)

    failures: list[ImageFailure] = []
    n_done = n_kept = 0
    with _telling_full_disk(folder), _Writer(folder, entries) as writer:
        for frame, result in _decode_all(frames, entries, workers):
            if isinstance(result, ImageError):
                failures.append(ImageFailure(frame.path, str(result)))
                writer.drop(frame.image_id)
            elif result.pixels is None:
                n_kept += 1
                writer.keep(frame.image_id, str(frame.path))
            else:
                n_done += 1
                writer.add(frame, result.sha256, result.pixels)
            if advance is not None:
                advance(1)
    rows = ({"path": str(failure.path), "error": failure.error} for failure in failures)
    write_csv(folder / "errors.csv", ERROR_COLUMNS, rows)
    return PrepareReport(n_done, n_kept, tuple(failures))


def load_cache(directory: str | os.PathLike[str]) -> Cache:
    """Open a cache folder; the images are mapped into memory, not read.

    Raises:
        DataError: no cache there, one made by another version of the pixel path, or one that
            a kill left in the middle of replacing changed images.
    """
    folder = Path(directory)
    again = "run `lesionlens data prepare` again"
    if not (folder / "manifest.csv").is_file():
        raise DataError(f"{folder}: is not a cache (it has no manifest.csv); {again}")
    made = read_json(folder / "cache.json")
    if made != PIXEL_PATH:
        raise DataError(f"{folder}: was made by another pixel path ({made}); {again}")
    entries = sorted(_read_manifest(folder).values(), key=lambda entry: entry.row)
    if [entry.row for entry in entries] != list(range(len(entries))):
        raise DataError(f"{folder}: was left while images were being replaced; {again}")
    if not entries:
        raise DataError(f"{folder}: the cache holds no image; {again}")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'images.npy'}: cannot be opened ({error}); {again}") from error
    if images.dtype != np.uint8 or images.shape[1:] != _IMAGE_SHAPE or len(images) < len(entries):
        raise DataError(
            f"{folder / 'images.npy'}: holds {images.dtype} {images.shape}, "
            f"not uint8 {(len(entries), *_IMAGE_SHAPE)}; {again}"
        )
    return Cache(
        directory=folder,
        images=images[: len(entries)],
        image_ids=tuple(entry.image_id for entry in entries),
        row_of={entry.image_id: entry.row for entry in entries},
        sha256s=tuple(entry.sha256 for entry in entries),
        sizes_px=np.array([(entry.width_px, entry.height_px) for entry in entries], np.int32),
    )


class _Writer:
    """Writes rows of ``images.npy`` and, once they are on the disk, their manifest lines.

    Opening rewrites the manifest without a torn last line; leaving the block flushes, fills
    the rows that dropped images left empty, and rewrites the manifest in the order of rows.
    A block left by an exception flushes what is complete and does no more.
    """

    def __init__(self, folder: Path, entries: dict[str, _Entry]) -> None:
        self._folder = folder
        self._entries = entries
        self._waiting: list[tuple[_Entry, np.ndarray]] = []
        taken = {entry.row for entry in entries.values()}
        self._end = max(taken, default=-1) + 1
        self._free = sorted(set(range(self._end)) - taken)
        self._is_stale = False  # the manifest on the disk still names an image that was dropped
        self._images: IO[bytes]
        self._manifest: IO[str]

    def __enter__(self) -> _Writer:
        self._write_manifest()
        path = self._folder / "images.npy"
        self._images = open(path, "r+b" if path.exists() else "w+b")
        self._manifest = self._open_manifest()
        _write_header(self._images, self._end)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None or not issubclass(kind, OSError):
                self._flush()
            if kind is None:
                self._fill_gaps()
        finally:
            try:
                self._images.close()
            finally:
                self._manifest.close()

    def keep(self, image_id: str, path: str) -> None:
        """Note where an unchanged image now lies."""
        self._entries[image_id] = replace(self._entries[image_id], path=path)

    def drop(self, image_id: str) -> None:
        """Take an image out: its pixels are no longer those of its file."""
        entry = self._entries.pop(image_id, None)
        if entry is not None:
            self._free.append(entry.row)
            self._is_stale = True

    def add(self, frame: Frame, sha256: str, pixels: imaging.Pixels) -> None:
        """Give an image a row; it reaches the disk with the next chunk."""
        self.drop(frame.image_id)
        if self._free:
            row = self._free.pop(0)
        else:
            row = self._end
            self._end += 1
        entry = _Entry(
            row, frame.image_id, str(frame.path), sha256, pixels.width_px, pixels.height_px
        )
        self._waiting.append((entry, pixels.rgb))
        if len(self._waiting) >= _CHUNK:
            self._flush()

    def _open_manifest(self) -> IO[str]:
        return open(self._folder / "manifest.csv", "a", encoding="utf-8", newline="")

    def _write_manifest(self) -> None:
        entries = sorted(self._entries.values(), key=lambda entry: entry.row)
        write_csv(self._folder / "manifest.csv", MANIFEST_COLUMNS, map(vars, entries))

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._is_stale:
            # Its row is about to be given to another image: the manifest must not name it then.
            self._manifest.close()
            self._write_manifest()
            self._manifest = self._open_manifest()
            self._is_stale = False
        for entry, rgb in self._waiting:
            _write_row(self._images, entry.row, rgb)
        _write_header(self._images, self._end)
        os.fsync(self._images.fileno())
        lines = csv.DictWriter(self._manifest, MANIFEST_COLUMNS, lineterminator="\n")
        lines.writerows(vars(entry) for entry, _ in self._waiting)
        self._manifest.flush()
        os.fsync(self._manifest.fileno())
        self._entries.update({entry.image_id: entry for entry, _ in self._waiting})
        self._waiting.clear()

    def _fill_gaps(self) -> None:
        by_row = {entry.row: entry for entry in self._entries.values()}
        for gap in sorted(self._free):
            last = max(by_row, default=-1)
            if last < gap:
                break
            entry = by_row.pop(last)
            _write_row(self._images, gap, _read_row(self._images, last))
            by_row[gap] = self._entries[entry.image_id] = replace(entry, row=gap)
        self._end = len(by_row)
        os.fsync(self._images.fileno())
        self._write_manifest()
        _write_header(self._images, self._end)
        self._images.truncate(_header_bytes() + self._end * _ROW_BYTES)


def _decode_all(
    frames: Sequence[Frame], entries: Mapping[str, _Entry], workers: int | None
) -> Iterator[tuple[Frame, _Decoded | ImageError]]:
    """Yield every frame with its pixels, in order, a bounded number of them in flight."""
    n_workers = workers or (os.cpu_count() or 1) + 1
    known = {image_id: entry.sha256 for image_id, entry in entries.items()}

    def decode(frame: Frame) -> _Decoded | ImageError:
        return _decode(frame.path, known.get(frame.image_id, ""))

    return map_ahead(decode, frames, workers=n_workers, ahead=8 * n_workers)


def _decode(path: Path, known_sha256: str) -> _Decoded | ImageError:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ImageError(f"{path}: no such file")
    except OSError as error:
        return ImageError(f"{path}: cannot be read ({error.strerror or error})")
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 == known_sha256:
        return _Decoded(sha256, None)
    try:
        return _Decoded(sha256, imaging.load_pixels(_NamedBytes(content, str(path))))
    except ImageError as error:
        return error


def _check_unique(frames: Sequence[Frame]) -> None:
    seen: dict[str, Path] = {}
    for frame in frames:
        if frame.image_id in seen:
            raise DataError(
                f"{frame.path}: its image_id {frame.image_id} is also that of "
                f"{seen[frame.image_id]}; ids must be unique"
            )
        seen[frame.image_id] = frame.path


def _read_entries(folder: Path) -> dict[str, _Entry]:
    """Return what a cache folder holds; nothing if it is new or of another pixel path."""
    if not folder.exists():
        return {}
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file; a folder for the cache is needed")
    if not (folder / "cache.json").exists():
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise DataError(
                f"{folder}: holds files but is no cache (no cache.json); name an empty folder"
            )
        return {}
    whole = (folder / "manifest.csv").exists() and (folder / "images.npy").exists()
    if not whole or read_json(folder / "cache.json") != PIXEL_PATH:
        return {}
    return _read_manifest(folder)


def _read_manifest(folder: Path) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    path = folder / "manifest.csv"
    rows = read_csv(path, required=MANIFEST_COLUMNS)
    if not path.read_bytes().endswith(b"\n"):
        rows.pop()  # the torn last line of a run that was killed
    for row in rows:
        numbers = (row["row"], row["width_px"], row["height_px"])
        if len(row["sha256"]) != 64 or not all(number.isdigit() for number in numbers):
            raise DataError(f"{path}: the line of {row['image_id']!r} is damaged; delete {folder}")
        entries[row["image_id"]] = _Entry(
            row=int(row["row"]),
            image_id=row["image_id"],
            path=row["path"],
            sha256=row["sha256"],
            width_px=int(row["width_px"]),
            height_px=int(row["height_px"]),
        )
    return entries


def _header(n_rows: int) -> bytes:
    stream = io.BytesIO()
    shape = (n_rows, *_IMAGE_SHAPE)
    # numpy pads this header so that the first axis can grow in place (GROWTH_AXIS_MAX_DIGITS).
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def _header_bytes() -> int:
    return len(_header(0))


def _write_header(file: IO[bytes], n_rows: int) -> None:
    file.seek(0)
    file.write(_header(n_rows))
    file.flush()


def _write_row(file: IO[bytes], row: int, rgb: np.ndarray) -> None:
    file.seek(_header_bytes() + row * _ROW_BYTES)
    file.write(np.ascontiguousarray(rgb).data)


def _read_row(file: IO[bytes], row: int) -> np.ndarray:
    file.seek(_header_bytes() + row * _ROW_BYTES)
    return np.frombuffer(file.read(_ROW_BYTES), np.uint8)


@contextmanager
def _telling_full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LesionLensError(
                f"{folder}: the disk is full; every image decoded until now is kept. "
                "Free some space and run the same command again to go on"
            ) from error
        raise LesionLensError(f"{folder}: cannot be written ({error.strerror or error})") from error
