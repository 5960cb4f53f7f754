"""The frame of the crop: what is in it is judged, and the photo moves below it."""

from __future__ import annotations

from typing import Any

import flet as ft

from lesionlens.app.components.viewfinder import guide
from lesionlens.app.framing import WHOLE
from lesionlens.app.session import Session
from lesionlens.app.state import Draft
from lesionlens.app.theme import RADIUS


def crop_frame(session: Session, draft: Draft, side_px: float) -> ft.Control:
    """Return the part of a photo in a frame, to be dragged, pinched and wheeled.

    Args:
        session: whose draft it is.
        draft: the photo and the part.
        side_px: longest side of the frame, logical pixels.
    """
    scanning = session.scanning
    width, height = _frame_size(draft, side_px)
    left, top, right, bottom = draft.box
    across, down = width / (right - left), height / (bottom - top)

    async def pinch(event: Any) -> None:
        await scanning.pinch(event, width)

    photo = ft.Image(
        draft.photo.preview,
        left=-left * across,
        top=-top * down,
        width=across,
        height=down,
        fit=ft.BoxFit.FILL,
        exclude_from_semantics=True,
        gapless_playback=True,
    )
    frame = ft.Container(
        ft.Stack(
            [
                photo,
                ft.Container(
                    guide(min(width, height)),
                    alignment=ft.Alignment.CENTER,
                    left=0,
                    right=0,
                    top=0,
                    bottom=0,
                ),
            ],
            clip_behavior=ft.ClipBehavior.HARD_EDGE,
        ),
        width=width,
        height=height,
        border_radius=RADIUS / 2,
        clip_behavior=ft.ClipBehavior.ANTI_ALIAS,
    )
    moving = ft.GestureDetector(
        content=frame,
        on_scale_start=scanning.start_pinch,
        on_scale_update=pinch,
        on_scroll=scanning.scroll,
        mouse_cursor=ft.MouseCursor.BASIC if draft.box == WHOLE else ft.MouseCursor.GRAB,
        exclude_from_semantics=True,
    )
    return ft.Container(
        ft.Semantics(content=moving, label=session.texts("crop.photo"), image=True, container=True),
        width=side_px,
        height=side_px,
        bgcolor=ft.Colors.SURFACE_CONTAINER_HIGHEST,
        border_radius=RADIUS,
        alignment=ft.Alignment.CENTER,
    )


def _frame_size(draft: Draft, side_px: float) -> tuple[float, float]:
    """Return width and height of the frame: a square, or the shape of the whole photo."""
    if draft.box != WHOLE:
        return side_px, side_px
    longest = max(draft.photo.width_px, draft.photo.height_px)
    return side_px * draft.photo.width_px / longest, side_px * draft.photo.height_px / longest
