"""The page of a run, ``review.html``: a gallery of its images to look through, accept and correct.

One page that opens from the disk and never uses the network: rows lie in it as columns, packed;
photos are the files that were judged, where a browser can open them. The images that matter most
(highest risk, least certain) get a map of evidence and, where a browser could not show them or
would be slow to, a preview. They are asked of the model a second time, for a limited number:
a map for every image would cost each a twentieth more and 20 MB per 100,000.

How the page is used stands in docs/review.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

from lesionlens import __version__
from lesionlens.files import atomic_write, read_json
from lesionlens.labels import FULL_NAMES, IN_SCOPE
from lesionlens.quality import GATES
from lesionlens.render import colours
from lesionlens.screening.job import JOB_FILE, PREVIEWS
from lesionlens.screening.review_pictures import MAP_PX, Pictures, Places
from lesionlens.verdicts import VERDICTS

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows that a page has at most, those of highest risk: 6 MB that Chromium shows in a second.
MAX_ROWS = 250_000
#: The page, in the run folder.
PAGE = "review.html"
#: Images that get a map of evidence and a preview, unless told.
PICTURES = 500
#: Scripts of the page, in the order in which they need each other.
_SCRIPTS = ("words", "data", "decisions", "pictures", "grid", "detail", "main")
_COLUMNS = (
    "uri", "sha256", "verdict", "label", "probability_BCC", "probability_SCC", "scope", "risk",
    "prediction_set", "quality", "width_px", "height_px",
)  # fmt: skip
_KINDS = {"uint8": "u8", "uint16": "u16", "uint32": "u32", "float32": "f32"}


@dataclass(frozen=True)
class Rows:
    """The rows that a page shows, by name."""

    table: pa.Table  # _COLUMNS and those that were carried along; in the order of ``uri``
    n_all: int  # rows of the run

    @property
    def names(self) -> list[str]:
        """What the images are called."""
        names: list[str] = self.table.column("uri").to_pylist()
        return names

    def numbers(self, column: str) -> np.ndarray:
        """Return a column of numbers, float64; NaN where there is none."""
        values: np.ndarray = self.table.column(column).to_numpy().astype(np.float64)
        return values

    def uncertainty(self) -> np.ndarray:
        """Return 0 where one outcome is certain to 1 where two are as likely; as in the page."""
        scope = np.nan_to_num(self.numbers("scope"), nan=1.0)
        bcc, scc = self.numbers("probability_BCC"), self.numbers("probability_SCC")
        shares = np.stack([bcc, scc, np.maximum(1 - bcc - scc, 0)], axis=1) * scope[:, np.newaxis]
        joint = np.sort(np.column_stack([shares, 1 - scope]), axis=1)
        return np.asarray(1 - (joint[:, -1] - joint[:, -2]))

    def foremost(self, n: int) -> list[int]:
        """Return ``n`` rows to look at first: by risk and by uncertainty, in turns."""
        risk = np.argsort(-self.numbers("risk"), kind="stable")
        doubt = np.argsort(-self.uncertainty(), kind="stable")
        in_turns = np.stack([risk, doubt], axis=1).ravel().tolist()
        return list(dict.fromkeys(in_turns))[:n]


def read_rows(path: Path, *, keep: Sequence[str] = (), limit: int = MAX_ROWS) -> Rows:
    """Read the rows of ``results.parquet`` that a page shows, a row group at a time.

    Args:
        path: the file.
        keep: columns that were carried along from a table.
        limit: rows at most; of more, those of highest risk.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    columns = [*_COLUMNS, *keep]
    n = file.metadata.num_rows
    is_wanted = np.ones(n, bool)
    if n > limit:
        risk = file.read(columns=["risk"]).column("risk").to_numpy()
        is_wanted[:] = False
        is_wanted[np.argpartition(-risk, limit)[:limit]] = True
    parts, start = [], 0
    for group in range(file.num_row_groups):
        part = file.read_row_group(group, columns=columns)
        mask = is_wanted[start : start + part.num_rows]
        parts.append(part.filter(pa.array(mask)))
        start += part.num_rows
    table = pa.concat_tables(parts) if parts else file.read(columns=columns)
    return Rows(table.sort_by("uri"), n)


