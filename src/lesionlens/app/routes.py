"""Which screen stands at which route."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lesionlens.app.screen import Screen
    from lesionlens.app.session import Session
    from lesionlens.app.state import AppState

#: Pattern of the route -> module in ``screens``, function. Groups become arguments.
ROUTES: dict[str, tuple[str, str]] = {
    r"/scan": ("scan", "scan_screen"),
    r"/crop": ("crop", "crop_screen"),
    r"/result": ("result", "result_screen"),
    r"/history": ("history", "history_screen"),
    r"/history/scans/(\d+)": ("saved_scan", "saved_scan_screen"),
    r"/history/lesions/(\d+)": ("lesion", "lesion_screen"),
    r"/history/compare/(\d+)/(\d+)": ("compare", "compare_screen"),
    r"/learn": ("learn", "learn_screen"),
    r"/learn/([a-z_]+)": ("topic", "topic_screen"),
    r"/settings": ("settings", "settings_screen"),
    r"/settings/about": ("about", "about_screen"),
    r"/settings/model": ("model_card", "model_card_screen"),
    r"/settings/licences": ("licences", "licences_screen"),
    r"/settings/licences/([A-Za-z0-9._-]+)": ("licences", "licence_screen"),
    r"/settings/performance": ("performance", "performance_screen"),
}
_PATTERNS = {re.compile(pattern): target for pattern, target in ROUTES.items()}


def is_route(route: str, state: AppState) -> bool:
    """Whether there is a screen for a route now: no crop without a photo, no result without one."""
    if route == "/crop":
        return state.draft is not None
    if route == "/result":
        return state.result is not None
    return any(pattern.fullmatch(route) for pattern in _PATTERNS)


def make_screen(route: str, session: Session) -> Screen:
    """Return the screen of a route, for the session's state as it is.

    Raises:
        KeyError: there is no such route.
    """
    for pattern, (module, function) in _PATTERNS.items():
        found = pattern.fullmatch(route)
        if found:
            screens = import_module(f"lesionlens.app.screens.{module}")
            arguments = [int(part) if part.isdigit() else part for part in found.groups()]
            screen: Screen = getattr(screens, function)(session, *arguments)
            return screen
    raise KeyError(route)
