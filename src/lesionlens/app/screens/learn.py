"""The list of Learn pages, each with its picture."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, faint, words
from lesionlens.app.learning import TOPICS, Topic
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS

_PICTURE_PX = 88.0  # of the list, wide; three quarters as high


def learn_screen(session: Session) -> Screen:
    """Return the list."""
    texts = session.texts
    return Screen(
        title=texts("learn.title"),
        body=[
            words(texts("learn.intro")),
            ft.Column([_entry(session, topic) for topic in TOPICS], spacing=HALF_GAP),
        ],
    )


def _entry(session: Session, topic: Topic) -> ft.Control:
    texts = session.texts
    return ft.Container(
        ft.Row(
            [
                ft.Image(
                    src=f"learn/{topic.picture}.jpg",
                    width=_PICTURE_PX,
                    height=0.75 * _PICTURE_PX,
                    fit=ft.BoxFit.COVER,
                    border_radius=HALF_GAP,
                    exclude_from_semantics=True,  # the title says it
                ),
                ft.Column(
                    [
                        words(texts(f"learn.{topic.name}.title"), Style.TITLE_MEDIUM),
                        faint(texts(f"learn.{topic.name}.summary"), Style.BODY_MEDIUM),
                    ],
                    spacing=4,
                    expand=True,
                ),
                ft.Icon(ft.Icons.CHEVRON_RIGHT, color=ft.Colors.ON_SURFACE_VARIANT),
            ],
            spacing=GAP,
        ),
        bgcolor=ft.Colors.SURFACE_CONTAINER_LOW,
        border_radius=RADIUS,
        padding=HALF_GAP + 4,
        ink=True,
        on_click=session.choosing.open(f"/learn/{topic.name}"),
    )
