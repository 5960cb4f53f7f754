"""The body map: every place can be seen, named, hit and heard, and taken from a list."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

flet = pytest.importorskip("flet")

from lesionlens.app.components.body_map import body_map  # noqa: E402
from lesionlens.app.components.body_shapes import (  # noqa: E402
    HEIGHT_PX,
    SITES,
    VIEWS,
    WIDTH_PX,
    Region,
    regions,
)
from lesionlens.app.texts import LANGUAGES, Texts  # noqa: E402
from lesionlens.app.theme import TOUCH_PX  # noqa: E402
from lesionlens.body_sites import BODY_SITES  # noqa: E402


def walk(control: Any) -> Iterator[Any]:
    """Yield a control and all below it."""
    yield control
    for below in [*getattr(control, "controls", []), getattr(control, "content", None)]:
        if isinstance(below, flet.Control):
            yield from walk(below)


def buttons(control: Any) -> dict[str, list[Any]]:
    """Every button of the figure by its label: what it says, and what is pressed."""
    found: dict[str, list[Any]] = {}
    for part in walk(control):
        if isinstance(part, flet.Semantics) and part.button:
            found.setdefault(part.label, []).append(part.content)
    return found


def the_list(control: Any) -> Any:
    (found,) = (part for part in walk(control) if isinstance(part, flet.Dropdown))
    return found


def is_inside(point: tuple[float, float], outline: tuple[tuple[float, float], ...]) -> bool:
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(outline, [*outline[1:], outline[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < (x2 - x1) * (y - y1) / (y2 - y1) + x1:
            inside = not inside
    return inside


def hit(view: str, point: tuple[float, float]) -> list[Region]:
    return [
        region
        for region in regions(view)
        if region.box[0] <= point[0] < region.box[2] and region.box[1] <= point[1] < region.box[3]
    ]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_has_each_of_its_places_once(view: str) -> None:
    assert sorted(region.site for region in regions(view)) == sorted(SITES[view])


def test_every_place_is_on_one_of_the_views() -> None:
    assert {region.site for view in VIEWS for region in regions(view)} == set(BODY_SITES)


@pytest.mark.parametrize("view", VIEWS)
def test_every_place_is_large_enough_for_a_finger_and_on_the_grid(view: str) -> None:
    for region in regions(view):
        left, top, right, bottom = region.box
        assert right - left >= TOUCH_PX, region.site
        assert bottom - top >= TOUCH_PX, region.site
        assert min(left, top) >= 0, region.site
        assert right <= WIDTH_PX, region.site
        assert bottom <= HEIGHT_PX[view], region.site


@pytest.mark.parametrize("view", VIEWS)
def test_no_two_places_share_a_spot_to_tap(view: str) -> None:
    for one, other in combinations(regions(view), 2):
        width = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
        height = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
        assert width <= 0 or height <= 0, f"{one.site} and {other.site} overlap"


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_drawn_lies_where_it_is_tapped(view: str) -> None:
    for region in regions(view):
        assert is_inside(region.middle, region.outline), region.site
        assert hit(view, region.middle) == [region], region.site


@pytest.mark.parametrize("view", VIEWS)
def test_left_is_the_persons_left(view: str) -> None:
    for region in regions(view):
        if region.site.startswith("left_"):
            at_viewers_left = region.middle[0] < WIDTH_PX / 2
            assert at_viewers_left == (view == "back"), region.site


def test_a_tap_on_a_place_tells_its_key_whether_it_is_waited_for_or_not() -> None:
    texts = Texts("en")
    heard: list[str | None] = []

    async def remember(site: str | None) -> None:
        heard.append(site)

    for listener in (heard.append, remember):
        heard.clear()
        shown = buttons(body_map(None, {}, listener, texts))
        for site in BODY_SITES:
            for button in shown[texts(f"body.{site}")]:
                assert inspect.iscoroutinefunction(button.on_click)
                asyncio.run(button.on_click(None))
        n_views = {site: sum(site in SITES[view] for view in VIEWS) for site in BODY_SITES}
        assert heard == [site for site in BODY_SITES for _ in range(n_views[site])]


def test_the_list_has_every_place_and_none_and_tells_them() -> None:
    texts = Texts("en")
    heard: list[str | None] = []
    places = the_list(body_map("chest", {}, heard.append, texts))
    assert [option.key for option in places.options] == ["none", *BODY_SITES]
    assert places.value == "chest"
    for value in ("left_sole", "none"):
        places.value = value
        event = type("Event", (), {"control": places})()
        asyncio.run(places.on_select(event))
    assert heard == ["left_sole", None]


def test_what_is_chosen_and_what_has_scans_is_said_too() -> None:
    texts = Texts("en")
    labels = buttons(body_map("chest", {"chest": 1, "left_knee": 3}, lambda _: None, texts))
    assert "Chest: 1 scan, chosen" in labels
    assert len(labels["Left knee: 3 scans"]) == 2  # front and back
    assert "Face" in labels


def test_what_is_chosen_and_what_has_scans_is_drawn() -> None:
    def drawn(selected: str | None, marked: dict[str, int]) -> list[Any]:
        shown = body_map(selected, marked, lambda _: None, Texts("en"))
        canvases = [part for part in walk(shown) if isinstance(part, flet.canvas.Canvas)]
        return [shape.paint.color for canvas in canvases for shape in canvas.shapes]

    assert flet.Colors.PRIMARY not in drawn(None, {})
    assert drawn("chest", {}).count(flet.Colors.PRIMARY) == 1
    assert drawn("left_knee", {}).count(flet.Colors.PRIMARY) == 2
    assert flet.Colors.TERTIARY not in drawn(None, {"chest": 0})
    assert drawn(None, {"left_knee": 2}).count(flet.Colors.TERTIARY) == 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_place_has_a_name_of_its_own_in_every_language(language: str) -> None:
    texts = Texts(language)
    names = [texts(f"body.{site}") for site in BODY_SITES]
    assert len(set(names)) == len(BODY_SITES)
    body_map("scalp", {"scalp": 2}, lambda _: None, texts)  # whatever else it says is there, too


def test_an_unknown_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no such place: tail"):
        body_map("tail", {}, lambda _: None, Texts("en"))
    with pytest.raises(ValueError, match="no such place: wing"):
        body_map(None, {"wing": 1}, lambda _: None, Texts("en"))


def test_all_words_have_a_colour_of_the_scheme() -> None:
    # Text without one is black on dark ground, too.
    shown = body_map("chest", {"chest": 1}, lambda _: None, Texts("en"))
    listed = [option.content for option in the_list(shown).options if option.content]
    written = [part for part in walk(shown) if isinstance(part, flet.Text)] + listed
    assert len(written) == 4  # the note on sides, a title for each view, the place with a scan
    assert all(text.color == flet.Colors.ON_SURFACE for text in written)
    assert the_list(shown).color == flet.Colors.ON_SURFACE
