"""The performance run: scans one after another through the engine that answers the person.

The same on every device: pictures drawn from the same seeds, as many pixels as a phone's photo,
the whole of each judged as the settings say. Nothing of it is kept or sent. What it measures
stands in ``trial``.
"""

from __future__ import annotations

import asyncio
import io
import platform
from dataclasses import replace
from datetime import datetime
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

import lesionlens
from lesionlens import phantoms
from lesionlens.app.engine import WHOLE, Engine, Photo
from lesionlens.app.handling import guarded
from lesionlens.app.trial import (
    LENGTHS,
    PhotoFacts,
    ScanTime,
    Setting,
    Trial,
    as_csv,
    as_json,
    file_name,
    forget_peak,
    read_memory,
    time_scan,
)
from lesionlens.errors import ImageError
from lesionlens.runtime import default_threads, load_interpreter_class, usable_cores

if TYPE_CHECKING:
    from lesionlens.app.session import Session

#: What is drawn, one photo each, and how large: 12 megapixels, as phones take them.
KINDS: tuple[str, ...] = ("bcc", "scc", "skin")
DRAWN_PX = (4000, 3000)
#: Scans of the history that are looked back at, at most.
N_RECENT = 100

_SEED = 20261126
_PAUSE_S = 0.02  # between scans, in which the screen is drawn: never while one is timed


def draw_photo(kind: str, size_px: tuple[int, int]) -> bytes:
    """Return a phantom as the JPEG that a camera would have made: the same picture everywhere.

    Args:
        kind: one of ``phantoms.KINDS``.
        size_px: width and height.
    """
    stream = io.BytesIO()
    image = phantoms.draw(kind, size_px=size_px, rng=np.random.default_rng(_SEED))
    image.save(stream, "JPEG", quality=92)
    return stream.getvalue()


async def scan_once(
    engine: Engine, index: int, photo: Photo, *, views: int, policy: str
) -> ScanTime:
    """Scan a photo as the app does, and say how long each stage took.

    Args:
        engine: that answers.
        index: of the photo in the run.
        photo: what to scan, opened before; it is opened anew, since that is timed, too.
        views: 1..10.
        policy: one of ``verdicts.POLICIES``.
    """
    started = perf_counter()
    opened = await engine.open(photo.data, photo.name)
    open_ms = (perf_counter() - started) * 1e3
    answer = await engine.judge(opened, WHOLE, views=views, policy=policy)
    started = perf_counter()
    await engine.draw_overlay(answer)
    return time_scan(
        index,
        answer.milliseconds,
        open_ms=open_ms,
        overlay_ms=(perf_counter() - started) * 1e3,
        memory_bytes=read_memory().now_bytes,
    )


class Timing:
    """Starts, shows, stops and exports a run."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._stops = False

    @property
    def trial(self) -> Trial:
        """The run on the screen."""
        return self.session.state.trial or Trial()

    def choose(self, n: int) -> None:
        """Choose how many scans the next run has."""
        if n in LENGTHS and not self.trial.is_going_on:
            self.session.state.trial = replace(self.trial, n=n)

    @guarded
    async def start(self, *, own_photo: bool = False) -> None:
        """Run: over drawn photos, or over one that the person chooses."""
        if self.trial.is_going_on:
            return
        self._stops = False
        before = self.trial
        self._show(Trial(n=before.n, status="preparing", recent_ms=before.recent_ms))
        try:
            photos = await self._photos(own_photo=own_photo)
            if photos:
                await self._run(photos, source="given" if own_photo else "drawn")
            else:  # changed their mind: what was there before comes back
                self._show(before)
        finally:
            if self.trial.is_going_on:
                self._show(replace(self.trial, status="stopped"))

    def stop(self) -> None:
        """End the run after the scan that is going on; what was measured stays."""
        self._stops = True

    @guarded
    async def save_json(self) -> None:
        """Let the person keep the run as JSON."""
        trial = self.trial
        await self.session.device.save(file_name(trial, "json"), as_json(trial).encode())

    @guarded
    async def save_csv(self) -> None:
        """Let the person keep the run as CSV."""
        trial = self.trial
        await self.session.device.save(file_name(trial, "csv"), as_csv(trial).encode())

    @guarded
    async def copy(self) -> None:
        """Put the run into the clipboard, as JSON."""
        await self.session.device.copy(as_json(self.trial))
        self.session.say(self.session.texts("performance.copied"))

    @guarded
    async def look_back(self) -> None:
        """Read how long the scans in the history took."""
        scans = await asyncio.to_thread(self.session.history.scans, limit=N_RECENT)
        times = tuple(scan.milliseconds["total"] for scan in scans if "total" in scan.milliseconds)
        self._show(replace(self.trial, recent_ms=times))

    async def _photos(self, *, own_photo: bool) -> list[Photo]:
        """Return the photos of a run, opened; empty: none was chosen, or it was stopped."""
        engine, device = self.session.engine, self.session.device
        if own_photo:
            picked = await device.pick_photo()
            if picked is None:
                return []
            if picked.data is None:
                raise ImageError(f"{picked.name}: is too large", reason="too_large")
            return [await engine.open(picked.data, picked.name)]
        photos = []
        for kind in KINDS:
            if self._stops:
                return []
            data = await asyncio.to_thread(draw_photo, kind, DRAWN_PX)
            photos.append(await engine.open(data, f"drawn-{kind}.jpg"))
        return photos

    async def _run(self, photos: list[Photo], *, source: str) -> None:
        engine, preferences = self.session.engine, self.session.state.preferences
        views, policy = preferences.views, preferences.policy
        # Once without counting: buffers are made, files of the runtime are read.
        await scan_once(engine, 0, photos[0], views=views, policy=policy)
        setting = await self._setting(photos, source=source, views=views, policy=policy)
        self._show(replace(self.trial, status="running", setting=setting))
        for number in range(self.trial.n):
            await asyncio.sleep(_PAUSE_S)
            if self._stops:
                return
            index = number % len(photos)
            scan = await scan_once(engine, index, photos[index], views=views, policy=policy)
            peak = read_memory().peak_bytes
            self._show(replace(self.trial, scans=(*self.trial.scans, scan), peak_bytes=peak))
        self._show(replace(self.trial, status="done"))

    async def _setting(
        self, photos: list[Photo], *, source: str, views: int, policy: str
    ) -> Setting:
        engine = self.session.engine
        device = await self.session.device.describe()
        spec = engine.spec
        return Setting(
            app_version=lesionlens.__version__,
            model_name=spec.name,
            model_version=spec.version,
            model_sha256=spec.sha256,
            model_precision=spec.precision,
            model_bytes=engine.model_bytes,
            views=views,
            policy=policy,
            threads=engine.threads or default_threads(),
            cores=usable_cores(),
            runtime=load_interpreter_class()[1],
            python=platform.python_version(),
            system=device["system"],
            system_version=device["version"],
            device_model=device["model"],
            machine=device["machine"],
            source=source,
            photos=tuple(
                PhotoFacts(
                    # A photo of one's own may be called by a name that is nobody's business.
                    name=photo.name if source == "drawn" else "",
                    width_px=photo.width_px,
                    height_px=photo.height_px,
                    size_bytes=len(photo.data),
                )
                for photo in photos
            ),
            started_at=datetime.now().astimezone(),
            peak_is_of_run=forget_peak(),
        )

    def _show(self, trial: Trial) -> None:
        self.session.state.trial = trial
