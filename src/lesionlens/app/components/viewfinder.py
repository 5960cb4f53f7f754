"""The live camera with its guide, and the buttons below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flet as ft

from lesionlens.app.components.blocks import icon_button
from lesionlens.app.handling import calling
from lesionlens.app.session import Session
from lesionlens.app.texts import Texts
from lesionlens.app.theme import PHOTO_GROUND, PHOTO_INK, RADIUS, TOUCH_PX

#: Of the guide, a share of the frame's shorter side: a spot that fills it fills half the frame.
GUIDE_SHARE = 0.5
_SHUTTER_PX = 76


def framed_viewfinder(
    live: ft.Control, side_px: float, texts: Texts, *, is_starting: bool
) -> ft.Control:
    """Return the live picture in all the room there is, and the circle that the spot should fill.

    Args:
        live: what the device shows.
        side_px: of the picture's shorter side, about; logical pixels.
        texts: the words.
        is_starting: whether there is nothing to be seen yet.
    """
    over: ft.Control = ft.ProgressRing() if is_starting else guide(side_px)
    named = ft.Semantics(
        content=ft.Container(over, alignment=ft.Alignment.CENTER),
        label=texts("scan.viewfinder"),
        container=True,
    )
    return ft.Container(
        # The live control stays one object from rendering to rendering. It has to stand in a list:
        # as the content of a control made anew, Flet would not tell it who its parent is now, and
        # it could not be asked for a picture.
        ft.Stack([live, ft.TransparentPointer(named)], fit=ft.StackFit.EXPAND),
        bgcolor=PHOTO_GROUND,
        border_radius=RADIUS,
        clip_behavior=ft.ClipBehavior.ANTI_ALIAS,
        expand=True,
    )


def guide(side_px: float) -> ft.Control:
    """Return a circle that is seen on light and on dark skin: white within black."""
    ring_px = max(TOUCH_PX, GUIDE_SHARE * side_px)
    inner = ft.Container(
        border=ft.Border.all(1.5, ft.Colors.with_opacity(0.95, PHOTO_INK)),
        border_radius=ring_px / 2,
        width=ring_px,
        height=ring_px,
    )
    return ft.Container(
        inner,
        border=ft.Border.all(1.5, ft.Colors.with_opacity(0.5, PHOTO_GROUND)),
        border_radius=ring_px / 2 + 2,
        width=ring_px + 3,
        height=ring_px + 3,
    )


def shutter_row(session: Session) -> ft.Control:
    """Return shutter, light, the other camera, the gallery and the way out."""
    texts, camera, scanning = session.texts, session.state.camera, session.scanning
    is_on = camera.status == "on"
    close = _button(ft.Icons.CLOSE, texts("scan.close_camera"), scanning.filming.close)
    choose = _button(ft.Icons.PHOTO_LIBRARY_OUTLINED, texts("scan.choose"), scanning.choose_photo)
    torch: ft.Control = ft.Container(width=TOUCH_PX)
    if camera.has_torch:
        torch = _button(
            ft.Icons.FLASHLIGHT_OFF if camera.is_torch_on else ft.Icons.FLASHLIGHT_ON,
            texts("scan.torch_off" if camera.is_torch_on else "scan.torch_on"),
            scanning.filming.switch_torch,
            is_enabled=is_on,
        )
    flip: ft.Control = ft.Container(width=TOUCH_PX)
    if camera.can_flip:
        flip = _button(
            ft.Icons.FLIP_CAMERA_ANDROID,
            texts("scan.flip"),
            scanning.filming.flip,
            is_enabled=is_on,
        )
    return ft.Row(
        [close, torch, _shutter(session), flip, choose],
        alignment=ft.MainAxisAlignment.SPACE_BETWEEN,
        vertical_alignment=ft.CrossAxisAlignment.CENTER,
    )


def _shutter(session: Session) -> ft.Control:
    texts, status = session.texts, session.state.camera.status
    if status == "taking":
        return ft.Container(
            ft.ProgressRing(semantics_label=texts("scan.taking")),
            width=_SHUTTER_PX,
            height=_SHUTTER_PX,
            padding=12,
        )
    return icon_button(
        ft.Icons.PHOTO_CAMERA,
        texts("scan.take"),
        icon_size=34,
        disabled=status != "on",
        on_click=calling(session.scanning.take_photo),
        width=_SHUTTER_PX,
        height=_SHUTTER_PX,
        style=ft.ButtonStyle(
            shape=ft.CircleBorder(),
            bgcolor={
                ft.ControlState.DEFAULT: ft.Colors.PRIMARY,
                ft.ControlState.DISABLED: ft.Colors.SURFACE_CONTAINER_HIGHEST,
            },
            icon_color={
                ft.ControlState.DEFAULT: ft.Colors.ON_PRIMARY,
                ft.ControlState.DISABLED: ft.Colors.ON_SURFACE_VARIANT,
            },
        ),
    )


def _button(
    icon: ft.IconData, label: str, work: Callable[[], Any], *, is_enabled: bool = True
) -> ft.Control:
    return icon_button(icon, label, on_click=calling(work), disabled=not is_enabled)