def write_review(
    directory: str | os.PathLike[str],
    *,
    places: Callable[[Sequence[str]], Places] = Places,
    pictures: Pictures | None = None,
    limit: int = MAX_ROWS,
) -> Path:
    """Write ``review.html`` of a finished run, and ``review-images/`` beside it.

    Args:
        directory: the run folder.
        places: says where images of these names are; without it they are placeholders.
        pictures: makes maps and previews of the foremost; without it there are none.
        limit: rows of the page at most.

    Returns:
        The page.

    Raises:
        DataError: the folder is no run.
        LesionLensError: it cannot be written.
    """
    directory = Path(os.path.abspath(directory))
    job = read_json(directory / JOB_FILE)
    summary = read_json(directory / "summary.json")
    keep = job["settings"]["keep"]
    rows = read_rows(directory / "results.parquet", keep=keep, limit=limit)
    names = rows.names
    where = places(names)
    foremost = rows.foremost(pictures.n) if pictures else []
    hashes = rows.table.column("sha256").to_pylist()
    maps: dict[int, np.ndarray] = {}
    previews: dict[int, bytes] = {}
    if pictures:
        maps, previews = pictures.make(directory / PREVIEWS, foremost, where, hashes)
    settings = job["settings"]
    meta = {
        "n": len(names),
        "n_all": rows.n_all,
        "failed": summary["failed"],
        "job": job["id"],
        "model": settings["model_sha256"],
        "policy": settings["policy"],
        "views": settings["views"],
        "version": __version__,
        "written": date.today().isoformat(),
        "verdicts": list(VERDICTS),
        "labels": [label.value for label in IN_SCOPE],
        "full_names": [FULL_NAMES[label] for label in IN_SCOPE],
        "advice": {gate.name: gate.advice for gate in GATES},
        "extra": list(keep),
        "roots": where.roots_from(directory),
        "previews": PREVIEWS,
        "maps": len(maps),
        "map_px": MAP_PX,
        "colours": colours(np.linspace(0, 1, 256)).round().astype(int).tolist(),
    }
    columns = _columns(rows, keep, meta)
    columns |= {
        "place": where.codes,
        "path": where.paths,
        "preview_rows": np.array(list(previews), np.uint32),
        "preview_names": np.frombuffer(b"".join(previews.values()), np.uint8),
        "map_rows": np.array(list(maps), np.uint32),
    }
    drawn = np.stack(list(maps.values())) if maps else np.empty(0, np.uint8)
    page = _page(packed(meta, columns), packed({}, {"maps": drawn.ravel()}))
    path = directory / PAGE
    with atomic_write(path) as file:
        file.write(page)
    return path


def _columns(rows: Rows, keep: Sequence[str], meta: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of the page that results have; names of findings go to ``meta``."""
    table = rows.table
    labels = [label.value for label in IN_SCOPE]
    quality = [text.split("|") if text else [] for text in table.column("quality").to_pylist()]
    found = {name for names in quality for name in names}
    findings = [gate.name for gate in GATES if gate.name in found]
    findings += sorted(found - set(findings))
    meta["findings"] = findings
    sets = (text.split("|") if text else [] for text in table.column("prediction_set").to_pylist())
    bits = {name: 1 << bit for bit, name in enumerate(findings)}
    set_bits = {name: 1 << bit for bit, name in enumerate(labels)}
    columns: dict[str, Any] = {
        "uri": rows.names,
        "verdict": _indexes(table.column("verdict").to_pylist(), VERDICTS),
        "label": _indexes(table.column("label").to_pylist(), labels),
        "bcc": rows.numbers("probability_BCC").astype(np.float32),
        "scc": rows.numbers("probability_SCC").astype(np.float32),
        "scope": rows.numbers("scope").astype(np.float32),
        "risk": rows.numbers("risk").astype(np.float32),
        "set": np.array([sum(set_bits[name] for name in names) for names in sets], np.uint8),
        "quality": np.array([sum(bits[name] for name in names) for names in quality], np.uint32),
        "width": table.column("width_px").to_numpy().astype(np.uint32),
        "height": table.column("height_px").to_numpy().astype(np.uint32),
    }
    for index, name in enumerate(keep):
        columns[f"extra_{index}"] = [value or "" for value in table.column(name).to_pylist()]
    return columns


def _indexes(values: Iterable[str], vocabulary: Sequence[str]) -> np.ndarray:
    places = {word: place for place, word in enumerate(vocabulary)}
    return np.array([places[value] for value in values], np.uint8)


def packed(meta: Mapping[str, Any], columns: Mapping[str, np.ndarray | Sequence[str]]) -> str:
    """Return columns as the page reads them: head and bytes, deflated, in base 64.

    Args:
        meta: what else is to be known, as JSON has it.
        columns: arrays of uint8, uint16, uint32 or float32; or texts, whose NULs become spaces.
    """
    heads, parts, start = [], [], 0
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            kind = _KINDS[values.dtype.name]
            data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
        else:
            kind = "text"
            texts = (text.replace("\0", " ") for text in values)
            data = "\0".join(texts).encode("utf-8", "backslashreplace")
        heads.append({"name": name, "kind": kind, "start": start, "bytes": len(data)})
        parts.append(data)
        start += len(data)
    head = json.dumps({"meta": meta, "columns": heads}, ensure_ascii=True).encode()
    content = b"".join([len(head).to_bytes(4, "little"), head, *parts])
    return base64.b64encode(zlib.compress(content, 6)).decode()


def _page(data: str, maps: str) -> str:
    """Return the page: nothing of a run is in it but what is packed, so there is no markup in it.

    Its policy lets it run this very script and show files, and reach nothing else.
    """
    folder = files("lesionlens") / "templates" / "review"
    style = (folder / "style.css").read_text(encoding="utf-8")
    script = "\n".join(
        ["'use strict';"]
        + [(folder / f"{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS]
    )
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src 'self' file:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        policy=policy, version=__version__, style=style, script=script, data=data, maps=maps
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
