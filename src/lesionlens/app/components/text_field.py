"""A field to type into that never takes back a letter."""

from __future__ import annotations

from typing import Any

import flet as ft

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
