"""Answers that have been given once are kept: a stopped audit goes on, a repeated one is quick.

They lie beside the report as ``answers/<name>-<fingerprint>.npz``; the fingerprint is of the
images and models asked, of the question, and of the code that makes pictures and asks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from lesionlens.evidence.cohort import Advance, Change, Cohort, Rows
from lesionlens.files import atomic_write

#: Modules whose code every answer hangs on.
_MODULES = (
    "imaging",
    "views",
    "zooms",
    "painting",
    "runtime",
    *(f"evidence/{name}" for name in ("cohort", "masks", "overlays", "perturbations", "shortcuts")),
)


@dataclass(frozen=True, eq=False)
class Answers:
    """Asks a cohort, or remembers."""

    cohort: Cohort
    directory: Path | None = None  # where to keep answers; None keeps none
    on_start: Callable[[str, int], Advance | None] = lambda name, n_images: None

    def ask(self, key: str, changes: Sequence[Change], rows: Rows) -> np.ndarray:
        """Return ``cohort.ask(changes, rows)``, (C, n, K), under a name that says what it is.

        Args:
            key: names the changes: the same key promises the same pictures.
            changes: a list of C.
            rows: n rows of the cohort.
        """
        return self.remember(key, rows, lambda advance: self.cohort.ask(changes, rows, advance))

    def ask_views(self, views: int, rows: Rows) -> np.ndarray:
        """Return ``cohort.ask_views(views, rows)``, (n, views, K)."""
        key = f"views-{views}-{'-'.join(map(str, self.cohort.zooms))}"
        return self.remember(key, rows, lambda advance: self.cohort.ask_views(views, rows, advance))

    def remember(
        self,
        key: str,
        rows: Rows,
        make: Callable[[Advance | None], np.ndarray],
        *,
        modules: tuple[str, ...] = (),
    ) -> np.ndarray:
        """Return the array kept under ``key``, or make and keep it.

        Args:
            key: names the question: the same key promises the same answers.
            rows: of the cohort.
            make: gives the array; called with what to call as images are done.
            modules: further modules of the package whose code decides on the answer.
        """
        numbers = np.asarray(rows, dtype=np.int64)
        words = (_code_hash(modules), key, self.cohort.fingerprint())
        digest = hashlib.sha256(repr(words).encode() + numbers.tobytes()).hexdigest()
        path, name = None, ""
        if self.directory is not None:
            name = re.sub(r"[^A-Za-z0-9]+", "-", key)[:80].strip("-").lower()
            path = self.directory / f"{name}-{digest[:12]}.npz"
            kept = _read(path, digest)
            if kept is not None:
                return kept
        values = make(self.on_start(key, len(numbers)))
        if path is not None:
            for stale in path.parent.glob(f"{name}-{'?' * 12}.npz"):
                stale.unlink(missing_ok=True)
            with atomic_write(path, "wb") as file:
                np.savez(file, values=values, fingerprint=np.array(digest))
        return values


@lru_cache(maxsize=8)
def _code_hash(more: tuple[str, ...]) -> str:
    """Return a hash over the source of what makes pictures, looks at them and asks."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in (*_MODULES, *more):
        digest.update((package / f"{name}.py").read_bytes())
    return digest.hexdigest()


def _read(path: Path, fingerprint: str) -> np.ndarray | None:
    try:
        with np.load(path) as arrays:
            if str(arrays["fingerprint"]) == fingerprint:
                return np.array(arrays["values"])
    except (OSError, KeyError, ValueError, BadZipFile):
        return None  # asked again
    return None
