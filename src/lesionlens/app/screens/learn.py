"""The list of Learn pages, each with its picture."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, faint, words
from lesionlens.app.learning import TOPICS, Topic
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS

_PICTURE_PX = 88.0  # of the list, wide; three quarters as high
_LEAST_ROW_PX = 280.0  # at text of scale 1: with less, words beside a picture break


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
    """Return a page's picture, title and summary; one below the other where text is large."""
    texts, state = session.texts, session.state
    is_narrow = state.width_px / state.preferences.text_scale < _LEAST_ROW_PX
    picture = ft.Image(
        src=f"learn/{topic.picture}.jpg",
        width=_PICTURE_PX,
        height=0.75 * _PICTURE_PX,
        fit=ft.BoxFit.COVER,
        border_radius=HALF_GAP,
        exclude_from_semantics=True,  # the title says it
    )
    about = ft.Column(
        [
            words(texts(f"learn.{topic.name}.title"), Style.TITLE_MEDIUM),
            faint(texts(f"learn.{topic.name}.summary"), Style.BODY_MEDIUM),
        ],
        spacing=4,
        expand=not is_narrow,
    )
    more = ft.Icon(ft.Icons.CHEVRON_RIGHT, color=ft.Colors.ON_SURFACE_VARIANT)
    return ft.Container(
        ft.Column([picture, about]) if is_narrow else ft.Row([picture, about, more], spacing=GAP),
        bgcolor=ft.Colors.SURFACE_CONTAINER_LOW,
        border_radius=RADIUS,
        padding=HALF_GAP + 4,
        ink=True,
        on_click=session.choosing.open(f"/learn/{topic.name}"),
    )
