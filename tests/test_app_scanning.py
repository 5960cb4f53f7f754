"""From a photo to an answer: what comes in, is cropped, is said, is kept and is taken up again."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flet as ft
import pytest
from PIL import Image, ImageFilter

from app_kit import (
    FakeDevice,
    controls_of,
    find,
    fire,
    jpeg_of,
    make_session,
    screen_of,
    shared_engine,
    texts_of,
)
from lesionlens.app import framing, resuming
from lesionlens.app.device import CameraError, Picked
from lesionlens.app.engine import Answer, Photo
from lesionlens.app.resuming import Unfinished
from lesionlens.app.session import Session
from lesionlens.app.texts import LANGUAGES
from lesionlens.errors import HistoryError, ImageError
from lesionlens.history.store import History
from lesionlens.labels import Label
from lesionlens.records import Prediction
from lesionlens.verdicts import CONFIDENT, OUT_OF_SCOPE, POOR_IMAGE, UNCERTAIN

BCC = jpeg_of("bcc")
Work = Callable[[Session], Awaitable[None]]


def blurred(data: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(data)).filter(ImageFilter.GaussianBlur(14)).save(stream, "JPEG")
    return stream.getvalue()


def play(work: Work, **options: Any) -> Session:
    """Let somebody use the app, in one event loop, until nothing goes on any more."""
    session = make_session(**options)

    async def playing() -> None:
        await work(session)
        await session.scanning.idle()

    asyncio.run(playing())
    return session


async def tapping(session: Session, key: str) -> None:
    await fire(find(screen_of(session), session.texts(key)))


async def judged(session: Session, data: bytes = BCC) -> Answer:
    """Bring a photo, check it, and wait until the answer is drawn and kept."""
    await session.scanning.receive("spot.jpg", data, "gallery")
    await session.scanning.check()
    await session.scanning.idle()
    assert session.state.result is not None
    return session.state.result.answer


class Answers:
    """The shared engine, with a verdict of the test's choice put over its own."""

    def __init__(self, **changes: Any) -> None:
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        return getattr(shared_engine(), name)

    async def judge(self, photo: Photo, box: Any, **options: Any) -> Answer:
        answer = await shared_engine().judge(photo, box, **options)
        changed: Prediction = replace(answer.prediction, **self._changes)
        return replace(answer, prediction=changed)


