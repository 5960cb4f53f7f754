"""The live camera: on while the person wants it and looks at it, and at no other time.

It is started when the person asks, not with the app: a camera that runs unasked costs trust and
battery. Once wanted, it is let go of whenever the screen is left or the app is no longer in front,
and comes back with the screen, until the person closes it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from lesionlens.app.device import CameraError
from lesionlens.app.handling import guarded, log
from lesionlens.app.state import Camera

if TYPE_CHECKING:
    from lesionlens.app.session import Session

#: Why there is no camera: what ``CameraError.status`` may be.
TROUBLES: tuple[str, ...] = ("refused", "missing", "failed")


class Filming:
    """The live camera of the scan screen."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.is_wanted = False  # by the person; survives what takes the camera away for a while
        self._is_away = False  # whether the app is behind others
        self._is_front = False
        self._start: asyncio.Future[None] | None = None

    @guarded
    async def open(self) -> None:
        """Start the camera."""
        self.is_wanted = True
        await self.settle()
        if self._start is not None:
            await asyncio.wait({self._start})  # not awaited: it may be called off meanwhile

    @guarded
    async def close(self) -> None:
        """Let go of the camera until it is asked for again."""
        self.is_wanted = False
        await self.settle()

    @guarded
    async def flip(self) -> None:
        """Go on with the other camera."""
        self._is_front = not self.session.state.camera.is_front
        await self._stop()
        await self.open()

    @guarded
    async def switch_torch(self) -> None:
        """Turn the light on, or off."""
        is_on = not self.session.state.camera.is_torch_on
        try:
            await self.session.device.set_torch(is_on)
        except CameraError:
            self._change(has_torch=False, is_torch_on=False)
        else:
            self._change(is_torch_on=is_on)

    async def take(self) -> bytes | None:
        """Return an encoded photo; None where the camera is not on, or failed (it is told)."""
        if self.session.state.camera.status != "on":
            return None
        self._change(status="taking")
        try:
            return await self.session.device.take_picture()
        except CameraError as error:
            await self._give_up(error)
            return None

    def went_on(self) -> None:
        """Be ready for another photo: nothing came of the last."""
        if self.session.state.camera.status == "taking":
            self._change(status="on")

    @guarded
    async def open_permissions(self) -> None:
        """Show where the camera can be allowed; it starts when the person comes back."""
        self.is_wanted = True
        await self.session.device.open_permissions()

    async def lifecycle(self, state: str) -> None:
        """Follow the app into the background and back.

        A question of the system, such as for the camera itself (``inactive``), does not count.
        """
        if state in ("hide", "pause", "detach"):
            self._is_away = True
        elif state in ("show", "resume", "restart"):
            self._is_away = False
        await self.settle()

    async def settle(self) -> None:
        """Start or stop the camera, as where the person is and what they want have it."""
        state = self.session.state
        is_here = state.route == "/scan" and state.preferences.has_consented and not self._is_away
        if not (self.is_wanted and is_here):
            await self._stop()
        elif state.camera.status not in ("starting", "on", "taking"):
            # Before anything is awaited, so that a second call finds it starting.
            state.camera = Camera("starting", is_front=self._is_front)
            self._start = asyncio.ensure_future(self._go())

    @guarded
    async def _go(self) -> None:
        try:
            abilities = await self.session.device.start_camera(front=self._is_front)
        except CameraError as error:
            await self._give_up(error)
            return
        self._is_front = abilities.is_front
        self.session.state.camera = Camera(
            "on",
            can_flip=abilities.can_flip,
            has_torch=abilities.has_torch,
            is_front=abilities.is_front,
        )

    async def _give_up(self, error: CameraError) -> None:
        log.warning("camera %s: %s", error.status, error)
        self.is_wanted = False
        self.session.state.camera = Camera(error.status)
        await self.session.device.stop_camera()

    async def _stop(self) -> None:
        start, self._start = self._start, None
        if start is not None and not start.done():
            start.cancel()
        if self.session.state.camera.status != "off":
            self.session.state.camera = Camera()
            await self.session.device.stop_camera()

    def _change(self, **changes: object) -> None:
        self.session.state.camera = replace(self.session.state.camera, **changes)  # type: ignore[arg-type]
