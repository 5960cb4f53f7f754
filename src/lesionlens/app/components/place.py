"""Where on the body a scan or a lesion is: said in a line, chosen on the body map."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import flet as ft

from lesionlens.app.components.blocks import Style, faint, words
from lesionlens.app.components.body_map import body_map
from lesionlens.app.handling import calling
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP


def place_rows(
    site: str | None,
    marked: Mapping[str, int],
    texts: Texts,
    *,
    is_choosing: bool,
    on_choosing: Callable[[bool], None],
    on_select: Callable[[str | None], Awaitable[None]],
) -> list[ft.Control]:
    """Return the line that says where, and the body map below it while one chooses.

    Args:
        site: one of ``body_sites.BODY_SITES``; None: not said.
        marked: place -> number of scans there.
        texts: the words.
        is_choosing: whether the map is open.
        on_choosing: called to open and to close it.
        on_select: called with the place that was chosen.
    """
    said = texts("history.no_place") if site is None else texts(f"body.{site}")
    rows: list[ft.Control] = [
        ft.Row(
            [
                ft.Icon(ft.Icons.ACCESSIBILITY_NEW, color=ft.Colors.ON_SURFACE_VARIANT),
                ft.Column(
                    [faint(texts("history.place")), words(said, Style.BODY_LARGE)],
                    spacing=2,
                    expand=True,
                ),
                ft.TextButton(
                    texts("common.close" if is_choosing else "history.change"),
                    tooltip=texts("history.change_place"),
                    on_click=calling(on_choosing, not is_choosing),
                ),
            ],
            spacing=GAP,
        )
    ]
    if is_choosing:
        rows.append(body_map(site, marked, on_select, texts))
    return rows
