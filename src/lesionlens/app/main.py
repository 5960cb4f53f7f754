"""The app's way in: a page becomes a session, its state becomes views."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import flet as ft

from lesionlens.app.device import FletDevice, data_folder
from lesionlens.app.engine import Engine
from lesionlens.app.routes import is_route
from lesionlens.app.session import Session
from lesionlens.app.shell import make_question, make_views, title_of
from lesionlens.app.state import AppState
from lesionlens.app.texts import LANGUAGES, language_of
from lesionlens.app.theme import make_theme

_MODES = {
    "system": ft.ThemeMode.SYSTEM,
    "light": ft.ThemeMode.LIGHT,
    "dark": ft.ThemeMode.DARK,
}


@ft.component
def App(session: Session, state: AppState) -> list[ft.View]:  # noqa: N802 - a component
    """Render all views; runs anew whenever ``state`` changes."""
    ft.use_dialog(make_question(session))
    return make_views(session)


def make_main(
    engine: Engine | Callable[[], Engine],
    *,
    folder: Path | None,
    language: str = "",
    on_session: Callable[[ft.Page, Session], None] | None = None,
) -> Callable[[ft.Page], Any]:
    """Return the function that Flet calls with each new page.

    Args:
        engine: shared by all pages, or what makes it with the first page.
        folder: where a session keeps what it keeps; None: in memory.
        language: to start in; empty: the device's.
        on_session: called with each page and its session, once both stand.
    """
    made: list[Engine] = []

    def shared_engine() -> Engine:
        if not made:
            made.append(engine if isinstance(engine, Engine) else engine())
        return made[0]

    async def main(page: ft.Page) -> None:
        def tell_route(route: str) -> None:
            wiring.tell(route)

        session = Session(
            shared_engine(),
            FletDevice(page),
            folder=folder,
            locale=language or language_of(*await _locales_of(page)),
            tell_route=tell_route,
        )
        wiring = _Wiring(page, session)
        page.data = wiring  # which lives as long as the page
        wiring.attach()
        await session.recall()
        if is_route(page.route, session.state):  # a page that was reloaded, or a bookmark
            session.navigation.arrived(page.route)
        wiring.dress()
        wiring.resize()
        if on_session is not None:
            on_session(page, session)
        await session.scanning.resume()
        page.render_views(App, session, session.state)
        await session.engine.warm_up(session.state.preferences.policy)

    return main


class _Wiring:
    """What connects a page to its session: events in one direction, its dress in the other."""

    def __init__(self, page: ft.Page, session: Session) -> None:
        self.page = page
        self.session = session
        self.state = session.state
        self._told: list[str] = []  # routes that the browser has not answered for yet
        self._listener = self._follow_state  # the state knows its listeners weakly

    def attach(self) -> None:
        """Listen to the page and to the state."""
        page = self.page
        page.on_resize = self.resize
        page.on_route_change = self._follow_browser
        page.on_view_pop = self._go_back
        page.on_keyboard_event = self._press
        page.on_platform_brightness_change = self._dress_anew
        page.on_app_lifecycle_state_change = self._follow_lifecycle
        page.on_close = self._close
        cast(Any, self.state).subscribe(self._listener)

    def dress(self) -> None:
        """Give the page its title, its theme and its text size."""
        page, state = self.page, self.state
        preferences = state.preferences
        page.title = title_of(self.session)
        # What Flutter says of its own accord: "Tab 1 of 4", the menu over marked text.
        page.locale_configuration = ft.LocaleConfiguration(
            supported_locales=[ft.Locale(code) for code in LANGUAGES],
            current_locale=ft.Locale(self.session.texts.language),
        )
        page.theme = make_theme(preferences.text_scale)
        page.dark_theme = make_theme(preferences.text_scale, is_dark=True)
        page.theme_mode = _MODES[preferences.theme]
        is_system_dark = page.platform_brightness is ft.Brightness.DARK
        state.is_dark = {"light": False, "dark": True}.get(preferences.theme, is_system_dark)

    def resize(self, _event: Any = None) -> None:
        """Take the size that the page has."""
        self.state.width_px = float(self.page.width or self.state.width_px)
        self.state.height_px = float(self.page.height or self.state.height_px)

    def tell(self, route: str) -> None:
        """Have the browser's address follow to a route."""
        self._told.append(route)
        self.page.run_task(self._push, route)

    async def _push(self, route: str) -> None:
        try:
            await self.page.push_route(route)
        finally:
            self._told.remove(route)

    def _follow_state(self, _sender: Any, field: str | None) -> None:
        if field == "preferences":
            self._dress_anew()
        elif field == "stack":
            self.page.title = title_of(self.session)
            self.page.run_task(self.session.scanning.settle)
            self.page.run_task(self.session.keeping.refresh)

    def _dress_anew(self, _event: Any = None) -> None:
        self.dress()
        self.page.update()

    async def _follow_browser(self, event: ft.RouteChangeEvent) -> None:
        # Of what it was told, the browser says that it is there: long after, on a slow line. Who
        # has gone on since would be taken back, so that only the last of these words counts.
        if event.route not in self._told[:-1]:
            self.session.navigation.arrived(event.route)

    async def _go_back(self, _event: ft.ViewPopEvent) -> None:
        self.session.back()

    async def _press(self, event: ft.KeyboardEvent) -> None:
        if event.key == "Escape":
            await self.session.escape()
        else:
            await self.session.scanning.key(event.key, is_command=event.ctrl or event.meta)

    async def _follow_lifecycle(self, event: ft.AppLifecycleStateChangeEvent) -> None:
        await self.session.scanning.lifecycle(event.state.value)
        await self.session.annotating.leave_field()

    def _close(self, _event: Any) -> None:
        self.session.close()


async def _locales_of(page: ft.Page) -> list[str]:
    """Return the device's locales, the most wanted first, e.g. ``pt_BR``; none if it is silent.

    ``page.locale_configuration`` is what an app asks for, not what the device has.
    """
    try:
        info = await page.get_device_info()
    except (RuntimeError, TimeoutError, TypeError):  # what an unknown platform answers with
        info = None
    found = [
        "_".join(part for part in (locale.language_code, locale.country_code) if part)
        for locale in (info.locales if info else [])
    ]
    return found or [os.environ.get("LANG", "") if not page.web else ""]


def run_embedded() -> None:
    """Run inside the packaged app, on a phone or a desktop."""
    ft.run(
        make_main(Engine, folder=data_folder()), assets_dir=str(Path(__file__).parent / "assets")
    )
