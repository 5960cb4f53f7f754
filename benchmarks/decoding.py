"""Measure decoders, and what scaled decoding changes; prints Markdown tables.

    python benchmarks/decoding.py [--repeats 15]
    python benchmarks/decoding.py --answers 500     LESIONLENS_DATA=DIR: with real images, enlarged

Decoders: processor time of one thread from a JPEG's bytes to the 224 x 224 pixels that the model
sees, of Pillow as `imaging.py` uses it, of Pillow decoding whole, and of simplejpeg and OpenCV at
the same scale where they are installed (``pip install simplejpeg opencv-python-headless``), with
how far their pixels are from ours.

Answers: verdicts, labels and probabilities of images enlarged to three sizes, with grain of a
sensor added, decoded at several scales, against a full decode, and against the image before it was
enlarged: a full decode is not the truth either.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
from PIL import Image

from bulk import header, pictures, row
from lesionlens import imaging
from lesionlens.classifier import Classifier
from lesionlens.phantoms import KINDS, draw
from lesionlens.runtime import usable_cores

SIZES = ((600, 450), (1024, 768), (1600, 1200), (4000, 3000))
#: Shortest sides to keep that answers are compared for; None: all.
SCALES = (None, 448, 336, 280)
#: Levels of 255: what a phone's sensor adds in the light of a dermatoscope, about.
GRAIN = 6.0
_SIDE = imaging.INPUT_PX


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--answers", type=int, default=0, metavar="N", help="images to compare on")
    options = parser.parse_args()
    compare_decoders(options.repeats)
    if options.answers:
        compare_answers(options.answers)


# ---------------------------------------------------------------- decoders


def ours(content: bytes) -> np.ndarray:
    return imaging.load_pixels(content).rgb


def whole(content: bytes) -> np.ndarray:
    return imaging.load_pixels(content, full=True).rgb


def simplejpeg(content: bytes) -> np.ndarray:
    from simplejpeg import decode_jpeg

    (width, height), scale = _scale(content)  # its own choice has eighths that Pillow has not
    decoded = decode_jpeg(
        content, min_height=-(-height // scale), min_width=-(-width // scale), min_factor=1
    )
    return _squashed(decoded)


def opencv(content: bytes) -> np.ndarray:
    import cv2

    _, scale = _scale(content)
    flag = cv2.IMREAD_COLOR if scale == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{scale}")
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    return _squashed(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def _scale(content: bytes) -> tuple[tuple[int, int], int]:
    """Return the size of a JPEG, and by how much ``imaging`` reduces it: 1, 2, 4 or 8."""
    with Image.open(io.BytesIO(content)) as image:
        size = image.size
    return size, max(n for n in (1, 2, 4, 8) if n == 1 or min(size) // n >= imaging.DRAFT_PX)


def _squashed(rgb: np.ndarray) -> np.ndarray:
    image = Image.fromarray(rgb)
    return np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def compare_decoders(repeats: int) -> None:
    decoders: dict[str, Callable[[bytes], np.ndarray]] = {
        "Pillow, scaled (ours)": ours,
        "Pillow, whole": whole,
    }
    if find_spec("simplejpeg"):
        decoders["simplejpeg"] = simplejpeg
    if find_spec("cv2"):
        decoders["OpenCV, reduced"] = opencv
    contents = {size: list(pictures(size)) for size in SIZES}
    header("processor time, ms", *(f"{w}x{h}" for w, h in SIZES), "mean difference, levels")
    for name, decode in decoders.items():
        times, difference = [], 0.0
        for pictured in contents.values():
            times.append(median(_times(decode, pictured, repeats)))
            apart = [np.abs(decode(c).astype(int) - ours(c)).mean() for c in pictured]
            difference = max(difference, *apart)
        row(name, *(f"{1e3 * t:.1f}" for t in times), f"{difference:.3f}")


def _times(
    decode: Callable[[bytes], np.ndarray], contents: list[bytes], repeats: int
) -> Iterator[float]:
    for content in contents:
        decode(content)  # warm
        for _ in range(-(-repeats // len(contents))):
            began = process_time()
            decode(content)
            yield process_time() - began


# ---------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answer:
    """What came of an image decoded at a scale."""

    verdict: str
    label: str
    probabilities: np.ndarray
    distance: float  # mean of its pixels from those of a full decode, levels


def compare_answers(n: int) -> None:
    sources = list(_sources(n))
    with ProcessPoolExecutor(usable_cores()) as pool:
        found = list(pool.map(_answers, range(len(sources)), sources, chunksize=8))
    header(
        f"{len(found)} images, by the least side", "verdicts unlike a full decode's", "labels",
        "a probability, mean (most)", "pixels, levels, mean (most)",
        "verdicts unlike the small image's", "labels", "a probability, mean",
    )  # fmt: skip
    for place, size in enumerate(SIZES[1:]):
        for number, least in enumerate(SCALES):
            answers = [sizes[place][number] for _, sizes in found]
            full = [sizes[place][0] for _, sizes in found]
            small = [answer for answer, _ in found]
            levels = [answer.distance for answer in answers]
            apart = _apart(answers, full)
            row(
                f"{size[0]}x{size[1]}, {least or 'decoded whole'}",
                *_differ(answers, full),
                f"{np.mean(apart):.4f} ({max(apart):.3f})",
                f"{np.mean(levels):.2f} ({max(levels):.2f})",
                *_differ(answers, small),
                f"{np.mean(_apart(answers, small)):.4f}",
            )


def _differ(answers: list[Answer], others: list[Answer]) -> tuple[str, str]:
    """Return how many verdicts and how many labels differ."""
    pairs = list(zip(answers, others, strict=True))
    return (
        str(sum(a.verdict != b.verdict for a, b in pairs)),
        str(sum(a.label != b.label for a, b in pairs)),
    )


def _apart(answers: list[Answer], others: list[Answer]) -> list[float]:
    """Return by how much the probability differs that differs most."""
    pairs = zip(answers, others, strict=True)
    return [float(np.abs(a.probabilities - b.probabilities).max()) for a, b in pairs]


def _sources(n: int) -> Iterator[Path | None]:
    """Yield files of real images from all over the archive; without one, None for drawn ones."""
    archive = os.environ.get("LESIONLENS_DATA")
    files = sorted(Path(archive).glob("originals/*.jpg")) if archive else []
    others = sorted(Path(archive).glob("isic/images/*.jpg")) if archive else []
    files += others[:: max(1, len(others) // max(1, n - len(files)))]
    yield from files[:n] or [None] * n


def _answers(number: int, source: Path | None) -> tuple[Answer, list[list[Answer]]]:
    """Return the answer for an image as it is, and those by size and by scale."""
    rng = np.random.default_rng(number)
    if source is None:
        image = draw(KINDS[number % len(KINDS)], size_px=(1024, 768), rng=rng)
    else:
        with Image.open(source) as opened:
            image = opened.convert("RGB")
    small = _answer(imaging.load_pixels(image), 0.0)
    return small, [list(_at_scales(_photo(image, size, rng))) for size in SIZES[1:]]


def _photo(image: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> bytes:
    large = np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.float32)
    grain = rng.normal(0, GRAIN, (size[1], size[0], 1)).astype(np.float32)
    stream = io.BytesIO()
    pixels = np.rint(large + grain).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def _at_scales(content: bytes) -> Iterator[Answer]:
    full = imaging.load_pixels(content, full=True)
    for least in SCALES:
        pixels = full if least is None else _decoded(content, least)
        yield _answer(pixels, float(np.abs(pixels.rgb.astype(int) - full.rgb).mean()))


def _answer(pixels: imaging.Pixels, distance: float) -> Answer:
    found = _classifier().predict(pixels)
    probabilities = np.array(list(found.probabilities.values()))
    return Answer(found.verdict, found.label.value, probabilities, distance)


def _decoded(content: bytes, least_px: int) -> imaging.Pixels:
    """Return what ``load_pixels`` gives where both sides stay at least so long."""
    with Image.open(io.BytesIO(content)) as image:
        width, height = image.size
        image.draft(None, (least_px, least_px))
        small = image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    return imaging.Pixels(np.array(small), width, height)


def _classifier() -> Classifier:
    if not _kept:
        _kept.append(Classifier(threads=1))
    return _kept[0]


_kept: list[Classifier] = []


if __name__ == "__main__":
    main()
