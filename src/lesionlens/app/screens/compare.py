"""Two scans side by side, the earlier one first, and what their difference may and may not mean."""

from __future__ import annotations

import flet as ft

from lesionlens.app.browsing import OpenScan
from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.components.heat_map import picture_box
from lesionlens.app.components.placeholders import waiting
from lesionlens.app.screen import Screen
from lesionlens.app.screens.saved_scan import gone, not_a_diagnosis
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS, look_of
from lesionlens.app.wording import headline
from lesionlens.history.records import Scan
from lesionlens.labels import IN_SCOPE
from lesionlens.verdicts import CONFIDENT, UNCERTAIN

#: From here on two pictures side by side are large enough to see something.
_SIDE_BY_SIDE_PX = 600
_WIDTH_PX = 1120


def compare_screen(session: Session, one_id: int, other_id: int) -> Screen:
    """Return two scans at the same size; stacked on a phone."""
    texts, state = session.texts, session.state
    scans = state.opened.scans
    title = texts("history.compare")
    if one_id not in scans or other_id not in scans:
        return Screen(title, [waiting(texts("common.loading"))])
    one, other = scans[one_id], scans[other_id]
    if one is None or other is None:
        return Screen(title, [gone(session, texts("history.scan_gone"))])
    earlier, later = sorted((one, other), key=lambda it: (it.scan.taken_at, it.scan.id))
    cards = [
        _side(session, earlier, texts("history.earlier")),
        _side(session, later, texts("history.later")),
    ]
    pair: list[ft.Control] = cards
    if state.width_px >= _SIDE_BY_SIDE_PX:
        pair = [
            ft.Row(
                [ft.Container(it, expand=1) for it in cards],
                spacing=GAP,
                vertical_alignment=ft.CrossAxisAlignment.START,
            )
        ]
    days = days_between(earlier.scan, later.scan)
    body: list[ft.Control] = [words(texts("history.days_apart", count=days), Style.TITLE_LARGE)]
    caution = not_a_diagnosis(session)
    if state.is_cramped:  # below, it would cover the screen
        body.append(caution)
    return Screen(
        title,
        [*body, *pair, _what_it_means(session)],
        bottom=None if state.is_cramped else caution,
        width_px=_WIDTH_PX,
    )


def days_between(earlier: Scan, later: Scan) -> int:
    """Return how many days lie between two scans by the device's calendar."""
    return (later.taken_at.astimezone().date() - earlier.taken_at.astimezone().date()).days


def _side(session: Session, opened: OpenScan, which: str) -> ft.Control:
    texts, scan = session.texts, opened.scan
    look = look_of(scan.prediction)
    ink = look.ink(session.state.is_dark)
    moment = texts.date_time(scan.taken_at)
    parts: list[ft.Control] = [
        faint(which, Style.LABEL_LARGE),
        heading(moment),
        picture_box(opened.photo, f"{which}: {moment}"),
        ft.Container(
            ft.Row(
                [
                    ft.Icon(look.icon, color=ink, size=24),
                    words(headline(scan.prediction, texts), Style.TITLE_SMALL, ink, expand=True),
                ],
                spacing=HALF_GAP,
                vertical_alignment=ft.CrossAxisAlignment.START,
            ),
            bgcolor=look.ground(session.state.is_dark),
            border_radius=RADIUS / 2,
            padding=12,
        ),
    ]
    if scan.verdict in (CONFIDENT, UNCERTAIN):
        for label in IN_SCOPE:
            share = texts.percent(scan.probabilities[label])
            parts.append(
                ft.Row(
                    [
                        words(texts(f"label.{label}"), Style.BODY_MEDIUM, expand=True),
                        words(share, Style.LABEL_LARGE),
                    ]
                )
            )
    else:
        parts.append(faint(texts("history.no_numbers"), Style.BODY_MEDIUM))
    if scan.notes:
        parts.append(faint(scan.notes, Style.BODY_MEDIUM))
    return card(parts, spacing=10)


def _what_it_means(session: Session) -> ft.Control:
    texts = session.texts
    return card(
        [
            ft.Row(
                [
                    ft.Icon(ft.Icons.INFO_OUTLINE, color=ft.Colors.PRIMARY),
                    ft.Container(heading(texts("history.compare_means_title")), expand=True),
                ],
                spacing=HALF_GAP,
            ),
            words(texts("history.compare_means"), Style.BODY_MEDIUM),
            words(texts("history.compare_doctor"), Style.BODY_MEDIUM),
        ]
    )
