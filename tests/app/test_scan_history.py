"""The history in a browser: kept, found again, noted on, compared, handed out, deleted."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import kit
import numpy as np
import pytest

from lesionlens.phantoms import draw

pytestmark = pytest.mark.app

OpenApp = Callable[..., kit.App]

FIRST = re.compile("^Looks most like|^Not sure|^Not one|^Take another")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn photo, as from a camera."""
    path = tmp_path_factory.mktemp("photos") / "photo.jpg"
    draw("bcc", size_px=(900, 700), rng=np.random.default_rng(3)).save(path, quality=92)
    return path


def scan(app: kit.App, photo: Path) -> None:
    """Make a scan and wait until it is kept."""
    texts = app.texts
    app.upload(photo, texts("scan.choose"))
    app.tap(texts("crop.check"))
    app.wait_for_text(texts("result.saved_in_memory"))


def open_history(app: kit.App) -> None:
    app.tap(app.texts("common.tab_history"), role="tab")


def write(app: kit.App, label: str, text: str) -> None:
    """Tap a field and type into it, instead of what is there."""
    field = app.page.get_by_label(label, exact=True)
    x, y, width, height = app.place_of(field)
    app.page.mouse.click(x + width / 2, y + height / 2)
    app.page.wait_for_function("() => /INPUT|TEXTAREA/.test(document.activeElement?.tagName)")
    app.settle()
    app.page.keyboard.press("Control+A")
    app.page.keyboard.type(text)


def test_an_empty_history_invites(open_app: OpenApp) -> None:
    app = open_app(calm=True)
    open_history(app)
    app.wait_for_text(app.texts("history.empty_title"))
    app.tap(app.texts("history.first_scan"))
    app.wait_for_text(app.texts("scan.invite"))


def test_a_scan_is_found_again_noted_on_taken_elsewhere_and_brought_back(
    open_app: OpenApp, photo: Path, tmp_path: Path
) -> None:
    app = open_app(calm=True)
    texts, page = app.texts, app.page
    scan(app, photo)
    app.tap(texts("result.new_scan"))
    open_history(app)
    app.wait_for_text(texts("history.n_scans", count=1))
    # Away and back: what was drawn before is drawn again, and can still be tapped.
    app.tap(texts("common.tab_learn"), role="tab")
    app.wait_for_text(texts("learn.dermoscopy.title"))
    open_history(app)
    app.wait_for_text(texts("history.n_scans", count=1))
    app.tap(FIRST)
    app.wait_for_text(texts("history.your_notes"))

    write(app, texts("history.notes"), "itches at night")

    def is_unsaved() -> bool:  # for a second only: who looks too late types another letter
        page.keyboard.type(".")
        app.settle()
        return app.has_text(texts("history.not_saved_yet"))

    app.until(is_unsaved, "notes that are typed are not saved yet")
    app.wait_for_text(re.compile(f"^{texts('history.saved')}$"))
    app.back(leaving="/history/scans/1")
    app.wait_for_text(texts("history.n_scans", count=1))

    write(app, texts("history.search"), "itches")
    app.wait_for_text(texts("history.n_found", count=1, whole=1))
    write(app, texts("history.search"), "bleeds")
    app.wait_for_text(texts("history.nothing_found"))
    app.tap(texts("history.show_all"))
    app.wait_for_text(texts("history.n_scans", count=1))

    app.tap(texts("common.more"))
    with page.expect_download() as download:
        app.tap(texts("history.export_zip"), role="menuitem")
    target = tmp_path / "export.zip"
    download.value.save_as(target)
    with zipfile.ZipFile(target) as archive:
        assert len([name for name in archive.namelist() if name.startswith("photos/")]) == 1
        assert b"itches at night" in archive.read("scans.json")

    app.tap(texts("common.more"))
    app.tap(texts("history.delete_all"), role="menuitem")
    app.wait_for_text(texts("history.delete_all_title"))
    app.tap(texts("history.delete_all"))
    app.wait_for_text(texts("history.empty_title"))

    app.upload(target, texts("history.import"))
    app.wait_for_text(texts("history.import_added", count=1))
    app.wait_for_text(texts("history.n_scans", count=1))


def test_two_browsers_do_not_see_one_anothers_history(open_app: OpenApp, photo: Path) -> None:
    mine, other = open_app(calm=True), open_app(calm=True)
    scan(mine, photo)
    open_history(other)
    other.wait_for_text(other.texts("history.empty_title"))
    assert other.find(FIRST).count() == 0
