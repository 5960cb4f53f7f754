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
            page.run_task(page.push_route, route)

        session = Session(
            shared_engine(),
            FletDevice(page),
            folder=folder,
            locale=language or _locale_of(page),
            tell_route=tell_route,
        )
        state = session.state

        def dress() -> None:
            preferences = state.preferences
            page.title = title_of(session)
            page.theme = make_theme(preferences.text_scale)
            page.dark_theme = make_theme(preferences.text_scale, is_dark=True)
            page.theme_mode = _MODES[preferences.theme]
            is_system_dark = page.platform_brightness is ft.Brightness.DARK
            state.is_dark = {"light": False, "dark": True}.get(preferences.theme, is_system_dark)

        def follow(_sender: Any, field: str | None) -> None:
            if field == "preferences":
                dress()
                page.update()
            elif field == "stack":
                page.title = title_of(session)
                page.run_task(session.scanning.settle)
                page.run_task(session.keeping.refresh)

        def resize(_event: Any) -> None:
            state.width_px = float(page.width or state.width_px)
            state.height_px = float(page.height or state.height_px)

        async def on_route(event: ft.RouteChangeEvent) -> None:
            session.navigation.arrived(event.route)

        async def on_pop(_event: ft.ViewPopEvent) -> None:
            session.back()

        async def on_key(event: ft.KeyboardEvent) -> None:
            if event.key == "Escape":
                await session.escape()
            else:
                await session.scanning.key(event.key, is_command=event.ctrl or event.meta)

        def on_brightness(_event: Any) -> None:
            dress()
            page.update()

        async def on_lifecycle(event: ft.AppLifecycleStateChangeEvent) -> None:
            await session.scanning.lifecycle(event.state.value)
            await session.annotating.leave_field()

        def on_close(_event: Any) -> None:
            session.close()

        page.on_resize = resize
        page.on_route_change = on_route
        page.on_view_pop = on_pop
        page.on_keyboard_event = on_key
        page.on_platform_brightness_change = on_brightness
        page.on_app_lifecycle_state_change = on_lifecycle
        page.on_close = on_close
        page.data = (
            session,
            follow,
        )  # the state knows its listeners weakly: the page keeps this one
        cast(Any, state).subscribe(follow)
        await session.recall()
        if is_route(page.route, state):  # a page that was reloaded, or a bookmark
            session.navigation.arrived(page.route)
        dress()
        resize(None)
        if on_session is not None:
            on_session(page, session)
        await session.scanning.resume()
        page.render_views(App, session, state)
        await session.engine.warm_up(state.preferences.policy)

    return main


def _locale_of(page: ft.Page) -> str:
    """Return the device's first locale, e.g. ``pt_BR``; empty where it is not known."""
    configuration = page.locale_configuration
    current = configuration.current_locale if configuration else None
    if current is None:
        return os.environ.get("LANG", "").split(".")[0] if not page.web else ""
    return "_".join(part for part in (current.language_code, current.country_code) if part)


def run_embedded() -> None:
    """Run inside the packaged app, on a phone or a desktop."""
    ft.run(
        make_main(Engine, folder=data_folder()), assets_dir=str(Path(__file__).parent / "assets")
    )
