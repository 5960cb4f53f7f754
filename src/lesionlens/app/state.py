"""What the screens show: one observable record of values that are replaced, never changed.

Assigning to a field of ``AppState`` renders the screens anew; so the values in it are frozen,
and whoever changes one replaces it (``dataclasses.replace``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import flet as ft

from lesionlens.app.browsing import Browse, Opened, Trouble
from lesionlens.app.preferences import Preferences
from lesionlens.app.theme import RAIL_PX

if TYPE_CHECKING:
    from lesionlens.app.engine import Answer, Photo
    from lesionlens.app.timing import Trial
    from lesionlens.imaging import Box
    from lesionlens.records import Quality


@dataclass(frozen=True)
class Camera:
    """The live camera, as far as the screen needs to know."""

    status: str = "off"  # off, starting, on, taking, refused, missing, failed
    can_flip: bool = False  # there is another one
    has_torch: bool = False
    is_torch_on: bool = False
    is_front: bool = False


@dataclass(frozen=True)
class Draft:
    """A photo that was taken or chosen and is not judged yet."""

    photo: Photo
    box: Box  # the part that will be judged, as shares of the upright photo
    quality: Quality | None = None  # of that part; None while it is looked at
    origin: str = "gallery"  # camera, gallery, drop, paste


@dataclass(frozen=True)
class Result:
    """A fresh answer, saved or not."""

    answer: Answer
    used_anyway: bool = False  # the gate's advice was overridden
    overlay: bytes | None = None  # JPEG, where the model looked; None while it is drawn
    overlay_opacity: float = 0.0  # 0..1, as the slider stands
    scan_id: int | None = None  # in the history; None: not kept
    save_error: str | None = None  # why it could not be kept
    is_finishing: bool = True  # the map is drawn, and the scan kept if scans are


@dataclass(frozen=True)
class Consent:
    """How far the person is on the first screen."""

    has_read: bool = False  # the box is ticked
    has_left: bool = False  # they did not agree


@dataclass(frozen=True)
class Message:
    """A line at the bottom of the screen."""

    text: str
    is_error: bool = False
    action_text: str | None = None
    action: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True)
class Question:
    """Something to confirm before it is done."""

    title: str
    text: str
    confirm_text: str
    on_confirm: Callable[[], Awaitable[None]]
    is_destructive: bool = False


@ft.observable
@dataclass
class AppState:
    """All that the screens show. Assign whole values; see the module."""

    stack: tuple[str, ...] = ("/scan",)  # routes, the top one last
    preferences: Preferences = field(default_factory=Preferences)
    width_px: float = 390.0  # of the page, logical pixels
    height_px: float = 844.0
    is_dark: bool = False  # as shown, whatever the preference
    busy: str | None = None  # what is going on, in words; None: nothing
    message: Message | None = None
    question: Question | None = None
    consent: Consent = field(default_factory=Consent)
    camera: Camera = field(default_factory=Camera)
    draft: Draft | None = None
    result: Result | None = None
    browse: Browse | None = None  # the history as filtered; None until it is opened
    opened: Opened = field(default_factory=Opened)  # scans and lesions that are looked at
    trouble: Trouble | None = None  # the history cannot be used; asked about before all else
    trial: Trial | None = None  # the performance run; None until one was started

    @property
    def route(self) -> str:
        """The route of the screen on top."""
        return self.stack[-1]

    @property
    def is_wide(self) -> bool:
        """Whether there is room for two columns (Material's expanded, 840 px)."""
        return self.width_px >= 840

    @property
    def rail_px(self) -> float:
        """Width of the rail with the four main places; 0: there is a bar at the bottom instead."""
        return RAIL_PX * max(1.0, self.preferences.text_scale) if self.width_px >= 600 else 0.0

    @property
    def is_cramped(self) -> bool:
        """Whether text is so large for this width that words need all of it."""
        return self.width_px / self.preferences.text_scale < 270
