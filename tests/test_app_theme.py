"""What everybody must be able to see, reach and hear, on every screen, light and dark."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flet as ft
import pytest

import lesionlens.app
import sample_scans as samples
from app_kit import FakeDevice, controls_of, jpeg_of, make_session, texts_of
from lesionlens.app import theme
from lesionlens.app.engine import WHOLE
from lesionlens.app.routes import ROUTES, make_screen
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.shell import make_views
from lesionlens.app.state import Camera, Consent, Draft, Message, Result
from lesionlens.app.theme import ROLES, TOUCH_PX, Look, make_theme, role

APP = Path(lesionlens.app.__file__).parent
LOOKS = [value for value in vars(theme).values() if isinstance(value, Look)]
MODES = pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])


# ---------------------------------------------------------------- colours


def luminance(color: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#FFFFFF", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.005)


@MODES
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.name)
def test_a_verdict_can_be_read_on_its_ground(look: Look, is_dark: bool) -> None:
    assert contrast(look.ink(is_dark), look.ground(is_dark)) >= 4.5


def test_verdicts_differ_in_shape_and_not_in_colour_alone() -> None:
    assert len(LOOKS) == 5
    assert len({look.icon for look in LOOKS}) == 5


GROUNDS = [name for name in ROLES if name.startswith("surface") and name != "surface_tint"]
PAIRS = [
    *((f"on_{name}", name) for name in ROLES if f"on_{name}" in ROLES),
    *((ink, ground) for ink in ("on_surface", "on_surface_variant") for ground in GROUNDS),
    # Coloured words and icons, and edges that show where to tap, on what lies behind them.
    *(
        (ink, ground)
        for ink in ("primary", "error")
        for ground in ("surface", "surface_container_low", "surface_container")
    ),
]
EDGES = [
    *(("outline", ground) for ground in ("surface", "surface_container_low", "surface_container")),
    ("primary", "primary_container"),
    ("primary", "surface_container_highest"),
]


@MODES
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_words_can_be_read_on_every_ground(ink: str, ground: str, is_dark: bool) -> None:
    assert contrast(role(ink, is_dark=is_dark), role(ground, is_dark=is_dark)) >= 4.5


@MODES
@pytest.mark.parametrize(("edge", "ground"), EDGES)
def test_edges_can_be_seen_on_every_ground(edge: str, ground: str, is_dark: bool) -> None:
    assert contrast(role(edge, is_dark=is_dark), role(ground, is_dark=is_dark)) >= 3


@MODES
def test_the_theme_has_a_colour_of_ours_for_every_role_there_is(is_dark: bool) -> None:
    scheme = make_theme(is_dark=is_dark).color_scheme
    assert scheme is not None
    fixed = {field.name for field in dataclasses.fields(scheme) if "_fixed" in field.name}
    unset = {
        field.name for field in dataclasses.fields(scheme) if getattr(scheme, field.name) is None
    }
    assert unset == fixed  # colours that are the same in light and dark: nothing of ours has them


def test_text_sizes_scale_together() -> None:
    plain, large = (make_theme(scale).text_theme for scale in (1.0, 2.0))
    assert plain is not None
    assert large is not None
    for name in theme._SIZES:
        assert getattr(large, name).size == 2 * getattr(plain, name).size


# ---------------------------------------------------------------- the source

SOURCES = sorted(path for path in APP.rglob("*.py") if path.name != "theme.py")


def drawn_with_flet(path: Path) -> bool:
    return "import flet as ft" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if drawn_with_flet(p)], ids=lambda p: str(p.relative_to(APP))
)
def test_colours_come_from_the_theme_alone(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            literal = re.fullmatch(r"#[0-9A-Fa-f]{3,8}|0x[0-9A-Fa-f]{6,8}", node.value)
            assert not literal, f"{where}: {node.value} belongs into theme.py"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ft.Colors":
            allowed = node.attr.lower() in ROLES or node.attr in ("TRANSPARENT", "with_opacity")
            assert allowed, f"{where}: ft.Colors.{node.attr} is no role of our theme"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(APP)))
def test_semantics_and_switches_are_not_given_by_place(path: Path) -> None:
    """The first field of either is not what it looks like: content would be a tooltip."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ft.Semantics", "ft.Switch"):
            assert not node.args, f"{path.name}:{node.lineno}: name what is given"


# ---------------------------------------------------------------- every screen


def routes() -> list[str]:
    """Return one address for every route."""
    shown = []
    for pattern in ROUTES:
        address = pattern.replace(r"(\d+)", "1", 1).replace(r"(\d+)", "2")
        address = address.replace("([a-z_]+)", "bcc").replace("([A-Za-z0-9._-]+)", "lesionlens")
        assert not set("()[]+") & set(address), f"{pattern}: say what stands for the group"
        shown.append(address)
    return shown


@pytest.fixture(scope="module")
def shown() -> Iterator[list[tuple[str, Any]]]:
    """All that can be shown: a photo, an answer, scans of a spot, bars, lines, the first screen."""
    session = make_session(device=FakeDevice("android"))
    found: list[tuple[str, Any]] = []
    asyncio.run(fill(session))
    for route in routes():
        asyncio.run(show(session, route, found))
    kept = session.state.preferences
    session.state.preferences = dataclasses.replace(kept, consent=0)
    for consent in (Consent(), Consent(has_left=True)):
        session.state.consent = consent
        found.append((str(consent), make_views(session)[-1]))
    yield found
    session.close()


