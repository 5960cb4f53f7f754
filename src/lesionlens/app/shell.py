"""The frame around every screen: bar on top, navigation, the line at the bottom, questions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import flet as ft

from lesionlens.app.components.blocks import icon_button, words
from lesionlens.app.components.placeholders import nothing
from lesionlens.app.navigation import TABS
from lesionlens.app.routes import make_screen
from lesionlens.app.screen import Screen
from lesionlens.app.screens.consent import consent_screen
from lesionlens.app.screens.recovery import recovery_screen
from lesionlens.app.session import Session
from lesionlens.app.state import Message, Question
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS, bar_title

log = logging.getLogger("lesionlens.app")

#: Icon of each of ``TABS``, as it is and where one is.
_ICONS: dict[str, tuple[ft.IconData, ft.IconData]] = {
    "/scan": (ft.Icons.CENTER_FOCUS_WEAK, ft.Icons.CENTER_FOCUS_STRONG),
    "/history": (ft.Icons.HISTORY, ft.Icons.HISTORY),
    "/learn": (ft.Icons.SCHOOL_OUTLINED, ft.Icons.SCHOOL),
    "/settings": (ft.Icons.SETTINGS_OUTLINED, ft.Icons.SETTINGS),
}
#: Key of the view of whichever of ``TABS`` is shown: they share one, so that the bar stays. With a
#: bar for each, a tap on the old one, made while the new one is on its way, is heard by nobody.
_PLACES = "places"


def make_views(session: Session) -> list[ft.View]:
    """Return a view for each route of the stack, the top one last.

    Before the first consent there is that screen and nothing behind it; the same holds for a
    history that cannot be used.
    """
    if not session.state.preferences.has_consented:
        return [_view(session, "/consent", consent_screen(session), is_bottom=True, is_top=True)]
    if session.state.trouble is not None:
        return [_view(session, "/recovery", recovery_screen(session), is_bottom=True, is_top=True)]
    stack = session.state.stack
    return [
        _view(
            session,
            route,
            _screen(route, session),
            is_bottom=position == 0,
            is_top=position == len(stack) - 1,
        )
        for position, route in enumerate(stack)
    ]


def title_of(session: Session) -> str:
    """Return what the window, or the browser's tab, is called: the screen on top, and the app."""
    name = session.texts("common.app_name")
    if not session.state.preferences.has_consented or session.state.trouble is not None:
        return name
    return f"{_screen(session.state.route, session).title} - {name}"


def _screen(route: str, session: Session) -> Screen:
    """Return the screen of a route, or one that says that it failed: the page must not freeze."""
    try:
        return make_screen(route, session)
    except Exception:
        log.exception("the screen %s failed", route)
        return _broken(session)


def _broken(session: Session) -> Screen:
    async def start_over(_event: Any) -> None:
        session.navigation.home()

    texts = session.texts
    again = ft.FilledButton(texts("common.tab_scan"), on_click=start_over)
    text = texts("common.error_unexpected")
    return Screen(texts("common.app_name"), [nothing(ft.Icons.HEALING, text, buttons=[again])])


def make_question(session: Session) -> ft.AlertDialog | None:
    """Return the dialog of the question that is asked, if one is."""
    question = session.state.question
    if question is None:
        return None

    def reply(is_confirmed: bool) -> Callable[[Any], Any]:
        async def handle(_event: ft.Event) -> None:
            await session.answer(is_confirmed)

        return handle

    return _dialog(question, session.texts("common.cancel"), reply)


def _dialog(
    question: Question, cancel_text: str, reply: Callable[[bool], Callable[[Any], Any]]
) -> ft.AlertDialog:
    confirm = ft.FilledButton(question.confirm_text, on_click=reply(True))
    if question.is_destructive:
        confirm.style = ft.ButtonStyle(bgcolor=ft.Colors.ERROR, color=ft.Colors.ON_ERROR)
    return ft.AlertDialog(
        modal=True,
        title=ft.Text(question.title),
        content=ft.Text(question.text),
        scrollable=True,
        actions=[ft.TextButton(cancel_text, on_click=reply(False)), confirm],
    )


