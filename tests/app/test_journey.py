"""The whole way, as people take it: every verdict, a change of language, bad files, many scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import kit
import numpy as np
import psutil
import pytest
from PIL import ImageFilter

from lesionlens.app.texts import LANGUAGES, Texts
from lesionlens.phantoms import draw

pytestmark = pytest.mark.app

OpenApp = Callable[..., kit.App]


def save(folder: Path, kind: str, seed: int, *, size_px: tuple[int, int] = (1200, 900),
         blur_px: float = 0) -> Path:  # fmt: skip
    """Draw a photo."""
    picture = draw(kind, size_px=size_px, rng=np.random.default_rng(seed))
    if blur_px:
        picture = picture.filter(ImageFilter.GaussianBlur(blur_px))
    path = folder / f"{kind}-{seed}-{blur_px:g}.jpg"
    picture.save(path, "JPEG", quality=92)
    return path


def check(app: kit.App, photo: Path, *, is_poor: bool = False) -> None:
    """Choose a photo and have it answered."""
    app.upload(photo, app.texts("scan.choose"))
    app.wait_for_text(app.texts("crop.poor" if is_poor else "crop.good"))
    app.tap(app.texts("crop.use_anyway" if is_poor else "crop.check"))
    app.wait_for_text(app.texts("verdict.next"))


def test_the_page_is_drawn_by_one_thread(open_app: OpenApp) -> None:
    """A second one, which Flutter starts on an isolated page, made it stand still now and then."""
    page = open_app(consent=False).page
    assert page.evaluate("crossOriginIsolated") is False
    assert page.workers == []


@pytest.mark.parametrize(
    ("kind", "key", "next_key"),
    [
        ("bcc", "verdict.confident", "verdict.next.BCC"),
        ("skin", "verdict.confident", "verdict.next.Normal"),
        ("scc", "verdict.uncertain.open", "verdict.next.uncertain"),
        ("nevus", "verdict.out_of_scope", "verdict.next.out_of_scope"),
    ],
)
def test_each_verdict_is_told_with_what_to_do_next(
    open_app: OpenApp, tmp_path: Path, kind: str, key: str, next_key: str
) -> None:
    app = open_app()
    check(app, save(tmp_path, kind, 1))
    texts, said = app.texts, app.read()
    label = {"label": "|"} if key == "verdict.confident" else {}
    assert texts(key, **label).split("|")[0] in said
    assert texts(next_key) in said
    assert texts("common.not_a_diagnosis") in said


def test_a_poor_photo_gets_advice_and_an_answer_only_when_asked_for(
    open_app: OpenApp, tmp_path: Path
) -> None:
    app = open_app()
    photo = save(tmp_path, "bcc", 1, blur_px=14)
    app.upload(photo, app.texts("scan.choose"))
    app.wait_for_text(app.texts("crop.poor"))
    assert app.texts("quality.blur.advice") in app.read()
    check_button = app.page.get_by_role("button", name=app.texts("crop.check"), exact=True)
    assert check_button.count() == 0
    app.tap(app.texts("crop.use_anyway"))
    app.wait_for_text(app.texts("result.findings_anyway"))


def test_a_12_megapixel_photo_is_answered(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app()
    check(app, save(tmp_path, "bcc", 2, size_px=(4000, 3000)))
    assert app.has_text(app.texts("common.not_a_diagnosis"))


def test_a_text_that_calls_itself_a_photo_is_refused_in_words(
    open_app: OpenApp, tmp_path: Path
) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("Dear diary, this is not a picture.\n" * 50)
    app = open_app()
    app.upload(path, app.texts("scan.choose"))
    app.wait_for_text(app.texts("scan.picture_not_an_image"))
    app.find(app.texts("scan.choose")).wait_for()


def test_the_language_changes_at_once_and_answers_follow(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app()
    check(app, save(tmp_path, "bcc", 1))
    app.back(leaving="/result")
    app.tap(app.texts("common.tab_settings"), role="tab")
    app.tap(LANGUAGES["id"])
    app.texts = Texts("id")
    app.wait_for_text(app.texts("settings.language"))
    app.tap(app.texts("common.tab_history"), role="tab")
    app.wait_for_text(app.texts("history.n_scans", count=1))
    assert "Karsinoma sel basal" in app.read()


def test_back_leads_home_from_everywhere(open_app: OpenApp, tmp_path: Path) -> None:
    app = open_app()
    home = app.texts("scan.invite")
    app.tap(app.texts("common.tab_learn"), role="tab")
    app.wait_for_text(app.texts("learn.intro"))
    app.back(leaving="/learn")
    app.wait_for_text(home)
    app.upload(save(tmp_path, "bcc", 1), app.texts("scan.choose"))
    app.wait_for_text(app.texts("crop.good"))
    app.back(leaving="/crop")
    app.wait_for_text(home)
    check(app, save(tmp_path, "bcc", 1))
    app.back(leaving="/result")
    app.wait_for_text(home)


@pytest.mark.slow
def test_scans_in_a_row_leave_memory_flat(
    open_app: OpenApp, server: kit.Server, tmp_path: Path
) -> None:
    photos = [save(tmp_path, kind, 1) for kind in ("bcc", "skin", "scc", "nevus")]
    app = open_app(calm=True)
    process = psutil.Process(server.process.pid)

    def scan(number: int) -> None:
        check(app, photos[number % len(photos)])
        app.tap(app.texts("result.new_scan"))
        app.find(app.texts("scan.choose")).wait_for()

    for number in range(5):  # what is loaded once is loaded
        scan(number)
    before = process.memory_info().rss
    for number in range(25):  # benchmarks/app.py makes fifty
        scan(number)
    added_mb = (process.memory_info().rss - before) / 2**20
    assert added_mb < 30
