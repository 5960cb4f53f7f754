"""The first screen, settings and the frame in a browser: reached by keyboard, kept over visits."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import kit
import pytest
from PIL import Image

from lesionlens.app.preferences import TEXT_SCALES
from lesionlens.app.texts import LANGUAGES, Texts
from lesionlens.app.theme import role

pytestmark = pytest.mark.app

OpenApp = Callable[..., kit.App]
#: Sets the text size in what the browser keeps, and makes the next visit a new one. As a piece of
#: text: a browser would write 2.0 as 2, which is no size.
KEEP_TEXT_SIZE = """(scale) => {
  const key = 'flutter.lesionlens.preferences';
  const kept = JSON.parse(localStorage.getItem(key));
  const changed = kept.replace(/("text_scale": )[0-9.]+/, `$1${scale}`);
  if (changed === kept) throw new Error(`no other text size in ${kept}`);
  localStorage.setItem(key, JSON.stringify(changed));
  sessionStorage.clear();
}"""
SIZES = [kit.SMALL, kit.PHONE, kit.TABLET, kit.LAPTOP]


def place(app: kit.App, name: str) -> dict[str, Any]:
    """Return how one of the four places is found: what it is called, and what it is."""
    words = app.texts(f"common.tab_{name}")
    size = app.page.viewport_size
    assert size is not None
    if size["width"] < 600:
        return {"name": words, "role": "tab"}
    return {"name": re_start(words)}  # a rail's are buttons that say which of how many they are


def settings(app: kit.App) -> None:
    app.tap(**place(app, "settings"))
    app.wait_for_text(app.texts("settings.language"))


def ground_of(app: kit.App) -> str:
    """Return the colour that most of the screen has, as ``#RRGGBB``."""
    app.settle()
    picture = Image.open(io.BytesIO(app.page.screenshot())).convert("RGB")
    colors = picture.getcolors(picture.width * picture.height)
    assert colors is not None
    red, green, blue = max(colors)[1]  # type: ignore[misc]
    return f"#{red:02X}{green:02X}{blue:02X}"


def wait_for_ground(app: kit.App, *roles: str, is_dark: bool) -> None:
    """Wait until the page has changed over; whole cards may cover most of it."""
    wanted = {role(name, is_dark=is_dark) for name in roles}
    app.until(lambda: ground_of(app) in wanted, f"the page is one of {wanted}")


def test_consent_is_asked_for_once_and_not_again_after_a_reload(open_app: OpenApp) -> None:
    app = open_app(consent=False)
    agree = app.find(app.texts("consent.agree"))
    app.wait_for(app.texts("consent.agree"))
    assert agree.get_attribute("aria-disabled") == "true"
    app.agree()
    app.wait_for_kept()
    app.page.evaluate("sessionStorage.clear()")  # a new visit: the server knows nobody
    app.reload()
    app.wait_for(app.texts("common.tab_scan"), role="tab")


def test_the_first_screen_says_which_machine_the_pictures_go_to(open_app: OpenApp) -> None:
    app = open_app(consent=False)
    host = app.page.url.split("/")[2]
    app.wait_for_text(app.texts("consent.where.this_machine", host=host))


def test_a_language_chosen_before_consent_stays(open_app: OpenApp) -> None:
    app = open_app(consent=False)
    app.tap(LANGUAGES["id"])
    app.texts = Texts("id")
    app.wait_for_text(app.texts("consent.title"))
    app.agree()
    settings(app)
    app.page.wait_for_function("document.title.startsWith('Setelan')")


def test_what_was_chosen_is_still_so_in_a_new_session(open_app: OpenApp) -> None:
    app = open_app()
    settings(app)
    app.tap(app.texts("settings.dark"))
    wait_for_ground(app, "surface", "surface_container_low", is_dark=True)
    app.wait_for_kept('"theme": "dark"')
    app.page.evaluate("sessionStorage.clear()")
    app.reload()
    app.wait_for_text(app.texts("settings.language"))  # and the page is where it was
    wait_for_ground(app, "surface", "surface_container_low", is_dark=True)


