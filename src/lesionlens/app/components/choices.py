"""One of several to choose: as pills where a word says it, as a list where it needs a sentence."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import flet as ft

from lesionlens.app.components.blocks import Style, words
from lesionlens.app.theme import BUTTON_RADIUS, GAP, HALF_GAP, TOUCH_PX

Handler = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Choice:
    """One of them."""

    title: str
    is_chosen: bool
    on_choose: Handler
    means: str = ""  # a sentence
    figures: str = ""  # what it came to in a test, in smaller print


def pills(choices: list[Choice], *, label: str, chosen: str) -> ft.Control:
    """Return choices of a word each, side by side as far as there is room.

    Args:
        choices: what there is to choose from.
        label: what is chosen, for a screen reader.
        chosen: what a screen reader says of the one that is.
    """
    return ft.Semantics(
        content=ft.Row(
            [_pill(choice, chosen) for choice in choices],
            wrap=True,
            spacing=HALF_GAP,
            run_spacing=HALF_GAP,
        ),
        label=label,
        container=True,
    )


def _pill(choice: Choice, chosen: str) -> ft.Control:
    ink = ft.Colors.ON_PRIMARY_CONTAINER if choice.is_chosen else ft.Colors.ON_SURFACE
    edge = ft.Colors.PRIMARY if choice.is_chosen else ft.Colors.OUTLINE
    inside: list[ft.Control] = [words(choice.title, Style.LABEL_LARGE, ink)]
    if choice.is_chosen:
        inside.insert(0, ft.Icon(ft.Icons.CHECK, size=18, color=ink, semantics_label=chosen))
    return ft.OutlinedButton(
        content=ft.Row(inside, tight=True, spacing=HALF_GAP),
        on_click=choice.on_choose,
        style=ft.ButtonStyle(
            bgcolor=ft.Colors.PRIMARY_CONTAINER if choice.is_chosen else None,
            side=ft.BorderSide(1, edge),
            padding=ft.Padding.symmetric(horizontal=GAP, vertical=14),
        ),
    )


def choice_list(choices: list[Choice], *, label: str, chosen: str) -> ft.Control:
    """Return choices that are explained, one below the other.

    Args:
        choices: what there is to choose from.
        label: what is chosen, for a screen reader.
        chosen: what a screen reader says of the one that is.
    """
    return ft.Semantics(
        content=ft.Column(
            [_row(choice, chosen) for choice in choices],
            spacing=HALF_GAP,
            horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
        ),
        label=label,
        container=True,
    )


def _row(choice: Choice, chosen: str) -> ft.Control:
    ink = ft.Colors.ON_PRIMARY_CONTAINER if choice.is_chosen else ft.Colors.ON_SURFACE
    icon = ft.Icons.RADIO_BUTTON_CHECKED if choice.is_chosen else ft.Icons.RADIO_BUTTON_UNCHECKED
    tint = ft.Colors.PRIMARY if choice.is_chosen else ft.Colors.ON_SURFACE_VARIANT
    mark = ft.Icon(icon, color=tint, semantics_label=chosen if choice.is_chosen else None)
    lines: list[ft.Control] = [words(choice.title, Style.LABEL_LARGE, ink)]
    if choice.means:
        lines.append(words(choice.means, color=ink))
    if choice.figures:
        lines.append(words(choice.figures, Style.BODY_SMALL, ink))
    return ft.OutlinedButton(
        content=ft.Row(
            [mark, ft.Column(lines, spacing=4, expand=True)],
            spacing=12,
            vertical_alignment=ft.CrossAxisAlignment.START,
        ),
        on_click=choice.on_choose,
        style=ft.ButtonStyle(
            bgcolor=ft.Colors.PRIMARY_CONTAINER if choice.is_chosen else None,
            side=ft.BorderSide(1, ft.Colors.PRIMARY if choice.is_chosen else ft.Colors.OUTLINE),
            shape=ft.RoundedRectangleBorder(radius=BUTTON_RADIUS),
            padding=ft.Padding.symmetric(horizontal=12, vertical=14),
        ),
    )


def link_row(
    icon: ft.IconData, title: str, means: str, on_click: Handler, *, leaves: str = ""
) -> ft.Control:
    """Return a row that leads somewhere.

    Args:
        icon: before it.
        title: where to.
        means: what is there; may be empty.
        on_click: goes there.
        leaves: says that it leaves the app; empty: it does not.
    """
    lines: list[ft.Control] = [words(title, Style.LABEL_LARGE)]
    lines += [words(line, color=ft.Colors.ON_SURFACE_VARIANT) for line in (means, leaves) if line]
    end = ft.Icons.OPEN_IN_NEW if leaves else ft.Icons.CHEVRON_RIGHT
    return ft.TextButton(
        content=ft.Row(
            [
                ft.Icon(icon, color=ft.Colors.PRIMARY),
                ft.Column(lines, spacing=2, expand=True),
                ft.Icon(end, color=ft.Colors.ON_SURFACE_VARIANT, size=20),
            ],
            spacing=GAP,
        ),
        on_click=on_click,
        style=ft.ButtonStyle(
            shape=ft.RoundedRectangleBorder(radius=BUTTON_RADIUS),
            padding=ft.Padding.symmetric(horizontal=12, vertical=12),
        ),
        height=None if means or leaves else TOUCH_PX,
    )
