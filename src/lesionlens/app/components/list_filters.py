"""What narrows the history's list: a field for words, chips for answers and parts of the body."""

from __future__ import annotations

from typing import Any

import flet as ft

from lesionlens.app.browsing import KINDS, Browse
from lesionlens.app.components.blocks import Style, icon_button, words
from lesionlens.app.components.text_field import text_field
from lesionlens.app.handling import calling
from lesionlens.app.session import Session
from lesionlens.app.theme import HALF_GAP, RADIUS, Look, look_for
from lesionlens.body_sites import BODY_SITES
from lesionlens.labels import Label


def search_field(session: Session, browse: Browse) -> ft.Control:
    """Return the field for words."""
    texts = session.texts

    async def changed(event: Any) -> None:
        await session.keeping.search(event.control.value)

    field = text_field(
        session,
        "search",
        browse.visit,
        label=texts("history.search"),
        hint_text=texts("history.search_hint"),
        value=browse.filter.search,
        prefix_icon=ft.Icons.SEARCH,
        border=ft.OutlineInputBorder(border_radius=RADIUS),
        expand=True,
        on_change=changed,
    )
    row: list[ft.Control] = [field]
    if browse.filter.search:
        row.append(
            icon_button(
                ft.Icons.CLOSE,
                texts("history.clear_search"),
                on_click=calling(session.keeping.clear_search),
            )
        )
    return ft.Row(row)


def filter_row(session: Session, browse: Browse) -> ft.Control:
    """Return the chips, in a row that scrolls sideways."""
    chips: list[ft.Control] = []
    if browse.sites:
        chips.append(_site_filter(session, browse))
    chips += [_kind_chip(session, browse, kind) for kind in KINDS]
    return ft.Row(chips, scroll=ft.ScrollMode.AUTO, spacing=HALF_GAP)


def _kind_chip(session: Session, browse: Browse, kind: str) -> ft.Control:
    is_on = browse.filter.kind == kind
    look = _look_of_kind(kind)

    return ft.Chip(
        label=_kind_name(session, kind),
        leading=ft.Icon(look.icon, color=look.ink(session.state.is_dark), size=18),
        selected=is_on,
        show_checkmark=False,
        selected_color=look.ground(session.state.is_dark),
        on_select=calling(session.keeping.narrow_kind, None if is_on else kind),
    )


def _kind_name(session: Session, kind: str) -> str:
    is_label = "label" in KINDS[kind]
    return session.texts(f"label.{kind}" if is_label else f"verdict.{kind}.name")


def _look_of_kind(kind: str) -> Look:
    label = KINDS[kind].get("label")
    return look_for(KINDS[kind]["verdict"], None if label is None else Label(label))


def _site_filter(session: Session, browse: Browse) -> ft.Control:
    texts, chosen = session.texts, browse.filter.body_site

    name = texts("history.all_places") if chosen is None else texts(f"body.{chosen}")
    ground = ft.Colors.SECONDARY_CONTAINER if chosen else ft.Colors.TRANSPARENT
    menu = ft.PopupMenuButton(
        tooltip=texts("history.filter_place", place=name),
        content=ft.Container(  # taller to the finger than to the eye, as the chips beside it are
            ft.Container(
                ft.Row(
                    [
                        ft.Icon(ft.Icons.ACCESSIBILITY_NEW, size=18),
                        words(name, Style.LABEL_LARGE),
                        ft.Icon(ft.Icons.ARROW_DROP_DOWN, size=20),
                    ],
                    spacing=6,
                    tight=True,
                ),
                border=ft.Border.all(1, ft.Colors.OUTLINE_VARIANT),
                border_radius=RADIUS / 2,
                bgcolor=ground,
                padding=ft.Padding.symmetric(horizontal=10, vertical=7),
            ),
            padding=ft.Padding.symmetric(vertical=6),
        ),
        items=[
            ft.PopupMenuItem(
                texts("history.all_places"),
                checked=chosen is None,
                on_click=calling(session.keeping.narrow_site, None),
            ),
            *(
                ft.PopupMenuItem(
                    texts(
                        "body.place_with_scans",
                        place=texts(f"body.{site}"),
                        count=browse.sites[site],
                    ),
                    checked=site == chosen,
                    on_click=calling(session.keeping.narrow_site, site),
                )
                for site in BODY_SITES
                if browse.sites.get(site)
            ),
        ],
    )
    return ft.MergeSemantics(content=menu)
