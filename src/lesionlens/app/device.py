"""What the app asks of the device: pictures, the camera, files, links. Nothing else does.

``Device`` is what screens and controllers know; ``FletDevice`` is the real one, over Flet's
services; tests have one of their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import flet as ft
import flet_camera as fc

from lesionlens.app.door import fetch
from lesionlens.app.engine import MAX_PHOTO_BYTES
from lesionlens.errors import LesionLensError

#: Seconds that a camera may take to start, the question for permission included.
CAMERA_TIMEOUT_S = 60.0
#: The largest file, other than a photo, that is taken from a browser: a history of 2000 scans.
MAX_FILE_BYTES = 512 * 1024 * 1024
#: Of what a browser remembers for us; other pages of this machine may have keys of theirs.
_KEY_PREFIX = "lesionlens."

log = logging.getLogger("lesionlens.app")


@dataclass(frozen=True)
class Picked:
    """A file that a person chose."""

    name: str
    data: bytes | None  # None: too many to be handed over


@dataclass(frozen=True)
class CameraAbilities:
    """What the camera that was started can do."""

    can_flip: bool
    has_torch: bool
    is_front: bool


class CameraError(LesionLensError):
    """The camera cannot be used; ``status`` is refused, missing or failed."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class Device(Protocol):
    """The device, as the app knows it."""

    @property
    def platform(self) -> str:
        """``android``, ``ios``, ``linux``, ``macos``, ``windows`` or ``web``."""

    @property
    def has_camera(self) -> bool:
        """Whether there may be a live camera; whether there is shows when it is started."""

    @property
    def can_share(self) -> bool:
        """Whether files can be handed to other apps."""

    @property
    def host(self) -> str:
        """The machine that serves the page, as its address names it; empty: no page, an app."""

    async def pick_photo(self) -> Picked | None:
        """Let the person choose a photo; None: changed their mind."""

    async def pick_file(self, suffixes: list[str]) -> Picked | None:
        """Let the person choose a file of some kinds (suffixes without the dot)."""

    async def save(self, name: str, data: bytes) -> bool:
        """Let the person keep a file where they like; False: changed their mind."""

    async def share(self, name: str, data: bytes, mime_type: str) -> bool:
        """Hand a file to another app; False: changed their mind."""

    async def open_link(self, url: str) -> None:
        """Open a web page in the browser, outside the app."""

    async def paste_photo(self) -> Picked | None:
        """Return the picture in the clipboard; None: there is none."""

    async def copy(self, text: str) -> None:
        """Put text into the clipboard."""

    async def describe(self) -> dict[str, str]:
        """Return what the device is: ``system``, ``version``, ``model``, ``machine``."""

    def viewfinder(self) -> ft.Control:
        """Return the control that shows the live camera; belongs on one screen at a time."""

    async def start_camera(self, *, front: bool = False) -> CameraAbilities:
        """Start the camera behind ``viewfinder``, which must be on the screen.

        Raises:
            CameraError: not allowed, not there, or it failed.
        """

    async def stop_camera(self) -> None:
        """Let go of the camera."""

    async def take_picture(self) -> bytes:
        """Return an encoded photo from the running camera.

        Raises:
            CameraError: it is not running or failed.
        """

    async def set_torch(self, is_on: bool) -> None:
        """Switch the torch of the running camera.

        Raises:
            CameraError: it has none.
        """

    async def open_permissions(self) -> None:
        """Open the system's page where the camera can be allowed."""

    async def announce(self, text: str) -> None:
        """Let a screen reader say something."""

    def remember(self, key: str, value: str) -> None:
        """Keep a few words where this app may keep some: in a browser, the browser's own storage.

        Returns at once; what cannot be kept is not.
        """

    async def recall(self, key: str) -> str | None:
        """Return what was remembered under ``key``; None: nothing, or it cannot be read."""

    async def leave(self) -> None:
        """Close the window, where there is one of ours."""


