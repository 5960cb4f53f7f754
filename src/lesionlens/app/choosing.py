"""Consent and settings: what a person agrees to and chooses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lesionlens.app.handling import guarded
from lesionlens.app.notices import parts
from lesionlens.app.preferences import CONSENT_VERSION, TEXT_SCALES
from lesionlens.app.state import Consent

if TYPE_CHECKING:
    from lesionlens.app.session import Session

#: A handler, as Flet calls it.
Handler = Callable[[Any], Awaitable[None]]


class Choosing:
    """Consent and settings: what a person agrees to and chooses."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def choose(self, **changes: Any) -> Handler:
        """Return the handler of something to tap that changes preferences so."""

        async def handle(_event: Any) -> None:
            self.session.set_preferences(**changes)

        return handle

    def scale_text(self, step: int) -> Handler | None:
        """Return the handler that makes the text larger (1) or smaller (-1); None: at the end."""
        position = TEXT_SCALES.index(self.session.state.preferences.text_scale) + step
        if not 0 <= position < len(TEXT_SCALES):
            return None
        return self.choose(text_scale=TEXT_SCALES[position])

    async def switch_keeping(self, event: Any) -> None:
        """Keep scans from now on, or do not."""
        self.session.set_preferences(keeps_scans=bool(event.control.value))

    async def tick(self, event: Any) -> None:
        """Tick the box on the first screen, or take the tick away."""
        state = self.session.state
        state.consent = replace(state.consent, has_read=bool(event.control.value))

    async def agree(self, _event: Any = None) -> None:
        """Begin, once the box is ticked."""
        if self.session.state.consent.has_read:
            self.session.set_preferences(consent=CONSENT_VERSION)
            self.session.state.consent = Consent()

    @guarded
    async def leave(self, _event: Any = None) -> None:
        """Do not begin; close the window where there is one."""
        self.session.state.consent = Consent(has_left=True)
        await self.session.device.leave()

    async def reconsider(self, _event: Any = None) -> None:
        """Show the first screen again."""
        self.session.state.consent = Consent()

    def follow(self, url: str) -> Handler:
        """Return the handler that opens a web page outside the app."""

        async def handle(_event: Any) -> None:
            await self.session.device.open_link(url)

        return handle

    def open(self, route: str) -> Handler:
        """Return the handler that opens a screen."""

        async def handle(_event: Any) -> None:
            self.session.navigation.go(route)

        return handle

    async def open_licences(self, _event: Any = None) -> None:
        """Open the list of licences, which takes a third of a second to put together."""
        await asyncio.to_thread(parts)
        self.session.navigation.go("/settings/licences")

    def copy(self, text: str) -> Handler:
        """Return the handler that puts words into the clipboard and says so."""

        async def handle(_event: Any) -> None:
            await self.session.device.copy(text)
            self.session.say(self.session.texts("settings.copied"))

        return handle
