"""Consent, settings and what there is to read about the app: a session without a browser."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flet as ft
import pytest

import lesionlens
from app_kit import FakeDevice, controls_of, find, fire, make_session, screen_of, tap, texts_of
from lesionlens.app import figures, notices, preferences
from lesionlens.app.figures import POLICY, VIEWS, Figure, of_hundred
from lesionlens.app.screens import about
from lesionlens.app.screens.consent import consent_screen
from lesionlens.app.session import Session
from lesionlens.app.shell import make_views, title_of
from lesionlens.app.state import Consent
from lesionlens.app.texts import LANGUAGES
from lesionlens.bundle import ModelSpec, load_bundle

ROOT = Path(lesionlens.__file__).parents[2]
SPEC = load_bundle().spec


def engine_of(spec: ModelSpec = SPEC) -> Any:
    """Return what the screens ask of an engine: what its bundle says, and how large it is."""
    return SimpleNamespace(spec=spec, model_bytes=2_420_788)


def session_of(platform: str = "android", **options: Any) -> Session:
    return make_session(engine=engine_of(), device=FakeDevice(platform), **options)


def at(session: Session, route: str) -> Session:
    session.state.stack = (route,)
    return session


def tap_first(session: Session, words: str, handler: str = "on_click", **event: Any) -> None:
    """Tap what says ``words`` on the first screen, and wait."""
    asyncio.run(fire(find(consent_screen(session), words, handler=handler), handler, **event))


# ---------------------------------------------------------------- consent


def test_nothing_is_shown_before_consent() -> None:
    session = session_of(has_consented=False)
    session.state.stack = ("/scan", "/settings/about")
    (view,) = make_views(session)
    assert view.route == "/consent"
    assert view.navigation_bar is None
    assert title_of(session) == "LesionLens"


def test_the_box_is_not_ticked_and_without_it_there_is_no_going_on() -> None:
    session = session_of(has_consented=False)
    screen = consent_screen(session)
    (box,) = [it for it in controls_of(screen) if isinstance(it, ft.Checkbox)]
    assert box.value is False
    assert find(screen, "Agree and start").disabled
    tap_first(session, "Agree and start")  # a keyboard, or two taps at once
    assert not session.state.preferences.has_consented


def test_who_ticks_the_box_and_agrees_is_let_in() -> None:
    session = session_of(has_consented=False)
    box = next(it for it in controls_of(consent_screen(session)) if isinstance(it, ft.Checkbox))
    box.value = True
    asyncio.run(fire(box, "on_change"))
    assert not find(consent_screen(session), "Agree and start").disabled
    tap_first(session, "Agree and start")
    assert session.state.preferences.has_consented
    assert session.state.consent == Consent()


def test_who_leaves_is_not_let_in_and_may_come_back() -> None:
    session = session_of("linux", has_consented=False)
    tap_first(session, "Leave")
    assert session.device.has_left
    assert not session.state.preferences.has_consented
    assert "does not start" in texts_of(consent_screen(session))
    tap_first(session, "Read it again")
    assert "What it is not" in texts_of(consent_screen(session))


def test_consent_is_asked_for_again_when_its_text_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = session_of()
    assert session.state.preferences.has_consented
    monkeypatch.setattr(preferences, "CONSENT_VERSION", preferences.CONSENT_VERSION + 1)
    monkeypatch.setattr("lesionlens.app.screens.consent.CONSENT_VERSION", 2)
    assert not session.state.preferences.has_consented
    assert make_views(session)[0].route == "/consent"
    assert "has changed since you agreed" in texts_of(consent_screen(session))


def test_the_language_is_chosen_first_in_its_own_name() -> None:
    session = session_of(has_consented=False)
    first = consent_screen(session).body[0]
    assert [name for name in LANGUAGES.values() if name in texts_of(first)] == [*LANGUAGES.values()]
    tap_first(session, "Bahasa Indonesia")
    assert "Sebelum mulai" in texts_of(consent_screen(session))


def test_consent_tells_how_often_the_model_is_wrong_as_its_bundle_has_it() -> None:
    said = texts_of(consent_screen(session_of(has_consented=False)))
    for metric in ("recall_BCC", "recall_SCC"):
        whole = {key: round(100 * SPEC.metrics[metric][key]) for key in ("value", "low", "high")}
        assert f"named {whole['value']} rightly ({whole['low']} to {whole['high']})" in said
    assert f"melanoma, {round(100 * SPEC.metrics['confident_MEL']['value'])} got" in said


def test_a_model_that_was_not_measured_is_said_to_be_so() -> None:
    session = make_session(engine=engine_of(replace(SPEC, metrics={})), has_consented=False)
    assert "is not known" in texts_of(consent_screen(session))
    assert "Naming the three" not in texts_of(screen_of(at(session, "/settings/model")))


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("", "Nowhere."),
        ("127.0.0.1:8550", "on this same computer"),
        ("localhost:80", "on this same computer"),
        ("[::1]:8550", "on this same computer"),
        ("localhost", "on this same computer"),
        ("clinic.example:8550", "only if you trust that computer"),
        ("192.168.0.7:8550", "only if you trust that computer"),
        ("127.0.0.1.example:80", "only if you trust that computer"),
    ],
)
def test_consent_says_where_pictures_go(host: str, said: str) -> None:
    session = session_of("web" if host else "android", has_consented=False)
    session.device.host = host
    shown = texts_of(consent_screen(session))
    assert said in shown
    assert not host or host in shown
    assert ("as long as this page is open" in shown) is bool(host)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("Français", "language", "fr"),
        ("Dark", "theme", "dark"),
        ("Once", "views", 1),
        ("More careful", "policy", "sensitive"),
        ("Larger text", "text_scale", 1.15),
    ],
)
def test_what_is_chosen_is_kept_and_marked(
    tmp_path: Path, words: str, name: str, value: Any
) -> None:
    session = at(session_of(folder=tmp_path), "/settings")
    tap(session, words)
    assert getattr(session.state.preferences, name) == value
    assert getattr(preferences.load(tmp_path / "preferences.json"), name) == value
    if name != "text_scale":
        chosen = [
            texts_of(it)
            for it in controls_of(screen_of(session))
            if isinstance(it, ft.OutlinedButton)
            and session.texts("settings.chosen") in texts_of(it)
        ]
        assert any(words in it for it in chosen)


def test_the_text_can_be_made_no_larger_than_the_largest() -> None:
    session = at(session_of(), "/settings")
    for _ in preferences.TEXT_SCALES[1:]:
        tap(session, "Larger text")
    assert session.state.preferences.text_scale == preferences.TEXT_SCALES[-1]
    with pytest.raises(AssertionError, match="Larger text"):
        find(screen_of(session), "Larger text")  # nothing to tap any more
    tap(session, "Smaller text")
    assert session.state.preferences.text_scale == preferences.TEXT_SCALES[-2]


def test_scans_are_kept_unless_that_is_switched_off() -> None:
    session = at(session_of(), "/settings")
    (switch,) = [it for it in controls_of(screen_of(session)) if isinstance(it, ft.Switch)]
    assert switch.value is True
    switch.value = False
    asyncio.run(fire(switch, "on_change"))
    assert session.state.preferences.keeps_scans is False


def test_a_browser_keeps_the_preferences_and_a_new_session_takes_them_up() -> None:
    device = FakeDevice("web")
    first = make_session(engine=engine_of(), device=device)
    first.set_preferences(language="pt", theme="dark")
    second = make_session(engine=engine_of(), device=device, has_consented=False)
    assert not second.state.preferences.has_consented
    asyncio.run(second.recall())
    assert second.state.preferences == first.state.preferences
    assert second.texts.language == "pt"


@pytest.mark.parametrize(
    "kept", ["", "{", "[]", '{"theme": "pink", "views": 7}', '{"consent": "1"}']
)
def test_what_a_browser_kept_and_cannot_be_read_is_not_believed(kept: str) -> None:
    device = FakeDevice("web")
    device.remembered["preferences"] = kept
    session = make_session(engine=engine_of(), device=device, has_consented=False)
    asyncio.run(session.recall())
    assert session.state.preferences == preferences.Preferences()


def test_an_app_with_a_folder_leaves_nothing_with_the_browser(tmp_path: Path) -> None:
    session = session_of(folder=tmp_path)
    session.set_preferences(theme="dark")
    assert session.device.remembered == {}


def test_settings_lead_to_all_there_is_to_read() -> None:
    for words, route in (
        ("Speed", "/settings/performance"),
        ("About LesionLens", "/settings/about"),
        ("About the model", "/settings/model"),
        ("Licences", "/settings/licences"),
    ):
        session = at(session_of(), "/settings")
        tap(session, words)
        assert session.state.stack == ("/settings", route)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_screen_speaks_every_language(language: str) -> None:
    session = session_of(language=language)
    for route in ("", "/about", "/model", "/licences", "/licences/model", "/licences/numpy"):
        assert screen_of(at(session, f"/settings{route}")).title


# ---------------------------------------------------------------- figures


def rows_of(document: str) -> list[list[str]]:
    """Return the cells of all tables of a page of docs."""
    lines = (ROOT / "docs" / document).read_text(encoding="utf-8").splitlines()
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"
    ]


def figure_in(cell: str) -> Figure:
    """``0.883 (0.86–0.90)`` or ``90.8 % (88.4–92.7)``."""
    value, low, high = (float(number) for number in re.findall(r"\d+\.\d+", cell))
    scale = 100 if "%" in cell else 1
    return Figure(*(round(number / scale, 4) for number in (value, low, high)))


@pytest.mark.parametrize("views", VIEWS)
def test_figures_of_views_are_those_of_the_evidence(views: int) -> None:
    name = f"{views} view" + "s" * (views > 1)
    (row,) = [it for it in rows_of("evidence.md") if it[:2] == ["`lens`", name]]
    assert VIEWS[views].right == figure_in(row[2])
    assert VIEWS[views].milliseconds == float(row[-1])


@pytest.mark.parametrize(("column", "policy"), [*enumerate(POLICY, start=1)])
def test_figures_of_policies_are_those_of_the_page_on_verdicts(column: int, policy: str) -> None:
    def cell(beginning: str) -> str:
        (row,) = [it for it in rows_of("verdicts.md") if it[0] == beginning]
        return row[column]

    kept = "BCC and SCC not sent away, whose label is right or whose set holds it"
    assert POLICY[policy].kept == figure_in(cell(kept))
    assert POLICY[policy].clear == figure_in(cell("confident answers, images of the three"))


def test_figures_are_told_of_the_model_they_were_measured_on_alone() -> None:
    assert figures.are_of(SPEC)
    other = replace(SPEC, version="9.9.9")
    session = make_session(engine=engine_of(other))
    assert "In our test" not in texts_of(screen_of(at(session, "/settings")))


@pytest.mark.parametrize(
    ("value", "n"), [(0.0, 0), (0.001, 1), (0.004, 1), (0.5, 50), (0.996, 99), (1.0, 100)]
)
def test_of_a_hundred_is_never_none_or_all_of_what_is_not(value: float, n: int) -> None:
    assert of_hundred({"value": value, "low": value, "high": value})["n"] == n


# ---------------------------------------------------------------- what there is to read


def test_the_model_card_has_every_metric_of_the_bundle_with_its_interval() -> None:
    session = at(session_of(), "/settings/model")
    shown = texts_of(screen_of(session))
    intervals = re.findall(r".+ to .+, from [\d,]+ pictures?", shown)
    assert len(intervals) == len(SPEC.metrics)
    accuracy = SPEC.metrics["accuracy"]
    low, high = (f"{100 * accuracy[key]:.1f}%" for key in ("low", "high"))
    assert f"{100 * accuracy['value']:.1f}%" in shown
    assert f"{low} to {high}, from {accuracy['n']:,} pictures" in shown


def test_the_model_card_never_calls_perfect_what_is_not() -> None:
    almost = {"value": 0.99999, "low": 0.9999, "high": 1.0, "n": 9, "method": "bootstrap by group"}
    spec = replace(SPEC, metrics={"roc_auc_BCC": almost})
    shown = texts_of(screen_of(at(make_session(engine=engine_of(spec)), "/settings/model")))
    assert ">0.999" in shown
    assert ">0.999 to 1.000" in shown


def test_the_model_card_says_what_was_learned_from() -> None:
    shown = texts_of(screen_of(at(session_of(), "/settings/model")))
    images, groups = SPEC.training["images"], SPEC.training["groups"]
    for label in images:
        assert f"{images[label]:,} of {groups[label]:,}" in shown
    assert SPEC.sha256[:12] in shown


def test_about_tells_which_version_and_model_this_is() -> None:
    session = at(session_of(), "/settings/about")
    shown = texts_of(screen_of(session))
    assert f"Version {lesionlens.__version__}" in shown
    assert f"{SPEC.name} {SPEC.version}, {SPEC.sha256[:8]}" in shown
    assert "90 of 96" in shown
    tap(session, "Copy version")
    (copied,) = session.device.copied
    assert lesionlens.__version__ in copied
    assert session.state.message is not None


def test_links_out_of_the_app_say_so_and_lead_to_the_source() -> None:
    session = at(session_of(), "/settings/about")
    for words in ("Source code", "Report a problem"):
        assert "Opens the browser" in texts_of(find(screen_of(session), words))
        tap(session, words)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"]["Documentation"].startswith(about.SOURCE_URL)
    assert session.device.links == [about.SOURCE_URL, about.PROBLEMS_URL]


def test_our_licence_travels_with_the_package() -> None:
    assert notices.own_licence() == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "CC BY-NC 4.0" in notices.model_licence()
    session = at(session_of(), "/settings/licences")
    tap(session, "Program")
    assert "Apache License" in texts_of(screen_of(session))


def test_what_is_installed_and_used_is_listed_with_its_licence() -> None:
    parts = {part.name.lower(): part for part in notices.parts()}
    for name in ("numpy", "pillow", "flet", "reportlab"):
        assert parts[name].version == distribution(name).version
        assert parts[name].licence
    assert {"httpx", "msgpack"} <= set(parts)  # what Flet needs in turn
    assert not {"tensorflow", "pytest", "lesionlens"} & set(parts)  # installed here, not used
    session = at(session_of(), "/settings/licences")
    tap(session, f"numpy {parts['numpy'].version}")
    assert "Redistribution and use" in texts_of(screen_of(session))


def test_a_package_without_a_text_and_a_typed_address_are_told_so() -> None:
    for name in ("flet", "no-such-package"):
        shown = texts_of(screen_of(at(session_of(), f"/settings/licences/{name}")))
        assert "brings no text of its own" in shown


def test_an_installation_without_metadata_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "parts", lambda: ())
    shown = texts_of(screen_of(at(session_of(), "/settings/licences")))
    assert "does not say which packages" in shown


def test_stored_preferences_are_plain_json() -> None:
    chosen = preferences.Preferences(language="id", consent=1)
    assert json.loads(preferences.as_json(chosen))["language"] == "id"
    assert preferences.from_json(preferences.as_json(chosen)) == chosen