class FletDevice(Device):
    """The device behind a Flet page.

    Args:
        page: whose services are used.
    """

    def __init__(self, page: ft.Page) -> None:
        self._page = page
        self._picker = ft.FilePicker()
        self._camera: fc.Camera | None = None
        self._cameras: list[fc.CameraDescription] = []

    @property
    def platform(self) -> str:
        if self._page.web:
            return "web"
        return self._page.platform.value if self._page.platform else platform.system().lower()

    @property
    def has_camera(self) -> bool:
        return self.platform in ("web", "android", "ios")

    @property
    def can_share(self) -> bool:
        return self.platform in ("android", "ios")

    @property
    def host(self) -> str:
        return urlsplit(self._page.url or "").netloc if self._page.web else ""

    async def pick_photo(self) -> Picked | None:
        return await self._pick(ft.FilePickerFileType.IMAGE, None, MAX_PHOTO_BYTES)

    async def pick_file(self, suffixes: list[str]) -> Picked | None:
        return await self._pick(ft.FilePickerFileType.CUSTOM, suffixes, MAX_FILE_BYTES)

    async def _pick(
        self, kind: ft.FilePickerFileType, suffixes: list[str] | None, max_bytes: int
    ) -> Picked | None:
        files = await self._picker.pick_files(
            file_type=kind,
            allowed_extensions=suffixes,
            with_data=not self._page.web,
            cancel_upload_on_window_blur=False,
        )
        if not files:
            return None
        file = files[0]
        if self._page.web:
            data = await fetch(self._page, self._picker, file, max_bytes=max_bytes)
            return Picked(file.name, data)
        if file.bytes is None and file.path is not None:
            return Picked(file.name, await asyncio.to_thread(Path(file.path).read_bytes))
        return Picked(file.name, file.bytes or b"")

    async def save(self, name: str, data: bytes) -> bool:
        path = await self._picker.save_file(file_name=name, src_bytes=data)
        return self._page.web or path is not None

    async def share(self, name: str, data: bytes, mime_type: str) -> bool:
        if not self.can_share:
            return await self.save(name, data)
        result = await ft.Share().share_files(
            [ft.ShareFile.from_bytes(data, mime_type=mime_type, name=name)]
        )
        return result.status is not ft.ShareResultStatus.DISMISSED

    async def open_link(self, url: str) -> None:
        await ft.UrlLauncher().launch_url(url)

    async def paste_photo(self) -> Picked | None:
        data = await ft.Clipboard().get_image()
        return Picked("", bytes(data)) if data else None

    async def copy(self, text: str) -> None:
        await ft.Clipboard().set(text)

    async def describe(self) -> dict[str, str]:
        described = {
            "system": platform.system(),
            "version": platform.release(),
            "model": "",
            "machine": platform.machine(),
        }
        if self.platform == "android":
            info: Any = await self._page.get_device_info()
            described |= {
                "system": "Android",
                "version": f"{info.version.release} (API {info.version.sdk})",
                "model": f"{info.manufacturer} {info.model}",
            }
        return described

    def viewfinder(self) -> ft.Control:
        if self._camera is None:
            self._camera = fc.Camera(expand=True)
        return self._camera

    async def start_camera(self, *, front: bool = False) -> CameraAbilities:
        self.viewfinder()
        camera = self._running()
        try:
            async with asyncio.timeout(CAMERA_TIMEOUT_S):
                while not _is_shown(camera):
                    await asyncio.sleep(0.02)
                self._cameras = await camera.get_available_cameras()
                if not self._cameras:
                    raise CameraError("missing", "no camera was found on this device")
                chosen = self._choose(front)
                await camera.initialize(chosen, fc.ResolutionPreset.MAX, enable_audio=False)
        except TimeoutError as error:
            raise CameraError("failed", "the camera did not start") from error
        except RuntimeError as error:
            raise _explained(error) from error
        is_front = chosen.lens_direction is fc.CameraLensDirection.FRONT
        has_torch = self.platform in ("android", "ios") and not is_front
        return CameraAbilities(len(self._cameras) > 1, has_torch, is_front)

    def _choose(self, front: bool) -> fc.CameraDescription:
        wanted = fc.CameraLensDirection.FRONT if front else fc.CameraLensDirection.BACK
        matching = [camera for camera in self._cameras if camera.lens_direction is wanted]
        if matching:
            return matching[0]
        return self._cameras[-1 if front else 0]

    async def stop_camera(self) -> None:
        self._camera = None  # leaves the screen with the next rendering, which lets go of it

    async def take_picture(self) -> bytes:
        try:
            return bytes(await self._running().take_picture())
        except RuntimeError as error:
            raise _explained(error) from error

    async def set_torch(self, is_on: bool) -> None:
        try:
            await self._running().set_flash_mode(fc.FlashMode.TORCH if is_on else fc.FlashMode.OFF)
        except RuntimeError as error:
            raise CameraError("failed", f"the torch cannot be switched ({error})") from error

    def _running(self) -> fc.Camera:
        if self._camera is None:
            raise CameraError("failed", "the camera is not on the screen")
        return self._camera

    async def open_permissions(self) -> None:
        import flet_permission_handler as permissions

        await permissions.PermissionHandler().open_app_settings()

    async def announce(self, text: str) -> None:
        await ft.SemanticsService().announce_message(text)

    def remember(self, key: str, value: str) -> None:
        async def keep() -> None:
            try:
                await ft.SharedPreferences().set(_KEY_PREFIX + key, value)
            except (RuntimeError, TimeoutError) as error:
                log.warning("%s was not kept: %s", key, error)

        self._page.run_task(keep)

    async def recall(self, key: str) -> str | None:
        try:
            value = await ft.SharedPreferences().get(_KEY_PREFIX + key)
        except (RuntimeError, TimeoutError) as error:
            log.warning("%s cannot be read: %s", key, error)
            return None
        return value if isinstance(value, str) else None

    async def leave(self) -> None:
        if self.platform in ("linux", "macos", "windows"):
            await self._page.window.close()


def _is_shown(control: ft.Control) -> bool:
    """Whether a control has come onto the page: before that it can do nothing."""
    try:
        return control.page is not None
    except RuntimeError:
        return False


def _explained(error: RuntimeError) -> CameraError:
    """Tell by the camera plugin's words why it cannot be used."""
    words = str(error)
    lowered = words.lower()
    if "denied" in lowered or "notallowed" in lowered or "permission" in lowered:
        return CameraError("refused", "the camera may not be used")
    if "notfound" in lowered or "no camera" in lowered:
        return CameraError("missing", "no camera was found on this device")
    return CameraError("failed", f"the camera failed ({words})")


def data_folder() -> Path:
    """Return the folder where the app keeps what it keeps: the platform's own place for it."""
    embedded = os.environ.get("FLET_APP_STORAGE_DATA")  # set by Flet on a phone
    if embedded:
        return Path(embedded)
    if platform.system() == "Windows":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif platform.system() == "Darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "lesionlens"
