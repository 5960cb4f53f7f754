"""The engine: photos in, answers out, off the thread that draws the screen.

One per process, whatever the number of browser sessions: one worker thread, one interpreter per
policy, loaded once. What is judged is read by the pixel path and by nothing else
(lesionlens.imaging), so that the app's answer is ``lesionlens predict``'s answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from PIL import Image

from lesionlens.bundle import ModelSpec, load_bundle
from lesionlens.classifier import Classifier
from lesionlens.errors import ImageError
from lesionlens.imaging import Box, Pixels, load_picture, load_pixels
from lesionlens.quality import assess
from lesionlens.records import Prediction, Quality
from lesionlens.render import overlay
from lesionlens.saliency import Explanation

#: Longest side in pixels of what the screen shows of a photo, and of what the history keeps.
PREVIEW_PX = 1280
KEPT_PX = 1024
THUMBNAIL_PX = 192
OVERLAY_PX = 640
#: Larger files are refused before they are decoded; a 108-megapixel JPEG has some 40 MB.
MAX_PHOTO_BYTES = 64 * 1024 * 1024
#: The whole of a photo.
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

T = TypeVar("T")


@dataclass(frozen=True)
class Photo:
    """A photo that could be opened, as it came, and small enough to show."""

    name: str  # as the file was called; may be empty
    data: bytes  # the encoded file, untouched
    width_px: int  # upright
    height_px: int
    preview: bytes  # JPEG, upright, longest side at most PREVIEW_PX
    sha256: str  # of data


@dataclass(frozen=True)
class Answer:
    """What the model says about a photo, and what is kept of it."""

    prediction: Prediction
    explanation: Explanation
    box: Box  # the part that was judged
    picture: bytes  # JPEG of that part, longest side at most KEPT_PX
    thumbnail: bytes  # JPEG, longest side at most THUMBNAIL_PX
    #: decode, views, model, judge, pictures, total; what a look had done already takes none.
    milliseconds: dict[str, float]

    @property
    def total_ms(self) -> float:
        """From the tap to the answer, inside this process."""
        return self.milliseconds["total"]


@dataclass(frozen=True)
class _Part:
    """A part of a photo, read for the model and drawn for the history."""

    sha256: str  # of the photo
    box: Box
    pixels: Pixels
    picture: bytes  # as Answer has them
    thumbnail: bytes
    decode_ms: float
    pictures_ms: float


class Engine:
    """Answers photos, one at a time, in a thread of its own.

    Args:
        model: folder of a bundle; None takes the shipped model.
        threads: threads that one image may use; None takes the usable cores, at most 4.

    Raises:
        BundleError: the bundle is missing, damaged, or does not fit this code.
    """

    def __init__(
        self, model: str | os.PathLike[str] | None = None, *, threads: int | None = None
    ) -> None:
        self._bundle = load_bundle(model)
        self._threads = threads
        self._classifiers: dict[tuple[str, bool], Classifier] = {}
        self._looked_at: _Part | None = None  # which the next judge most likely asks for
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    @property
    def spec(self) -> ModelSpec:
        """What the bundle says about its model."""
        return self._bundle.spec

    @property
    def folder(self) -> Path:
        """Where the bundle is."""
        return self._bundle.directory

    @property
    def model_bytes(self) -> int:
        """Size of the model file."""
        return len(self._bundle.tflite)

    @property
    def threads(self) -> int | None:
        """Threads that one image may use, as asked for."""
        return self._threads

    async def warm_up(self, policy: str) -> None:
        """Load the interpreter, so that the first answer takes no longer than the next."""
        await self._do(lambda: self._classifier(policy, gate=True))

    async def open(self, data: bytes, name: str = "") -> Photo:
        """Read a photo that was taken, chosen, dropped or pasted.

        Args:
            data: the encoded file.
            name: what it is called; for messages.

        Raises:
            ImageError: it is no image, not one that is accepted, too small or too large.
        """
        return await self._do(lambda: _open(data, name))

    async def look(self, photo: Photo, box: Box) -> Quality:
        """Measure the part of a photo that would be judged, and make it ready for that.

        Raises:
            ImageError: the part is too small, or the pixels turn out to be damaged.
        """
        return await self._do(lambda: self._look(photo, box))

    async def judge(
        self, photo: Photo, box: Box, *, views: int, policy: str, gate: bool = True
    ) -> Answer:
        """Answer for a part of a photo.

        Args:
            photo: as ``open`` gave it.
            box: the part, as shares of the upright photo.
            views: 1..10.
            policy: one of ``verdicts.POLICIES``.
            gate: whether a poor photo is told so instead of being judged.

        Raises:
            ImageError: the part is too small, or the pixels turn out to be damaged.
        """
        return await self._do(lambda: self._judge(photo, box, views, policy, gate))

    async def draw_overlay(self, answer: Answer) -> bytes:
        """Return a JPEG of ``answer.picture`` under what spoke for the answer, in colours."""
        return await self._do(lambda: _draw_overlay(answer))

    def close(self) -> None:
        """Let the worker end; what was asked for is finished first."""
        self._worker.shutdown()

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _classifier(self, policy: str, *, gate: bool) -> Classifier:
        key = (policy, gate)
        if key not in self._classifiers:
            self._classifiers[key] = Classifier(
                self._bundle, policy=policy, gate=gate, threads=self._threads
            )
        return self._classifiers[key]

    def _look(self, photo: Photo, box: Box) -> Quality:
        self._looked_at = self._read(photo, box)
        return assess(self._looked_at.pixels)

    def _read(self, photo: Photo, box: Box) -> _Part:
        started = perf_counter()
        pixels = load_pixels(photo.data, box=box, size_px=self.spec.input_px)
        decoded = perf_counter()
        picture = _crop(Image.open(io.BytesIO(photo.preview)), box)
        picture.thumbnail((KEPT_PX, KEPT_PX), Image.Resampling.BILINEAR)
        kept = _as_jpeg(picture)
        picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
        return _Part(
            sha256=photo.sha256,
            box=box,
            pixels=pixels,
            picture=kept,
            thumbnail=_as_jpeg(picture, quality=80),
            decode_ms=(decoded - started) * 1e3,
            pictures_ms=(perf_counter() - decoded) * 1e3,
        )

    def _judge(self, photo: Photo, box: Box, views: int, policy: str, gate: bool) -> Answer:
        started = perf_counter()
        classifier = self._classifier(policy, gate=gate)
        # What was looked at is held no longer than until it is judged, or something else is.
        ready, self._looked_at = self._looked_at, None
        if ready is not None and (ready.sha256, ready.box) == (photo.sha256, box):
            part, decode_ms, pictures_ms = ready, 0.0, 0.0
        else:
            part = self._read(photo, box)
            decode_ms, pictures_ms = part.decode_ms, part.pictures_ms
        explanation = classifier.explain(part.pixels, views=views)
        milliseconds = {
            **explanation.prediction.stage_ms,
            "decode": decode_ms,
            "pictures": pictures_ms,
            "total": (perf_counter() - started) * 1e3,
        }
        return Answer(
            prediction=explanation.prediction,
            explanation=explanation,
            box=box,
            picture=part.picture,
            thumbnail=part.thumbnail,
            milliseconds=milliseconds,
        )


def _open(data: bytes, name: str) -> Photo:
    if len(data) > MAX_PHOTO_BYTES:
        raise ImageError(
            f"{name or '-'}: {len(data) / 2**20:.0f} MB is more than a photo has "
            f"({MAX_PHOTO_BYTES // 2**20} MB are accepted); nothing was read",
            reason="too_large",
        )
    stream = io.BytesIO(data)
    stream.name = name  # what messages call it
    # Decoded once for the screen; what is judged is read anew by the pixel path.
    picture = load_picture(stream, max_side_px=PREVIEW_PX)
    stream.seek(0)
    pixels = load_pixels(stream)
    return Photo(
        name=name,
        data=data,
        width_px=pixels.width_px,
        height_px=pixels.height_px,
        preview=_as_jpeg(picture, quality=88),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _crop(picture: Image.Image, box: Box) -> Image.Image:
    """Return a part of a picture, at least one pixel large."""
    width, height = picture.size
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    right, bottom = max(left + 1, round(box[2] * width)), max(top + 1, round(box[3] * height))
    return picture.crop((left, top, right, bottom))


def _draw_overlay(answer: Answer) -> bytes:
    picture = Image.open(io.BytesIO(answer.picture)).convert("RGB")
    picture.thumbnail((OVERLAY_PX, OVERLAY_PX), Image.Resampling.BILINEAR)
    return _as_jpeg(overlay(picture, answer.explanation.map))


def _as_jpeg(picture: Image.Image, *, quality: int = 90) -> bytes:
    stream = io.BytesIO()
    # Pillow writes the comment of the photo that a picture was read from, unless told another.
    picture.save(stream, "JPEG", quality=quality, comment=b"")
    return stream.getvalue()
