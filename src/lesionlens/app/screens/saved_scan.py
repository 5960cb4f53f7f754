"""A scan of the history: what was answered, and what the person adds to it."""

from __future__ import annotations

from functools import partial
from typing import Any

import flet as ft

from lesionlens.app.annotating import MAX_NAME
from lesionlens.app.browsing import HISTORY, OpenScan
from lesionlens.app.components.blocks import Style, card, faint, heading, icon_button, words
from lesionlens.app.components.findings import findings_card
from lesionlens.app.components.heat_map import heat_map_card
from lesionlens.app.components.place import place_rows
from lesionlens.app.components.placeholders import nothing, waiting
from lesionlens.app.components.probabilities import probabilities_card
from lesionlens.app.components.text_field import notes_field, text_field
from lesionlens.app.components.verdict import next_step_card, verdict_card
from lesionlens.app.handling import calling
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS
from lesionlens.history.records import Scan

#: Two columns side by side.
_WIDTH_PX = 1120
#: How many digits of the model's SHA-256 are shown.
_HASH_LENGTH = 12
_NONE, _NEW = "none", "new"


def saved_scan_screen(session: Session, scan_id: int) -> Screen:
    """Return a saved scan; a word where it is not there any more."""
    texts, scans = session.texts, session.state.opened.scans
    if scan_id not in scans:
        return Screen(texts("history.scan"), [waiting(texts("common.loading"))])
    opened = scans[scan_id]
    if opened is None:
        return Screen(texts("history.scan"), [gone(session, texts("history.scan_gone"))])
    scan, state = opened.scan, session.state
    answer = [
        verdict_card(scan.prediction, texts, is_dark=state.is_dark),
        next_step_card(scan.prediction, texts),
    ]
    picture = heat_map_card(
        opened.photo,
        opened.overlay,
        opened.overlay_opacity,
        texts,
        label=scan.prediction.label,
        on_change=_slider(session, scan_id),
    )
    own = _own_card(session, opened)
    numbers: list[ft.Control] = [probabilities_card(scan.prediction, texts)]
    if scan.quality.findings:
        title = "history.judged_anyway" if scan.used_anyway else "history.findings"
        numbers.append(findings_card(scan.quality, texts, title=texts(title)))
    numbers.append(_technical(session, scan))
    caution = not_a_diagnosis(session)
    if state.is_cramped:  # below, it would cover the screen
        answer.append(caution)
    body: list[ft.Control]
    if state.is_wide:
        body = [_beside([picture, *numbers], [*answer, own])]
    else:
        body = [*answer, picture, own, *numbers]
    return Screen(
        texts.date(scan.taken_at),
        body,
        actions=[
            icon_button(
                ft.Icons.PICTURE_AS_PDF_OUTLINED,
                texts("history.share_report"),
                on_click=calling(session.transfers.share_report, scan_id),
            ),
            icon_button(
                ft.Icons.DELETE_OUTLINE,
                texts("history.delete_scan"),
                on_click=calling(session.annotating.ask_delete_scan, scan_id),
            ),
        ],
        bottom=None if state.is_cramped else caution,
        width_px=_WIDTH_PX if state.is_wide else 640,
    )


def gone(session: Session, title: str) -> ft.Control:
    """Return that something was deleted, and a way to the list."""
    return nothing(
        ft.Icons.DELETE_SWEEP_OUTLINED,
        title,
        buttons=[
            ft.OutlinedButton(
                session.texts("history.to_list"),
                on_click=calling(session.navigation.go, HISTORY),
            )
        ],
    )


def not_a_diagnosis(session: Session) -> ft.Control:
    """Return what stays in sight below every answer."""
    text = session.texts("common.not_a_diagnosis")
    return words(text, Style.LABEL_MEDIUM, text_align=ft.TextAlign.CENTER)


def _beside(left: list[ft.Control], right: list[ft.Control]) -> ft.Control:
    return ft.Row(
        [
            ft.Column(
                part,
                expand=1,
                spacing=GAP,
                horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
            )
            for part in (left, right)
        ],
        spacing=GAP,
        vertical_alignment=ft.CrossAxisAlignment.START,
    )


def _slider(session: Session, scan_id: int) -> Any:
    async def slide(event: Any) -> None:
        session.annotating.show_overlay(scan_id, float(event.control.value))

    return slide


def _own_card(session: Session, opened: OpenScan) -> ft.Control:
    """Return what the person adds: place, spot, notes."""
    texts, annotating, scan = session.texts, session.annotating, opened.scan

    async def type_notes(event: Any) -> None:
        await annotating.type_notes(scan.id, event.control.value)

    return card(
        [
            heading(texts("history.your_notes")),
            faint(texts("history.taken", moment=texts.date_time(scan.taken_at)), Style.BODY_MEDIUM),
            *place_rows(
                scan.body_site,
                opened.sites,
                texts,
                is_choosing=opened.chooses_site,
                on_choosing=partial(annotating.choose_site, scan.id),
                on_select=partial(annotating.set_site, scan.id),
            ),
            *_lesion_rows(session, opened),
            notes_field(
                session,
                f"notes-{scan.id}",
                opened,
                hint=texts("history.notes_hint"),
                on_change=type_notes,
            ),
            saved_line(session, is_saved=opened.notes == scan.notes),
        ],
        spacing=12,
    )


