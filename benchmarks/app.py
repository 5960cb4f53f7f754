"""Measure the app as the person at the page sees it; prints rows of a Markdown table.

    python benchmarks/app.py [--scans 30] [--loop 50]

Starts ``lesionlens app --web``, opens it in a real Chromium (``$CHROMIUM`` or the usual names) at
a phone's size, and uses it: the first screen in a browser that was never there before; the tap on
Check for a 12-megapixel JPEG, ten views, until the verdict can be read (both instants taken in the
page, by its own clock); and scan after scan, watching the memory of the server's process, which is
where the model runs. Photos are drawn, a new one each time.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "app"))

import kit  # noqa: E402 - found by the line above

#: Promises the milliseconds from the next tap until a verdict can be read.
WATCH = """(words) => {
  let tapped = null;
  document.addEventListener('pointerdown', () => { tapped ??= performance.now(); },
    {capture: true, once: true});
  const host = document.querySelector('flt-semantics-host') ?? document.body;
  const said = () => [...host.querySelectorAll('*')].some((e) => {
    const text = e.getAttribute('aria-label') || (e.children.length ? '' : e.textContent);
    return words.some((word) => text.includes(word));
  });
  window.took = new Promise((resolve) => {
    const watcher = new MutationObserver(() => {
      if (tapped !== null && said()) {
        watcher.disconnect();
        resolve(performance.now() - tapped);
      }
    });
    watcher.observe(document.body,
      {subtree: true, childList: true, attributes: true, characterData: true});
  });
}"""


def make_photo(folder: Path, number: int, size_px: tuple[int, int]) -> Path:
    """Draw a photo, of another kind and seed for each number."""
    from lesionlens.phantoms import KINDS, draw

    kind = KINDS[number % 4]  # skin and lesions
    stream = io.BytesIO()
    draw(kind, size_px=size_px, rng=np.random.default_rng(number)).save(stream, "JPEG", quality=90)
    path = folder / f"{kind}-{number}.jpg"
    path.write_bytes(stream.getvalue())
    return path


def verdict_openings(app: kit.App) -> list[str]:
    """Return how the lines that tell a verdict begin, in the page's language."""
    lines = [
        app.texts("verdict.confident", label="|"),
        app.texts("verdict.uncertain", set="|"),
        app.texts("verdict.uncertain.open"),
        app.texts("verdict.out_of_scope"),
        app.texts("verdict.poor_image"),
    ]
    return [line.split("|")[0].strip() for line in lines]


def scan(app: kit.App, photo: Path) -> float:
    """Choose a photo, check it, come back; returns the milliseconds from tap to verdict."""
    app.upload(photo, app.texts("scan.choose"))
    app.find(app.texts("crop.check")).or_(app.find(app.texts("crop.use_anyway"))).first.wait_for()
    app.wait_for_text(app.texts("crop.whole"))
    button = app.texts("crop.check")
    if app.has_text(app.texts("crop.poor")):
        button = app.texts("crop.use_anyway")
    app.place_of(app.find(button))  # scrolled to and still, before the clock starts
    app.page.evaluate(WATCH, verdict_openings(app))
    app.tap(button)
    took_ms = app.page.evaluate("() => window.took")
    app.tap(app.texts("result.new_scan"))
    app.find(app.texts("scan.choose")).wait_for()
    return float(took_ms)


def memory_mb(process: psutil.Process) -> float:
    """Return the resident memory of the server."""
    return process.memory_info().rss / 2**20


def row(what: str, seen: str, target: str) -> None:
    """Print a row of the table."""
    print(f"| {what} | {seen} | {target} |", flush=True)


def measure_first_screen(launch: Callable[[], object], repeats: int) -> None:
    """Time the first screen of a new server in a new browser."""
    times = []
    for _ in range(repeats):
        server = kit.start_server()
        browser = launch()
        started = perf_counter()
        app = kit.App.open(browser, server.url, consent=False)
        app.wait_for_text(app.texts("consent.agree"))
        times.append(perf_counter() - started)
        app.close()
        browser.close()
        server.stop()
    row("first screen, new server and browser", f"{median(times):.1f} s", "under 4 s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=30, help="taps to time (default: 30)")
    parser.add_argument("--loop", type=int, default=50, help="scans in a row (default: 50)")
    parser.add_argument("--threads", type=int, default=None, help="of the model (default: cores)")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    threads = [] if options.threads is None else ["--threads", str(options.threads)]
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        print("| what | seen | target |\n| --- | --- | --- |")
        measure_first_screen(lambda: kit.launch(playwright), 5)

        server = kit.start_server(*threads)
        browser = kit.launch(playwright)
        app = kit.App.open(browser, server.url)
        photos = [make_photo(folder, number, (4000, 3000)) for number in range(4)]
        scan(app, photos[0])  # what is loaded once is loaded
        times = [scan(app, photos[number % 4]) for number in range(options.scans)]
        p50, p95 = np.percentile(times, [50, 95])
        row(
            f"tap to verdict, 12 MP, 10 views ({options.scans} scans)",
            f"p50 {p50:.0f} ms, p95 {p95:.0f} ms",
            "p50 under 300 ms",
        )
        process = psutil.Process(server.process.pid)
        before = memory_mb(process)
        for number in range(options.loop):
            scan(app, photos[number % 4])
        after = memory_mb(process)
        row(
            f"memory that {options.loop} more scans add to the server",
            f"{after - before:+.0f} MB ({before:.0f} to {after:.0f})",
            "under 60 MB",
        )
        app.close()
        browser.close()
        server.stop()


if __name__ == "__main__":
    main()
