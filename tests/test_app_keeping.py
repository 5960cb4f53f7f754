"""The history's screens: a session without a browser, screens as trees, handlers awaited."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flet as ft
import pytest
from flet.controls.base_control import BaseControl
from flet.controls.object_patch import ObjectPatch

import sample_scans as samples
from app_kit import (
    FakeDevice,
    controls_of,
    find,
    fire,
    jpeg_of,
    make_session,
    screen_of,
    tap,
    texts_of,
)
from lesionlens.app import annotating, keeping
from lesionlens.app.browsing import ERROR_KINDS, PAGE, kind_of
from lesionlens.app.device import Picked
from lesionlens.app.routes import make_screen
from lesionlens.app.session import Session
from lesionlens.app.shell import make_views
from lesionlens.app.texts import LANGUAGES
from lesionlens.errors import HistoryError
from lesionlens.history.records import Scan
from lesionlens.history.store import History
from lesionlens.records import Prediction

ENGINE = SimpleNamespace()  # the history never asks it
PHOTO = jpeg_of("bcc", size_px=(120, 90))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "SEARCH_DELAY_S", 0)
    monkeypatch.setattr(annotating, "SAVE_DELAY_S", 0)


@pytest.fixture
def session() -> Iterator[Session]:
    """A session with an empty history in memory."""
    session = make_session(engine=ENGINE)
    yield session
    session.close()


def save(
    session: Session, number: int = 0, answer: Prediction = samples.ANSWER, **more: Any
) -> Scan:
    return samples.save(session.history, number, answer, **({"photo": PHOTO} | more))


def go(session: Session, route: str) -> None:
    """Go to a screen, and read what it shows as ``main`` does."""
    session.navigation.go(route)
    refresh(session)


def refresh(session: Session) -> None:
    asyncio.run(session.keeping.refresh())


def say_yes(session: Session) -> None:
    assert session.state.question is not None
    asyncio.run(session.answer(True))


def field_of(session: Session, label: str) -> ft.Control:
    """Return the field or list of the screen on top that is labelled so."""
    found = [it for it in controls_of(screen_of(session)) if getattr(it, "label", None) == label]
    fields = [it for it in found if isinstance(it, ft.TextField | ft.Dropdown)]
    assert len(fields) == 1, f"{label}: {found}"
    return fields[0]


def type_into(session: Session, label: str, text: str) -> None:
    field = field_of(session, label)
    field.value = text  # type: ignore[attr-defined]
    asyncio.run(fire(field, "on_change"))


def choose_in(session: Session, label: str, value: str) -> None:
    field = field_of(session, label)
    field.value = value  # type: ignore[attr-defined]
    asyncio.run(fire(field, "on_select"))


# --- the list -------------------------------------------------------------------------------


def test_an_empty_history_invites_to_a_first_scan(session: Session) -> None:
    go(session, "/history")
    assert "No scans yet" in texts_of(screen_of(session))
    tap(session, "Make a scan")
    assert session.state.route == "/scan"


def test_the_list_has_the_newest_first_and_says_what_each_is(session: Session) -> None:
    save(session, 0, body_site="face")
    save(session, 1, samples.HEALTHY)
    go(session, "/history")
    said = texts_of(screen_of(session))
    assert said.index("Looks most like healthy skin") < said.index("Not sure: may be")
    assert "Face" in said
    assert "2 scans" in said
    tap(session, "Looks most like healthy skin")
    assert session.state.route == "/history/scans/2"


@pytest.mark.parametrize(("count", "words"), [(1, "1 scan"), (2, "2 scans")])
def test_the_count_takes_the_right_plural(session: Session, count: int, words: str) -> None:
    for number in range(count):
        save(session, number)
    go(session, "/history")
    assert words in texts_of(screen_of(session)).split("\n")


def test_pages_are_loaded_as_they_are_asked_for(session: Session) -> None:
    for number in range(PAGE + 7):
        save(session, number)
    go(session, "/history")
    browse = session.state.browse
    assert browse is not None
    assert len(browse.tiles) == PAGE
    tap(session, "Show more (7 left)")
    shown = session.state.browse
    assert shown is not None
    assert [tile.scan.id for tile in shown.tiles] == list(range(PAGE + 7, 0, -1))
    assert "Show more" not in texts_of(screen_of(session))


def test_a_search_narrows_the_list_and_the_latest_one_wins(session: Session) -> None:
    save(session, 0, notes="Itches at night")
    save(session, 1, notes="Bleeds")
    go(session, "/history")

    async def type_fast() -> None:
        await asyncio.gather(session.keeping.search("itch"), session.keeping.search("bleeds"))

    asyncio.run(type_fast())
    assert session.state.browse is not None
    assert [tile.scan.id for tile in session.state.browse.tiles] == [2]
    assert "1 scan found, of 2" in texts_of(screen_of(session))
    type_into(session, "Search", "nowhere")
    assert "No scan matches" in texts_of(screen_of(session))
    tap(session, "Show all scans")
    assert len(session.state.browse.tiles) == 2


def test_chips_narrow_the_list_to_an_answer_or_a_place(session: Session) -> None:
    save(session, 0, body_site="face")
    save(session, 1, samples.HEALTHY, body_site="chest")
    save(session, 2, samples.ELSEWHERE)
    go(session, "/history")
    for chip, ids in (("Healthy skin", [2]), ("None of the three", [3]), ("Not sure", [1])):
        tap(session, chip, handler="on_select")
        assert session.state.browse is not None
        assert [tile.scan.id for tile in session.state.browse.tiles] == ids
        tap(session, chip, handler="on_select")  # off again
        assert len(session.state.browse.tiles) == 3
    tap(session, "Chest: 1 scan")
    assert [tile.scan.id for tile in session.state.browse.tiles] == [2]
    tap(session, "Any place", handler="on_click")
    assert len(session.state.browse.tiles) == 3


def test_what_was_saved_meanwhile_is_there_when_one_comes_back(session: Session) -> None:
    save(session, 0)
    go(session, "/history")
    go(session, "/scan")
    assert session.state.browse is None  # nothing of it is held while no screen shows it
    save(session, 1)
    go(session, "/history")
    assert session.state.browse is not None
    assert session.state.browse.n_all == 2


@pytest.mark.parametrize(
    ("platform", "words"), [("web", "while this page is open"), ("android", "until the app is")]
)
def test_a_history_in_memory_says_how_long_it_lasts(platform: str, words: str) -> None:
    session = make_session(engine=ENGINE, device=FakeDevice(platform))
    save(session)
    go(session, "/history")
    assert words in texts_of(screen_of(session))


def test_a_history_on_disk_does_not_say_it_is_lost(tmp_path: Path) -> None:
    session = make_session(engine=ENGINE, folder=tmp_path)
    save(session)
    go(session, "/history")
    assert "Kept only" not in texts_of(screen_of(session))
    session.close()


# --- selecting and deleting -----------------------------------------------------------------


def test_several_scans_are_selected_and_deleted_for_good(session: Session) -> None:
    for number in range(3):
        save(session, number)
    go(session, "/history")
    tap(session, "Select scans")
    screen = screen_of(session)
    for tile in [it for it in controls_of(screen) if it.key in ("scan-1", "scan-3")]:
        asyncio.run(fire(tile.content))  # type: ignore[attr-defined]
    assert screen_of(session).title == "2 selected"
    tap(session, "Delete 2 scans")
    assert session.history.count() == 3  # asked first
    say_yes(session)
    assert [scan.id for scan in session.history.scans()] == [2]
    assert session.state.message is not None
    assert "2 scans deleted" in session.state.message.text
    assert "1 scan" in texts_of(screen_of(session))


def test_holding_a_scan_begins_a_selection_with_it(session: Session) -> None:
    save(session)
    go(session, "/history")
    held = "Not sure: may be basal cell carcinoma or squamous cell carcinoma"
    tap(session, held, handler="on_long_press")
    assert session.state.browse is not None
    assert session.state.browse.selected == {1}
    tap(session, "Stop selecting")
    assert session.state.browse.selected is None


def test_cancelling_the_question_deletes_nothing(session: Session) -> None:
    save(session)
    go(session, "/history")
    tap(session, "Delete everything")
    asyncio.run(session.answer(False))
    assert session.history.count() == 1


def test_deleting_everything_leaves_no_byte_of_it_in_the_file(tmp_path: Path) -> None:
    session = make_session(engine=ENGINE, folder=tmp_path)
    picture = samples.jpeg(7)
    samples.save(session.history, 0, photo=picture, notes="my secret note")
    go(session, "/history")
    tap(session, "Delete everything")
    say_yes(session)
    assert "No scans yet" in texts_of(screen_of(session))
    session.close()
    left = b"".join(path.read_bytes() for path in tmp_path.glob("history.db*"))
    assert picture[20:80] not in left
    assert b"my secret note" not in left


# --- a saved scan ---------------------------------------------------------------------------


def test_a_saved_scan_shows_its_answer_and_its_picture(session: Session) -> None:
    save(session, overlay=PHOTO, body_site="face")
    go(session, "/history/scans/1")
    screen = screen_of(session)
    said = texts_of(screen)
    for words in ("Not sure: may be", "What to do next", "Not sharp", "Face", "lens 0.1.0"):
        assert words in said
    assert "Not a diagnosis" in texts_of([screen.bottom])
    pictures = [it for it in controls_of(screen) if isinstance(it, ft.Image)]
    assert [it.src for it in pictures] == [PHOTO, PHOTO]


def test_the_slider_lays_the_heat_map_over_the_picture(session: Session) -> None:
    save(session, overlay=PHOTO)
    go(session, "/history/scans/1")
    slider = next(it for it in controls_of(screen_of(session)) if isinstance(it, ft.Slider))
    slider.value = 0.7
    asyncio.run(fire(slider, "on_change"))
    layers = [it for it in controls_of(screen_of(session)) if isinstance(it, ft.Image)]
    assert layers[1].opacity == 0.7


def test_notes_are_saved_as_one_types_and_stay_as_typed(session: Session) -> None:
    save(session)
    go(session, "/history/scans/1")
    type_into(session, "Notes", "Since May ")
    assert session.history.scan(1).notes == "Since May "
    assert "Saved" in texts_of(screen_of(session)).split("\n")


def test_notes_that_are_not_saved_yet_are_saved_when_one_goes_back(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(session)
    go(session, "/history")
    go(session, "/history/scans/1")
    monkeypatch.setattr(annotating, "SAVE_DELAY_S", 60)

    async def type_and_leave() -> None:
        typing = asyncio.create_task(session.annotating.type_notes(1, "typed in a hurry"))
        await asyncio.sleep(0)
        assert "Not saved yet" in texts_of(screen_of(session))
        session.navigation.back()
        await session.keeping.refresh()
        typing.cancel()

    asyncio.run(type_and_leave())
    assert session.history.scan(1).notes == "typed in a hurry"


def test_a_field_is_the_same_object_so_that_nothing_is_typed_over(session: Session) -> None:
    save(session)
    go(session, "/history/scans/1")
    before = field_of(session, "Notes")
    type_into(session, "Notes", "fast")
    assert field_of(session, "Notes") is before  # Flet does not send it anything
    go(session, "/scan")
    go(session, "/history/scans/1")
    again = field_of(session, "Notes")
    assert again is not before
    assert again.value == "fast"  # type: ignore[attr-defined]


def test_a_search_that_is_cleared_empties_the_field(session: Session) -> None:
    save(session)
    go(session, "/history")
    type_into(session, "Search", "nowhere")
    tap(session, "Clear search")
    assert field_of(session, "Search").value == ""  # type: ignore[attr-defined]
    assert "1 scan" in texts_of(screen_of(session)).split("\n")


def test_letters_that_arrive_after_the_screen_was_left_are_not_lost(session: Session) -> None:
    save(session)
    go(session, "/history/scans/1")
    field = field_of(session, "Notes")
    go(session, "/scan")
    field.value = "to the last letter"  # type: ignore[attr-defined]
    asyncio.run(fire(field, "on_change"))
    assert session.history.scan(1).notes == "to the last letter"


def test_a_scan_is_deleted_with_notes_that_are_not_saved_yet(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(session)
    go(session, "/history")
    go(session, "/history/scans/1")

    async def type_and_delete() -> None:
        monkeypatch.setattr(annotating, "SAVE_DELAY_S", 0.02)
        typing = asyncio.create_task(session.annotating.type_notes(1, "never mind"))
        await asyncio.sleep(0)
        await session.keeping.delete(1)
        await session.keeping.refresh()
        await typing

    asyncio.run(type_and_delete())
    message = session.state.message
    assert message is not None
    assert not message.is_error
    assert session.state.route == "/history"


def test_notes_whose_typing_pauses_while_their_scan_is_deleted_are_no_error(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(session)
    go(session, "/history")
    go(session, "/history/scans/1")
    monkeypatch.setattr(annotating, "SAVE_DELAY_S", 0.02)
    delete, has_paused, said = session.history.delete, threading.Event(), list[str]()

    def slowly(*scan_ids: int) -> None:
        delete(*scan_ids)
        assert has_paused.wait(60)

    def say(text: str, *, is_error: bool = False) -> None:
        said.append(f"error: {text}" if is_error else text)

    monkeypatch.setattr(session.history, "delete", slowly)
    monkeypatch.setattr(session, "say", say)

    async def type_and_delete() -> None:
        typing = asyncio.create_task(session.annotating.type_notes(1, "never mind"))
        typing.add_done_callback(lambda _: has_paused.set())
        await asyncio.sleep(0)
        await session.keeping.delete(1)

    asyncio.run(type_and_delete())
    assert said == [session.texts("history.deleted", count=1)]


def test_notes_are_saved_when_the_window_is_closed(tmp_path: Path) -> None:
    session = make_session(engine=ENGINE, folder=tmp_path)
    save(session)
    go(session, "/history/scans/1")
    opened = session.state.opened.scans[1]
    assert opened is not None
    session.state.opened = dataclasses.replace(
        session.state.opened, scans={1: dataclasses.replace(opened, notes="last words")}
    )
    session.close()
    with History(tmp_path / "history.db") as history:
        assert history.scan(1).notes == "last words"


def test_the_body_map_opens_and_what_is_chosen_is_saved(session: Session) -> None:
    save(session)
    go(session, "/history/scans/1")
    tap(session, "Change")
    choose_in(session, session.texts("body.list_label"), "left_forearm")
    assert session.history.scan(1).body_site == "left_forearm"
    assert "Left forearm" in texts_of(screen_of(session))
    labels = [getattr(it, "label", None) for it in controls_of(screen_of(session))]
    assert session.texts("body.list_label") not in labels  # the map is closed again


def test_a_scan_begins_a_new_spot_and_another_joins_it(session: Session) -> None:
    save(session, 0, body_site="face")
    save(session, 1)
    go(session, "/history/scans/1")
    choose_in(session, "Follow a spot over time", "new")
    type_into(session, "Name of the spot", " left cheek ")
    tap(session, "Follow this spot")
    lesion = session.history.lesions()[0]
    assert (lesion.name, lesion.body_site, lesion.n_scans) == ("left cheek", "face", 1)
    go(session, "/history/scans/2")
    choose_in(session, "Follow a spot over time", str(lesion.id))
    assert session.history.scan(2).lesion_id == lesion.id
    assert session.history.scan(2).body_site == "face"  # it is where the spot is
    tap(session, "See this spot over time")
    assert session.state.route == f"/history/lesions/{lesion.id}"


def test_a_spot_needs_a_name(session: Session) -> None:
    save(session)
    go(session, "/history/scans/1")
    choose_in(session, "Follow a spot over time", "new")
    type_into(session, "Name of the spot", "   ")
    tap(session, "Follow this spot")
    assert session.history.lesions() == []


def test_a_deleted_scan_closes_its_screen(session: Session) -> None:
    save(session, 0)
    save(session, 1)
    go(session, "/history")
    go(session, "/history/scans/1")
    tap(session, "Delete this scan")
    say_yes(session)
    assert session.state.route == "/history"
    assert session.history.count() == 1
    assert "1 scan" in texts_of(screen_of(session)).split("\n")


def test_a_scan_that_is_not_there_says_so(session: Session) -> None:
    go(session, "/history/scans/99")
    assert "not here any more" in texts_of(screen_of(session))
    tap(session, "Go to the history")
    assert session.state.route == "/history"


def test_the_report_of_a_saved_scan_is_shared_as_a_pdf(session: Session) -> None:
    save(session, notes="Since May")
    go(session, "/history/scans/1")
    tap(session, "Share a report (PDF)")
    device = session.device
    assert isinstance(device, FakeDevice)
    ((name, data, mime_type),) = device.shared
    assert name.endswith(".pdf")
    assert data.startswith(b"%PDF")
    assert mime_type == "application/pdf"


# --- a lesion over time ---------------------------------------------------------------------


def follow(session: Session, n_scans: int) -> int:
    """Follow a lesion with so many scans, ten days apart; returns its id."""
    lesion = session.history.add_lesion("left cheek", body_site="face")
    for number in range(n_scans):
        moment = samples.BEGIN + timedelta(days=10 * number)
        save(session, number, taken_at=moment, lesion_id=lesion.id)
    return lesion.id


def test_a_lesion_shows_its_scans_and_how_long_they_span(session: Session) -> None:
    go(session, f"/history/lesions/{follow(session, 3)}")
    said = texts_of(screen_of(session))
    assert "3 scans · over 20 days" in said
    assert said.index("20 days after the first") < said.index("First scan of this spot")


def test_any_two_scans_of_a_lesion_are_compared_the_earlier_first(session: Session) -> None:
    lesion_id = follow(session, 3)
    go(session, f"/history/lesions/{lesion_id}")
    tap(session, "Compare two scans")
    tap(session, "10 days after the first")  # the first and the last are chosen: one gives way
    opened = session.state.opened.lesions[lesion_id]
    assert opened is not None
    assert opened.chosen == (3, 2)
    tap(session, "Compare")
    refresh(session)
    assert session.state.route == "/history/compare/3/2"
    said = texts_of(screen_of(session))
    assert "10 days apart" in said
    assert "does not measure growth" in said
    assert said.index("Earlier") < said.index("Later")
    assert "Not a diagnosis" in said


@pytest.mark.parametrize(("width_px", "n_columns"), [(360, 1), (820, 2)])
def test_compared_pictures_stand_side_by_side_where_there_is_room(
    session: Session, width_px: float, n_columns: int
) -> None:
    follow(session, 2)
    session.state.width_px = width_px
    go(session, "/history/compare/1/2")
    pictures = [
        [it for it in controls_of(part) if isinstance(it, ft.Image)]
        for part in screen_of(session).body
    ]
    assert max(len(found) for found in pictures) == n_columns


def test_a_lesion_is_renamed_but_never_to_nothing(session: Session) -> None:
    lesion_id = follow(session, 1)
    go(session, f"/history/lesions/{lesion_id}")
    type_into(session, "Name of the spot", "temple")
    assert session.history.lesion(lesion_id).name == "temple"
    type_into(session, "Name of the spot", "  ")
    assert session.history.lesion(lesion_id).name == "temple"
    assert "A spot needs a name" in texts_of(screen_of(session))


@pytest.mark.parametrize(
    ("words", "n_left"),
    [("Stop following, keep the scans", 2), ("Delete the spot and its scans", 0)],
)
def test_a_lesion_is_deleted_with_its_scans_or_without(
    session: Session, words: str, n_left: int
) -> None:
    lesion_id = follow(session, 2)
    go(session, "/history")
    go(session, f"/history/lesions/{lesion_id}")
    tap(session, words)
    say_yes(session)
    assert session.history.lesions() == []
    assert session.history.count() == n_left
    assert session.state.route == "/history"


# --- taking elsewhere -----------------------------------------------------------------------


def test_an_export_is_read_in_again_and_the_summary_says_what_came_of_it(
    session: Session,
) -> None:
    follow(session, 2)
    go(session, "/history")
    tap(session, "Export all (ZIP)")
    device = session.device
    assert isinstance(device, FakeDevice)
    ((name, data, _),) = device.shared
    assert name.endswith(".zip")
    other = make_session(engine=ENGINE)
    assert isinstance(other.device, FakeDevice)
    other.device.photo = Picked(name, data)
    go(other, "/history")
    tap(other, "Import an export (ZIP)")
    said = texts_of(screen_of(other))
    assert "2 scans were added." in said
    assert "left cheek" in said
    tap(other, "Import an export (ZIP)")
    assert "2 scans were here already" in texts_of(screen_of(other))
    tap(other, "Close")
    assert "Import finished" not in texts_of(screen_of(other))


def test_what_is_no_export_is_refused_in_words(session: Session) -> None:
    assert isinstance(session.device, FakeDevice)
    session.device.photo = Picked("holiday.zip", b"not a zip at all")
    go(session, "/history")
    tap(session, "Import an export (ZIP)")
    message = session.state.message
    assert message is not None
    assert message.is_error
    assert "not an export of LesionLens" in message.text
    assert "No scans yet" in texts_of(screen_of(session))  # the screen is as it was


def test_a_table_is_handed_out_for_spreadsheets(session: Session) -> None:
    save(session, notes="=1+1")
    go(session, "/history")
    tap(session, "Export a table (CSV)")
    assert isinstance(session.device, FakeDevice)
    ((name, data, _),) = session.device.shared
    assert name.endswith(".csv")
    table = data.decode("utf-8-sig")
    assert table.startswith("id,taken_at")
    assert "'=1+1" in table


# --- what goes wrong ------------------------------------------------------------------------


def test_a_damaged_history_is_asked_about_and_set_aside(tmp_path: Path) -> None:
    damaged = b"this was a history once" * 100
    (tmp_path / "history.db").write_bytes(damaged)
    session = make_session(engine=ENGINE, folder=tmp_path)
    (view,) = make_views(session)
    assert "The history cannot be opened" in texts_of(view)
    asyncio.run(fire(find(view, "Set it aside and start a new one")))
    assert session.state.trouble is None
    assert [it.read_bytes() for it in tmp_path.glob("history.corrupt-*.db")] == [damaged]
    save(session)
    session.close()
    with History(tmp_path / "history.db") as history:
        assert history.count() == 1


def test_one_can_go_on_without_a_history_and_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "history.db").write_bytes(b"x" * 4096)
    session = make_session(engine=ENGINE, folder=tmp_path)
    (view,) = make_views(session)
    asyncio.run(fire(find(view, "Go on without keeping scans")))
    save(session)
    go(session, "/history")
    assert "Kept only until the app is closed" in texts_of(screen_of(session))
    assert (tmp_path / "history.db").read_bytes() == b"x" * 4096


def test_a_history_of_a_newer_version_is_opened_again_once_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    History(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    session = make_session(engine=ENGINE, folder=tmp_path)
    (view,) = make_views(session)
    assert "newer version of the app" in texts_of(view)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    asyncio.run(fire(find(view, "Try again")))
    assert session.state.trouble is None
    assert session.history.path == path
    session.close()


def test_an_error_of_the_database_is_said_in_the_persons_language(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = make_session(engine=ENGINE, language="id")
    save(session)
    go(session, "/history/scans/1")

    def full(*_: object, **__: object) -> None:
        cause = sqlite3.OperationalError("database or disk is full")
        cause.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise HistoryError("the disk is full") from cause

    monkeypatch.setattr(session.history, "update", full)
    type_into(session, "Catatan", "gatal")
    message = session.state.message
    assert message is not None
    assert message.is_error
    assert "Penyimpanan penuh" in message.text
    opened = session.state.opened.scans[1]
    assert opened is not None
    assert opened.notes == "gatal"


def test_damage_that_shows_while_reading_is_asked_about(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrupt(*_: object, **__: object) -> None:
        cause = sqlite3.DatabaseError("database disk image is malformed")
        cause.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise HistoryError("damaged") from cause

    monkeypatch.setattr(session.history, "count", corrupt)
    go(session, "/history")
    assert session.state.trouble is not None
    assert session.state.trouble.kind == "damaged"


def test_every_reason_of_the_history_has_words() -> None:
    kinds = {*ERROR_KINDS.values(), "missing", "other", "unusable", "not_an_export"}
    for language in LANGUAGES:
        texts = make_session(engine=ENGINE, language=language).texts
        assert all(texts(f"history.error_{kind}") for kind in kinds)
    assert kind_of(HistoryError("no cause")) == "missing"


# --- how it holds ---------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width_px", [360, 820, 1280])
def test_every_screen_is_drawn_in_every_language_and_width(language: str, width_px: int) -> None:
    session = make_session(engine=ENGINE, language=language, size_px=(width_px, 800))
    lesion_id = follow(session, 2)
    save(session, 5, samples.ELSEWHERE)
    for route in (
        "/history",
        f"/history/lesions/{lesion_id}",
        "/history/compare/1/2",
        "/history/scans/3",
    ):
        go(session, route)
        screen = screen_of(session)
        assert screen.title
        assert texts_of(screen)


def test_tiles_that_show_the_same_are_neither_compared_nor_sent_again(session: Session) -> None:
    for number in range(120):
        save(session, number, photo=samples.jpeg(1), thumbnail=samples.jpeg(number))
    go(session, "/history")
    for _ in range(2):
        asyncio.run(session.keeping.more())

    def draw() -> ft.Control:
        drawn = ft.Column(make_screen("/history", session).body)
        object.__setattr__(drawn, "_frozen", True)
        return drawn

    before = draw()
    ObjectPatch.from_diff(None, before, BaseControl)
    tiles = [it for it in controls_of(before) if str(it.key).startswith("scan-")]
    session.state.is_dark = session.state.is_dark  # what is drawn anew shows the same
    refresh(session)
    after = draw()
    patch, _, _ = ObjectPatch.from_diff(before, after, BaseControl, frozen=True)
    assert patch.patch == []  # no picture is sent again, nothing else either
    same = [it for it in controls_of(after) if str(it.key).startswith("scan-")]
    assert len(same) == 120
    assert all(a is b for a, b in zip(tiles, same, strict=True))
    tap(session, "Select scans")
    patch, _, _ = ObjectPatch.from_diff(after, draw(), BaseControl, frozen=True)
    sent = [step for step in patch.patch if isinstance(step.get("value"), bytes)]
    assert sent == []


SAVING = """
import sys
from pathlib import Path
from app_kit import make_session
import sample_scans
session = make_session(engine=object(), folder=Path(sys.argv[1]))
for number in range(300):  # no more, lest it fill a disk while whoever kills it does not run
    scan = sample_scans.save(session.history, number, photo=sample_scans.jpeg(number, 200_000))
    print(scan.id, flush=True)
"""


def test_an_app_killed_in_the_middle_of_a_save_loses_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SAVING, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent,
    )
    assert process.stdout is not None
    told = {int(process.stdout.readline())}
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    told |= {int(line) for line in process.communicate()[0].splitlines()}
    session = make_session(engine=ENGINE, folder=tmp_path)
    assert session.state.trouble is None
    kept = {scan.id for scan in session.history.scans()}
    assert told <= kept
    assert len(kept) <= len(told) + 1
    go(session, "/history")
    assert session.state.browse is not None
    assert len(session.state.browse.tiles) == min(PAGE, len(kept))  # each with its picture
    stream = io.BytesIO()
    assert session.history.export_zip(stream) == len(kept)
    session.close()
