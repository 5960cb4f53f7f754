"""Settings: language, looks, how answers are made, what is kept, and what there is to read."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import card, faint, heading, icon_button, words
from lesionlens.app.components.choices import Choice, choice_list, link_row, pills
from lesionlens.app.figures import POLICY, VIEWS, are_of
from lesionlens.app.preferences import THEMES
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.texts import LANGUAGES
from lesionlens.app.theme import GAP
from lesionlens.verdicts import POLICIES
from lesionlens.zooms import MAX_VIEWS


def settings_screen(session: Session) -> Screen:
    """Return the screen where a person chooses how the app looks, answers and keeps."""
    body = [
        _language(session),
        _looks(session),
        _text_size(session),
        _views(session),
        _policy(session),
        _keeping(session),
        _more(session),
    ]
    return Screen(session.texts("settings.title"), body)


def _section(title: str, controls: list[ft.Control], *, note: str = "") -> ft.Control:
    head: list[ft.Control] = [heading(title)]
    if note:
        head.append(faint(note, ft.TextThemeStyle.BODY_MEDIUM))
    return card([ft.Column(head, spacing=4), *controls], spacing=12)


def _language(session: Session) -> ft.Control:
    texts, chosen = session.texts, session.state.preferences.language
    names = {"": texts("settings.as_device"), **LANGUAGES}
    choices = [
        Choice(name, code == chosen, session.choosing.choose(language=code))
        for code, name in names.items()
    ]
    title = texts("settings.language")
    return _section(title, [pills(choices, label=title, chosen=texts("settings.chosen"))])


def _looks(session: Session) -> ft.Control:
    texts, chosen = session.texts, session.state.preferences.theme
    choices = [
        Choice(
            texts("settings.as_device" if theme == "system" else f"settings.{theme}"),
            theme == chosen,
            session.choosing.choose(theme=theme),
        )
        for theme in THEMES
    ]
    title = texts("settings.look")
    return _section(title, [pills(choices, label=title, chosen=texts("settings.chosen"))])


def _text_size(session: Session) -> ft.Control:
    texts, choosing = session.texts, session.choosing
    smaller, larger = choosing.scale_text(-1), choosing.scale_text(1)
    row = ft.Row(
        [
            icon_button(
                ft.Icons.TEXT_DECREASE,
                texts("settings.text.smaller"),
                on_click=smaller,
                disabled=smaller is None,
            ),
            words(texts("settings.text.sample"), expand=True, text_align=ft.TextAlign.CENTER),
            icon_button(
                ft.Icons.TEXT_INCREASE,
                texts("settings.text.larger"),
                on_click=larger,
                disabled=larger is None,
            ),
        ],
        spacing=GAP,
    )
    return _section(texts("settings.text"), [row])


def _views(session: Session) -> ft.Control:
    texts, chosen = session.texts, session.state.preferences.views
    is_measured = are_of(session.engine.spec)
    choices = []
    for views in (MAX_VIEWS, 1):
        figures = []
        if is_measured:
            figures.append(texts("settings.views.right", **VIEWS[views].right.of_hundred))
            if views != 1:
                times = round(VIEWS[views].milliseconds / VIEWS[1].milliseconds)
                figures.append(texts("settings.views.takes", times=times))
        choices.append(
            Choice(
                texts("settings.views.count", count=views),
                views == chosen,
                session.choosing.choose(views=views),
                texts("settings.views.one" if views == 1 else "settings.views.more"),
                " ".join(figures),
            )
        )
    title = texts("settings.views")
    return _section(title, [choice_list(choices, label=title, chosen=texts("settings.chosen"))])


def _policy(session: Session) -> ft.Control:
    texts, chosen = session.texts, session.state.preferences.policy
    is_measured = are_of(session.engine.spec)
    choices = []
    for policy in POLICIES:
        figures = []
        if is_measured:
            figures.append(texts("settings.policy.kept", **POLICY[policy].kept.of_hundred))
            figures.append(texts("settings.policy.clear", **POLICY[policy].clear.of_hundred))
        choices.append(
            Choice(
                texts(f"policy.{policy}"),
                policy == chosen,
                session.choosing.choose(policy=policy),
                texts(f"policy.{policy}.means"),
                " ".join(figures),
            )
        )
    title = texts("policy.title")
    return _section(title, [choice_list(choices, label=title, chosen=texts("settings.chosen"))])


def _keeping(session: Session) -> ft.Control:
    texts = session.texts
    means = texts("settings.keep.page" if session.device.host else "settings.keep.device")
    title = texts("settings.keep")
    row = ft.Row(
        [
            ft.Column(
                [heading(title), faint(means, ft.TextThemeStyle.BODY_MEDIUM)],
                spacing=4,
                expand=True,
            ),
            ft.MergeSemantics(  # or a browser's screen reader finds a switch without a name
                content=ft.Semantics(
                    content=ft.Switch(
                        value=session.state.preferences.keeps_scans,
                        on_change=session.choosing.switch_keeping,
                    ),
                    label=title,
                )
            ),
        ],
        spacing=GAP,
    )
    return card([row])


def _more(session: Session) -> ft.Control:
    texts, choosing = session.texts, session.choosing
    places = (
        ("performance", ft.Icons.SPEED, choosing.open("/settings/performance")),
        ("about", ft.Icons.INFO_OUTLINE, choosing.open("/settings/about")),
        ("model", ft.Icons.INSIGHTS, choosing.open("/settings/model")),
        ("licences", ft.Icons.DESCRIPTION_OUTLINED, choosing.open_licences),
    )
    rows = [
        link_row(
            icon,
            texts(f"settings.{place}"),
            texts(f"settings.{place}.means"),
            go,
        )
        for place, icon, go in places
    ]
    return card(list(rows), spacing=0, padding=4)
