"""Files written whole or not at all, hashed, and read whatever their line ends."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lesionlens.errors import DataError, LesionLensError


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path`` that takes its place only when the block succeeds.

    A device or a pipe (``/dev/stdout``) is written to instead: it must not be replaced.

    Args:
        path: the file to write; its folder is made if need be.
        mode: ``"w"`` (UTF-8 text, line ends untouched) or ``"wb"``.

    Raises:
        LesionLensError: the disk is full or the folder cannot be written; names the path.
            ``path`` itself is then as it was.
    """
    temporary: Path | None = None
    # A file name may hold bytes that are no text: they are spelled out, as JSON can read back.
    text = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    options: dict[str, Any] = {} if "b" in mode else text
    try:
        if _is_stream(path):
            with open(path, mode, **options) as file:
                yield file
            return
        target = Path(os.path.realpath(path))  # a link goes on pointing to what is written
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        # Not one of tempfile's: to give those the permissions of an ordinary file, the mask has to
        # be asked for by changing it, and it is one for all threads.
        with open(beside, mode.replace("w", "x"), **options) as file:
            temporary = beside
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        temporary = None
    except OSError as error:
        raise LesionLensError(
            f"{path}: cannot be written ({error.strerror or error}); nothing was changed there"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is a device or a pipe: written to, where a file is replaced."""
    place = Path(path)
    return place.exists() and not place.is_file() and not place.is_dir()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN is refused, as JSON has none."""
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        DataError: missing or not JSON; names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not readable JSON ({error})") from error


def write_csv(
    path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows as UTF-8 CSV with a header, atomically; keys outside ``columns`` are left out."""
    with atomic_write(path) as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: str | os.PathLike[str], *, required: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a CSV file with a header; a byte-order mark and any line ends are all right.

    Args:
        path: the file.
        required: columns that must be there.

    Returns:
        A dict per row, every value a stripped string, missing values empty.

    Raises:
        DataError: missing file, no header, missing columns, or not UTF-8 text.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [name.strip() for name in reader.fieldnames or []]
    if not columns:
        raise DataError(f"{path}: is empty; a CSV with a header line is needed")
    missing = [name for name in required if name not in columns]
    if missing:
        raise DataError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(columns)}")
    reader.fieldnames = columns
    try:
        return [
            {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)}
            for row in reader
        ]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: is not CSV ({error})") from error


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_free_space(directory: str | os.PathLike[str], needed_bytes: int) -> None:
    """Raise LesionLensError if the disk under ``directory`` has less than ``needed_bytes`` left.

    ``directory`` need not exist yet.
    """
    place = Path(directory).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise LesionLensError(
            f"{directory}: needs {needed_bytes / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB "
            "left; free some or choose another place"
        )
