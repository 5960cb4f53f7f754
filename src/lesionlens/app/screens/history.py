"""All scans, newest first: searched, narrowed down, selected, handed out, deleted."""

from __future__ import annotations

from typing import Any

import flet as ft

from lesionlens.app.browsing import HISTORY, Browse, LesionTile, Tile
from lesionlens.app.components.blocks import Style, card, faint, heading, icon_button, words
from lesionlens.app.components.list_filters import filter_row, search_field
from lesionlens.app.components.more_menu import more_menu
from lesionlens.app.components.placeholders import nothing, waiting
from lesionlens.app.components.scan_tile import LEAST_WIDTH_PX, in_columns, lesion_tile, scan_tile
from lesionlens.app.handling import calling
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP, RADIUS

#: On a wide screen tiles stand side by side within this.
_WIDTH_PX = 1120
#: Reasons for which rows of an import were not taken that are shown; an import may have thousands.
_MOST_REASONS = 20
_SCANS, _SPOTS = "scans", "spots"


def history_screen(session: Session) -> Screen:
    """Return the list, an invitation where it is empty, or a ring until it is read."""
    texts, browse = session.texts, session.state.browse
    title = texts("common.tab_history")
    if browse is None:
        return Screen(title, [waiting(texts("common.loading"))])
    if not browse.n_all and not browse.lesions:
        return Screen(
            title,
            [*_notices(session, browse), _invitation(session)],
            actions=[_menu(session, browse)],
        )
    body: list[ft.Control] = [
        ft.ListView(_rows(session, browse), expand=True, spacing=12, key=_list_key(browse))
    ]
    if browse.selected is None:
        return Screen(
            title,
            body,
            actions=[*_select_button(session, browse), _menu(session, browse)],
            width_px=_WIDTH_PX,
            scrolls=False,
        )
    n_selected = len(browse.selected)
    return Screen(
        texts("history.n_selected", count=n_selected) if n_selected else texts("history.select"),
        body,
        actions=[
            icon_button(
                ft.Icons.SELECT_ALL,
                texts("history.select_all"),
                on_click=calling(session.keeping.select_shown),
            ),
            icon_button(
                ft.Icons.CLOSE,
                texts("history.stop_selecting"),
                on_click=calling(session.keeping.stop_selecting),
            ),
        ],
        bottom=_delete_button(session, browse.selected),
        width_px=_WIDTH_PX,
        scrolls=False,
    )


def _list_key(browse: Browse) -> str:
    """Return what is another list: it begins at its top."""
    return f"{browse.shows_lesions} {browse.filter.kind} {browse.filter.body_site}"


def _rows(session: Session, browse: Browse) -> list[ft.Control]:
    texts = session.texts
    rows: list[ft.Control] = []
    if browse.selected is None:  # while selecting, room for what is selected
        rows = _notices(session, browse)
    if browse.lesions and browse.selected is None:
        rows.append(_switch(session, browse))
    if browse.shows_lesions:
        tiles = [_lesion_tile(session, tile) for tile in browse.lesions]
        rows.append(faint(texts("history.n_spots", count=len(browse.lesions)), Style.LABEL_LARGE))
        return rows + in_columns(tiles, _n_columns(session))
    rows += [search_field(session, browse), filter_row(session, browse)]
    if not browse.tiles:
        return [*rows, _nothing_found(session)]
    if browse.filter.is_on:
        found = texts("history.n_found", count=browse.n_found, whole=browse.n_all)
    else:
        found = texts("history.n_scans", count=browse.n_all)
    rows.append(ft.Semantics(content=faint(found, Style.LABEL_LARGE), live_region=True))
    tiles = [_scan_tile(session, tile, browse.selected) for tile in browse.tiles]
    rows += in_columns(tiles, _n_columns(session))
    left = browse.n_found - len(browse.tiles)
    if left > 0:
        rows.append(
            ft.Container(
                ft.OutlinedButton(
                    texts("history.more", count=left),
                    icon=ft.Icons.EXPAND_MORE,
                    on_click=calling(session.keeping.more),
                ),
                alignment=ft.Alignment.CENTER,
                padding=GAP,
            )
        )
    return rows


