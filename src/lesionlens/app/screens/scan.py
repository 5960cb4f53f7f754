"""The first screen: a photo is taken with the live camera, chosen, pasted or dropped."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.components.viewfinder import framed_viewfinder, shutter_row
from lesionlens.app.filming import TROUBLES
from lesionlens.app.handling import calling
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP, HALF_GAP, WIDE_GAP

_EMBLEM_PX = 88
#: Height of what is not the viewfinder: bar, guide, buttons, navigation.
_OTHERS_PX = 320


def scan_screen(session: Session) -> Screen:
    """Return the screen where a photo comes in."""
    texts, status = session.texts, session.state.camera.status
    if status in ("starting", "on", "taking"):
        return Screen(texts("scan.title"), _live(session), scrolls=False)
    top = _trouble(session) if status in TROUBLES else _invitation(session)
    return Screen(
        texts("scan.title"),
        [
            top,
            _dermatoscope(session),
            ft.Container(
                faint(texts("common.not_a_diagnosis"), text_align=ft.TextAlign.CENTER),
                alignment=ft.Alignment.CENTER,
            ),
        ],
    )


def _live(session: Session) -> list[ft.Control]:
    state, texts = session.state, session.texts
    is_starting = state.camera.status == "starting"
    told = words(
        texts("scan.camera_starting" if is_starting else "scan.guide"),
        Style.TITLE_SMALL,
        text_align=ft.TextAlign.CENTER,
    )
    side_px = min(state.width_px - 2 * GAP, state.height_px - _OTHERS_PX, 720)
    return [
        framed_viewfinder(session.device.viewfinder(), side_px, texts, is_starting=is_starting),
        ft.Semantics(content=ft.Container(told, alignment=ft.Alignment.CENTER), live_region=True),
        shutter_row(session),
    ]


def _invitation(session: Session) -> ft.Control:
    texts = session.texts
    return card(
        [
            ft.Row([_emblem(ft.Icons.CENTER_FOCUS_STRONG)], alignment=ft.MainAxisAlignment.CENTER),
            _centred(texts("scan.invite"), Style.HEADLINE_SMALL),
            _centred(texts("scan.invite_text"), Style.BODY_LARGE),
            ft.Container(height=HALF_GAP),
            *_ways_in(session),
        ],
        spacing=12,
        padding=WIDE_GAP,
    )


def _trouble(session: Session) -> ft.Control:
    texts, status = session.texts, session.state.camera.status
    filming, is_web = session.scanning.filming, session.device.platform == "web"
    ways: list[ft.Control] = []
    if status == "refused" and not is_web:
        ways.append(
            ft.FilledButton(
                texts("common.open_settings"),
                icon=ft.Icons.SETTINGS,
                on_click=calling(filming.open_permissions),
            )
        )
    elif status != "missing":
        ways.append(
            ft.FilledButton(
                texts("common.retry"), icon=ft.Icons.REFRESH, on_click=calling(filming.open)
            )
        )
    ways += _other_ways(session, is_main=status == "missing")
    key = "scan.refused_web" if status == "refused" and is_web else f"scan.{status}_text"
    return ft.Semantics(
        content=card(
            [
                ft.Row([_emblem(ft.Icons.NO_PHOTOGRAPHY)], alignment=ft.MainAxisAlignment.CENTER),
                _centred(texts(f"scan.{status}"), Style.HEADLINE_SMALL),
                _centred(texts(key), Style.BODY_LARGE),
                ft.Container(height=HALF_GAP),
                *ways,
            ],
            spacing=12,
            padding=WIDE_GAP,
        ),
        live_region=True,
        container=True,
    )


def _ways_in(session: Session) -> list[ft.Control]:
    if not session.device.has_camera:
        return _other_ways(session, is_main=True)
    start = ft.FilledButton(
        session.texts("scan.start_camera"),
        icon=ft.Icons.PHOTO_CAMERA,
        on_click=calling(session.scanning.filming.open),
    )
    return [start, *_other_ways(session, is_main=False)]


def _other_ways(session: Session, *, is_main: bool) -> list[ft.Control]:
    """Return how a photo comes in without the camera; ``is_main``: there is no camera."""
    texts, scanning, platform = session.texts, session.scanning, session.device.platform
    kind = ft.FilledButton if is_main else ft.OutlinedButton
    ways: list[ft.Control] = [
        kind(
            texts("scan.choose"),
            icon=ft.Icons.PHOTO_LIBRARY_OUTLINED,
            on_click=calling(scanning.choose_photo),
        )
    ]
    if platform == "web":
        ways.append(_centred(texts("scan.drop_hint"), Style.BODY_SMALL))
    elif not session.device.has_camera:
        keys = "Cmd+V" if platform == "macos" else "Ctrl+V"
        ways.append(
            ft.OutlinedButton(
                texts("scan.paste"),
                icon=ft.Icons.CONTENT_PASTE,
                tooltip=texts("scan.paste_hint", keys=keys),
                on_click=calling(scanning.paste_photo),
            )
        )
    return ways


def _dermatoscope(session: Session) -> ft.Control:
    texts = session.texts
    return card(
        [
            ft.Row(
                [
                    ft.Icon(ft.Icons.SEARCH, color=ft.Colors.PRIMARY),
                    ft.Container(heading(texts("scan.dermatoscope")), expand=True),
                ],
                spacing=HALF_GAP,
            ),
            words(texts("scan.dermatoscope_text"), color=ft.Colors.ON_SURFACE_VARIANT),
        ]
    )


def _emblem(icon: ft.IconData) -> ft.Control:
    return ft.Container(
        ft.Icon(icon, size=_EMBLEM_PX / 2, color=ft.Colors.ON_PRIMARY_CONTAINER),
        bgcolor=ft.Colors.PRIMARY_CONTAINER,
        width=_EMBLEM_PX,
        height=_EMBLEM_PX,
        border_radius=_EMBLEM_PX / 2,
        alignment=ft.Alignment.CENTER,
    )


def _centred(text: str, style: ft.TextThemeStyle) -> ft.Control:
    color = ft.Colors.ON_SURFACE if style is Style.HEADLINE_SMALL else ft.Colors.ON_SURFACE_VARIANT
    return words(text, style, color, text_align=ft.TextAlign.CENTER)
