"""The third screen: the verdict first, then what to do, then what the answer rests on."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, icon_button, words
from lesionlens.app.components.findings import findings_card
from lesionlens.app.components.heat_map import heat_map_card
from lesionlens.app.components.probabilities import probabilities_card
from lesionlens.app.components.verdict import next_step_card, verdict_card
from lesionlens.app.handling import calling
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.state import Result
from lesionlens.app.theme import GAP, HALF_GAP

_WIDE_PX = 1080


def result_screen(session: Session) -> Screen:
    """Return the screen of a fresh answer; without one, an empty one on its way out."""
    state, texts = session.state, session.texts
    result = state.result
    if result is None:
        return Screen(texts("result.title"), [])
    prediction = result.answer.prediction
    said = [
        verdict_card(prediction, texts, is_dark=state.is_dark),
        next_step_card(prediction, texts),
    ]
    shown: list[ft.Control] = [
        heat_map_card(
            result.answer.picture,
            result.overlay,
            result.overlay_opacity,
            texts,
            label=prediction.label,
            on_change=session.scanning.answering.set_opacity,
            is_drawing=result.is_finishing,
        )
    ]
    if prediction.quality.findings:
        title = texts("result.findings_anyway" if result.used_anyway else "result.findings")
        shown.insert(0, findings_card(prediction.quality, texts, title=title))
    numbers = [probabilities_card(prediction, texts), _keeping(session, result)]
    end = [_how(session, result)]
    actions = [_share_button(session)]
    if not state.is_wide:
        body: list[ft.Control] = [*said, *shown, *numbers, *end]
        return Screen(
            texts("result.title"),
            body,
            actions=actions,
            bottom=_bottom(session),
            has_navigation=False,
        )
    row = ft.Row(
        [_column([*said, *numbers]), _column([*shown, *end])],
        spacing=GAP,
        vertical_alignment=ft.CrossAxisAlignment.START,
    )
    return Screen(
        texts("result.title"), [row], actions=actions, bottom=_bottom(session), width_px=_WIDE_PX
    )


def _column(controls: list[ft.Control]) -> ft.Control:
    return ft.Column(
        controls,
        spacing=GAP,
        expand=True,
        horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
    )


def _keeping(session: Session, result: Result) -> ft.Control:
    texts, answering = session.texts, session.scanning.answering
    if result.scan_id is None and result.is_finishing:
        return ft.Container()
    if result.scan_id is None:
        told = faint(texts("result.not_saved"), Style.LABEL_LARGE)
        lines: list[ft.Control] = [_line(ft.Icons.BOOKMARK_BORDER, told)]
        if result.save_error is not None:
            lines.append(words(result.save_error, color=ft.Colors.ERROR))
        save = ft.OutlinedButton(
            texts("result.save"),
            icon=ft.Icons.BOOKMARK_ADD_OUTLINED,
            on_click=calling(answering.save),
        )
        return card([*lines, save], spacing=12)
    key = "result.saved_in_memory" if session.folder is None else "result.saved"
    return card(
        [
            _line(ft.Icons.BOOKMARK, words(texts(key), Style.LABEL_LARGE)),
            ft.OutlinedButton(
                texts("result.add_notes"),
                icon=ft.Icons.EDIT_NOTE,
                on_click=calling(answering.annotate),
            ),
            ft.TextButton(
                texts("result.remove"),
                icon=ft.Icons.BOOKMARK_REMOVE_OUTLINED,
                on_click=calling(answering.remove),
            ),
        ],
        spacing=HALF_GAP,
    )


def _line(icon: ft.IconData, text: ft.Text) -> ft.Control:
    text.expand = True
    return ft.Row([ft.Icon(icon, color=ft.Colors.PRIMARY), text], spacing=HALF_GAP)


def _how(session: Session, result: Result) -> ft.Control:
    texts, prediction, spec = session.texts, result.answer.prediction, session.engine.spec
    took = texts.duration(result.answer.total_ms)
    policy = texts(f"policy.{prediction.policy}")
    return ft.Column(
        [
            faint(texts("result.took", count=prediction.views, duration=took)),
            faint(texts("result.rule", policy=policy)),
            faint(texts("result.model", name=f"{spec.name} {spec.version}")),
        ],
        spacing=2,
    )


def _share_button(session: Session) -> ft.Control:
    can_share = session.device.can_share
    return icon_button(
        ft.Icons.SHARE if can_share else ft.Icons.PICTURE_AS_PDF_OUTLINED,
        session.texts("result.share_report" if can_share else "result.save_report"),
        on_click=calling(session.scanning.answering.share_report),
    )


def _bottom(session: Session) -> ft.Control:
    texts = session.texts
    caution = words(
        texts("common.not_a_diagnosis"), Style.LABEL_MEDIUM, text_align=ft.TextAlign.CENTER
    )
    again = ft.FilledButton(
        texts("result.new_scan"),
        icon=ft.Icons.ADD_A_PHOTO_OUTLINED,
        on_click=calling(session.scanning.start_over),
    )
    if session.state.is_wide:
        return ft.Row([ft.Container(caution, expand=True), again], spacing=GAP)
    return ft.Column(
        [caution, again],
        spacing=HALF_GAP,
        tight=True,
        horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
    )
