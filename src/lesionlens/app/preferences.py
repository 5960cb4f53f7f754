"""What a person has chosen, kept as JSON on the device."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lesionlens.files import write_json
from lesionlens.verdicts import DEFAULT_POLICY, POLICIES
from lesionlens.zooms import MAX_VIEWS

#: Raised when the consent screen says something new that has to be agreed to again.
CONSENT_VERSION = 1
THEMES: tuple[str, ...] = ("system", "light", "dark")
TEXT_SCALES: tuple[float, ...] = (1.0, 1.15, 1.3, 1.5, 2.0)


@dataclass(frozen=True)
class Preferences:
    """The settings, with the values of a first start."""

    language: str = ""  # one of texts.LANGUAGES; empty: the device's
    theme: str = "system"  # one of THEMES
    text_scale: float = 1.0  # one of TEXT_SCALES, on top of the system's
    views: int = MAX_VIEWS  # 1 or MAX_VIEWS
    policy: str = DEFAULT_POLICY  # one of verdicts.POLICIES
    keeps_scans: bool = True  # whether each answer goes into the history
    consent: int = 0  # CONSENT_VERSION once it was given

    @property
    def has_consented(self) -> bool:
        """Whether the present consent text was agreed to."""
        return self.consent >= CONSENT_VERSION


def from_dict(values: dict[str, Any]) -> Preferences:
    """Return the preferences of a stored record; what is unknown or not allowed is the default."""
    known = {
        entry.name: values[entry.name] for entry in fields(Preferences) if entry.name in values
    }
    standard = Preferences()
    allowed = {
        "theme": lambda value: value in THEMES,
        "text_scale": lambda value: value in TEXT_SCALES,
        "views": lambda value: value in (1, MAX_VIEWS),
        "policy": lambda value: value in POLICIES,
    }
    for name in list(known):
        same_kind = type(known[name]) is type(getattr(standard, name))
        if not same_kind or not allowed.get(name, lambda _: True)(known[name]):
            del known[name]
    return Preferences(**known)


def from_json(text: str) -> Preferences:
    """Return the preferences in a JSON text; the defaults where it is damaged."""
    try:
        values = json.loads(text)
    except ValueError:
        return Preferences()
    return from_dict(values) if isinstance(values, dict) else Preferences()


def as_json(preferences: Preferences) -> str:
    """Return the preferences as a JSON text."""
    return json.dumps(asdict(preferences))


def load(path: Path) -> Preferences:
    """Return the preferences in a JSON file; the defaults where there is none or it is damaged."""
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Preferences()


def save(preferences: Preferences, path: Path) -> None:
    """Write the preferences to a JSON file, whole or not at all.

    Raises:
        LesionLensError: the folder cannot be written.
    """
    write_json(path, asdict(preferences))
