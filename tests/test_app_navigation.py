"""Where one can go, and that back always leads somewhere sensible."""

from __future__ import annotations

import re

import pytest

from lesionlens.app.navigation import TABS, Navigation
from lesionlens.app.routes import ROUTES, is_route
from lesionlens.app.state import AppState


class Browser:
    """A navigation with an address bar."""

    def __init__(self) -> None:
        self.state = AppState()
        self.addresses: list[str] = []
        self.navigation = Navigation(
            self.state, tell=self.addresses.append, is_route=lambda r: is_route(r, self.state)
        )


def test_a_screen_opens_on_top_and_back_closes_it() -> None:
    browser = Browser()
    browser.navigation.go("/learn")
    browser.navigation.go("/learn/bcc")
    assert browser.state.stack == ("/learn", "/learn/bcc")
    browser.navigation.back()
    assert browser.state.stack == ("/learn",)
    assert browser.addresses == ["/learn", "/learn/bcc", "/learn"]


def test_back_on_another_main_place_leads_to_the_first_and_ends_there() -> None:
    browser = Browser()
    browser.navigation.go("/settings")
    browser.navigation.back()
    assert browser.state.stack == ("/scan",)
    browser.navigation.back()
    assert browser.state.stack == ("/scan",)
    assert browser.addresses == ["/settings", "/scan"]


def test_a_main_place_opens_alone() -> None:
    browser = Browser()
    browser.navigation.go("/history")
    browser.navigation.go("/history/scans/3")
    browser.navigation.go("/learn")
    assert browser.state.stack == ("/learn",)


def test_the_browsers_back_closes_what_is_above() -> None:
    browser = Browser()
    for route in ("/history", "/history/lesions/1", "/history/compare/1/2"):
        browser.navigation.go(route)
    browser.addresses.clear()
    browser.navigation.arrived("/history")
    assert browser.state.stack == ("/history",)
    assert browser.addresses == []  # the browser knows where it went


def test_an_address_that_was_typed_opens_over_the_place_it_belongs_to() -> None:
    browser = Browser()
    browser.navigation.arrived("/history/scans/12")
    assert browser.state.stack == ("/history", "/history/scans/12")
    browser.navigation.arrived("/learn")
    assert browser.state.stack == ("/learn",)


@pytest.mark.parametrize("route", ["/", "/nowhere", "/history/scans/x", "/crop", "/result", ""])
def test_an_address_without_a_screen_leads_home(route: str) -> None:
    browser = Browser()
    browser.navigation.go("/settings")
    browser.navigation.arrived(route)
    assert browser.state.stack == ("/scan",)
    assert browser.addresses[-1] == "/scan"


def test_the_app_itself_may_not_go_nowhere() -> None:
    with pytest.raises(ValueError, match="/nowhere"):
        Browser().navigation.go("/nowhere")


def test_a_line_at_the_bottom_does_not_follow_to_the_next_screen() -> None:
    from lesionlens.app.state import Message

    browser = Browser()
    browser.state.message = Message("Saved")
    browser.navigation.go("/learn")
    assert browser.state.message is None


def test_every_main_place_has_a_screen() -> None:
    assert all(any(re.fullmatch(pattern, tab) for pattern in ROUTES) for tab in TABS)
