"""Take the pictures of docs/app.md: `python docs/make_screenshots.py`.

Starts the app as `lesionlens app --web`, and goes through it in Chromium as a person would, with
drawn photos. Needs what the browser tests need (`pip install -e '.[test]'`, a Chromium). A picture
that did not change beyond the smoothing of an edge is left as it was, so that a run without changes
changes none, but for those with a scan's date on them.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from lesionlens import phantoms

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "screenshots"
sys.path.insert(0, str(ROOT / "tests" / "app"))

import kit  # noqa: E402 - the page in somebody's hands, as the tests have it

#: Colours of a picture: fewer are smaller, and screens have few.
N_COLORS = 96
MAX_BYTES = 60_000
WIDEST_PX = 900  # longest side of what is kept


@dataclass(frozen=True)
class Series:
    """One way through the app."""

    name: str  # begins the names of its pictures
    size: tuple[int, int]
    language: str
    is_dark: bool
    stops: tuple[str, ...]  # of STOPS, in their order


@dataclass(frozen=True)
class Visit:
    """A series under way."""

    app: kit.App
    size: tuple[int, int]
    photos: dict[str, Path]

    def rest(self) -> None:
        """Take the mouse away: a button under it shows a hint, and is called by none then."""
        self.app.page.mouse.move(self.size[0] - 2, self.size[1] / 2)

    def go(self, place: str) -> None:
        """Go to one of the four main places."""
        words = self.app.texts(f"common.tab_{place}")
        is_bar = self.size[0] < 600
        still(self.app)  # while one screen leaves for another neither takes a tap
        self.app.tap(words if is_bar else starting_with(words), role="tab" if is_bar else "button")
        self.app.page.wait_for_url(f"**/{place}")
        self.rest()

    def open(self, key: str, then: str) -> None:
        """Tap what begins with some words, and wait for others."""
        self.app.tap(starting_with(self.app.texts(key)))
        self.app.wait_for_text(self.app.texts(then))
        self.rest()


def starting_with(words: str) -> re.Pattern[str]:
    """Match a name that begins with words."""
    return re.compile(f"^{re.escape(words)}")


def _consent(visit: Visit) -> None:
    visit.app.wait_for(visit.app.texts("consent.agree"))


def _scan(visit: Visit) -> None:
    visit.app.agree()
    visit.rest()
    visit.app.wait_for_text(visit.app.texts("scan.invite"))


def _crop(visit: Visit) -> None:
    visit.app.upload(visit.photos["bcc"], visit.app.texts("scan.choose"))
    visit.app.wait_for_text(visit.app.texts("crop.good"))
    visit.rest()


def _result(visit: Visit) -> None:
    visit.app.tap(visit.app.texts("crop.check"))
    visit.app.wait_for_text(visit.app.texts("result.saved_in_memory"))
    visit.rest()


def _poor(visit: Visit) -> None:
    visit.app.tap(visit.app.texts("result.new_scan"))
    visit.app.upload(visit.photos["blurred"], visit.app.texts("scan.choose"))
    visit.app.wait_for_text(visit.app.texts("crop.poor"))
    visit.rest()


def _history(visit: Visit) -> None:
    visit.app.tap(visit.app.texts("common.back"))
    visit.go("history")
    visit.app.wait_for_text(visit.app.texts("history.n_scans", count=1))


def _saved(visit: Visit) -> None:
    visit.app.tap(re.compile(r"\b20\d\d\b"))  # a scan in the list says when it was taken
    visit.app.wait_for(visit.app.texts("common.back"))
    visit.rest()


def _learn(visit: Visit) -> None:
    visit.app.tap(visit.app.texts("common.back"))
    visit.go("learn")
    visit.app.wait_for_text(visit.app.texts("learn.dermoscopy.title"))


def _topic(visit: Visit) -> None:
    visit.app.tap(starting_with(visit.app.texts("learn.bcc.title")))
    visit.app.wait_for(visit.app.texts("common.back"))


def _settings(visit: Visit) -> None:
    visit.app.tap(visit.app.texts("common.back"))
    visit.go("settings")
    visit.app.wait_for_text(visit.app.texts("settings.language"))


def _model(visit: Visit) -> None:
    visit.open("settings.model", "model.limits")


def _speed(visit: Visit) -> None:
    visit.app.tap(visit.app.texts("common.back"))
    visit.app.tap(starting_with(visit.app.texts("settings.performance")))
    visit.app.wait_for(visit.app.texts("common.back"))


#: What is done before each picture; each begins where the one before it ended.
STOPS: dict[str, Callable[[Visit], None]] = {
    "consent": _consent,
    "scan": _scan,
    "crop": _crop,
    "result": _result,
    "poor": _poor,
    "history": _history,
    "saved": _saved,
    "learn": _learn,
    "topic": _topic,
    "settings": _settings,
    "model": _model,
    "speed": _speed,
}
MAIN = ("scan", "crop", "result", "history", "settings")
SERIES = (
    Series("phone", kit.PHONE, "en", False, tuple(STOPS)),
    Series("phone-dark", kit.PHONE, "id", True, tuple(STOPS)),
    Series("tablet", kit.TABLET, "en", False, MAIN),
    Series("laptop", kit.LAPTOP, "en", False, MAIN),
)


def take(series: Series, browser: object, url: str, photos: dict[str, Path]) -> Iterator[str]:
    """Go through the app once and save a picture at each stop; yields their names."""
    app = kit.App.open(
        browser,  # type: ignore[arg-type] - Playwright is imported where it is used
        url,
        size=series.size,
        language=series.language,
        dark=series.is_dark,
        consent=False,
    )
    visit = Visit(app, series.size, photos)
    for stop, go_there in STOPS.items():
        go_there(visit)
        if stop in series.stops:
            name = f"{series.name}-{stop}.png"
            keep(still(app), FOLDER / name)
            yield name
    app.close()


def still(app: kit.App) -> Image.Image:
    """Return the screen once it has stood still for a second: words come before their picture."""
    last, n_alike = look(app), 0
    for _ in range(60):
        app.page.wait_for_timeout(250)
        now = look(app)
        n_alike = 0 if ImageChops.difference(last, now).getbbox() else n_alike + 1
        if n_alike == 4:
            return now
        last = now
    raise SystemExit("the screen does not come to rest")


def look(app: kit.App) -> Image.Image:
    """Return what is on the screen."""
    return Image.open(io.BytesIO(app.page.screenshot())).convert("RGB")


def keep(picture: Image.Image, path: Path) -> None:
    """Write a picture as a small PNG, unless the one that is there shows the same."""
    picture.thumbnail((WIDEST_PX, WIDEST_PX), Image.Resampling.LANCZOS)
    if path.is_file() and looks_the_same(Image.open(path).convert("RGB"), picture):
        return
    n_colors = N_COLORS
    while True:
        # Few colours of many pixels (a photo) must not cost the many of few (a verdict's red).
        small = picture.quantize(n_colors, method=Image.Quantize.MAXCOVERAGE, kmeans=1)
        stream = io.BytesIO()
        small.save(stream, "PNG", optimize=True)
        if stream.tell() < MAX_BYTES:
            break
        n_colors = n_colors * 2 // 3
        if n_colors < 8:
            raise SystemExit(f"{path.name}: cannot be made smaller than {MAX_BYTES} bytes")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())


def looks_the_same(kept: Image.Image, picture: Image.Image) -> bool:
    """Whether nobody would see a difference: none that is larger than a few pixels and clear."""
    if kept.size != picture.size:
        return False
    difference = ImageChops.difference(kept, picture).convert("L").filter(ImageFilter.BoxBlur(2))
    return difference.getextrema()[1] < 24


@contextmanager
def drawn_photos() -> Iterator[dict[str, Path]]:
    """Yield photos to choose, drawn, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        photo = phantoms.draw("bcc", size_px=(1200, 900), rng=np.random.default_rng(11))
        pictures = {"bcc": photo, "blurred": photo.filter(ImageFilter.GaussianBlur(24))}
        paths = {name: Path(folder) / f"{name}.jpg" for name in pictures}
        for name, picture in pictures.items():
            picture.save(paths[name], "JPEG", quality=92)
        yield paths


def main() -> None:
    """Take all series, or those that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [series.name for series in SERIES]
    parser.add_argument("series", nargs="*", help=f"which of {', '.join(names)}; all if none")
    chosen = parser.parse_args().series or names
    unknown = set(chosen) - set(names)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(names)}")
    if kit.find_chromium() is None:
        parser.error("needs a Chromium: apt install chromium, or its path in $CHROMIUM")
    from playwright.sync_api import sync_playwright

    server = kit.start_server("--threads", "1")
    try:
        with sync_playwright() as playwright, drawn_photos() as photos:
            browser = kit.launch(playwright)
            for series in SERIES:
                if series.name in chosen:
                    for name in take(series, browser, server.url, photos):
                        print(name)
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