def test_the_page_follows_the_systems_light_and_dark(open_app: OpenApp) -> None:
    app = open_app(dark=True)
    settings(app)
    wait_for_ground(app, "surface", "surface_container_low", is_dark=True)
    app.page.emulate_media(color_scheme="light")
    wait_for_ground(app, "surface", "surface_container_low", is_dark=False)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_page_of_settings_can_be_read_at_every_size(
    open_app: OpenApp, size: tuple[int, int]
) -> None:
    app = open_app(size=size, calm=True)
    app.page.evaluate(KEEP_TEXT_SIZE, str(TEXT_SCALES[-1]))
    app.reload()
    settings(app)
    *_, height = app.place_of(app.find(app.texts("settings.language"), role="heading"))
    assert height > 40  # of one line: twice as large it is
    for place, words in (
        ("about", app.texts("about.purpose")),
        ("model", app.texts("model.limits")),
        ("licences", app.texts("about.parts")),
    ):
        app.tap(re_start(app.texts(f"settings.{place}")))
        found = app.wait_for_text(words)
        x, _, width, _ = app.place_of(found)
        assert x >= 0
        assert x + width <= size[0]
        app.tap(app.texts("common.back"))
        app.wait_for_text(app.texts("settings.language"))


def re_start(words: str) -> re.Pattern[str]:
    """Match a name that starts with words and goes on."""
    return re.compile(f"^{re.escape(words)}")


def test_the_browsers_back_and_escape_close_what_is_on_top(open_app: OpenApp) -> None:
    app = open_app()
    settings(app)
    app.tap(re_start(app.texts("settings.about")))
    app.wait_for_text(app.texts("about.purpose"))
    app.back(leaving="/settings/about")
    app.wait_for_text(app.texts("settings.language"))
    app.tap(re_start(app.texts("settings.about")))
    app.wait_for_text(app.texts("about.purpose"))
    app.page.keyboard.press("Escape")
    app.wait_for_text(app.texts("settings.language"))


@pytest.mark.parametrize("size", [kit.PHONE, kit.TABLET], ids=str)
@pytest.mark.parametrize(
    ("pause_ms", "way"),
    [
        (100, ("settings", "history")),  # on the place that is being left
        (400, ("history", "settings", "history")),  # when the answer to the first has just come
    ],
)
def test_of_taps_that_overtake_the_server_the_last_one_counts(
    open_app: OpenApp, size: tuple[int, int], pause_ms: int, way: tuple[str, ...]
) -> None:
    app = open_app(size=size, delay_ms=400)
    boxes = {name: app.place_of(app.find(**place(app, name))) for name in way}
    for name in way:
        x, y, width, height = boxes[name]
        app.page.mouse.click(x + width / 2, y + height / 2)
        app.page.wait_for_timeout(pause_ms)
    app.page.wait_for_timeout(2000)  # what is seen on the way does not count
    app.wait_for_text(app.texts("history.empty_title"))
    app.wait_for_address("/history")


def test_a_keyboard_alone_gets_through_the_first_screen(open_app: OpenApp) -> None:
    """Tab goes from top to bottom, Space ticks, Enter agrees."""
    app = open_app(consent=False, size=kit.LAPTOP)
    app.wait_for(app.texts("consent.agree"))
    reached = walk(app, until=app.texts("consent.leave"))
    assert [name for name in reached if name in LANGUAGES.values()] == [
        name for code, name in LANGUAGES.items() if code != "en"
    ]  # the chosen one is called so
    app.page.keyboard.press("Shift+Tab")
    app.settle()
    app.page.keyboard.press("Space")
    box = app.find(app.texts("consent.read"), role="checkbox")
    app.page.wait_for_function(
        "box => box.getAttribute('aria-checked') === 'true'", arg=box.element_handle()
    )
    app.wait_for_usable(app.texts("consent.agree"))  # what is greyed out, Tab leaves out
    walk(app, until=app.texts("consent.agree"))
    app.page.keyboard.press("Enter")
    app.wait_for(re_start(app.texts("common.tab_scan")))


def walk(app: kit.App, *, until: str) -> list[str]:
    """Press Tab until what has a name is reached; returns the names on the way."""
    reached: list[str] = []
    for _ in range(40):
        app.page.keyboard.press("Tab")
        app.settle()
        name = app.page.evaluate(
            "() => (document.activeElement.getAttribute('aria-label')"
            " || document.activeElement.textContent).trim()"
        )
        reached.append(name)
        if name == until:
            return reached
    raise AssertionError(f"{until!r} was not reached: {reached}")
