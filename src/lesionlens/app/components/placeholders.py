"""What stands where there is nothing to show: yet, any more, or at all."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, faint, words
from lesionlens.app.theme import GAP, WIDE_GAP


def waiting(words_for_it: str) -> ft.Control:
    """Return a ring that turns while something is read."""
    return ft.Container(
        ft.Semantics(content=ft.ProgressRing(), label=words_for_it, container=True),
        alignment=ft.Alignment.CENTER,
        padding=2 * WIDE_GAP,
    )


def nothing(
    icon: ft.IconData, title: str, text: str = "", *, buttons: list[ft.Control] | None = None
) -> ft.Control:
    """Return why there is nothing, and buttons for what can be done about it."""
    parts: list[ft.Control] = [
        ft.Container(
            ft.Icon(icon, size=48, color=ft.Colors.ON_PRIMARY_CONTAINER),
            bgcolor=ft.Colors.PRIMARY_CONTAINER,
            border_radius=56,
            padding=28,
        ),
        ft.Semantics(
            content=words(title, Style.HEADLINE_SMALL, text_align=ft.TextAlign.CENTER),
            heading_level=2,
        ),
    ]
    if text:
        parts.append(faint(text, Style.BODY_LARGE, text_align=ft.TextAlign.CENTER))
    return ft.Container(
        ft.Column(
            [*parts, *(buttons or [])],
            horizontal_alignment=ft.CrossAxisAlignment.CENTER,
            spacing=GAP,
        ),
        padding=ft.Padding.symmetric(vertical=2 * WIDE_GAP, horizontal=GAP),
        alignment=ft.Alignment.CENTER,
    )
