"""A share and how surely it is known, drawn: a track, the interval on it, a mark at the value."""

from __future__ import annotations

import flet as ft

_HEIGHT_PX = 8
_STEPS = 1000
_MARK = 12  # steps that the mark is wide


def interval_bar(value: float, low: float, high: float) -> ft.Control:
    """Return a picture of a share and its interval; to say it in words is the caller's.

    Args:
        value: within 0..1.
        low: lower end of the interval, at most ``value``.
        high: its upper end.
    """
    mark = min(max(round(value * _STEPS) - _MARK // 2, 0), _STEPS - _MARK)
    start = min(round(low * _STEPS), mark)
    end = max(round(high * _STEPS), mark + _MARK)
    parts = [
        (start, ft.Colors.SURFACE_CONTAINER_HIGHEST),
        (mark - start, ft.Colors.INVERSE_PRIMARY),
        (_MARK, ft.Colors.PRIMARY),
        (end - mark - _MARK, ft.Colors.INVERSE_PRIMARY),
        (_STEPS - end, ft.Colors.SURFACE_CONTAINER_HIGHEST),
    ]
    return ft.Container(
        ft.Row(
            [
                ft.Container(expand=steps, height=_HEIGHT_PX, bgcolor=color)
                for steps, color in parts
                if steps
            ],
            spacing=0,
        ),
        border_radius=_HEIGHT_PX / 2,
        clip_behavior=ft.ClipBehavior.HARD_EDGE,
    )
