"""Licences: of the program, of the model, and of what both are built with."""

from __future__ import annotations

import flet as ft

from lesionlens.app import notices
from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.components.choices import link_row
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session

#: The two that are ours, as the end of a route.
CODE, MODEL = "lesionlens", "model"


def licences_screen(session: Session) -> Screen:
    """Return the screen that lists every licence that something here is under."""
    texts, choosing = session.texts, session.choosing
    ours = [
        link_row(
            ft.Icons.CODE,
            texts("about.licence.code"),
            "Apache License 2.0",
            choosing.open(f"/settings/licences/{CODE}"),
        ),
        link_row(
            ft.Icons.INSIGHTS,
            texts("about.licence.model"),
            session.engine.spec.licence,
            choosing.open(f"/settings/licences/{MODEL}"),
        ),
    ]
    theirs = [
        link_row(
            ft.Icons.EXTENSION_OUTLINED,
            f"{part.name} {part.version}",
            part.licence,
            choosing.open(f"/settings/licences/{part.name}"),
        )
        for part in notices.parts()
    ]
    body: list[ft.Control] = [
        card(list(ours), spacing=0, padding=4),
        ft.Column(
            [
                heading(texts("about.parts")),
                faint(
                    texts("about.parts.means" if theirs else "about.parts.none"), Style.BODY_MEDIUM
                ),
            ],
            spacing=4,
        ),
    ]
    if theirs:
        body.append(card(list(theirs), spacing=0, padding=4))
    return Screen(texts("settings.licences"), body)


def licence_screen(session: Session, name: str) -> Screen:
    """Return the screen with one licence in full.

    Args:
        session: whose.
        name: ``lesionlens``, ``model``, or a package's.
    """
    texts = session.texts
    ours = {
        CODE: (texts("about.licence.code"), notices.own_licence),
        MODEL: (texts("about.licence.model"), notices.model_licence),
    }
    if name in ours:
        title, read = ours[name]
        text = read()
    else:
        title, text = name, _text_of(name)
    shown = text or texts("about.licence.none")
    return Screen(title, [words(shown, Style.BODY_SMALL, selectable=True)])


def _text_of(name: str) -> str:
    try:
        return notices.text_of(name)
    except KeyError:  # an address that was typed
        return ""
