"""Which images a command line means: files, folders, patterns, or standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from lesionlens.errors import LesionLensError

#: Stands for the bytes of standard input.
STDIN = "-"


def find_images(arguments: Sequence[str], *, recursive: bool = False) -> list[str]:
    """Return the images that the arguments name, in order, each once.

    A folder gives the files in it that have an image's suffix, sorted, hidden ones left out;
    a pattern (``*.jpg``, ``**`` for any depth) likewise. A plain path is taken as it is, so
    that a missing or misnamed file is reported by whoever opens it.

    Args:
        arguments: as typed; ``-`` for standard input.
        recursive: look in folders below folders, too.

    Raises:
        LesionLensError: a folder or pattern matches no image; says what was looked for.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        found.update(dict.fromkeys(_expand(argument, recursive)))
    return list(found)


def read_stdin() -> bytes:
    """Return the bytes of standard input.

    Raises:
        LesionLensError: it is a terminal, where nobody can type an image.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise LesionLensError(
            "-: reads image bytes from standard input, which is a terminal here; "
            "try: lesionlens predict - < lesion.jpg"
        )
    return sys.stdin.buffer.read()


def _expand(argument: str, recursive: bool) -> list[str]:
    if argument == STDIN:
        return [STDIN]
    if not argument:
        raise LesionLensError("'': is no name; a file, a folder, a pattern or - is accepted")
    path = Path(argument)
    if path.is_dir():
        images = _images_in(path, recursive)
        if not images:
            hint = "" if recursive else "; --recursive looks in the folders below it, too"
            raise LesionLensError(f"{argument}: no image in this folder ({_looked_for()}){hint}")
        return images
    if path.exists() or not has_magic(argument):
        return [argument]
    images = sorted(
        match
        for match in glob(os.path.expanduser(argument), recursive=True)
        if _is_image_name(match) and os.path.isfile(match)
    )
    if not images:
        raise LesionLensError(f"{argument}: no image matches this pattern ({_looked_for()})")
    return images


def _images_in(folder: Path, recursive: bool) -> list[str]:
    found = []
    for directory, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith(".")) if recursive else []
        found += [os.path.join(directory, name) for name in sorted(names) if _is_image_name(name)]
    return found


def _is_image_name(name: str) -> bool:
    from lesionlens.imaging import SUFFIXES

    path = Path(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _looked_for() -> str:
    from lesionlens.imaging import SUFFIXES

    return f"looked for {', '.join(sorted(SUFFIXES))}"
