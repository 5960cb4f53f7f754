"""The building blocks of screens: a line of text in a role, a card, a heading within one."""

from __future__ import annotations

from typing import Any

import flet as ft

from lesionlens.app.theme import GAP, HALF_GAP, RADIUS

Style = ft.TextThemeStyle


def words(
    text: str, style: ft.TextThemeStyle = Style.BODY_MEDIUM, color: str | None = None, **more: Any
) -> ft.Text:
    """Return text in a role of the theme, which scales it; ``more`` goes to ``ft.Text``."""
    return ft.Text(text, theme_style=style, color=color or ft.Colors.ON_SURFACE, **more)


def faint(text: str, style: ft.TextThemeStyle = Style.BODY_SMALL, **more: Any) -> ft.Text:
    """Return text that is there for who looks for it."""
    return words(text, style, ft.Colors.ON_SURFACE_VARIANT, **more)


def heading(text: str, color: str | None = None) -> ft.Control:
    """Return the heading of a part of the screen, one to a screen reader too."""
    return ft.Semantics(content=words(text, Style.TITLE_MEDIUM, color), heading_level=2)


def card(
    controls: list[ft.Control],
    *,
    ground: str = ft.Colors.SURFACE_CONTAINER_LOW,
    spacing: float = HALF_GAP,
    padding: float = GAP,
) -> ft.Container:
    """Return what belongs together on a ground of its own, as wide as there is room."""
    return ft.Container(
        ft.Column(controls, spacing=spacing, horizontal_alignment=ft.CrossAxisAlignment.STRETCH),
        bgcolor=ground,
        border_radius=RADIUS,
        padding=padding,
    )
