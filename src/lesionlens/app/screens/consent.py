"""The first screen: what the app is and is not, in which language, and whether to go on."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, words
from lesionlens.app.components.choices import Choice, pills
from lesionlens.app.figures import of_hundred
from lesionlens.app.preferences import CONSENT_VERSION
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.texts import LANGUAGES
from lesionlens.app.theme import GAP, HALF_GAP
from lesionlens.labels import Label

#: How the addresses of this machine itself are written.
_THIS_MACHINE = ("127.0.0.1", "localhost", "[::1]")


def consent_screen(session: Session) -> Screen:
    """Return the screen that has to be agreed to before any other is shown."""
    texts, consent = session.texts, session.state.consent
    if consent.has_left:
        body: list[ft.Control] = [
            words(texts("consent.left"), Style.BODY_LARGE),
            ft.Row(
                [
                    ft.OutlinedButton(
                        texts("consent.reconsider"), on_click=session.choosing.reconsider
                    )
                ],
                wrap=True,
            ),
        ]
    else:
        body = [_languages(session), *_text(session), _decision(session)]
    return Screen(texts("common.app_name"), body, has_navigation=False, can_go_back=False)


def _languages(session: Session) -> ft.Control:
    spoken = session.texts.language
    return pills(
        [
            Choice(name, code == spoken, session.choosing.choose(language=code))
            for code, name in LANGUAGES.items()
        ],
        label=session.texts("consent.language"),
        chosen=session.texts("settings.chosen"),
    )


def _text(session: Session) -> list[ft.Control]:
    texts = session.texts
    parts = [
        (ft.Icons.CENTER_FOCUS_STRONG, "what", [texts("consent.what.text")]),
        (ft.Icons.MEDICAL_SERVICES_OUTLINED, "not", [texts("consent.not.text")]),
        (ft.Icons.HELP_OUTLINE, "wrong", _how_often_right(session)),
        (ft.Icons.LOCK_OUTLINE, "where", [_where(session)]),
        (ft.Icons.HISTORY, "kept", [_what_is_kept(session)]),
    ]
    shown: list[ft.Control] = [
        ft.Semantics(content=words(texts("consent.title"), Style.HEADLINE_SMALL), heading_level=1)
    ]
    if 0 < session.state.preferences.consent < CONSENT_VERSION:
        shown.append(faint(texts("consent.changed"), Style.BODY_MEDIUM))
    return shown + [_part(icon, texts(f"consent.{key}"), lines) for icon, key, lines in parts]


def _part(icon: ft.IconData, title: str, lines: list[str]) -> ft.Control:
    head = ft.Row(
        [
            ft.Icon(icon, color=ft.Colors.PRIMARY),
            ft.Semantics(content=words(title, Style.TITLE_MEDIUM), heading_level=2, expand=True),
        ],
        spacing=12,
        vertical_alignment=ft.CrossAxisAlignment.START,
    )
    return card([head, *(words(line) for line in lines)])


def _how_often_right(session: Session) -> list[str]:
    texts, metrics = session.texts, session.engine.spec.metrics
    lines = []
    for label in (Label.BCC, Label.SCC):
        metric = metrics.get(f"recall_{label}")
        if metric:
            name = texts(f"label.{label}.inside")
            lines.append(texts("consent.wrong.recall", label=name, **of_hundred(metric)))
    melanoma = metrics.get(f"confident_{Label.MEL}")
    if melanoma:
        lines.append(texts("consent.wrong.melanoma", **of_hundred(melanoma)))
    if not lines:
        return [texts("consent.wrong.unknown")]
    return [texts("consent.wrong.test"), *lines, texts("consent.wrong.source")]


def _where(session: Session) -> str:
    host = session.device.host
    if not host:
        return session.texts("consent.where.device")
    is_this = host.rsplit(":", maxsplit=1)[0] in _THIS_MACHINE or host in _THIS_MACHINE
    key = "consent.where.this_machine" if is_this else "consent.where.other_machine"
    return session.texts(key, host=host)


def _what_is_kept(session: Session) -> str:
    return session.texts("consent.kept.page" if session.device.host else "consent.kept.device")


def _decision(session: Session) -> ft.Control:
    texts, choosing = session.texts, session.choosing
    has_read = session.state.consent.has_read
    return ft.Column(
        [
            ft.Checkbox(
                label=texts("consent.read"),
                value=has_read,
                on_change=choosing.tick,
                label_style=ft.TextStyle(color=ft.Colors.ON_SURFACE),
            ),
            ft.Row(
                [
                    ft.FilledButton(
                        texts("consent.agree"), on_click=choosing.agree, disabled=not has_read
                    ),
                    ft.OutlinedButton(texts("consent.leave"), on_click=choosing.leave),
                ],
                wrap=True,
                spacing=GAP,
                run_spacing=HALF_GAP,
            ),
        ],
        spacing=GAP,
    )
