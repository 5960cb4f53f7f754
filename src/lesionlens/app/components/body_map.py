"""Where on the body: a figure to tap, front and back, and a plain list beside it.

The list comes first and says everything the figure says: for who cannot see the figure, cannot
hit a small place on it, or knows the word. Every place on the figure is a button with its name,
and can be reached and pressed with the keyboard.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping

import flet as ft
from flet import canvas

from lesionlens.app.components.blocks import Style, words
from lesionlens.app.components.body_shapes import HEIGHT_PX, SITES, VIEWS, WIDTH_PX, Region, regions
from lesionlens.app.texts import Texts
from lesionlens.app.theme import GAP, HALF_GAP
from lesionlens.body_sites import BODY_SITES

#: Called with a key of ``BODY_SITES``, or None: no place.
OnSelect = Callable[[str | None], Awaitable[None] | None]

_NOWHERE = "none"  # key of the list's first line
_DOT_PX = 6.0  # radius of the dot on a place that has scans


def body_map(
    selected: str | None, marked: Mapping[str, int], on_select: OnSelect, texts: Texts
) -> ft.Control:
    """Return the list of places and both views of the figure.

    Args:
        selected: the chosen place, a key of ``BODY_SITES``; None: not chosen.
        marked: place -> number of scans there; what has none may be missing.
        on_select: called with the place that was tapped or taken from the list.
        texts: the language.

    Returns:
        A column that fits into 320 logical pixels, its text at any size; the two views stand
        side by side where there is room.

    Raises:
        ValueError: a place that the map does not know.
    """
    unknown = {*marked, *([selected] if selected else [])} - set(BODY_SITES)
    if unknown:
        raise ValueError(f"body map: no such place: {', '.join(sorted(unknown))}; see BODY_SITES")
    return ft.Column(
        spacing=GAP,
        horizontal_alignment=ft.CrossAxisAlignment.STRETCH,
        controls=[
            _place_list(selected, marked, on_select, texts),
            words(texts("body.sides")),
            ft.ResponsiveRow(
                run_spacing=GAP,
                controls=[
                    ft.Column(
                        # Side by side from 840 on: two figures of 320 and what is around them.
                        col={"xs": 12, "md": 6},
                        horizontal_alignment=ft.CrossAxisAlignment.CENTER,
                        spacing=HALF_GAP,
                        controls=[
                            words(texts(f"body.{view}"), Style.TITLE_SMALL),
                            _figure(view, selected, marked, on_select, texts),
                        ],
                    )
                    for view in VIEWS
                ],
            ),
        ],
    )


def _label(site: str, marked: Mapping[str, int], texts: Texts) -> str:
    """Return the place's name, and how many scans there are of it."""
    name = texts(f"body.{site}")
    n_scans = marked.get(site, 0)
    return texts("body.place_with_scans", place=name, count=n_scans) if n_scans else name


def _place_list(
    selected: str | None, marked: Mapping[str, int], on_select: OnSelect, texts: Texts
) -> ft.Control:
    async def pick(event: ft.Event[ft.Dropdown]) -> None:
        value = event.control.value
        await _tell(on_select, None if value in (None, _NOWHERE) else value)

    places = ft.Dropdown(
        label=texts("body.list_label"),
        value=selected or _NOWHERE,
        color=ft.Colors.ON_SURFACE,
        expand=True,  # as wide as there is room
        menu_height=400,
        options=[
            ft.DropdownOption(key=_NOWHERE, text=texts("body.none")),
            # The number of scans stands in the list only: the chosen name alone fits at any size.
            *(
                ft.DropdownOption(
                    key=site,
                    text=texts(f"body.{site}"),
                    content=words(_label(site, marked, texts), Style.LABEL_LARGE)
                    if marked.get(site)
                    else None,
                )
                for site in BODY_SITES
            ),
        ],
        on_select=pick,
    )
    # The label stands on the upper edge: room for its upper half, at twice the size, too.
    return ft.Container(ft.Row([places]), padding=ft.Padding.only(top=GAP))


def _figure(
    view: str, selected: str | None, marked: Mapping[str, int], on_select: OnSelect, texts: Texts
) -> ft.Control:
    places = regions(view)
    order = {site: n for n, site in enumerate(SITES[view])}
    return ft.Stack(
        width=WIDTH_PX,
        height=HEIGHT_PX[view],
        controls=[
            canvas.Canvas(
                width=WIDTH_PX,
                height=HEIGHT_PX[view],
                shapes=_drawing(view, places, selected, marked),
            ),
            # From head to foot, as screen readers and the tabulator key go through them.
            *(
                _button(region, selected, marked, on_select, texts)
                for region in sorted(places, key=lambda region: order[region.site])
            ),
        ],
    )


def _button(
    region: Region,
    selected: str | None,
    marked: Mapping[str, int],
    on_select: OnSelect,
    texts: Texts,
) -> ft.Control:
    async def pick(_event: ft.Event[ft.Container]) -> None:
        await _tell(on_select, region.site)

    left, top, right, bottom = region.box
    label = _label(region.site, marked, texts)
    if region.site == selected:  # not every platform reads out that a button is selected
        label = texts("body.place_chosen", place=label)
    return ft.Container(
        left=left,
        top=top,
        width=right - left,
        height=bottom - top,
        content=ft.Semantics(
            label=label,
            button=True,
            selected=region.site == selected,
            content=ft.Container(
                width=right - left,
                height=bottom - top,
                border_radius=12,
                ink=True,
                on_click=pick,
            ),
        ),
    )


def _drawing(
    view: str, places: list[Region], selected: str | None, marked: Mapping[str, int]
) -> list[canvas.Shape]:
    shapes: list[canvas.Shape] = []
    for region in sorted(places, key=lambda region: region.site == selected):
        is_selected = region.site == selected
        fill = ft.Colors.PRIMARY if is_selected else ft.Colors.SURFACE_CONTAINER_HIGHEST
        line = ft.Colors.ON_SURFACE if is_selected else ft.Colors.OUTLINE
        elements = _path(region)
        shapes.append(canvas.Path(elements, paint=ft.Paint(color=fill)))
        shapes.append(
            canvas.Path(
                elements,
                paint=ft.Paint(
                    color=line,
                    style=ft.PaintingStyle.STROKE,
                    stroke_width=3 if is_selected else 1.2,
                    stroke_join=ft.StrokeJoin.ROUND,
                ),
            )
        )
    if view == "front":
        eyes = ft.Paint(color=ft.Colors.OUTLINE)
        shapes += [canvas.Circle(x, 84, 3, paint=eyes) for x in (142, 178)]
    for region in places:
        if marked.get(region.site):
            x, y = region.middle
            shapes.append(
                canvas.Circle(x, y, _DOT_PX + 2.5, paint=ft.Paint(color=ft.Colors.SURFACE))
            )
            shapes.append(canvas.Circle(x, y, _DOT_PX, paint=ft.Paint(color=ft.Colors.TERTIARY)))
    return shapes


def _path(region: Region) -> list[canvas.Path.PathElement]:
    first, *others = region.outline
    return [
        canvas.Path.MoveTo(*first),
        *(canvas.Path.LineTo(x, y) for x, y in others),
        canvas.Path.Close(),
    ]


async def _tell(on_select: OnSelect, site: str | None) -> None:
    answer = on_select(site)
    if inspect.isawaitable(answer):
        await answer
