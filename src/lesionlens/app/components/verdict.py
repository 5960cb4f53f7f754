"""The verdict, first and in plain words: on a fresh result, on a saved one."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, card, heading, words
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP, HALF_GAP, look_of
from lesionlens.app.wording import headline, meaning, next_step
from lesionlens.records import Prediction

_ICON_PX = 40


def verdict_card(prediction: Prediction, texts: Texts, *, is_dark: bool) -> ft.Control:
    """Return the verdict in its colour and shape, and how far it may be relied on."""
    look = look_of(prediction)
    ink = look.ink(is_dark)
    said = ft.Column(
        [
            words(texts(f"verdict.{prediction.verdict}.name"), Style.LABEL_LARGE, ink),
            ft.Semantics(
                content=words(headline(prediction, texts), Style.HEADLINE_SMALL, ink),
                heading_level=1,
            ),
        ],
        spacing=HALF_GAP / 2,
        expand=True,
    )
    return card(
        [
            ft.Row(
                [ft.Icon(look.icon, size=_ICON_PX, color=ink), said],
                spacing=GAP,
                vertical_alignment=ft.CrossAxisAlignment.START,
            ),
            words(meaning(prediction, texts), Style.BODY_MEDIUM, ink),
        ],
        ground=look.ground(is_dark),
        spacing=GAP,
        padding=20,
    )


def next_step_card(prediction: Prediction, texts: Texts) -> ft.Control:
    """Return what to do now."""
    return card(
        [
            ft.Row(
                [
                    ft.Icon(ft.Icons.SIGNPOST_OUTLINED, color=ft.Colors.PRIMARY),
                    ft.Container(heading(texts("verdict.next")), expand=True),
                ],
                spacing=HALF_GAP,
            ),
            words(next_step(prediction, texts), Style.BODY_LARGE),
        ]
    )