def saved_line(session: Session, *, is_saved: bool) -> ft.Control:
    """Return whether what was typed is saved."""
    texts = session.texts
    icon = ft.Icons.CHECK if is_saved else ft.Icons.EDIT_OUTLINED
    return ft.Row(
        [
            ft.Icon(icon, size=16, color=ft.Colors.ON_SURFACE_VARIANT),
            faint(texts("history.saved" if is_saved else "history.not_saved_yet")),
        ],
        spacing=6,
    )


def _lesion_rows(session: Session, opened: OpenScan) -> list[ft.Control]:
    """Return the choice of the spot that the scan is of, and the field for a new one."""
    texts, annotating, scan = session.texts, session.annotating, opened.scan

    async def choose(event: Any) -> None:
        value = event.control.value
        if value == _NEW:
            annotating.name_lesion(scan.id, "")
        else:
            await annotating.assign(scan.id, None if value == _NONE else int(value))

    chosen = _NONE if scan.lesion_id is None else str(scan.lesion_id)
    choice = ft.Dropdown(
        label=texts("history.spot_of_scan"),
        value=chosen if opened.new_lesion is None else _NEW,
        color=ft.Colors.ON_SURFACE,
        expand=True,
        menu_height=360,
        options=[
            ft.DropdownOption(key=_NONE, text=texts("history.no_spot")),
            *(ft.DropdownOption(key=str(it.id), text=it.name) for it in opened.lesions),
            ft.DropdownOption(key=_NEW, text=texts("history.new_spot")),
        ],
        on_select=choose,
    )
    # The label stands on the upper edge: room for its upper half.
    rows: list[ft.Control] = [ft.Container(ft.Row([choice]), padding=ft.Padding.only(top=HALF_GAP))]
    if opened.new_lesion is not None:
        rows.append(_new_lesion(session, opened))
    elif opened.lesion is not None:
        rows.append(
            ft.Row(
                [
                    ft.TextButton(
                        texts("history.open_spot"),
                        icon=ft.Icons.TIMELINE,
                        on_click=calling(
                            session.navigation.go, f"{HISTORY}/lesions/{opened.lesion.id}"
                        ),
                    )
                ]
            )
        )
    return rows


def _new_lesion(session: Session, opened: OpenScan) -> ft.Control:
    texts, annotating, scan_id = session.texts, session.annotating, opened.scan.id

    async def type_name(event: Any) -> None:
        annotating.name_lesion(scan_id, event.control.value)

    return ft.Column(
        [
            text_field(
                session,
                f"new-lesion-{scan_id}",
                opened.visit,
                label=texts("history.spot_name"),
                hint_text=texts("history.spot_name_hint"),
                value=opened.new_lesion or "",
                max_length=MAX_NAME,
                counter="",
                autofocus=True,
                on_change=type_name,
                on_submit=calling(annotating.follow, scan_id),
            ),
            ft.Row(
                [
                    ft.FilledButton(
                        texts("history.follow"),
                        disabled=not (opened.new_lesion or "").strip(),
                        on_click=calling(annotating.follow, scan_id),
                    ),
                    ft.TextButton(
                        texts("common.cancel"),
                        on_click=calling(annotating.name_lesion, scan_id, None),
                    ),
                ],
                wrap=True,
            ),
        ],
        spacing=HALF_GAP,
    )


def _technical(session: Session, scan: Scan) -> ft.Control:
    """Return by what and how it was judged, folded away."""
    texts = session.texts
    total_ms = scan.milliseconds.get("total", scan.prediction.elapsed_ms)
    facts = {
        "history.model": scan.model,
        "history.checksum": scan.model_sha256[:_HASH_LENGTH],
        "history.rule": texts(f"policy.{scan.policy}"),
        "history.views": texts.number(scan.views),
        "history.time": texts.duration(total_ms),
    }
    return ft.ExpansionTile(
        title=words(texts("history.technical"), Style.TITLE_SMALL),
        controls=[
            ft.Column(
                [
                    ft.Row(
                        [
                            faint(texts(name), Style.BODY_MEDIUM, expand=2),
                            words(value, Style.BODY_MEDIUM, expand=3, selectable=True),
                        ],
                        vertical_alignment=ft.CrossAxisAlignment.START,
                    )
                    for name, value in facts.items()
                ],
                spacing=HALF_GAP,
            )
        ],
        controls_padding=ft.Padding(GAP, 0, GAP, GAP),
        expanded_cross_axis_alignment=ft.CrossAxisAlignment.STRETCH,
        bgcolor=ft.Colors.SURFACE_CONTAINER_LOW,
        collapsed_bgcolor=ft.Colors.SURFACE_CONTAINER_LOW,
        shape=ft.RoundedRectangleBorder(radius=RADIUS),
        collapsed_shape=ft.RoundedRectangleBorder(radius=RADIUS),
    )
