"""The picture, and over it where the evidence for the answer was, as strong as a slider says."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import flet as ft
from PIL import Image

from lesionlens.app.components.blocks import card, faint, heading, slider
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS
from lesionlens.labels import Label

#: A tall photo is shown no taller than this share of its width, the rest of it smaller.
_LEAST_ASPECT = 0.8


def heat_map_card(
    picture: bytes,
    overlay: bytes | None,
    opacity: float,
    texts: Texts,
    *,
    label: Label,
    on_change: Callable[[Any], Any],
    is_drawing: bool = False,
) -> ft.Control:
    """Return the picture with a slider that lays the heat map over it.

    Args:
        picture: JPEG of what was judged. Pass the same object each time: it is sent once.
        overlay: JPEG of the picture under the heat map; None: there is none (yet).
        opacity: 0..1, of the overlay.
        texts: the words.
        label: what the map explains: the likeliest of the three, whatever the verdict.
        on_change: handler of the slider; ``event.control.value`` is the new opacity.
        is_drawing: whether the overlay is on its way.
    """
    parts: list[ft.Control] = [picture_box(picture, texts("result.picture"), overlay, opacity)]
    if overlay is not None:
        parts.append(heading(texts("result.heat_map")))
        parts.append(
            ft.Row(
                [
                    ft.Icon(ft.Icons.IMAGE_OUTLINED, color=ft.Colors.ON_SURFACE_VARIANT),
                    slider(
                        texts("result.heat_map_strength"),
                        value=opacity,
                        min=0,
                        max=1,
                        on_change=on_change,
                    ),
                    ft.Icon(ft.Icons.LAYERS_OUTLINED, color=ft.Colors.ON_SURFACE_VARIANT),
                ],
                spacing=0,
            )
        )
        explained = texts(f"label.{label}.inside")
        parts.append(faint(texts("result.heat_map_means", label=explained)))
    elif is_drawing:
        parts.append(
            ft.Row(
                [ft.ProgressRing(width=20, height=20), faint(texts("result.heat_map_drawing"))],
                spacing=HALF_GAP,
            )
        )
    return card(parts, padding=GAP, spacing=HALF_GAP)


def picture_box(
    picture: bytes, label: str, overlay: bytes | None = None, opacity: float = 0.0
) -> ft.Control:
    """Return a picture as wide as there is room, perhaps with another one laid over it."""
    aspect = aspect_of(picture)
    fit = ft.BoxFit.COVER if aspect >= _LEAST_ASPECT else ft.BoxFit.CONTAIN
    layers: list[ft.Control] = [ft.Image(picture, fit=fit, semantics_label=label)]
    if overlay is not None:
        layers.append(ft.Image(overlay, fit=fit, opacity=opacity, exclude_from_semantics=True))
    return ft.Container(
        ft.Stack(layers, fit=ft.StackFit.EXPAND),
        aspect_ratio=max(aspect, _LEAST_ASPECT),
        border_radius=RADIUS / 2,
        clip_behavior=ft.ClipBehavior.ANTI_ALIAS,
        bgcolor=ft.Colors.SURFACE_CONTAINER_HIGHEST,
    )


def aspect_of(picture: bytes) -> float:
    """Return width by height of an encoded picture; its header alone is read."""
    with Image.open(io.BytesIO(picture)) as image:
        return image.width / image.height