def _n_columns(session: Session) -> int:
    state = session.state
    room_px = min(state.width_px - (80 if state.is_wide else 0), _WIDTH_PX) - 2 * GAP
    return max(1, int(room_px // (LEAST_WIDTH_PX * state.preferences.text_scale)))


# --- what is said above the list ------------------------------------------------------------


def _notices(session: Session, browse: Browse) -> list[ft.Control]:
    """Return what has to be known about this history, and what came of an import."""
    texts, notices = session.texts, []
    if session.history.path is None:
        in_browser = session.device.platform == "web"
        notices.append(
            _notice(
                ft.Icons.HOURGLASS_BOTTOM,
                texts("history.only_this_tab" if in_browser else "history.only_until_closed"),
            )
        )
    elif not session.history.is_writable:
        notices.append(_notice(ft.Icons.LOCK_OUTLINE, texts("history.error_read_only")))
    if browse.summary is not None:
        notices.append(_summary(session, browse))
    return notices


def _notice(icon: ft.IconData, text: str) -> ft.Control:
    return ft.Container(
        ft.Row(
            [
                ft.Icon(icon, color=ft.Colors.ON_TERTIARY_CONTAINER, size=20),
                words(text, Style.BODY_MEDIUM, ft.Colors.ON_TERTIARY_CONTAINER, expand=True),
            ],
            spacing=12,
            vertical_alignment=ft.CrossAxisAlignment.START,
        ),
        bgcolor=ft.Colors.TERTIARY_CONTAINER,
        border_radius=RADIUS,
        padding=12,
    )


def _summary(session: Session, browse: Browse) -> ft.Control:
    texts, summary = session.texts, browse.summary
    assert summary is not None  # asked for only then
    lines: list[ft.Control] = [
        ft.Row(
            [
                ft.Container(heading(texts("history.import_done")), expand=True),
                icon_button(
                    ft.Icons.CLOSE,
                    texts("common.close"),
                    on_click=calling(session.keeping.put_away_summary),
                ),
            ]
        ),
        words(texts("history.import_added", count=summary.added)),
    ]
    if summary.already_there:
        lines.append(words(texts("history.import_already", count=summary.already_there)))
    if summary.rejected:
        lines.append(words(texts("history.import_rejected", count=len(summary.rejected))))
        shown = summary.rejected[:_MOST_REASONS]
        lines += [faint(f"{it.row}: {it.reason}", selectable=True) for it in shown]
        hidden = len(summary.rejected) - len(shown)
        if hidden:
            lines.append(faint(texts("history.import_more_reasons", count=hidden)))
    return ft.Semantics(
        content=card(lines, ground=ft.Colors.SECONDARY_CONTAINER, spacing=6),
        live_region=True,
        container=True,
    )


def _switch(session: Session, browse: Browse) -> ft.Control:
    texts = session.texts

    async def choose(event: Any) -> None:
        session.keeping.show_lesions(_SPOTS in event.control.selected)

    return ft.SegmentedButton(
        segments=[
            ft.Segment(_SCANS, label=ft.Text(texts("history.scans"))),
            ft.Segment(_SPOTS, label=ft.Text(texts("history.spots"))),
        ],
        selected=[_SPOTS if browse.shows_lesions else _SCANS],
        show_selected_icon=False,
        style=ft.ButtonStyle(padding=ft.Padding.symmetric(horizontal=12, vertical=14)),
        direction=ft.Axis.VERTICAL if session.state.is_cramped else ft.Axis.HORIZONTAL,
        on_change=choose,
    )


# --- the list -------------------------------------------------------------------------------


def _scan_tile(session: Session, tile: Tile, selected: frozenset[int] | None) -> ft.Control:
    keeping, scan_id = session.keeping, tile.scan.id
    is_selected = None if selected is None else scan_id in selected

    if is_selected is None:
        on_open = calling(session.navigation.go, f"{HISTORY}/scans/{scan_id}")
        on_hold = calling(keeping.select, scan_id)
    else:
        on_open, on_hold = calling(keeping.toggle, scan_id), None
    is_dark, texts = session.state.is_dark, session.texts
    is_stacked = session.state.is_cramped
    drawn: ft.Control = keeping.retained.get(
        scan_id,
        (tile, is_selected, is_dark, is_stacked, texts),
        lambda: scan_tile(
            tile,
            texts,
            is_dark=is_dark,
            on_open=on_open,
            on_hold=on_hold,
            is_selected=is_selected,
            is_stacked=is_stacked,
        ),
    )
    return drawn


def _lesion_tile(session: Session, tile: LesionTile) -> ft.Control:
    route = f"{HISTORY}/lesions/{tile.lesion.id}"
    is_stacked = session.state.is_cramped
    on_open = calling(session.navigation.go, route)
    return lesion_tile(tile, session.texts, on_open=on_open, is_stacked=is_stacked)


def _nothing_found(session: Session) -> ft.Control:
    texts = session.texts
    return nothing(
        ft.Icons.SEARCH_OFF,
        texts("history.nothing_found"),
        buttons=[
            ft.OutlinedButton(
                texts("history.show_all"),
                on_click=calling(session.keeping.clear_filter),
            )
        ],
    )


def _invitation(session: Session) -> ft.Control:
    texts = session.texts
    return nothing(
        ft.Icons.PHOTO_LIBRARY_OUTLINED,
        texts("history.empty_title"),
        texts("history.empty_text"),
        buttons=[
            ft.FilledButton(
                texts("history.first_scan"),
                icon=ft.Icons.ADD_A_PHOTO,
                on_click=calling(session.navigation.go, "/scan"),
            ),
            ft.TextButton(
                texts("history.import"),
                icon=ft.Icons.FILE_OPEN_OUTLINED,
                on_click=calling(session.transfers.import_zip),
            ),
        ],
    )


# --- bars -----------------------------------------------------------------------------------


def _select_button(session: Session, browse: Browse) -> list[ft.Control]:
    if browse.shows_lesions:
        return []
    return [
        icon_button(
            ft.Icons.CHECKLIST,
            session.texts("history.select"),
            on_click=calling(session.keeping.select),
        )
    ]


def _menu(session: Session, browse: Browse) -> ft.Control:
    texts, transfers = session.texts, session.transfers
    items = [
        ft.PopupMenuItem(
            texts("history.import"),
            icon=ft.Icons.FILE_OPEN_OUTLINED,
            on_click=calling(transfers.import_zip),
        )
    ]
    if browse.n_all:
        items = [
            ft.PopupMenuItem(
                texts("history.export_zip"),
                icon=ft.Icons.FOLDER_ZIP_OUTLINED,
                on_click=calling(transfers.export_zip),
            ),
            ft.PopupMenuItem(
                texts("history.export_csv"),
                icon=ft.Icons.TABLE_CHART_OUTLINED,
                on_click=calling(transfers.export_csv),
            ),
            *items,
            ft.PopupMenuItem(),
            ft.PopupMenuItem(
                texts("history.delete_all"),
                icon=ft.Icons.DELETE_FOREVER_OUTLINED,
                on_click=calling(session.keeping.ask_delete_all),
            ),
        ]
    return more_menu(texts, items)


def _delete_button(session: Session, selected: frozenset[int]) -> ft.Control:
    texts = session.texts
    return ft.FilledButton(
        texts("history.delete_n", count=len(selected)) if selected else texts("common.delete"),
        icon=ft.Icons.DELETE_OUTLINE,
        disabled=not selected,
        style=(
            ft.ButtonStyle(bgcolor=ft.Colors.ERROR, color=ft.Colors.ON_ERROR) if selected else None
        ),
        on_click=calling(session.keeping.ask_delete_selected),
    )
