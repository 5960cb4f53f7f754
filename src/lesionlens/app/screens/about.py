"""About: which version this is, what it is for, where it comes from, where to tell of problems."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files as package_files
from typing import Any

import flet as ft

from lesionlens import __version__
from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.components.choices import link_row
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP

#: Where the source is; the same as in pyproject.toml.
SOURCE_URL = "https://github.com/lesionlens/lesionlens"
#: Where problems are told.
PROBLEMS_URL = f"{SOURCE_URL}/issues"


def about_screen(session: Session) -> Screen:
    """Return the screen that says what this is."""
    texts, spec = session.texts, session.engine.spec
    model = f"{spec.name} {spec.version}, {spec.sha256[:8]}"
    paper = published_result()
    origin = texts(
        "about.origin.text",
        title=paper["title"],
        right=paper["n_right"],
        n=sum(paper["n_by_class"].values()),
    )
    body: list[ft.Control] = [
        ft.Column(
            [
                words(texts("common.app_name"), Style.HEADLINE_SMALL),
                words(texts("common.tagline")),
                faint(texts("about.version", version=__version__), Style.BODY_MEDIUM),
            ],
            spacing=4,
        ),
        card([heading(texts("about.purpose")), words(texts("common.not_a_diagnosis_long"))]),
        card([heading(texts("about.origin")), words(origin)]),
        card(_links(session, model), spacing=0, padding=4),
    ]
    return Screen(texts("settings.about"), body)


def _links(session: Session, model: str) -> list[ft.Control]:
    texts, choosing = session.texts, session.choosing
    outside = texts("common.opens_browser")
    return [
        link_row(
            ft.Icons.INSIGHTS, texts("settings.model"), model, choosing.open("/settings/model")
        ),
        link_row(
            ft.Icons.DESCRIPTION_OUTLINED,
            texts("settings.licences"),
            texts("settings.licences.means"),
            choosing.open_licences,
        ),
        link_row(
            ft.Icons.CODE,
            texts("about.source"),
            SOURCE_URL.removeprefix("https://"),
            choosing.follow(SOURCE_URL),
            leaves=outside,
        ),
        link_row(
            ft.Icons.BUG_REPORT_OUTLINED,
            texts("about.problem"),
            texts("about.problem.means"),
            choosing.follow(PROBLEMS_URL),
            leaves=outside,
        ),
        ft.Container(
            ft.Row(
                [
                    ft.OutlinedButton(
                        texts("about.copy"),
                        icon=ft.Icons.COPY,
                        on_click=choosing.copy(f"LesionLens {__version__}\n{model}"),
                    )
                ],
                wrap=True,
            ),
            padding=GAP,
        ),
    ]


@lru_cache
def published_result() -> dict[str, Any]:
    """Return what the paper published that this grew out of (references/paper.json)."""
    text = (package_files("lesionlens") / "references" / "paper.json").read_text(encoding="utf-8")
    published: dict[str, Any] = json.loads(text)
    return published
