"""Fixtures of the tests that drive the app in a browser; they need a Chromium or are skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kit
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

#: Mouse, keys and scripts of the browser wait for a page that is frozen without end.
_TIMEOUT_S = 180


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give up early on a page that hangs: none of these tests takes a minute, unless it is slow."""
    for item in items:
        is_ours = Path(__file__).parent in item.path.parents
        if is_ours and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))


@pytest.fixture(scope="session")
def server() -> Iterator[kit.Server]:
    """A running ``lesionlens app --web``; every page of it has a session of its own."""
    _need_a_browser()
    server = kit.start_server("--threads", "1")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """What drives browsers. Per module: its event loop would stand in the way of other tests."""
    _need_a_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """A Chromium; every page that is opened in it has a profile of its own."""
    browser = kit.launch(playwright)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def kept(browser: Browser, server: kit.Server) -> Any:
    """What a browser keeps of a consent: half the time that it takes to open the app."""
    return kit.consent_of(browser, server.url)


@pytest.fixture
def open_app(
    browser: Browser, server: kit.Server, request: pytest.FixtureRequest
) -> Iterator[Callable[..., kit.App]]:
    """A function that opens the app: ``open_app(size=kit.TABLET, language="id")``.

    At the end the pages are closed, and the test fails if a browser reported an error.
    """
    opened: list[kit.App] = []

    def open_one(**options: object) -> kit.App:
        if options.get("consent", True):
            options["kept"] = request.getfixturevalue("kept")
        app = kit.App.open(browser, server.url, **options)  # type: ignore[arg-type]
        opened.append(app)
        return app

    yield open_one
    problems = [problem for app in opened for problem in app.problems]
    for app in opened:
        app.close()
    assert not problems, "\n".join(problems)


def _need_a_browser() -> None:
    for package in ("playwright", "flet_web"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install -e '.[test]' (make test-fast does)")
    if kit.find_chromium() is None:
        pytest.skip("needs a Chromium: apt install chromium, or its path in $CHROMIUM")
