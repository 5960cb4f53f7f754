"""A scan in a list: small picture, verdict in shape, colour and words, when, and of what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flet as ft

from lesionlens.app.browsing import LesionTile, Tile
from lesionlens.app.components.blocks import Style, faint, words
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS, look_of
from lesionlens.app.wording import headline

_PICTURE_PX = 84
#: No narrower at text of scale 1: a headline then has three lines at most.
LEAST_WIDTH_PX = 330


def scan_tile(
    tile: Tile,
    texts: Texts,
    *,
    is_dark: bool,
    on_open: Callable[[Any], Any],
    on_hold: Callable[[Any], Any] | None = None,
    is_selected: bool | None = None,
    remark: str = "",
    shows_lesion: bool = True,
    is_stacked: bool = False,
) -> ft.Control:
    """Return a scan as a card to tap.

    Args:
        tile: what it shows.
        texts: the words.
        is_dark: whether it lies on dark ground.
        on_open: called when it is tapped.
        on_hold: called when it is held.
        is_selected: None where nothing is being selected.
        remark: one more line, such as how long after the first scan it was taken.
        shows_lesion: whether the lesion's name and place are said; not on the lesion's own screen.
        is_stacked: whether words stand below the picture: large ones have no room beside it.
    """
    scan = tile.scan
    look = look_of(scan.prediction)
    ink = look.ink(is_dark)
    lines: list[ft.Control] = [
        ft.Row(
            [
                ft.Icon(look.icon, size=20, color=ink),
                words(headline(scan.prediction, texts), Style.TITLE_SMALL, ink, expand=True),
            ],
            spacing=HALF_GAP,
            vertical_alignment=ft.CrossAxisAlignment.START,
        ),
        faint(texts.date_time(scan.taken_at), Style.BODY_SMALL),
    ]
    place = [] if scan.body_site is None else [texts(f"body.{scan.body_site}")]
    if shows_lesion:
        of = place + ([tile.lesion_name] if tile.lesion_name else [])
        if of:
            lines.append(faint(" · ".join(of), Style.BODY_SMALL, max_lines=2))
    if remark:
        lines.append(faint(remark, Style.LABEL_MEDIUM))
    return _card(
        _picture(tile.thumbnail),
        lines,
        key=f"scan-{scan.id}",
        on_open=on_open,
        on_hold=on_hold,
        is_selected=is_selected,
        is_stacked=is_stacked,
    )


def _picture(thumbnail: bytes) -> ft.Control:
    return ft.Image(
        thumbnail,
        width=_PICTURE_PX,
        height=_PICTURE_PX,
        fit=ft.BoxFit.COVER,
        border_radius=RADIUS / 2,
        exclude_from_semantics=True,
        gapless_playback=True,
    )


def lesion_tile(
    tile: LesionTile, texts: Texts, *, on_open: Callable[[Any], Any], is_stacked: bool = False
) -> ft.Control:
    """Return a lesion as a card to tap: name, place, how many scans, when the last was taken."""
    lesion = tile.lesion
    lines: list[ft.Control] = [words(lesion.name, Style.TITLE_SMALL)]
    if lesion.body_site is not None:
        lines.append(faint(texts(f"body.{lesion.body_site}")))
    lines.append(faint(texts("history.n_scans", count=lesion.n_scans)))
    if lesion.last_taken_at is not None:
        lines.append(faint(texts("history.last_scan", date=texts.date(lesion.last_taken_at))))
    picture: ft.Control
    if tile.thumbnail is None:
        picture = ft.Container(
            ft.Icon(ft.Icons.IMAGE_NOT_SUPPORTED_OUTLINED, color=ft.Colors.ON_SURFACE_VARIANT),
            width=_PICTURE_PX,
            height=_PICTURE_PX,
            border_radius=RADIUS / 2,
            bgcolor=ft.Colors.SURFACE_CONTAINER_HIGHEST,
            alignment=ft.Alignment.CENTER,
        )
    else:
        picture = _picture(tile.thumbnail)
    return _card(picture, lines, key=f"lesion-{lesion.id}", on_open=on_open, is_stacked=is_stacked)


def in_columns(tiles: list[ft.Control], n_columns: int) -> list[ft.Control]:
    """Return tiles in rows of so many, the last filled up with nothing."""
    if n_columns == 1:
        return tiles
    rows: list[ft.Control] = []
    for start in range(0, len(tiles), n_columns):
        some = tiles[start : start + n_columns]
        rows.append(
            ft.Row(
                [
                    *(ft.Container(tile, expand=1) for tile in some),
                    *(ft.Container(expand=1) for _ in range(n_columns - len(some))),
                ],
                key=some[0].key,
                spacing=GAP,
                vertical_alignment=ft.CrossAxisAlignment.START,
            )
        )
    return rows


def _card(
    picture: ft.Control,
    lines: list[ft.Control],
    *,
    key: str,
    on_open: Callable[[Any], Any],
    on_hold: Callable[[Any], Any] | None = None,
    is_selected: bool | None = None,
    is_stacked: bool = False,
) -> ft.Control:
    mark: list[ft.Control] = []
    if is_selected is not None:
        icon = ft.Icons.CHECK_CIRCLE if is_selected else ft.Icons.RADIO_BUTTON_UNCHECKED
        colour = ft.Colors.PRIMARY if is_selected else ft.Colors.OUTLINE
        mark = [ft.Icon(icon, color=colour, size=28)]
    said = ft.Column(lines, spacing=4, expand=not is_stacked)
    content: ft.Control
    if is_stacked:
        between = ft.MainAxisAlignment.SPACE_BETWEEN
        content = ft.Column([ft.Row([picture, *mark], alignment=between), said], spacing=HALF_GAP)
    else:
        content = ft.Row(
            [picture, said, *mark], spacing=12, vertical_alignment=ft.CrossAxisAlignment.START
        )
    is_on = bool(is_selected)
    return ft.Semantics(
        content=ft.Container(
            content,
            bgcolor=ft.Colors.SECONDARY_CONTAINER if is_on else ft.Colors.SURFACE_CONTAINER_LOW,
            border=ft.Border.all(2, ft.Colors.PRIMARY if is_on else ft.Colors.TRANSPARENT),
            border_radius=RADIUS,
            padding=10,
            on_click=on_open,
            on_long_press=on_hold,
            ink=True,
        ),
        key=key,
        button=True,
        selected=is_selected,
        container=True,
    )
