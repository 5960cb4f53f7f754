"""Where the images of a review are, and the maps and previews of those that matter most."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lesionlens.errors import LesionLensError
from lesionlens.files import atomic_write
from lesionlens.parallel import map_ahead
from lesionlens.screening.items import Item
from lesionlens.screening.places import Member, packing_of
from lesionlens.screening.reading import read_item

if TYPE_CHECKING:
    from lesionlens.classifier import Classifier

#: Side of a map in the page; the network tells 7 x 7 places of a view apart.
MAP_PX = 14
#: Longer side of a preview.
_PREVIEW_PX = 400
#: Photos of more pixels than this take a browser long enough to decode that a preview pays.
_LARGE_PX = 1_500_000

#: How a picture can be had, as numbers of the page.
SHOWN, IN_ZIP, IN_TAR, IN_PACKED_TAR, DICOM, REMOTE, NOT_BY_BROWSERS, UNKNOWN = range(8)
_BY_BROWSERS = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp")


@dataclass
class Places:
    """Where the images of some names are.

    Args:
        names: of the images, as results have them.
        items: of the sources, those of other names among them.
    """

    names: Sequence[str]
    items: Iterable[Item] = ()
    root: str = ""  # folder below which names are paths
    codes: np.ndarray = field(init=False)  # uint8 (N,): SHOWN, or why not
    paths: list[str] = field(init=False)  # file:// address where it is not root and name
    found: dict[int, Item] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = np.full(len(self.names), UNKNOWN, np.uint8)
        self.paths = [""] * len(self.names)
        self.found = {}
        rows = {name: row for row, name in enumerate(self.names)}
        for item in self.items:
            row = rows.get(item.name)
            if row is not None:
                self._note(row, item)
        for row in np.flatnonzero(self.codes == UNKNOWN).tolist():
            archive, mark, _ = self.names[row].partition("!/")
            if mark and packing_of(archive):
                self.codes[row] = IN_PACKED_TAR

    def _note(self, row: int, item: Item) -> None:
        self.found[row] = item
        self.codes[row] = code = _code_of(item)
        if code != SHOWN:
            return
        below = item.location.replace(os.sep, "/")
        if not self.root and below.endswith(f"/{item.name}") and item.name == item.uri:
            self.root = below.removesuffix(item.name)
        if below != self.root + item.name or item.name != item.uri:
            self.paths[row] = Path(item.location).as_uri()

    def roots_from(self, directory: Path) -> list[str]:
        """Return addresses of the root: from the page, which is in ``directory``; absolute.

        Names are below both: the first is right when run and photos are moved together, the
        second when the run is moved alone.
        """
        if not self.root:
            return []
        absolute = Path(self.root).as_uri().removesuffix("/") + "/"
        try:
            relative = os.path.relpath(self.root, directory)
        except ValueError:  # on another drive
            return [absolute]
        from urllib.parse import quote

        return [quote(os.fsencode(relative.replace(os.sep, "/"))) + "/", absolute]


def _code_of(item: Item) -> int:
    if isinstance(item, Member):
        return IN_ZIP if item.kind == "zip" else IN_TAR
    if item.kind == "dicom" or item.frame is not None:
        return DICOM
    if item.kind == "remote":
        return REMOTE
    return SHOWN if item.location.lower().endswith(_BY_BROWSERS) else NOT_BY_BROWSERS


@dataclass(frozen=True)
class Pictures:
    """Makes maps and previews.

    Args:
        classifier: of the model and views that judged; its answers can be explained or not.
        n: images that get them, at most.
        workers: threads.
        listener: told after each how many are made, of how many.
    """

    classifier: Classifier
    n: int
    workers: int = 1
    listener: Callable[[int, int], None] = lambda n, n_all: None

    def make(
        self, folder: Path, rows: Sequence[int], places: Places, hashes: Sequence[str]
    ) -> tuple[dict[int, np.ndarray], dict[int, bytes]]:
        """Make them for some rows, and remove the previews of earlier ones.

        Args:
            folder: where previews go.
            rows: to make them of.
            places: where the images are.
            hashes: SHA-256 of every row, by which previews are named.

        Returns:
            ``(maps, previews)`` by row: uint8 (MAP_PX, MAP_PX), 255 at the peak; 8 bytes that
            name the preview in hexadecimal digits. What cannot be read any more has neither.
        """
        maps: dict[int, np.ndarray] = {}
        previews: dict[int, bytes] = {}
        todo = [row for row in rows if row in places.found]

        def make(row: int) -> tuple[np.ndarray | None, bytes | None]:
            is_shown = bool(places.codes[row] == SHOWN)
            return self._make(places.found[row], hashes[row], is_shown=is_shown)

        made = map_ahead(make, todo, workers=self.workers, ahead=4 * self.workers)
        for n, (row, (drawn, preview)) in enumerate(made, start=1):
            self.listener(n, len(todo))
            if drawn is not None:
                maps[row] = drawn
            if preview is not None:
                name = hashes[row][:16]
                previews[row] = bytes.fromhex(name)
                with atomic_write(folder / f"{name}.jpg", "wb") as file:
                    file.write(preview)
        wanted = {f"{name.hex()}.jpg" for name in previews.values()}
        for path in folder.glob("*.jpg"):
            if path.name not in wanted:
                path.unlink()
        return maps, previews

    def _make(
        self, item: Item, sha256: str, *, is_shown: bool
    ) -> tuple[np.ndarray | None, bytes | None]:
        from lesionlens.imaging import load_picture, load_pixels

        try:
            reading = read_item(item)
            if reading.sha256 != sha256:  # another image than was judged
                return None, None
            pixels = load_pixels(reading.source, size_px=self.classifier.spec.input_px)
            preview = None
            if not is_shown or pixels.width_px * pixels.height_px > _LARGE_PX:
                picture = load_picture(reading.source, max_side_px=_PREVIEW_PX).convert("RGB")
                stream = io.BytesIO()
                picture.save(stream, "JPEG", quality=82)
                preview = stream.getvalue()
        except (LesionLensError, MemoryError):  # gone or changed since it was judged
            return None, None
        try:
            explanation = self.classifier.explain(pixels)
        except LesionLensError:  # a model without a head that can be explained
            return None, preview
        side = len(explanation.map) // MAP_PX
        cells = explanation.map.reshape(MAP_PX, side, MAP_PX, side).mean(axis=(1, 3))
        peak = float(cells.max())
        scaled = cells * (255 / peak) if peak > 0 else cells
        return np.round(scaled).astype(np.uint8), preview
