"""What is wrong with a photo, and what to do about each."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.texts import Texts
from lesionlens.app.theme import HALF_GAP
from lesionlens.app.wording import advice
from lesionlens.records import Quality


def findings_card(quality: Quality, texts: Texts, *, title: str) -> ft.Control:
    """Return the findings under a title, with the advice of each; for a photo that has some."""
    rows: list[ft.Control] = [
        ft.Row(
            [
                ft.Icon(ft.Icons.LIGHTBULB_OUTLINE, color=ft.Colors.ON_SURFACE_VARIANT, size=20),
                ft.Column(
                    [words(name, Style.LABEL_LARGE), faint(what_to_do, Style.BODY_MEDIUM)],
                    spacing=2,
                    expand=True,
                ),
            ],
            spacing=HALF_GAP,
            vertical_alignment=ft.CrossAxisAlignment.START,
        )
        for name, what_to_do in advice(quality, texts)
    ]
    return card([heading(title), *rows], spacing=12)
