"""From a photo to an answer: camera, gallery, clipboard or drop, then crop, then judge.

A photo comes in at one place (``receive``), whatever it came from, and becomes the draft on the
crop screen. What is slow runs in the engine's thread or another; what is asked for twice is done
once; of several looks at a moving crop the latest wins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lesionlens.app import framing, resuming
from lesionlens.app.answering import Answering
from lesionlens.app.engine import MAX_PHOTO_BYTES, Photo
from lesionlens.app.filming import Filming
from lesionlens.app.handling import guarded, log
from lesionlens.app.state import Draft, Result
from lesionlens.errors import ImageError, LesionLensError
from lesionlens.imaging import MAX_PIXELS, MIN_SIDE_PX, Box

if TYPE_CHECKING:
    from lesionlens.app.session import Session

#: How long the crop has to rest before the part in it is looked at.
LOOK_DELAY_S = 0.25
#: What takes no longer than this needs no word that it is going on.
PATIENCE_S = 0.4
#: Steps of the keys and of the buttons beside the slider.
KEY_STEP, ZOOM_STEP = 0.05, 1.25

_ARROWS: dict[str, tuple[float, float]] = {
    "Arrow Left": (-KEY_STEP, 0.0),
    "Arrow Right": (KEY_STEP, 0.0),
    "Arrow Up": (0.0, -KEY_STEP),
    "Arrow Down": (0.0, KEY_STEP),
}
_ZOOM_KEYS: dict[str, float] = {
    **dict.fromkeys(("+", "=", "Numpad Add"), ZOOM_STEP),
    **dict.fromkeys(("-", "Numpad Subtract"), 1 / ZOOM_STEP),
}


class Scanning:
    """From a photo to an answer."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.filming = Filming(session)
        self.answering = Answering(session)
        self._is_busy = False  # a photo is opened or judged: another has to wait
        self._look: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Future[None]] = set()  # a loop knows its tasks weakly
        self._writing = asyncio.Lock()  # of what is unfinished: in order
        self._pinch: Box | None = None  # the crop as two fingers found it
        self._is_slider_focused = False

    # --- a photo comes in ------------------------------------------------------------------

    @guarded
    async def take_photo(self) -> None:
        """Take a photo with the running camera."""
        data = await self.filming.take()
        if data is not None:
            await self.receive("", data, "camera")
            self.filming.went_on()

    @guarded
    async def choose_photo(self) -> None:
        """Let the person choose a photo."""
        picked = await self.session.device.pick_photo()
        if picked is not None:
            await self.receive(picked.name, picked.data, "gallery")

    @guarded
    async def paste_photo(self) -> None:
        """Take the picture in the clipboard."""
        pasted = await self.session.device.paste_photo()
        if pasted is None:
            self.session.say(self.session.texts("scan.nothing_to_paste"))
        else:
            await self.receive(pasted.name, pasted.data, "paste")

    async def receive(self, name: str, data: bytes | None, origin: str = "drop") -> None:
        """Take a photo, wherever it came from, to the crop.

        Args:
            name: of the file; may be empty.
            data: the encoded file; None: it was too large to be handed over.
            origin: as ``Draft.origin``.
        """
        if self._is_busy or not self.session.state.preferences.has_consented:
            return
        self._is_busy = True
        try:
            await self._take_in(name, data, origin)
        finally:
            self._is_busy = False
        await self._remember()  # which a slow disk makes long: the crop can be used meanwhile

    @guarded
    async def _take_in(self, name: str, data: bytes | None, origin: str) -> None:
        session = self.session
        session.state.message = None
        if data is None:
            session.say(self._why_not("too_large"), is_error=True)
            return
        try:
            async with self._patience("scan.opening"):
                photo = await session.engine.open(data, name)
        except ImageError as error:
            session.say(self._why_not(error.reason), is_error=True)
            return
        self._show(photo, framing.WHOLE, origin)
        await self.filming.settle()

    def _show(self, photo: Photo, box: Box, origin: str) -> None:
        """Open the crop for a photo; one that was there is put away."""
        session = self.session
        session.state.draft = Draft(photo, box, origin=origin)
        if session.state.stack != ("/scan", "/crop"):
            session.navigation.start("/crop")
        self._look_soon(0)

    def _why_not(self, reason: str) -> str:
        """Return in the person's words why an image is not accepted, and what is."""
        texts = self.session.texts
        return texts(
            f"scan.picture_{reason}",
            pixels=MIN_SIDE_PX,
            megapixels=MAX_PIXELS // 1_000_000,
            size=texts.size(MAX_PHOTO_BYTES),
        )

    # --- the crop --------------------------------------------------------------------------

    async def show_whole(self) -> None:
        """Judge all of the photo."""
        self._set_box(framing.WHOLE)

    async def show_square(self) -> None:
        """Judge the largest square of the photo."""
        self._zoom(1.0)

    async def zoom_to(self, event: Any) -> None:
        """Follow the slider, which makes a square of the whole photo too."""
        self._zoom(float(event.control.value))

    async def zoom_in(self) -> None:
        """Come a step nearer."""
        self._zoom_by(ZOOM_STEP)

    async def zoom_out(self) -> None:
        """Go a step back."""
        self._zoom_by(1 / ZOOM_STEP)

    async def start_pinch(self, _event: Any) -> None:
        """Remember the crop as the fingers find it."""
        draft = self.session.state.draft
        self._pinch = None if draft is None else draft.box

    async def pinch(self, event: Any, side_px: float) -> None:
        """Follow one finger that moves the photo, or two that zoom it.

        Args:
            event: Flet's: ``scale`` since the start, ``focal_point_delta`` since the last.
            side_px: of the frame on the screen, logical pixels.
        """
        draft = self.session.state.draft
        if draft is None or self._pinch is None:
            return
        photo = draft.photo
        if event.pointer_count > 1:
            start = framing.zoom_of(self._pinch, photo.width_px, photo.height_px)
            self._zoom(start * event.scale)
        delta = event.focal_point_delta
        # The photo follows the finger, so the frame goes the other way over it.
        self._move(-delta.x / side_px, -delta.y / side_px)

    async def scroll(self, event: Any) -> None:
        """Zoom with the mouse's wheel."""
        if event.scroll_delta is not None and event.scroll_delta.y:
            self._zoom_by(1 / ZOOM_STEP if event.scroll_delta.y > 0 else ZOOM_STEP)

    async def focus_slider(self) -> None:
        """Leave the arrow keys to the slider."""
        self._is_slider_focused = True

    async def blur_slider(self) -> None:
        """Take the arrow keys back."""
        self._is_slider_focused = False

    async def key(self, key: str, *, is_command: bool = False) -> None:
        """Follow the keyboard.

        Args:
            key: as Flet calls it.
            is_command: whether Ctrl, or Cmd on a Mac, is held.
        """
        state = self.session.state
        if is_command:
            # In a browser the page itself is told of what is pasted, and tells ``receive``.
            if (
                key.upper() == "V"
                and state.route == "/scan"
                and self.session.device.platform != "web"
            ):
                await self.paste_photo()
        elif state.route == "/crop" and state.draft is not None and state.question is None:
            if key in _ZOOM_KEYS:
                self._zoom_by(_ZOOM_KEYS[key])
            elif key in _ARROWS and not self._is_slider_focused:
                self._move(*_ARROWS[key])

    def _move(self, across: float, down: float) -> None:
        draft = self.session.state.draft
        if draft is not None:
            self._set_box(framing.moved(draft.box, across, down))

    def _zoom_by(self, factor: float) -> None:
        draft = self.session.state.draft
        if draft is not None:
            photo = draft.photo
            self._zoom(factor * framing.zoom_of(draft.box, photo.width_px, photo.height_px))

    def _zoom(self, zoom: float) -> None:
        draft = self.session.state.draft
        if draft is not None:
            photo = draft.photo
            centre = framing.centre_of(draft.box)
            self._set_box(framing.square(photo.width_px, photo.height_px, zoom=zoom, centre=centre))

    def _set_box(self, box: Box) -> None:
        draft = self.session.state.draft
        if draft is not None and draft.box != box:
            self.session.state.draft = replace(draft, box=box, quality=None)
            self._look_soon(LOOK_DELAY_S)

    def _look_soon(self, delay_s: float) -> None:
        if self._look is not None:
            self._look.cancel()
        self._look = self._spawn(self._look_at_part(delay_s))

    async def _look_at_part(self, delay_s: float) -> None:
        """Measure the part in the frame, if it is still there when that is done."""
        await asyncio.sleep(delay_s)
        draft = self.session.state.draft
        if draft is None:
            return
        if delay_s:
            await self._remember()
        try:
            quality = await self.session.engine.look(draft.photo, draft.box)
        except ImageError as error:
            self.session.say(self._why_not(error.reason), is_error=True)
            return
        now = self.session.state.draft
        if now is not None and now.photo is draft.photo and now.box == draft.box:
            self.session.state.draft = replace(now, quality=quality)

    # --- the answer ------------------------------------------------------------------------

    async def check(self) -> None:
        """Judge the part in the frame; a poor photo is told so."""
        await self._judge_once(gate=True)

    async def use_anyway(self) -> None:
        """Judge the part in the frame although it is found wanting."""
        await self._judge_once(gate=False)

    async def _judge_once(self, *, gate: bool) -> None:
        if not self._is_busy:
            self._is_busy = True
            try:
                await self._judge(gate)
            finally:
                self._is_busy = False

    @guarded
    async def _judge(self, gate: bool) -> None:
        session = self.session
        draft, preferences = session.state.draft, session.state.preferences
        if draft is None:
            return
        try:
            async with self._patience("crop.checking"):
                answer = await session.engine.judge(
                    draft.photo,
                    draft.box,
                    views=preferences.views,
                    policy=preferences.policy,
                    gate=gate,
                )
        except ImageError as error:
            session.say(self._why_not(error.reason), is_error=True)
            return
        if session.state.draft is None or session.state.draft.photo is not draft.photo:
            return  # the person went back meanwhile
        session.state.result = result = Result(answer, used_anyway=not gate)
        session.navigation.replace("/result")
        self._spawn(self.answering.finish(result))
        await self.settle()

    async def start_over(self) -> None:
        """Go to the start for another photo, having asked where an answer would be lost."""
        if not self.holds_back():
            self.session.navigation.home()

    def holds_back(self) -> bool:
        """Whether leaving the screen on top has to be agreed to; asks for it, then."""
        session = self.session
        if session.state.route != "/result" or not self.answering.would_be_lost:
            return False
        texts = session.texts
        session.ask(
            texts("result.leave_title"),
            texts("result.leave_text"),
            texts("result.leave"),
            self._leave,
            is_destructive=True,
        )
        return True

    async def _leave(self) -> None:
        self.session.navigation.home()
        self.session.state.result = None

    # --- comings and goings ----------------------------------------------------------------

    async def settle(self) -> None:
        """Follow the person to another screen: camera on or off, what was left put away."""
        state = self.session.state
        if state.draft is not None and "/crop" not in state.stack:
            if self._look is not None:
                self._look.cancel()
            state.draft = None
            await self._remember()
        await self.filming.settle()

    async def lifecycle(self, state: str) -> None:
        """Follow the app into the background and back."""
        await self.filming.lifecycle(state)
        await self._remember()

    @guarded
    async def resume(self) -> None:
        """Take up what was unfinished when the app was killed."""
        folder = self.session.folder
        if folder is None or not self.session.state.preferences.has_consented:
            return
        found = await asyncio.to_thread(resuming.load, folder)
        if found is None:
            return
        self.filming.is_wanted = found.is_camera_open
        if found.data is not None:
            try:
                photo = await self.session.engine.open(found.data, found.name)
            except ImageError:  # of a version that could read it
                await asyncio.to_thread(resuming.discard, folder)
                return
            self._show(photo, found.box, found.origin)
            self.session.say(self.session.texts("scan.resumed"))
        await self.filming.settle()

    async def idle(self) -> None:
        """Wait until nothing goes on in the background."""
        while waiting := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(waiting)

    async def _remember(self) -> None:
        """Write down what is unfinished, or that nothing is. That it fails harms nothing now."""
        folder = self.session.folder
        if folder is None:
            return
        async with self._writing:
            draft = self.session.state.draft
            try:
                if draft is not None:
                    unfinished = resuming.Unfinished(
                        draft.photo.data, draft.photo.name, draft.origin, draft.box
                    )
                    await asyncio.to_thread(resuming.save, folder, unfinished)
                elif self.filming.is_wanted and self.session.state.route == "/scan":
                    unfinished = resuming.Unfinished(is_camera_open=True)
                    await asyncio.to_thread(resuming.save, folder, unfinished)
                else:
                    await asyncio.to_thread(resuming.discard, folder)
            except LesionLensError:
                log.warning("what is unfinished was not written down", exc_info=True)

    @asynccontextmanager
    async def _patience(self, key: str) -> AsyncIterator[None]:
        """Say what is going on if it takes longer than a person notices."""

        async def say() -> None:
            await asyncio.sleep(PATIENCE_S)
            self.session.state.busy = self.session.texts(key)

        saying = asyncio.create_task(say())
        try:
            yield
        finally:
            saying.cancel()
            with suppress(asyncio.CancelledError):
                await saying
            self.session.state.busy = None

    def _spawn(self, work: Awaitable[None]) -> asyncio.Future[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
