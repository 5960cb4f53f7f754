"""How likely each of the three is, and what the number means.

Where the verdict is that it is none of them, or that the photo tells nothing, the numbers are
there for who asks, folded away and pale: they hold only if it is one of the three.
"""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, card, faint, heading, words
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP, HALF_GAP, RADIUS
from lesionlens.labels import IN_SCOPE, Label
from lesionlens.records import Prediction
from lesionlens.verdicts import CONFIDENT, UNCERTAIN

_BAR_PX = 10


def probabilities_card(prediction: Prediction, texts: Texts) -> ft.Control:
    """Return the three as bars, in words what they mean, and what may be the answer."""
    if prediction.verdict not in (CONFIDENT, UNCERTAIN):
        return _folded(prediction, texts)
    parts: list[ft.Control] = [heading(texts("verdict.likely"))]
    parts += [_bar(label, prediction, texts, is_muted=False) for label in IN_SCOPE]
    parts.append(_meaning(prediction, texts))
    if len(prediction.prediction_set) > 1:
        parts.append(_set(prediction.prediction_set, texts))
    parts += _scope(prediction, texts)
    return card(parts, spacing=12)


def _folded(prediction: Prediction, texts: Texts) -> ft.Control:
    parts: list[ft.Control] = [faint(texts("result.numbers_do_not_count"))]
    parts += [_bar(label, prediction, texts, is_muted=True) for label in IN_SCOPE]
    parts += _scope(prediction, texts)
    return ft.ExpansionTile(
        title=words(texts("result.numbers"), Style.TITLE_SMALL),
        controls=[ft.Column(parts, spacing=12)],
        controls_padding=ft.Padding(GAP, 0, GAP, GAP),
        expanded_cross_axis_alignment=ft.CrossAxisAlignment.STRETCH,
        bgcolor=ft.Colors.SURFACE_CONTAINER_LOW,
        collapsed_bgcolor=ft.Colors.SURFACE_CONTAINER_LOW,
        shape=ft.RoundedRectangleBorder(radius=RADIUS),
        collapsed_shape=ft.RoundedRectangleBorder(radius=RADIUS),
    )


def _bar(label: Label, prediction: Prediction, texts: Texts, *, is_muted: bool) -> ft.Control:
    share = prediction.probabilities[label]
    is_first = label is prediction.label and not is_muted
    ink = ft.Colors.ON_SURFACE_VARIANT if is_muted else ft.Colors.ON_SURFACE
    style = Style.LABEL_LARGE if is_first else Style.BODY_MEDIUM
    fill = ft.Colors.PRIMARY if is_first else ft.Colors.OUTLINE
    name, number = texts(f"label.{label}"), texts.percent(share)
    return ft.Semantics(
        content=ft.Column(
            [
                ft.Row([words(name, style, ink, expand=True), words(number, style, ink)]),
                ft.ProgressBar(
                    value=share,
                    bar_height=_BAR_PX,
                    color=ft.Colors.OUTLINE_VARIANT if is_muted else fill,
                    bgcolor=ft.Colors.SURFACE_CONTAINER_HIGHEST,
                    border_radius=_BAR_PX / 2,
                ),
            ],
            spacing=4,
        ),
        label=f"{name}: {number}",
        container=True,
        exclude_semantics=True,
    )


def _meaning(prediction: Prediction, texts: Texts) -> ft.Control:
    # Never 0 or 100 of what is not quite that, as percent() has it.
    of_hundred = min(99, max(1, round(100 * prediction.probability)))
    label = texts(f"label.{prediction.label}.inside")
    return faint(texts("verdict.likely.means", n=of_hundred, label=label))


def _set(members: tuple[Label, ...], texts: Texts) -> ft.Control:
    names = texts.any_of([texts(f"label.{label}.inside") for label in members])
    return ft.Row(
        [
            ft.Icon(ft.Icons.ALT_ROUTE, color=ft.Colors.ON_SURFACE_VARIANT, size=20),
            words(texts("verdict.set", set=names), Style.LABEL_LARGE, expand=True),
        ],
        spacing=HALF_GAP,
        vertical_alignment=ft.CrossAxisAlignment.START,
    )


def _scope(prediction: Prediction, texts: Texts) -> list[ft.Control]:
    if prediction.scope is None:
        return []
    return [faint(texts("verdict.scope", share=texts.percent(prediction.scope)))]
