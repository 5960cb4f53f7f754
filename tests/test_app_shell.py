"""The frame around every screen: bars, places, the line at the bottom, questions."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import flet as ft
import pytest

from app_kit import FakeDevice, controls_of, find, fire, make_session, texts_of
from lesionlens.app.navigation import TABS
from lesionlens.app.session import Session
from lesionlens.app.shell import make_question, make_views, title_of
from lesionlens.app.state import Message
from lesionlens.bundle import load_bundle

ENGINE = SimpleNamespace(spec=load_bundle().spec, model_bytes=1)


def session_at(*stack: str, **options: Any) -> Session:
    session = make_session(engine=ENGINE, device=FakeDevice(), **options)
    session.state.stack = stack
    return session


def top_of(session: Session) -> ft.View:
    return make_views(session)[-1]


def kinds_in(view: ft.View) -> set[type]:
    return {type(control) for control in controls_of(view)}


@pytest.mark.parametrize(
    ("size_px", "has_rail"),
    [((360, 740), False), ((390, 844), False), ((599, 900), False), ((600, 900), True),
     ((820, 1180), True), ((1280, 800), True)],
)  # fmt: skip
def test_places_are_a_bar_on_a_phone_and_a_rail_where_there_is_room(
    size_px: tuple[float, float], has_rail: bool
) -> None:
    view = top_of(session_at("/settings", size_px=size_px))
    assert (ft.NavigationRail in kinds_in(view)) is has_rail
    assert (view.navigation_bar is None) is has_rail


@pytest.mark.parametrize("size_px", [(390, 844), (1280, 800)])
@pytest.mark.parametrize("place", TABS)
def test_the_place_that_one_is_in_is_marked_and_others_can_be_gone_to(
    place: str, size_px: tuple[float, float]
) -> None:
    session = session_at("/settings", "/settings/about", size_px=size_px)
    (places,) = [
        it
        for it in controls_of(top_of(session))
        if isinstance(it, ft.NavigationBar | ft.NavigationRail)
    ]
    assert TABS[places.selected_index or 0] == "/settings"
    asyncio.run(fire(places, "on_change", data=TABS.index(place)))
    assert session.state.stack == (place,)


def test_there_is_an_arrow_where_there_is_something_behind() -> None:
    session = session_at("/settings", "/settings/about")
    below, above = make_views(session)
    assert below.appbar.leading is None
    asyncio.run(fire(find(above.appbar.leading, "Back")))
    assert session.state.stack == ("/settings",)


@pytest.mark.parametrize("size_px", [(390, 844), (1280, 800), (2560, 1440)])
def test_lines_are_no_longer_than_can_be_read(size_px: tuple[float, float]) -> None:
    session = session_at("/settings", size_px=size_px)
    margins = [
        it.padding.left + it.padding.right
        for it in controls_of(top_of(session))
        if isinstance(it, ft.Container) and isinstance(it.padding, ft.Padding)
    ]
    room = size_px[0] - session.state.rail_px - max(margins)
    assert room <= 640


def test_the_window_is_called_by_its_screen() -> None:
    session = session_at("/settings", "/settings/about")
    assert title_of(session) == "About LesionLens - LesionLens"
    assert top_of(session).appbar.title.value == "About LesionLens"


def test_a_line_at_the_bottom_can_be_put_away_or_acted_on() -> None:
    session = session_at("/settings")
    done: list[str] = []

    async def undo() -> None:
        done.append("undone")

    session.state.message = Message("Deleted", action_text="Undo", action=undo)
    view = top_of(session)
    (line,) = [
        it for it in controls_of(view) if isinstance(it, ft.Semantics) and it.live_region is True
    ]
    assert "Deleted" in texts_of(line)
    asyncio.run(fire(find(view, "Undo")))
    assert done == ["undone"]
    assert session.state.message is None
    session.state.message = Message("Failed", is_error=True)
    asyncio.run(fire(find(top_of(session), "Close")))
    assert session.state.message is None


def test_what_goes_on_is_said_on_the_screen_on_top_alone() -> None:
    session = session_at("/settings", "/settings/about")
    session.state.busy = "Reading the photo"
    below, above = make_views(session)
    assert "Reading the photo" not in texts_of(below)
    assert "Reading the photo" in texts_of(above)


def ask(session: Session, done: list[str]) -> None:
    async def delete() -> None:
        done.append("deleted")

    session.ask("Delete?", "It cannot be undone.", "Delete", delete, is_destructive=True)


def test_a_question_is_answered_by_one_of_two() -> None:
    session, done = session_at("/settings"), []
    for words, said in (("Cancel", []), ("Delete", ["deleted"])):
        ask(session, done)
        dialog = make_question(session)
        assert dialog is not None
        assert dialog.modal
        assert dialog.scrollable  # with text twice as large it is higher than a phone
        asyncio.run(fire(find(dialog.actions, words)))
        assert done == said
        assert make_question(session) is None


def test_escape_takes_back_what_is_on_top() -> None:
    session, done = session_at("/settings", "/settings/about"), []
    session.state.message = Message("Copied")
    ask(session, done)
    seen = []
    for _ in range(4):
        asyncio.run(session.escape())
        state = session.state
        seen.append((state.question is None, state.message is None, len(state.stack)))
    assert seen == [(True, False, 2), (True, True, 2), (True, True, 1), (True, True, 1)]
    assert done == []


def test_a_screen_that_fails_says_so_and_leads_home(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(route: str, session: Session) -> None:
        raise ZeroDivisionError(route)

    session = session_at("/scan", "/settings/about")
    monkeypatch.setattr("lesionlens.app.shell.make_screen", fail)
    view = top_of(session)
    assert session.texts("common.error_unexpected") in texts_of([*view.controls])
    assert title_of(session)
    assert "/settings/about" in caplog.text
    asyncio.run(fire(find([*view.controls], session.texts("common.tab_scan"))))
    assert session.state.stack == ("/scan",)