def _view(
    session: Session, route: str, screen: Screen, *, is_bottom: bool, is_top: bool
) -> ft.View:
    state = session.state
    column = ft.Column(
        [ft.Container(ft.Column(screen.body, spacing=GAP), padding=GAP)],
        key=route,  # another screen does not start scrolled as the last was
        scroll=ft.ScrollMode.AUTO if screen.scrolls else None,
        expand=True,
        horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
    )
    if not screen.scrolls:
        column.controls = [ft.Container(ft.Column(screen.body, spacing=GAP, expand=True),
                                        padding=GAP, expand=True)]  # fmt: skip
    room_px = state.width_px - (state.rail_px if screen.has_navigation else 0)
    parts: list[ft.Control] = [_centred(column, screen.width_px, room_px, fills=True)]
    if state.busy is not None and is_top:
        parts.append(_busy(state.busy))
    if state.message is not None and is_top:
        parts.append(_message(session, state.message))
    if screen.bottom is not None:
        bottom = ft.Container(
            screen.bottom, padding=ft.Padding.symmetric(horizontal=GAP, vertical=HALF_GAP)
        )
        parts.append(_centred(bottom, screen.width_px, room_px, fills=False))
    content: ft.Control = ft.Column(
        parts, spacing=0, expand=True, horizontal_alignment=ft.CrossAxisAlignment.STRETCH
    )
    navigation = None
    if screen.has_navigation and state.rail_px:
        content = ft.Row(
            [_rail(session, state.stack[0]), content],
            expand=True,
            spacing=0,
            vertical_alignment=ft.CrossAxisAlignment.STRETCH,
        )
    elif screen.has_navigation:
        navigation = _bar(session, state.stack[0])

    async def back(_event: ft.Event) -> None:
        session.back()

    leading = None
    if screen.can_go_back and not is_bottom:
        leading = icon_button(ft.Icons.ARROW_BACK, session.texts("common.back"), on_click=back)
    name = _PLACES if is_bottom and route in TABS else route
    return ft.View(
        key=name,
        route=name,
        controls=[ft.SafeArea(content, expand=True)],
        appbar=ft.AppBar(
            leading=leading,
            automatically_imply_leading=False,
            title=ft.Text(
                screen.title,
                style=bar_title(state.preferences.text_scale),
                color=ft.Colors.ON_SURFACE,
                max_lines=2,
                overflow=ft.TextOverflow.ELLIPSIS,
            ),
            actions=screen.actions,
            center_title=False,
        ),
        navigation_bar=navigation,
        padding=0,
        spacing=0,
    )


def _centred(content: ft.Control, width_px: float, room_px: float, *, fills: bool) -> ft.Control:
    """Return content no wider than asked for, in the middle of what there is."""
    margin = max(0.0, (room_px - width_px) / 2)
    return ft.Container(content, padding=ft.Padding.symmetric(horizontal=margin), expand=fills)


def _busy(text: str) -> ft.Control:
    return ft.Semantics(
        content=ft.Container(
            ft.Column([ft.ProgressBar(), words(text)], spacing=HALF_GAP), padding=GAP
        ),
        live_region=True,
        container=True,
    )


def _message(session: Session, message: Message) -> ft.Control:
    async def dismiss(_event: ft.Event) -> None:
        session.state.message = None

    ink = ft.Colors.ON_ERROR_CONTAINER if message.is_error else ft.Colors.ON_INVERSE_SURFACE
    ground = ft.Colors.ERROR_CONTAINER if message.is_error else ft.Colors.INVERSE_SURFACE
    row: list[ft.Control] = [ft.Text(message.text, color=ink, expand=True)]
    if message.action is not None:
        action = message.action

        async def act(_event: ft.Event) -> None:
            session.state.message = None
            await action()

        row.append(
            ft.TextButton(message.action_text, on_click=act, style=ft.ButtonStyle(color=ink))
        )
    row.append(
        icon_button(ft.Icons.CLOSE, session.texts("common.close"), icon_color=ink, on_click=dismiss)
    )
    return ft.Semantics(
        content=ft.Container(
            ft.Row(row),
            bgcolor=ground,
            border_radius=RADIUS,
            padding=ft.Padding(GAP, HALF_GAP, HALF_GAP, HALF_GAP),
            margin=ft.Margin(GAP, 0, GAP, HALF_GAP),
        ),
        live_region=True,
        container=True,
    )


def _go_to_tab(session: Session) -> Callable[[Any], Any]:
    async def handle(event: Any) -> None:
        session.navigation.go(TABS[int(event.data)])

    return handle


def _bar(session: Session, current: str) -> ft.NavigationBar:
    return ft.NavigationBar(
        selected_index=TABS.index(current) if current in TABS else 0,
        on_change=_go_to_tab(session),
        destinations=[
            ft.NavigationBarDestination(
                icon=_ICONS[tab][0],
                selected_icon=_ICONS[tab][1],
                label=session.texts(f"common.tab_{tab[1:]}"),
            )
            for tab in TABS
        ],
    )


def _rail(session: Session, current: str) -> ft.NavigationRail:
    return ft.NavigationRail(
        selected_index=TABS.index(current) if current in TABS else 0,
        on_change=_go_to_tab(session),
        label_type=ft.NavigationRailLabelType.ALL,
        scrollable=True,  # a phone on its side is low
        destinations=[
            ft.NavigationRailDestination(
                icon=_ICONS[tab][0],
                selected_icon=_ICONS[tab][1],
                label=session.texts(f"common.tab_{tab[1:]}"),
            )
            for tab in TABS
        ],
    )