async def fill(session: Session) -> None:
    state, engine = session.state, session.engine
    photo = await engine.open(jpeg_of("bcc"), "spot.jpg")
    answer = await engine.judge(photo, WHOLE, views=1, policy="balanced")
    overlay = await engine.draw_overlay(answer)
    state.draft = Draft(photo, WHOLE, await engine.look(photo, WHOLE))
    state.result = Result(answer, overlay=overlay, is_finishing=False)
    state.camera = Camera("on", can_flip=True, has_torch=True)
    spot = session.history.add_lesion("Left arm")
    for number in (0, 1):
        samples.save(
            session.history, number, photo=answer.picture, thumbnail=answer.thumbnail,
            overlay=overlay, lesion_id=spot.id, notes="It itches",
        )  # fmt: skip


async def show(session: Session, route: str, found: list[tuple[str, Any]]) -> None:
    state = session.state
    state.stack = ("/scan", route) if route != "/scan" else (route,)
    await session.keeping.refresh()
    found.append((route, make_screen(route, session)))
    state.message = Message("Saved", action_text="Undo", action=session.device.stop_camera)
    state.busy = "One moment"
    for size in ((360.0, 740.0), (1280.0, 800.0)):
        state.width_px, state.height_px = size
        found.append((f"{route} at {size[0]:.0f}", make_views(session)[-1]))
    state.message = state.busy = None


def with_parents(
    root: Any, above: tuple[ft.Control, ...] = ()
) -> Iterator[tuple[ft.Control, tuple[ft.Control, ...]]]:
    """Yield every control with those it lies in, the innermost last."""
    if isinstance(root, Screen):
        root = [*root.actions, *root.body, root.bottom]
    if isinstance(root, list | tuple):
        for item in root:
            yield from with_parents(item, above)
    elif isinstance(root, dict):
        yield from with_parents(list(root.values()), above)
    elif isinstance(root, ft.BaseControl):
        yield root, above
        for field in dataclasses.fields(root):
            if not field.name.startswith("_") and field.name != "data":
                value = getattr(root, field.name, None)
                if isinstance(value, list | tuple | dict | ft.BaseControl):
                    yield from with_parents(value, (*above, root))


def acts(control: ft.Control) -> bool:
    names = ("on_click", "on_change", "on_select", "on_tap", "on_submit")
    return any(getattr(control, name, None) for name in names)


def test_every_screen_says_something(shown: list[tuple[str, Any]]) -> None:
    for where, screen in shown:
        assert texts_of(screen), where


def test_whatever_does_something_says_what(shown: list[tuple[str, Any]]) -> None:
    for where, screen in shown:
        for control, above in with_parents(screen):
            if acts(control):
                around = [it for it in above if isinstance(it, ft.Semantics) and it.label]
                assert texts_of(control) or around, f"{where}: {control} has no words"


def test_a_button_that_is_an_icon_is_one_with_its_name(shown: list[tuple[str, Any]]) -> None:
    for where, screen in shown:
        for control, above in with_parents(screen):
            if isinstance(control, ft.IconButton):
                assert control.tooltip, f"{where}: {control.icon} has no tooltip"
                merged = any(isinstance(it, ft.MergeSemantics) for it in above)
                assert merged, f"{where}: {control.tooltip}: use blocks.icon_button"


def test_sliders_and_switches_are_named(shown: list[tuple[str, Any]]) -> None:
    for where, screen in shown:
        for control, above in with_parents(screen):
            if isinstance(control, ft.Slider | ft.Switch):
                named = [it.label for it in above if isinstance(it, ft.Semantics) and it.label]
                assert named, f"{where}: {control} has no label"


def test_pictures_say_what_they_show_or_that_they_say_nothing(shown: list[tuple[str, Any]]) -> None:
    for where, screen in shown:
        for control, above in with_parents(screen):
            if isinstance(control, ft.Image):
                hidden = control.exclude_from_semantics or any(
                    isinstance(it, ft.Semantics) and it.exclude_semantics for it in above
                )
                assert control.semantics_label or hidden, f"{where}: a picture without a word"


def test_what_is_tapped_is_as_large_as_a_finger(shown: list[tuple[str, Any]]) -> None:
    for where, screen in shown:
        for control in controls_of(screen):
            if acts(control):
                for side in (getattr(control, "width", None), getattr(control, "height", None)):
                    assert side is None or side >= TOUCH_PX, f"{where}: {control} is {side} px"


def test_words_are_not_cut_off_when_they_grow(shown: list[tuple[str, Any]]) -> None:
    """A box of a fixed height holds no words: twice as large they would not fit."""
    for where, screen in shown:
        for control in controls_of(screen):
            if isinstance(control, ft.Container) and control.height is not None:
                texts = [it.value for it in controls_of(control) if isinstance(it, ft.Text)]
                assert not texts, f"{where}: {texts} in a box of {control.height} px"


def test_words_have_a_size_that_scales(shown: list[tuple[str, Any]]) -> None:
    for where, screen in shown:
        if isinstance(screen, Screen):
            for control in controls_of(screen):
                if isinstance(control, ft.Text):
                    assert control.size is None, f"{where}: {control.value!r}: name a role instead"


def test_the_walk_reaches_what_it_is_to_reach(shown: list[tuple[str, Any]]) -> None:
    """None of the above may hold because there was nothing to look at."""
    seen = {type(control) for _, screen in shown for control in controls_of(screen)}
    notes = [where for where, screen in shown if "It itches" in texts_of(screen)]
    assert "/history/scans/1" in notes
    assert {ft.IconButton, ft.Switch, ft.Slider, ft.Image, ft.Checkbox, ft.NavigationRail} <= seen
