"""What a screen function returns; ``shell`` puts it into a view with bars and navigation."""

from __future__ import annotations

from dataclasses import dataclass, field

import flet as ft


@dataclass(frozen=True)
class Screen:
    """A screen as data."""

    title: str  # in the bar on top, and of the page
    body: list[ft.Control]  # from top to bottom
    actions: list[ft.Control] = field(default_factory=list)  # at the right of the bar
    bottom: ft.Control | None = None  # stays in sight below what scrolls
    has_navigation: bool = True  # whether the four main places can be gone to from here
    can_go_back: bool = True  # whether there is an arrow, where there is something behind
    width_px: float = 640  # of the content, at most: lines longer than this are hard to read
    scrolls: bool = True