class LateMap(Answers):
    """The shared engine, whose maps are drawn when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.may_draw = asyncio.Event()

    async def draw_overlay(self, answer: Answer) -> bytes:
        await self.may_draw.wait()
        drawn: bytes = await shared_engine().draw_overlay(answer)
        return drawn


# ---------------------------------------------------------------- a photo comes in


def test_a_chosen_photo_opens_the_crop_with_the_whole_of_it_and_says_whether_it_is_good() -> None:
    device = FakeDevice()
    device.photo = Picked("spot.jpg", BCC)

    async def work(session: Session) -> None:
        await tapping(session, "scan.choose")

    session = play(work, device=device)
    assert session.state.stack == ("/scan", "/crop")
    draft = session.state.draft
    assert draft is not None
    assert (draft.box, draft.origin, draft.photo.name) == (framing.WHOLE, "gallery", "spot.jpg")
    assert draft.quality is not None
    assert draft.quality.is_good
    assert session.texts("crop.good") in texts_of(screen_of(session))


def test_nothing_happens_where_the_person_changed_their_mind() -> None:
    async def work(session: Session) -> None:
        await tapping(session, "scan.choose")

    session = play(work)
    assert session.state.stack == ("/scan",)
    assert session.state.message is None


REFUSED = {
    "heic": b"\0\0\0\x18ftypheic" + b"\0" * 200,
    "not_an_image": b"Dear doctor, please find attached\n" * 9,
    "empty": b"",
    "truncated": BCC[: len(BCC) // 2],
    "too_small": jpeg_of("bcc", size_px=(28, 28)),
    "pdf": b"%PDF-1.7\n" + b"\0" * 200,
    "gif": b"GIF89a" + b"\0" * 200,
    "dicom": b"\0" * 128 + b"DICM" + b"\0" * 64,
    "too_large": None,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_photo_is_refused_in_the_persons_words_and_the_screen_stays(reason: str) -> None:
    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", REFUSED[reason], "drop")

    session = play(work, language="id_ID")
    message = session.state.message
    assert message is not None
    assert message.is_error
    told = session.texts(f"scan.picture_{reason}", pixels=32, megapixels=120, size="67 MB")
    assert message.text == told
    assert session.state.stack == ("/scan",)
    assert session.state.busy is None

    async def again(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC, "drop")

    asyncio.run(again(session))
    assert session.state.route == "/crop"
    assert session.state.message is None


def test_every_reason_has_words_in_every_language() -> None:
    from lesionlens.errors import IMAGE_REASONS

    for language in LANGUAGES:
        texts = make_session(language=language).texts
        for reason in IMAGE_REASONS:
            assert texts(f"scan.picture_{reason}", pixels=32, megapixels=120, size="64 MB")


def test_a_photo_of_more_megapixels_than_are_read_is_refused() -> None:
    stream = io.BytesIO()
    Image.new("1", (12_000, 11_000)).save(stream, "PNG")

    async def work(session: Session) -> None:
        await session.scanning.receive("huge.png", stream.getvalue())

    message = play(work).state.message
    assert message is not None
    assert "120 megapixels" in message.text


def test_ctrl_v_pastes_on_a_desktop_and_not_in_a_browser_which_tells_by_itself() -> None:
    for platform, stack in (("linux", ("/scan", "/crop")), ("web", ("/scan",))):
        device = FakeDevice(platform)
        device.photo = Picked("", BCC)

        async def work(session: Session) -> None:
            await session.scanning.key("V", is_command=True)

        assert play(work, device=device).state.stack == stack


def test_an_empty_clipboard_is_said_so() -> None:
    async def work(session: Session) -> None:
        await tapping(session, "scan.paste")

    session = play(work, device=FakeDevice("windows"))
    assert session.state.message is not None
    assert session.state.message.text == session.texts("scan.nothing_to_paste")


def test_a_drop_opens_the_crop_from_any_screen_but_not_before_consent() -> None:
    async def work(session: Session) -> None:
        session.navigation.go("/settings")
        await session.scanning.receive("spot.jpg", BCC)

    assert play(work).state.stack == ("/scan", "/crop")
    assert play(work, has_consented=False).state.draft is None


# ---------------------------------------------------------------- the camera


def test_the_camera_is_off_until_it_is_asked_for() -> None:
    device = FakeDevice()

    async def work(session: Session) -> None:
        await session.scanning.settle()

    session = play(work, device=device)
    assert not device.camera_is_on
    assert session.texts("scan.start_camera") in texts_of(screen_of(session))


def test_a_photo_is_taken_and_the_camera_is_let_go_of_in_the_crop() -> None:
    device = FakeDevice()
    device.frame = BCC

    async def work(session: Session) -> None:
        await tapping(session, "scan.start_camera")
        assert session.state.camera.status == "on"
        assert any(getattr(c, "key", None) == "viewfinder" for c in controls_of(screen_of(session)))
        await tapping(session, "scan.take")
        await session.scanning.settle()

    session = play(work, device=device)
    assert session.state.route == "/crop"
    assert session.state.draft is not None
    assert session.state.draft.origin == "camera"
    assert not device.camera_is_on
    assert session.state.camera.status == "off"


def test_the_camera_comes_back_with_the_screen_and_with_the_app() -> None:
    device = FakeDevice()

    async def work(session: Session) -> None:
        filming = session.scanning.filming
        await filming.open()
        for leave, come_back in (
            (lambda: session.navigation.go("/learn"), session.navigation.home),
            (lambda: None, lambda: None),
        ):
            leave()
            await session.scanning.settle()
            await session.scanning.lifecycle("pause")
            assert not device.camera_is_on
            come_back()
            await session.scanning.lifecycle("resume")
            await asyncio.sleep(0)
            assert device.camera_is_on
        await session.scanning.lifecycle("inactive")  # a question of the system: stay
        assert device.camera_is_on
        await tapping(session, "scan.close_camera")
        await session.scanning.lifecycle("resume")

    session = play(work, device=device)
    assert not device.camera_is_on
    assert session.state.camera.status == "off"


def test_leaving_while_the_camera_starts_calls_it_off() -> None:
    class Slow(FakeDevice):
        async def start_camera(self, *, front: bool = False) -> Any:
            await asyncio.Event().wait()

    async def work(session: Session) -> None:
        opening = asyncio.create_task(session.scanning.filming.open())
        await asyncio.sleep(0.01)
        assert session.state.camera.status == "starting"
        assert session.texts("scan.camera_starting") in texts_of(screen_of(session))
        session.navigation.go("/learn")
        await session.scanning.settle()
        await asyncio.wait_for(opening, 60)

    assert play(work, device=Slow()).state.camera.status == "off"


@pytest.mark.parametrize("status", ["refused", "missing", "failed"])
@pytest.mark.parametrize("platform", ["web", "android"])
def test_without_the_camera_there_are_words_and_a_way_out(status: str, platform: str) -> None:
    device = FakeDevice(platform)
    device.camera_error = CameraError(status, "as the plugin says it")

    async def work(session: Session) -> None:
        await tapping(session, "scan.start_camera")
        shown = screen_of(session)
        assert session.texts(f"scan.{status}") in texts_of(shown)
        assert "as the plugin says it" not in texts_of(shown)
        find(shown, session.texts("scan.choose"))
        device.camera_error = None
        if status == "failed" or (status, platform) == ("refused", "web"):
            await tapping(session, "common.retry")
            assert device.camera_is_on
        elif status == "refused":
            await tapping(session, "common.open_settings")
            assert device.links == ["app-settings:"]
            await session.scanning.lifecycle("pause")
            await session.scanning.lifecycle("resume")
            await asyncio.sleep(0)
            assert device.camera_is_on

    play(work, device=device)


def test_torch_and_other_camera_are_offered_where_they_are() -> None:
    device = FakeDevice()

    async def work(session: Session) -> None:
        await session.scanning.filming.open()
        await tapping(session, "scan.torch_on")
        assert device.torch
        assert session.texts("scan.torch_off") in texts_of(screen_of(session))
        device.abilities = replace(device.abilities, has_torch=False)
        await tapping(session, "scan.flip")
        assert session.state.camera.is_front
        assert session.texts("scan.torch_on") not in texts_of(screen_of(session))

    play(work, device=device)


def test_a_photo_that_fails_is_told_and_the_camera_can_be_tried_again() -> None:
    device = FakeDevice()

    async def work(session: Session) -> None:
        await session.scanning.filming.open()
        device.frame = b""  # the camera gave nothing
        await tapping(session, "scan.take")
        assert session.state.message is not None
        assert session.state.camera.status == "on"
        device.camera_is_on = False  # it was taken by another app
        await tapping(session, "scan.take")
        assert session.state.camera.status == "failed"
        find(screen_of(session), session.texts("common.retry"))

    play(work, device=device)


def test_a_desktop_has_no_camera_and_the_picture_comes_first() -> None:
    session = make_session(device=FakeDevice("linux"))
    shown = screen_of(session)
    assert session.texts("scan.start_camera") not in texts_of(shown)
    assert isinstance(find(shown, session.texts("scan.choose")), ft.FilledButton)
    assert session.texts("scan.dermatoscope_text") in texts_of(shown)


# ---------------------------------------------------------------- the crop


def test_a_square_stays_inside_and_keeps_its_shape_wherever_it_is_moved() -> None:
    for width, height in ((600, 450), (450, 600), (500, 500), (4000, 300)):
        for zoom in (0.1, 1.0, 1.7, 99.0):
            box = framing.square(width, height, zoom=zoom)
            for across, down in ((5, 5), (-5, 0), (0.3, -0.4)):
                left, top, right, bottom = framing.moved(box, across, down)
                assert 0 <= left < right <= 1
                assert 0 <= top < bottom <= 1
                assert (right - left) * width == pytest.approx((bottom - top) * height)
                least = min(width, height, framing.LEAST_PX) - 1e-6
                assert (right - left) * width >= least
    assert framing.moved(framing.WHOLE, 0.3, 0.3) == framing.WHOLE
    assert framing.zoom_of(framing.square(600, 450, zoom=2.5), 600, 450) == pytest.approx(2.5)


def test_the_crop_follows_slider_buttons_keys_wheel_and_fingers() -> None:
    async def work(session: Session) -> None:
        scanning = session.scanning
        await scanning.receive("spot.jpg", BCC)

        def box() -> tuple[float, float, float, float]:
            assert session.state.draft is not None
            return session.state.draft.box

        def zoom() -> float:
            return framing.zoom_of(box(), 600, 450)

        await tapping(session, "crop.square")
        assert box() == pytest.approx((0.125, 0, 0.875, 1))
        await scanning.zoom_to(SimpleNamespace(control=SimpleNamespace(value=2.0)))
        assert zoom() == pytest.approx(2)
        await tapping(session, "crop.zoom_in")
        assert zoom() == pytest.approx(2.5)
        await tapping(session, "crop.zoom_out")
        before = box()
        await scanning.key("Arrow Right")
        assert box()[0] > before[0]
        await scanning.focus_slider()  # whose arrow keys they then are
        before = box()
        await scanning.key("Arrow Down")
        assert box() == before
        await scanning.key("-")
        assert zoom() == pytest.approx(1.6)
        await scanning.scroll(SimpleNamespace(scroll_delta=ft.Offset(0, -10)))
        assert zoom() == pytest.approx(2)
        await scanning.start_pinch(None)
        before = box()
        one = SimpleNamespace(pointer_count=1, scale=1.0, focal_point_delta=ft.Offset(30, 0))
        await scanning.pinch(one, 300)
        assert box()[0] == pytest.approx(before[0] - 0.1 * (before[2] - before[0]))
        two = SimpleNamespace(pointer_count=2, scale=1.25, focal_point_delta=ft.Offset(0, 0))
        await scanning.pinch(two, 300)
        assert zoom() == pytest.approx(2.5)
        await tapping(session, "crop.whole")
        assert box() == framing.WHOLE

    play(work)


def test_the_latest_look_at_a_moving_crop_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesionlens.app.scanning.LOOK_DELAY_S", 0.01)
    looked: list[Any] = []

    class Watched(Answers):
        async def look(self, photo: Photo, box: Any) -> Any:
            looked.append(box)
            return await shared_engine().look(photo, box)

    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC)
        await session.scanning.idle()
        looked.clear()
        for _ in range(5):
            await session.scanning.zoom_in()
            assert session.state.draft is not None
            assert session.state.draft.quality is None

    session = play(work, engine=Watched())
    assert session.state.draft is not None
    assert looked == [session.state.draft.box]
    assert session.state.draft.quality is not None


def test_a_poor_photo_is_told_before_it_is_judged_and_can_be_used_anyway() -> None:
    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", blurred(BCC))
        await session.scanning.idle()
        shown = texts_of(screen_of(session))
        assert session.texts("quality.blur.advice") in shown
        assert session.texts("crop.check") not in shown.split("\n")
        await tapping(session, "crop.use_anyway")

    session = play(work)
    result = session.state.result
    assert result is not None
    assert result.used_anyway
    assert result.answer.prediction.verdict != POOR_IMAGE
    shown = texts_of(screen_of(session))
    assert session.texts("result.findings_anyway") in shown
    assert session.texts("quality.blur.advice") in shown
    assert result.scan_id is not None
    assert session.history.scan(result.scan_id).used_anyway


def test_going_back_puts_the_photo_away_and_drops_the_answer_that_was_under_way() -> None:
    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC)
        checking = asyncio.create_task(session.scanning.check())
        await asyncio.sleep(0)
        session.back()
        await session.scanning.settle()
        assert session.state.draft is None
        await checking

    session = play(work)
    assert session.state.stack == ("/scan",)
    assert session.state.result is None
    assert session.history.count() == 0


def test_two_taps_on_check_judge_once() -> None:
    asked: list[Any] = []

    class Counting(Answers):
        async def judge(self, photo: Photo, box: Any, **options: Any) -> Answer:
            asked.append(box)
            return await super().judge(photo, box, **options)

    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC)
        await asyncio.gather(session.scanning.check(), session.scanning.check())

    session = play(work, engine=Counting())
    assert session.state.stack == ("/scan", "/result")
    assert len(asked) == session.history.count() == 1


def test_check_is_heard_while_a_slow_disk_still_takes_the_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_written, save = threading.Event(), resuming.save

    def save_late(*arguments: Any) -> None:
        is_written.wait(60)
        save(*arguments)

    monkeypatch.setattr(resuming, "save", save_late)

    async def work(session: Session) -> None:
        receiving = asyncio.create_task(session.scanning.receive("spot.jpg", BCC))
        while session.state.route != "/crop":
            await asyncio.sleep(0.01)
        checking = asyncio.create_task(session.scanning.check())
        try:
            while session.state.route != "/result":
                assert not checking.done(), "the tap on Check came to nothing"
                await asyncio.sleep(0.01)
        finally:
            is_written.set()
        await asyncio.gather(receiving, checking)

    play(work, folder=tmp_path)
    assert not (tmp_path / "unfinished").exists()


# ---------------------------------------------------------------- the answer


def test_a_clear_answer_says_verdict_numbers_map_and_what_to_do_and_is_kept() -> None:
    device = FakeDevice()

    async def work(session: Session) -> None:
        await judged(session)

    session = play(work, device=device)
    texts, result = session.texts, session.state.result
    assert session.state.stack == ("/scan", "/result")
    assert session.state.draft is None
    assert result is not None
    prediction = result.answer.prediction
    assert (prediction.verdict, prediction.label) == (CONFIDENT, Label.BCC)
    shown = texts_of(screen_of(session))
    assert shown.index(texts("verdict.confident", label=texts("label.BCC.inside"))) < shown.index(
        texts("verdict.next.BCC")
    )
    assert texts("common.not_a_diagnosis") in shown
    n = round(100 * prediction.probability)
    assert texts("verdict.likely.means", n=n, label=texts("label.BCC.inside")) in shown
    assert f"{texts('label.SCC')}: {texts.percent(prediction.probabilities[Label.SCC])}" in shown
    assert texts("result.heat_map_means", label=texts("label.BCC.inside")) in shown
    assert result.overlay is not None
    assert result.overlay_opacity > 0
    assert any(texts("verdict.confident.name") not in said and "BCC" not in said
               and texts("label.BCC.inside") in said for said in device.announced)  # fmt: skip
    assert result.scan_id is not None
    kept = session.history.scan(result.scan_id)
    assert kept.prediction == prediction
    assert kept.milliseconds["total"] == result.answer.total_ms
    assert session.history.photo(kept.id) == result.answer.picture
    assert session.history.overlay(kept.id) == result.overlay


def test_healthy_skin_gets_no_all_clear() -> None:
    engine = Answers(verdict=CONFIDENT, label=Label.NORMAL, prediction_set=(Label.NORMAL,))

    async def work(session: Session) -> None:
        await judged(session)

    session = play(work, engine=engine)
    assert session.texts("verdict.next.Normal") in texts_of(screen_of(session))
    assert "melanoma" in session.texts("verdict.next.Normal")


def test_an_unsure_answer_says_what_it_may_be_and_sends_to_a_doctor_where_cancer_may() -> None:
    engine = Answers(verdict=UNCERTAIN, prediction_set=(Label.BCC, Label.SCC))

    async def work(session: Session) -> None:
        await judged(session)

    session = play(work, engine=engine)
    shown = texts_of(screen_of(session))
    assert "basal cell carcinoma or squamous cell carcinoma" in shown
    assert session.texts("verdict.next.uncertain.cancer") in shown


def test_none_of_the_three_folds_the_numbers_away_and_shows_no_map_unasked() -> None:
    async def work(session: Session) -> None:
        await judged(session, jpeg_of("nevus"))

    session = play(work)
    result = session.state.result
    assert result is not None
    assert result.answer.prediction.verdict == OUT_OF_SCOPE
    assert result.overlay_opacity == 0
    shown = screen_of(session)
    assert session.texts("verdict.next.out_of_scope") in texts_of(shown)
    tiles = [c for c in controls_of(shown) if isinstance(c, ft.ExpansionTile)]
    assert len(tiles) == 1
    assert session.texts("label.BCC") in texts_of(tiles[0])
    assert not tiles[0].expanded


def test_a_poor_photo_that_is_judged_says_what_to_change() -> None:
    async def work(session: Session) -> None:
        await judged(session, blurred(BCC))

    session = play(work)
    result = session.state.result
    assert result is not None
    assert result.answer.prediction.verdict == POOR_IMAGE
    shown = texts_of(screen_of(session))
    assert session.texts("verdict.poor_image") in shown
    assert session.texts("quality.blur.advice") in shown


def test_the_verdict_is_on_the_screen_before_map_and_history() -> None:
    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC)
        await session.scanning.check()
        assert session.state.result is not None
        assert session.state.result.overlay is None
        assert session.history.count() == 0
        shown = texts_of(screen_of(session))
        assert session.texts("verdict.confident.name") in shown
        assert session.texts("result.heat_map_drawing") in shown

    play(work)


def test_what_cannot_be_kept_is_shown_all_the_same_with_the_reason() -> None:
    class Full(History):
        def add(self, *_: Any, **__: Any) -> Any:
            raise HistoryError("history.db: the disk is full")

    async def work(session: Session) -> None:
        session.history = Full(None)
        await judged(session)

    session = play(work)
    result = session.state.result
    assert result is not None
    assert result.scan_id is None
    assert result.save_error
    shown = texts_of(screen_of(session))
    assert result.save_error in shown
    assert session.texts("verdict.confident.name") in shown


def test_who_keeps_nothing_is_asked_before_an_answer_is_lost_and_may_still_save_it() -> None:
    async def work(session: Session) -> None:
        session.set_preferences(keeps_scans=False)
        await judged(session)
        assert session.history.count() == 0
        await tapping(session, "result.new_scan")
        assert session.state.question is not None
        assert session.state.route == "/result"
        await session.answer(False)
        await tapping(session, "result.save")
        assert session.history.count() == 1
        await tapping(session, "result.remove")
        assert session.history.count() == 0
        session.back()
        assert session.state.question is not None
        await session.answer(True)

    session = play(work)
    assert session.state.stack == ("/scan",)
    assert session.state.result is None


def test_a_kept_answer_is_left_without_a_question() -> None:
    async def work(session: Session) -> None:
        await judged(session)
        session.back()

    session = play(work)
    assert session.state.question is None
    assert session.state.stack == ("/scan",)
    assert session.history.count() == 1


def test_notes_are_written_in_the_history() -> None:
    async def work(session: Session) -> None:
        await judged(session)
        await tapping(session, "result.add_notes")

    session = play(work)
    assert session.state.result is not None
    assert session.state.route == f"/history/scans/{session.state.result.scan_id}"


def test_who_looks_into_the_history_before_the_scan_is_kept_sees_it_come() -> None:
    engine = LateMap()

    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC)
        await session.scanning.check()
        session.navigation.go("/history")
        await session.keeping.refresh()
        assert session.texts("history.empty_title") in texts_of(screen_of(session))
        engine.may_draw.set()
        await session.scanning.idle()
        assert session.texts("history.n_scans", count=1) in texts_of(screen_of(session))

    play(work, engine=engine)


def test_the_slider_makes_the_map_stronger_and_sends_the_same_pictures() -> None:
    async def work(session: Session) -> None:
        await judged(session)
        before = [c.src for c in controls_of(screen_of(session)) if isinstance(c, ft.Image)]
        label = session.texts("result.heat_map_strength")
        named = [c for c in controls_of(screen_of(session)) if getattr(c, "label", "") == label]
        slider = next(c for c in controls_of(named[0]) if isinstance(c, ft.Slider))
        slider.value = 0.9
        await fire(slider, "on_change")
        images = [c for c in controls_of(screen_of(session)) if isinstance(c, ft.Image)]
        assert images[1].opacity == 0.9
        assert all(new.src is old for new, old in zip(images, before, strict=True))

    play(work)


def test_the_answer_is_handed_on_as_a_page() -> None:
    device = FakeDevice()

    async def work(session: Session) -> None:
        await judged(session)
        await tapping(session, "result.share_report")

    play(work, device=device)
    name, data, kind = device.shared[0]
    assert name.endswith(".pdf")
    assert data.startswith(b"%PDF")
    assert kind == "application/pdf"


def test_the_next_answer_is_not_given_the_last_ones_map() -> None:
    async def work(session: Session) -> None:
        await judged(session)
        first = session.state.result
        assert first is not None
        session.navigation.home()
        await session.scanning.receive("other.jpg", jpeg_of("nevus"))
        await session.scanning.check()
        await session.scanning.answering.finish(first)  # late
        assert session.state.result is not None
        assert session.state.result.answer is not first.answer
        assert session.state.result.overlay is None

    play(work)


def test_who_is_at_the_next_answer_before_the_last_one_is_kept_has_both_kept() -> None:
    engine = LateMap()

    async def work(session: Session) -> None:
        for photo in (BCC, jpeg_of("nevus")):
            await session.scanning.receive("spot.jpg", photo)
            await session.scanning.check()
            session.navigation.home()
        engine.may_draw.set()
        await session.scanning.idle()
        assert session.history.count() == 2
        result = session.state.result
        assert result is not None
        assert result.scan_id is not None
        kept = session.history.scan(result.scan_id)
        assert kept.probabilities == result.answer.prediction.probabilities

    play(work, engine=engine)


def test_an_answer_is_finished_also_where_the_history_cannot_be_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(session: Session) -> None:
        async def fail() -> None:
            raise HistoryError("the disk is gone")

        monkeypatch.setattr(session.keeping, "reload", fail)
        await judged(session)
        assert session.state.result is not None
        assert session.state.result.scan_id is not None
        assert not session.state.result.is_finishing

    play(work)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size_px", [(360, 740), (1280, 800)])
def test_every_screen_stands_in_every_language_and_size(
    language: str, size_px: tuple[float, float]
) -> None:
    async def work(session: Session) -> None:
        assert texts_of(screen_of(session))
        await session.scanning.receive("spot.jpg", BCC)
        assert session.texts("crop.check") in texts_of(screen_of(session))
        await judged(session)
        assert session.texts("result.new_scan") in texts_of(screen_of(session))

    play(work, language=language, size_px=size_px)


def test_what_can_be_tapped_has_a_name() -> None:
    device = FakeDevice()

    async def work(session: Session) -> None:
        shown = [screen_of(session)]
        await session.scanning.filming.open()
        shown.append(screen_of(session))
        await session.scanning.receive("spot.jpg", BCC)
        shown.append(screen_of(session))
        await judged(session)
        shown.append(screen_of(session))
        for screen in shown:
            for control in controls_of(screen):
                if getattr(control, "on_click", None):
                    assert texts_of(control), control

    play(work, device=device)


# ---------------------------------------------------------------- taken up again


def test_a_killed_app_takes_up_the_photo_and_its_crop(tmp_path: Path) -> None:
    async def first(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC, "camera")
        await session.scanning.idle()
        await session.scanning.zoom_in()

    session = play(first, folder=tmp_path)
    assert session.state.draft is not None
    box = session.state.draft.box

    async def second(session: Session) -> None:
        await session.scanning.resume()

    again = play(second, folder=tmp_path)
    assert again.state.stack == ("/scan", "/crop")
    draft = again.state.draft
    assert draft is not None
    assert (draft.photo.data, draft.box, draft.origin) == (BCC, box, "camera")
    assert again.state.message is not None


def test_a_killed_app_starts_the_camera_again_that_was_open(tmp_path: Path) -> None:
    device = FakeDevice()

    async def first(session: Session) -> None:
        await session.scanning.filming.open()
        await session.scanning.lifecycle("pause")  # and is then killed

    play(first, folder=tmp_path, device=FakeDevice())

    async def second(session: Session) -> None:
        await session.scanning.resume()
        await asyncio.sleep(0)

    play(second, folder=tmp_path, device=device)
    assert device.camera_is_on


def test_nothing_is_left_once_it_is_judged_or_put_away(tmp_path: Path) -> None:
    async def work(session: Session) -> None:
        await session.scanning.receive("spot.jpg", BCC)
        assert (tmp_path / "unfinished" / "photo").read_bytes() == BCC
        await judged(session)
        assert not (tmp_path / "unfinished").exists()
        session.navigation.home()
        await session.scanning.receive("spot.jpg", BCC)
        session.back()
        await session.scanning.settle()

    play(work, folder=tmp_path)
    assert not (tmp_path / "unfinished").exists()


def test_a_browser_leaves_nothing_on_this_machine(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)

    async def work(session: Session) -> None:
        await judged(session)
        await session.scanning.receive("spot.jpg", BCC)

    play(work)
    assert not list(tmp_path.iterdir())


def test_what_is_unfinished_is_deleted_when_it_is_old_or_damaged(tmp_path: Path) -> None:
    kept = Unfinished(BCC, "spot.jpg", "gallery", (0.1, 0.2, 0.8, 0.9), is_camera_open=True)
    resuming.save(tmp_path, kept)
    assert resuming.load(tmp_path) == kept
    later = datetime.now(UTC) + timedelta(minutes=11)
    assert resuming.load(tmp_path, now=later) == replace(kept, is_camera_open=False)
    assert resuming.load(tmp_path, now=datetime.now(UTC) + timedelta(days=2)) is None
    assert not (tmp_path / "unfinished").exists()

    record = tmp_path / "unfinished" / "scan.json"
    damages: list[Callable[[], object]] = [
        lambda: record.write_text("{"),
        lambda: record.write_text("[]"),
        record.unlink,
        lambda: (tmp_path / "unfinished" / "photo").write_bytes(BCC[:-9]),
        (tmp_path / "unfinished" / "photo").unlink,
        lambda: record.write_text(
            json.dumps(json.loads(record.read_text()) | {"box": [0, 0, 9, 1]})
        ),
        lambda: record.write_text(json.dumps(json.loads(record.read_text()) | {"saved_at": "?"})),
    ]
    for damage in damages:
        resuming.save(tmp_path, kept)
        damage()
        assert resuming.load(tmp_path) is None
        assert not (tmp_path / "unfinished").exists()


def test_a_leftover_that_is_no_photo_is_deleted_without_a_word(tmp_path: Path) -> None:
    resuming.save(tmp_path, Unfinished(b"was a photo once", "spot.jpg"))

    async def work(session: Session) -> None:
        await session.scanning.resume()

    session = play(work, folder=tmp_path)
    assert session.state.stack == ("/scan",)
    assert session.state.message is None
    assert not (tmp_path / "unfinished").exists()


def test_a_full_disk_does_not_stop_a_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise ImageError("no room")

    monkeypatch.setattr(resuming, "save", full)

    async def work(session: Session) -> None:
        await judged(session)

    assert play(work, folder=tmp_path).state.result is not None


def test_the_same_photo_is_written_once(tmp_path: Path) -> None:
    resuming.save(tmp_path, Unfinished(BCC))
    photo = tmp_path / "unfinished" / "photo"
    written = photo.stat().st_ino
    resuming.save(tmp_path, Unfinished(BCC, box=(0.1, 0.1, 0.9, 0.9)))
    assert photo.stat().st_ino == written
    resuming.save(tmp_path, Unfinished(BCC + b"\0"))
    assert photo.stat().st_ino != written
