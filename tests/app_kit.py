"""What tests of the app's screens share: a session without a browser, and eyes and a finger.

A screen is a function of state: it is called, its controls are walked, its handlers are awaited.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import flet as ft
import numpy as np

from lesionlens.app.device import CameraAbilities, CameraError, Picked
from lesionlens.app.engine import Engine
from lesionlens.app.preferences import CONSENT_VERSION
from lesionlens.app.routes import make_screen
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.phantoms import draw


class FakeDevice:
    """A device that does as it is told and remembers what was asked of it."""

    def __init__(self, platform: str = "android") -> None:
        self.platform = platform
        self.has_camera = platform in ("web", "android", "ios")
        self.can_share = platform in ("android", "ios")
        self.photo: Picked | None = None  # what is chosen, pasted and imported
        self.frame: bytes = b""  # what the camera takes
        self.camera_error: CameraError | None = None
        self.abilities = CameraAbilities(can_flip=True, has_torch=True, is_front=False)
        self.camera_is_on = False
        self.saved: list[tuple[str, bytes]] = []
        self.shared: list[tuple[str, bytes, str]] = []
        self.links: list[str] = []
        self.copied: list[str] = []
        self.announced: list[str] = []
        self.torch = False
        self.host = "127.0.0.1:8550" if platform == "web" else ""
        self.remembered: dict[str, str] = {}
        self.has_left = False

    async def pick_photo(self) -> Picked | None:
        return self.photo

    async def pick_file(self, suffixes: list[str]) -> Picked | None:
        return self.photo

    async def save(self, name: str, data: bytes) -> bool:
        self.saved.append((name, data))
        return True

    async def share(self, name: str, data: bytes, mime_type: str) -> bool:
        self.shared.append((name, data, mime_type))
        return True

    async def open_link(self, url: str) -> None:
        self.links.append(url)

    async def paste_photo(self) -> Picked | None:
        return self.photo

    async def copy(self, text: str) -> None:
        self.copied.append(text)

    async def describe(self) -> dict[str, str]:
        return {"system": "Android", "version": "8.0 (API 26)", "model": "Test", "machine": "arm64"}

    def viewfinder(self) -> ft.Control:
        return ft.Container(key="viewfinder")

    async def start_camera(self, *, front: bool = False) -> CameraAbilities:
        if self.camera_error is not None:
            raise self.camera_error
        self.camera_is_on = True
        return dataclasses.replace(self.abilities, is_front=front)

    async def stop_camera(self) -> None:
        self.camera_is_on = False

    async def take_picture(self) -> bytes:
        if not self.camera_is_on:
            raise CameraError("failed", "the camera is not running")
        return self.frame

    async def set_torch(self, is_on: bool) -> None:
        self.torch = is_on

    async def open_permissions(self) -> None:
        self.links.append("app-settings:")

    async def announce(self, text: str) -> None:
        self.announced.append(text)

    def remember(self, key: str, value: str) -> None:
        self.remembered[key] = value

    async def recall(self, key: str) -> str | None:
        return self.remembered.get(key)

    async def leave(self) -> None:
        self.has_left = True


def jpeg_of(kind: str, *, size_px: tuple[int, int] = (600, 450), seed: int = 1) -> bytes:
    """Return a phantom as an encoded photo."""
    stream = io.BytesIO()
    draw(kind, size_px=size_px, rng=np.random.default_rng(seed)).save(stream, "JPEG", quality=92)
    return stream.getvalue()


_ENGINE: list[Engine] = []


def shared_engine() -> Engine:
    """Return one real engine for all tests of the process."""
    if not _ENGINE:
        _ENGINE.append(Engine(threads=1))
    return _ENGINE[0]


def make_session(
    *,
    device: FakeDevice | None = None,
    folder: Path | None = None,
    language: str = "en",
    engine: Any = None,
    has_consented: bool = True,
    size_px: tuple[float, float] = (390, 844),
) -> Session:
    """Return a session that keeps all in memory (or in ``folder``), consent given."""
    session = Session(
        engine or shared_engine(), device or FakeDevice(), folder=folder, locale=language
    )
    if has_consented:
        session.set_preferences(consent=CONSENT_VERSION)
    session.state.width_px, session.state.height_px = size_px
    return session


def screen_of(session: Session) -> Screen:
    """Return the screen on top."""
    return make_screen(session.state.route, session)


def controls_of(root: Any) -> Iterator[ft.Control]:
    """Yield every control below a screen, a control or a list of them, from top to bottom."""
    if isinstance(root, Screen):
        yield from controls_of([*root.actions, *root.body, root.bottom])
    elif isinstance(root, list | tuple):
        for item in root:
            yield from controls_of(item)
    elif isinstance(root, dict):
        yield from controls_of(list(root.values()))
    elif isinstance(root, ft.BaseControl):
        yield root
        for field in dataclasses.fields(root):
            if not field.name.startswith("_") and field.name != "data":
                value = getattr(root, field.name, None)
                if isinstance(value, list | tuple | dict | ft.BaseControl):
                    yield from controls_of(value)


def words_of(control: ft.Control) -> list[str]:
    """Return what one control says by itself: label, text, tooltip, meaning for a screen reader."""
    names = (
        "label",
        "value",
        "tooltip",
        "semantics_label",
        "text",
        "title",
        "content",
        "hint_text",
    )
    found = [getattr(control, name, None) for name in names]
    return [word for word in found if isinstance(word, str) and word]


def texts_of(root: Any) -> str:
    """Return all words on a screen, one per line."""
    return "\n".join(word for control in controls_of(root) for word in words_of(control))


def find(root: Any, words: str, *, handler: str = "on_click") -> ft.Control:
    """Return the control with a handler that says ``words``, itself or inside it.

    Raises:
        AssertionError: there is none; says what there is.
    """
    acting = [control for control in controls_of(root) if getattr(control, handler, None)]
    for control in reversed(acting):  # the innermost first
        if words in texts_of(control).split("\n"):
            return control
    there = [texts_of(control).replace("\n", " / ") for control in acting]
    raise AssertionError(f"nothing with {handler} says {words!r}; there are {there}")


async def fire(control: ft.Control, handler: str = "on_click", **event: Any) -> None:
    """Call a handler as Flet does; ``event`` becomes the attributes of what it is given."""
    called = getattr(control, handler)(SimpleNamespace(control=control, **event))
    if inspect.isawaitable(called):
        await called


def tap(session: Session, words: str, *, handler: str = "on_click", **event: Any) -> None:
    """Tap what says ``words`` on the screen on top, and wait until all is done."""
    asyncio.run(fire(find(screen_of(session), words, handler=handler), handler, **event))
