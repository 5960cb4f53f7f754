"""One lesion over time: its scans in a row, two of them to compare, its name, place and notes."""

from __future__ import annotations

from functools import partial
from typing import Any

import flet as ft

from lesionlens.app.annotating import MAX_NAME
from lesionlens.app.browsing import HISTORY, OpenLesion, Tile
from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.components.more_menu import more_menu
from lesionlens.app.components.place import place_rows
from lesionlens.app.components.placeholders import waiting
from lesionlens.app.components.scan_tile import scan_tile
from lesionlens.app.components.text_field import notes_field, text_field
from lesionlens.app.handling import calling
from lesionlens.app.screen import Screen
from lesionlens.app.screens.compare import days_between
from lesionlens.app.screens.saved_scan import gone, saved_line
from lesionlens.app.session import Session
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP

_WIDTH_PX = 1120


def lesion_screen(session: Session, lesion_id: int) -> Screen:
    """Return a lesion with its scans, newest first; a word where it is not there any more."""
    texts, lesions = session.texts, session.state.opened.lesions
    if lesion_id not in lesions:
        return Screen(texts("history.spot"), [waiting(texts("common.loading"))])
    opened = lesions[lesion_id]
    if opened is None:
        return Screen(texts("history.spot"), [gone(session, texts("history.spot_gone"))])
    timeline, about = _timeline(session, opened), _about(session, opened)
    body: list[ft.Control] = [timeline, about]
    if session.state.is_wide:
        body = [
            ft.Row(
                [ft.Container(timeline, expand=3), ft.Container(about, expand=2)],
                spacing=GAP,
                vertical_alignment=ft.CrossAxisAlignment.START,
            )
        ]
    return Screen(
        opened.lesion.name,
        body,
        actions=[_menu(session, opened)],
        bottom=_compare_bar(session, opened),
        width_px=_WIDTH_PX if session.state.is_wide else 640,
    )


def _timeline(session: Session, opened: OpenLesion) -> ft.Control:
    texts, annotating, lesion_id = session.texts, session.annotating, opened.lesion.id
    parts: list[ft.Control] = [faint(_span(opened, texts), Style.LABEL_LARGE)]
    if not opened.tiles:
        parts.append(faint(texts("history.spot_empty"), Style.BODY_MEDIUM))
    elif len(opened.tiles) == 1:
        parts.append(faint(texts("history.one_scan_only"), Style.BODY_MEDIUM))
    elif opened.chosen is None:
        parts.append(
            ft.FilledTonalButton(
                texts("history.compare_two"),
                icon=ft.Icons.COMPARE,
                on_click=calling(annotating.begin_choosing, lesion_id),
            )
        )
    else:
        parts.append(faint(texts("history.choose_two"), Style.BODY_MEDIUM))
    parts += [_tile(session, opened, tile) for tile in opened.tiles]
    return ft.Column(parts, spacing=12, horizontal_alignment=ft.CrossAxisAlignment.STRETCH)


def _span(opened: OpenLesion, texts: Texts) -> str:
    scans = texts("history.n_scans", count=len(opened.tiles))
    if len(opened.tiles) < 2:
        return scans
    days = days_between(opened.tiles[-1].scan, opened.tiles[0].scan)
    return f"{scans} · {texts('history.over_days', count=days)}"


def _tile(session: Session, opened: OpenLesion, tile: Tile) -> ft.Control:
    texts, scan, first = session.texts, tile.scan, opened.tiles[-1].scan
    if scan.id == first.id:
        remark = texts("history.first_of_spot")
    else:
        remark = texts("history.days_after_first", count=days_between(first, scan))
    if opened.chosen is None:
        on_open = calling(session.navigation.go, f"{HISTORY}/scans/{scan.id}")
    else:
        on_open = calling(session.annotating.choose, opened.lesion.id, scan.id)
    return scan_tile(
        tile,
        texts,
        is_dark=session.state.is_dark,
        on_open=on_open,
        is_selected=None if opened.chosen is None else scan.id in opened.chosen,
        remark=remark,
        shows_lesion=False,
        is_stacked=session.state.is_cramped,
    )


def _about(session: Session, opened: OpenLesion) -> ft.Control:
    texts, annotating, lesion = session.texts, session.annotating, opened.lesion

    async def type_name(event: Any) -> None:
        await annotating.type_lesion(lesion.id, name=event.control.value)

    async def type_notes(event: Any) -> None:
        await annotating.type_lesion(lesion.id, notes=event.control.value)

    missing: list[ft.Control] = []
    if not opened.name.strip():
        needed = words(texts("history.name_needed"), Style.BODY_SMALL, ft.Colors.ERROR)
        missing.append(ft.Semantics(content=needed, live_region=True))
    is_saved = opened.name.strip() == lesion.name and opened.notes == lesion.notes
    return card(
        [
            heading(texts("history.about_spot")),
            text_field(
                session,
                f"lesion-name-{lesion.id}",
                opened.visit,
                label=texts("history.spot_name"),
                value=opened.name,
                max_length=MAX_NAME,
                counter="",
                on_change=type_name,
                on_blur=calling(annotating.leave_field),
            ),
            *missing,
            *place_rows(
                lesion.body_site,
                opened.sites,
                texts,
                is_choosing=opened.chooses_site,
                on_choosing=partial(annotating.choose_lesion_site, lesion.id),
                on_select=partial(annotating.set_lesion_site, lesion.id),
            ),
            notes_field(
                session,
                f"lesion-notes-{lesion.id}",
                opened,
                hint=texts("history.spot_notes_hint"),
                on_change=type_notes,
            ),
            saved_line(session, is_saved=is_saved),
        ],
        spacing=12,
    )


def _menu(session: Session, opened: OpenLesion) -> ft.Control:
    texts, annotating, lesion_id = session.texts, session.annotating, opened.lesion.id
    return more_menu(
        texts,
        [
            ft.PopupMenuItem(
                texts("history.stop_following"),
                icon=ft.Icons.LINK_OFF,
                on_click=calling(annotating.ask_delete_lesion, lesion_id, with_scans=False),
            ),
            ft.PopupMenuItem(
                texts("history.delete_spot_with_scans"),
                icon=ft.Icons.DELETE_FOREVER_OUTLINED,
                on_click=calling(annotating.ask_delete_lesion, lesion_id, with_scans=True),
            ),
        ],
    )


def _compare_bar(session: Session, opened: OpenLesion) -> ft.Control | None:
    """Return the buttons while two are being chosen."""
    if opened.chosen is None:
        return None
    texts, annotating, lesion_id = session.texts, session.annotating, opened.lesion.id
    buttons: list[ft.Control] = [
        ft.FilledButton(
            texts("history.compare"),
            icon=ft.Icons.COMPARE,
            disabled=len(opened.chosen) != 2,
            expand=not session.state.is_cramped,
            on_click=calling(annotating.compare, lesion_id),
        ),
        ft.TextButton(
            texts("common.cancel"), on_click=calling(annotating.stop_choosing, lesion_id)
        ),
    ]
    if session.state.is_cramped:
        stretch = ft.CrossAxisAlignment.STRETCH
        return ft.Column(buttons, tight=True, spacing=0, horizontal_alignment=stretch)
    return ft.Row(buttons)
