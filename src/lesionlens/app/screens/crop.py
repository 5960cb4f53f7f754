"""The second screen: which part of the photo is judged, and whether it is good enough for that."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, faint, icon_button, slider, words
from lesionlens.app.components.choices import Choice, pills
from lesionlens.app.components.crop_frame import crop_frame
from lesionlens.app.components.findings import findings_card
from lesionlens.app.framing import WHOLE, largest_zoom, zoom_of
from lesionlens.app.handling import calling
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.state import Draft
from lesionlens.app.theme import GAP, HALF_GAP, WIDE_GAP

_WIDE_PX = 1040
#: Of the screen's height, what the frame may take; the rest is for advice and buttons.
_FRAME_SHARE = 0.5
_BARS_PX = 150  # above and below, where frame and advice stand side by side


def crop_screen(session: Session) -> Screen:
    """Return the screen of the crop; without a photo, an empty one on its way out."""
    state, texts = session.state, session.texts
    draft = state.draft
    if draft is None:
        return Screen(texts("crop.title"), [], has_navigation=False)
    if state.is_wide:
        side_px = min(state.height_px - _BARS_PX, (state.width_px - 120) / 2, 560)
        body: list[ft.Control] = [
            ft.Row(
                [
                    crop_frame(session, draft, side_px),
                    _scrolling([*_controls(session, draft), *_buttons(session, draft)]),
                ],
                spacing=WIDE_GAP,
                expand=True,
                vertical_alignment=ft.CrossAxisAlignment.START,
            )
        ]
        return Screen(texts("crop.title"), body, width_px=_WIDE_PX, scrolls=False)
    # Larger text takes more of the room.
    share = _FRAME_SHARE / state.preferences.text_scale**0.4
    side_px = min(state.width_px - 2 * GAP, share * state.height_px)
    body = [
        ft.Row([crop_frame(session, draft, side_px)], alignment=ft.MainAxisAlignment.CENTER),
        _scrolling(_controls(session, draft)),
    ]
    return Screen(
        texts("crop.title"),
        body,
        bottom=ft.Column(
            _buttons(session, draft),
            spacing=HALF_GAP,
            tight=True,
            horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
        ),
        has_navigation=False,
        scrolls=False,
    )


def _scrolling(controls: list[ft.Control]) -> ft.Control:
    """Return controls that scroll by themselves: a finger on the frame moves the photo alone."""
    return ft.Column(
        controls,
        spacing=12,
        expand=True,
        scroll=ft.ScrollMode.AUTO,
        horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
    )


def _controls(session: Session, draft: Draft) -> list[ft.Control]:
    texts = session.texts
    is_touched = session.device.platform in ("android", "ios")
    parts: list[ft.Control] = [_advice(session, draft)]
    if draft.photo.width_px != draft.photo.height_px:
        parts.append(_shapes(session, draft))
    if largest_zoom(draft.photo.width_px, draft.photo.height_px) > 1:
        parts.append(_zoom(session, draft))
    parts.append(faint(texts("crop.hint_touch" if is_touched else "crop.hint_keys")))
    return parts


def _shapes(session: Session, draft: Draft) -> ft.Control:
    texts, scanning = session.texts, session.scanning
    is_whole = draft.box == WHOLE
    return pills(
        [
            Choice(texts("crop.whole"), is_whole, calling(scanning.show_whole)),
            Choice(texts("crop.square"), not is_whole, calling(scanning.show_square)),
        ],
        label=texts("crop.title"),
        chosen=texts("crop.chosen"),
    )


def _zoom(session: Session, draft: Draft) -> ft.Control:
    texts, scanning, photo = session.texts, session.scanning, draft.photo
    most = largest_zoom(photo.width_px, photo.height_px)
    zoom = min(most, zoom_of(draft.box, photo.width_px, photo.height_px))
    return ft.Row(
        [
            icon_button(
                ft.Icons.ZOOM_OUT, texts("crop.zoom_out"), on_click=calling(scanning.zoom_out)
            ),
            slider(
                texts("crop.zoom"),
                value=zoom,
                min=1,
                max=most,
                on_change=scanning.zoom_to,
                on_focus=calling(scanning.focus_slider),
                on_blur=calling(scanning.blur_slider),
            ),
            icon_button(
                ft.Icons.ZOOM_IN, texts("crop.zoom_in"), on_click=calling(scanning.zoom_in)
            ),
        ],
        spacing=0,
    )


def _advice(session: Session, draft: Draft) -> ft.Control:
    texts = session.texts
    if draft.quality is None:
        return ft.Row(
            [ft.ProgressRing(width=18, height=18, stroke_width=2), faint(texts("crop.looking"))],
            spacing=HALF_GAP,
        )
    if not draft.quality.is_good:
        return ft.Semantics(
            content=findings_card(draft.quality, texts, title=texts("crop.poor")),
            live_region=True,
            container=True,
        )
    return ft.Row(
        [
            ft.Icon(ft.Icons.CHECK_CIRCLE_OUTLINE, color=ft.Colors.PRIMARY, size=20),
            words(texts("crop.good"), Style.BODY_SMALL, expand=True),
        ],
        spacing=HALF_GAP,
    )


def _buttons(session: Session, draft: Draft) -> list[ft.Control]:
    texts, scanning = session.texts, session.scanning
    if draft.quality is None or draft.quality.is_good:
        return [
            ft.FilledButton(
                texts("crop.check"), icon=ft.Icons.SEARCH, on_click=calling(scanning.check)
            )
        ]
    return [
        ft.FilledButton(
            texts("crop.another"),
            icon=ft.Icons.REPLAY,
            on_click=calling(session.navigation.home),
        ),
        ft.OutlinedButton(texts("crop.use_anyway"), on_click=calling(scanning.use_anyway)),
    ]
