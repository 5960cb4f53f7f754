"""Where the person is: a stack of routes, the browser's history kept in step with it."""

from __future__ import annotations

from collections.abc import Callable

from lesionlens.app.state import AppState

#: The four main places, in the order of the bar.
TABS: tuple[str, ...] = ("/scan", "/history", "/learn", "/settings")


class Navigation:
    """Goes to screens and back.

    Args:
        state: whose stack is changed.
        tell: called with each new route, so that the browser's address follows; not called for
            what the browser itself asked for.
        is_route: whether there is a screen for a route.
    """

    def __init__(
        self, state: AppState, *, tell: Callable[[str], None], is_route: Callable[[str], bool]
    ) -> None:
        self._state = state
        self._tell = tell
        self._is_route = is_route

    def go(self, route: str) -> None:
        """Open a screen on top; one of the four main places opens alone."""
        if not self._is_route(route):
            raise ValueError(f"{route}: there is no such screen")
        if route == self._state.route:
            return
        self._set((route,) if route in TABS else (*self._state.stack, route))

    def replace(self, route: str) -> None:
        """Open a screen instead of the one on top, which cannot be gone back to."""
        self._set((*self._state.stack[:-1], route))

    def start(self, route: str) -> None:
        """Open a screen above the first place and close all else, in one step.

        Two steps would put two routes into the browser's history.
        """
        if not self._is_route(route):
            raise ValueError(f"{route}: there is no such screen")
        self._set((TABS[0], route))

    def back(self) -> None:
        """Close the screen on top; on a main place other than the first, go to the first."""
        stack = self._state.stack
        if len(stack) > 1:
            self._set(stack[:-1])
        elif stack != (TABS[0],):
            self._set((TABS[0],))

    def home(self) -> None:
        """Close all but the first place."""
        self._set((TABS[0],))

    def arrived(self, route: str) -> None:
        """Follow the browser, which went back, forward or to an address that was typed."""
        stack = self._state.stack
        if route == stack[-1]:
            return
        if route in stack:
            self._state.stack = stack[: stack.index(route) + 1]
        elif self._is_route(route):
            self._state.stack = (route,) if route in TABS else (_place_of(route), route)
        else:
            self._set((TABS[0],))

    def _set(self, stack: tuple[str, ...]) -> None:
        self._state.message = None
        self._state.stack = stack
        self._tell(stack[-1])


def _place_of(route: str) -> str:
    """Return the main place that a screen belongs to: the first, unless its route says another."""
    return next((tab for tab in TABS if route.startswith(f"{tab}/")), TABS[0])
