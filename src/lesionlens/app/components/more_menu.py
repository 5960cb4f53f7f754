"""The three dots at the right of the bar, and what is behind them."""

from __future__ import annotations

import flet as ft

from lesionlens.app.texts import Texts


def more_menu(texts: Texts, items: list[ft.PopupMenuItem]) -> ft.Control:
    """Return the menu of a screen; a screen reader finds one button with a name."""
    menu = ft.PopupMenuButton(icon=ft.Icons.MORE_VERT, tooltip=texts("common.more"), items=items)
    return ft.MergeSemantics(content=menu)
