"""Settings on disk: kept whole, and never a reason not to start."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from lesionlens.app.preferences import Preferences, from_dict, load, save
from lesionlens.errors import LesionLensError


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    chosen = Preferences(language="id", theme="dark", text_scale=1.5, views=1, policy="sensitive",
                         keeps_scans=False, consent=1)  # fmt: skip
    save(chosen, tmp_path / "made" / "preferences.json")
    assert load(tmp_path / "made" / "preferences.json") == chosen


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "\x00\x01"])
def test_a_damaged_file_is_the_defaults(tmp_path: Path, content: str) -> None:
    path = tmp_path / "preferences.json"
    path.write_text(content)
    assert load(path) == Preferences()


def test_no_file_is_the_defaults_and_no_consent(tmp_path: Path) -> None:
    assert load(tmp_path / "none.json") == Preferences()
    assert not load(tmp_path / "none.json").has_consented


@pytest.mark.parametrize(
    ("name", "value"),
    [("theme", "pink"), ("text_scale", 9.0), ("views", 7), ("policy", "bold"), ("consent", "yes"),
     ("keeps_scans", 1), ("language", 3), ("views", True), ("unheard_of", 1)],
)  # fmt: skip
def test_one_bad_value_costs_that_value_only(name: str, value: object) -> None:
    good = asdict(Preferences(theme="dark", consent=1, language="fr"))
    found = from_dict(good | {name: value})
    expected = Preferences(theme="dark", consent=1, language="fr")
    assert getattr(found, name, None) == getattr(Preferences(), name, None)
    for field in asdict(expected):
        if field != name:
            assert getattr(found, field) == getattr(expected, field)


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LesionLensError, match="file"):
        save(Preferences(), tmp_path / "file" / "preferences.json")


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    save(Preferences(language="es"), tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text())["language"] == "es"
