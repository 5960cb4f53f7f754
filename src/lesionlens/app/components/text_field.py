"""A field to type into that never takes back a letter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flet as ft

from lesionlens.app.annotating import MAX_NOTES
from lesionlens.app.browsing import OpenLesion, OpenScan
from lesionlens.app.handling import calling
from lesionlens.app.session import Session


def text_field(session: Session, key: str, visit: int, **options: Any) -> ft.Control:
    """Return a field that is made once and then stays the same object while it is on the screen.

    Made anew with each rendering, it would send the text of a moment ago back to who has typed on
    since, and undo their last letters.

    Args:
        session: whose screen it is on.
        key: which field.
        visit: another number makes it anew, with the ``value`` of that moment.
        options: of ``ft.TextField``; taken when it is made.
    """
    field: ft.Control = session.keeping.fields.get(
        key, (visit, session.texts), lambda: ft.TextField(color=ft.Colors.ON_SURFACE, **options)
    )
    return field


def notes_field(
    session: Session,
    key: str,
    opened: OpenScan | OpenLesion,
    *,
    hint: str,
    on_change: Callable[[Any], Any],
) -> ft.Control:
    """Return the field for notes on a scan or a lesion; what is typed is kept on leaving it."""
    return text_field(
        session,
        key,
        opened.visit,
        label=session.texts("history.notes"),
        hint_text=hint,
        value=opened.notes,
        multiline=True,
        min_lines=2,
        max_lines=12,
        max_length=MAX_NOTES,
        counter="",
        on_change=on_change,
        on_blur=calling(session.annotating.leave_field),
    )
