"""One Learn page: its parts, drawings with captions, and the sources it rests on."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.learning import Block, Section, Source, Topic, blocks_of, find_topic
from lesionlens.app.screen import Screen
from lesionlens.app.screens.learn import learn_screen
from lesionlens.app.session import Session
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS


def topic_screen(session: Session, name: str) -> Screen:
    """Return the page called ``name``; the list of pages where a typed address names none."""
    topic = find_topic(name)
    if topic is None:
        return learn_screen(session)
    texts = session.texts
    return Screen(
        title=texts("learn.title"),  # the page's own would not fit in large text
        body=[
            ft.Semantics(
                content=words(texts(f"learn.{topic.name}.title"), Style.HEADLINE_SMALL),
                heading_level=1,
            ),
            words(texts(f"learn.{topic.name}.summary"), Style.TITLE_SMALL),
            *(_section(texts, topic, section) for section in topic.sections),
            _sources(session, topic),
            words(texts("common.not_a_diagnosis"), Style.TITLE_SMALL),
        ],
    )


def _section(texts: Texts, topic: Topic, section: Section) -> ft.Control:
    blocks = blocks_of(texts(f"learn.{topic.name}.{section.name}"))
    parts = [heading(texts(f"learn.section.{section.name}")), *map(_block, blocks)]
    if section.figures:
        parts.append(
            ft.ResponsiveRow(
                [_figure(texts, figure, len(section.figures)) for figure in section.figures],
                spacing=GAP,
                run_spacing=GAP,
            )
        )
    return ft.Column(parts, spacing=HALF_GAP, horizontal_alignment=ft.CrossAxisAlignment.STRETCH)


def _block(block: Block) -> ft.Control:
    text = words(block.text, Style.BODY_LARGE, expand=block.is_item)
    if not block.is_item:
        return text
    dot = words("•", Style.BODY_LARGE, ft.Colors.PRIMARY)  # a letter, which grows with the text
    return ft.Row([dot, text], spacing=12, vertical_alignment=ft.CrossAxisAlignment.START)


def _figure(texts: Texts, name: str, n_figures: int) -> ft.Control:
    """Return a drawing with what it shows, and that it is drawn."""
    title, caption = texts(f"learn.figure.{name}"), texts(f"learn.figure.{name}.caption")
    picture = ft.Image(
        src=f"learn/{name}.jpg",
        fit=ft.BoxFit.COVER,
        aspect_ratio=4 / 3,
        border_radius=RADIUS,
        exclude_from_semantics=True,  # what it shows stands below
    )
    return ft.Column(
        [picture, words(title, Style.TITLE_SMALL), words(caption), faint(texts("learn.drawn"))],
        col={"xs": 12, "sm": 6} if n_figures > 1 else 12,
        spacing=4,
        horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
    )


def _sources(session: Session, topic: Topic) -> ft.Control:
    texts = session.texts
    if not topic.sources:
        return card([faint(texts("learn.sources.none")), faint(texts("learn.reviewed.own"))])
    return card(
        [
            heading(texts("learn.sources")),
            faint(texts("learn.sources.hint")),
            *(_link(session, source) for source in topic.sources),
            faint(texts("learn.reviewed")),
        ]
    )


def _link(session: Session, source: Source) -> ft.Control:
    """Return a link that says that it leaves the app."""
    return ft.TextButton(
        ft.Row(
            [
                ft.Icon(ft.Icons.OPEN_IN_NEW, size=18, color=ft.Colors.PRIMARY),
                words(source.title, color=ft.Colors.PRIMARY, expand=True),
            ]
        ),
        tooltip=session.texts("learn.sources.open", title=source.title),
        on_click=session.choosing.follow(source.url),
    )
