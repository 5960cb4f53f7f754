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


def icon_button(icon: ft.IconData, tooltip: str, **more: Any) -> ft.Control:
    """Return a button that is an icon alone; ``more`` goes to ``ft.IconButton``.

    Its tooltip is its name: merged into one node of meaning, as a browser's screen reader would
    else find a button without a name inside of a name.
    """
    return ft.MergeSemantics(content=ft.IconButton(icon, tooltip=tooltip, **more))


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


def slider(label: str, **more: Any) -> ft.Control:
    """Return a slider that takes the room there is in a row; ``more`` goes to ``ft.Slider``."""
    named = ft.Semantics(content=ft.Slider(**more), label=label)
    return ft.MergeSemantics(content=named, expand=True)
