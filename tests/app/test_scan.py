"""From a photo to an answer in a browser: chosen, taken, dropped, pasted; cropped; told; kept."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import kit
import numpy as np
import pytest
from PIL import Image, ImageChops

from lesionlens.phantoms import draw

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.app

OpenApp = Callable[..., kit.App]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn BCC, as large as it takes to be zoomed into."""
    path = tmp_path_factory.mktemp("photos") / "spot.jpg"
    draw("bcc", size_px=(1600, 1200), rng=np.random.default_rng(1)).save(path, "JPEG", quality=92)
    return path


def choose(app: kit.App, path: Path) -> None:
    app.upload(path, app.texts("scan.choose"))
    app.wait_for_text(app.texts("crop.good"))


def frame_of(app: kit.App, *, after: Image.Image | None = None) -> Image.Image:
    """Return what is drawn in the frame of the crop, once it stands still and is another one."""
    frames: list[Image.Image] = []

    def is_there() -> bool:
        x, y, width, height = app.place_of(app.find(app.texts("crop.photo"), role="img"))
        clip = {"x": x, "y": y, "width": width, "height": height}
        app.settle()
        picture = app.page.screenshot(clip=clip)
        frames.append(Image.open(io.BytesIO(picture)).convert("RGB"))
        if after is not None and not differ(after, frames[-1]):
            return False
        return len(frames) > 1 and not differ(*frames[-2:])

    app.until(is_there, "another part of the photo is in the frame")
    return frames[-1]


def differ(one: Image.Image, other: Image.Image) -> bool:
    """Whether two pictures differ by more than the rim of a button that glows."""
    return float(np.asarray(ImageChops.difference(one, other)).mean()) > 1.0


def test_a_chosen_photo_is_cropped_by_mouse_wheel_and_keys_and_answered(
    open_app: OpenApp, photo: Path
) -> None:
    app = open_app()
    texts, mouse = app.texts, app.page.mouse
    choose(app, photo)
    frame = frame_of(app)
    app.tap(texts("crop.square"))
    frame = frame_of(app, after=frame)
    app.wait_for_text(texts("crop.good"))
    x, y, width, height = app.place_of(app.find(texts("crop.photo"), role="img"))
    mouse.move(x + width / 2, y + height / 2)
    mouse.wheel(0, -100)
    frame = frame_of(app, after=frame)
    app.wait_for_text(texts("crop.good"))
    mouse.down()
    mouse.move(x + width / 4, y + height / 2, steps=8)
    mouse.up()
    frame = frame_of(app, after=frame)
    app.wait_for_text(texts("crop.good"))
    app.page.keyboard.press("ArrowDown")
    app.page.keyboard.press("ArrowDown")
    frame_of(app, after=frame)
    app.wait_for_text(texts("crop.good"))
    app.tap(texts("crop.whole"))
    app.wait_for_text(texts("crop.good"))
    app.tap(texts("crop.check"))
    app.wait_for_text(texts("verdict.confident", label=texts("label.BCC.inside")))
    app.wait_for_text(texts("result.heat_map"))
    read = app.read()
    assert read.index(texts("verdict.confident.name")) < read.index(texts("verdict.next.BCC"))
    assert texts("common.not_a_diagnosis") in read
    app.tap(texts("common.back"))
    app.wait_for_text(texts("scan.invite"))


def test_an_answer_goes_into_the_history_and_onto_paper(open_app: OpenApp, photo: Path) -> None:
    app = open_app(language="id")
    texts = app.texts
    choose(app, photo)
    app.tap(texts("crop.check"))
    app.wait_for_text(texts("result.saved_in_memory"))
    with app.page.expect_download() as downloaded:
        app.tap(texts("result.save_report"))
    assert downloaded.value.suggested_filename.endswith(".pdf")
    assert Path(downloaded.value.path()).read_bytes().startswith(b"%PDF")
    app.tap(texts("result.add_notes"))
    app.wait_for_text(texts("history.notes"))


def test_the_camera_takes_a_photo_and_comes_back(open_app: OpenApp) -> None:
    app = open_app()
    texts = app.texts
    app.tap(texts("scan.start_camera"))
    app.wait_for_text(texts("scan.guide"))
    app.tap(texts("scan.take"))
    app.wait_for_text(texts("crop.title"))
    app.wait_for_text(texts("quality.no_skin"))  # the browser's pattern is green
    app.tap(texts("common.back"))
    app.wait_for_text(texts("scan.guide"))
    app.tap(texts("scan.close_camera"))
    app.wait_for_text(texts("scan.invite"))


def test_a_camera_that_is_refused_is_explained_and_a_picture_does_instead(
    open_app: OpenApp, photo: Path
) -> None:
    app = open_app(camera=False)
    app.tap(app.texts("scan.start_camera"))
    app.wait_for_text(app.texts("scan.refused"))
    app.wait_for_text(app.texts("scan.refused_web"))
    choose(app, photo)


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_photo_is_dropped_or_pasted(open_app: OpenApp, photo: Path, kind: str) -> None:
    app = open_app()
    assert app.drop("spot.jpg", photo.read_bytes(), kind=kind)
    app.wait_for_text(app.texts("crop.good"))


def test_a_phones_heic_is_refused_in_words_and_the_next_photo_is_taken(
    open_app: OpenApp, photo: Path, tmp_path: Path
) -> None:
    app = open_app(language="id")
    renamed = tmp_path / "IMG_0001.jpg"
    renamed.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 500)
    app.upload(renamed, app.texts("scan.choose"))
    app.wait_for_text(app.texts("scan.picture_heic"))
    choose(app, photo)


@pytest.mark.parametrize("size", [kit.SMALL, kit.PHONE, kit.TABLET, kit.LAPTOP])
def test_what_matters_is_in_sight_at_every_size(
    open_app: OpenApp, photo: Path, size: tuple[int, int]
) -> None:
    app = open_app(size=size, dark=size in (kit.PHONE, kit.LAPTOP), calm=True)
    texts = app.texts
    choose(app, photo)

    def is_in_sight(found: Locator) -> bool:
        x, y, width, height = app.box_of(found)
        return x >= 0 and x + width <= size[0] and y >= 0 and y + height <= size[1]

    assert is_in_sight(app.find(texts("crop.photo"), role="img"))
    assert is_in_sight(app.find(texts("crop.check")))
    app.tap(texts("crop.check"))
    said = app.wait_for_text(texts("verdict.confident", label=texts("label.BCC.inside")))
    app.wait_for_text(texts("result.heat_map"))
    assert is_in_sight(said)
    assert is_in_sight(app.wait_for_text(texts("verdict.next.BCC")))
    assert is_in_sight(app.wait_for_text(texts("common.not_a_diagnosis")))
    assert is_in_sight(app.find(texts("result.new_scan")))
