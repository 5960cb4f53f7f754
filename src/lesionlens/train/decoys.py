"""Decoys: pictures that are surely not dermoscopy, made on the fly.

A network that is to say "this is not skin" has to have seen what is not skin. Photos of
ordinary things teach that where an archive brings some (``nonskin/``); decoys teach it
without any, and add what no photo album holds: frames in impossible colours, frames torn into
pieces, patterns, text, plain surfaces. Showing a network what lies outside on purpose is
"outlier exposure" (Hendrycks, Mazeika and Dietterich 2019, https://arxiv.org/abs/1812.04606).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lesionlens.imaging import INPUT_PX

_WORDS = ("the quick", "brown fox", "jumps over", "a lazy dog", "0123456789", "total", "street")


def make_decoy(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture that is not dermoscopy of skin.

    Half of the decoys are made out of ``rgb``, so that they share its camera, sharpness and
    compression and only what is shown gives them away; the others are drawn from nothing.

    Args:
        rgb: (INPUT_PX, INPUT_PX, 3) uint8, a frame, not changed.
        rng: source of chance.

    Returns:
        (INPUT_PX, INPUT_PX, 3) uint8.
    """
    maker = _MAKERS[int(rng.integers(len(_MAKERS)))]
    return maker(rgb, rng)


# ---------------------------------------------------------------- out of a frame


def _turn_hue(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Skin in green, blue or violet."""
    import cv2

    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + rng.integers(35, 145)) % 180  # half degrees: 70 to 290 degrees
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(1.0, 2.5) + 25, 0, 255)
    turned: np.ndarray = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    return turned


def _negate(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A negative: skin becomes blue."""
    del rng
    return 255 - rgb


def _tear(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squares of the frame in another order, each with its channels in another order, too."""
    n = int(rng.choice([2, 4, 7]))
    side = INPUT_PX // n
    pieces = rgb.reshape(n, side, n, side, 3).swapaxes(1, 2).reshape(n * n, side, side, 3)
    pieces = pieces[rng.permutation(n * n)].copy()
    for piece in pieces:
        piece[:] = piece[..., rng.permutation(3)]
    return pieces.reshape(n, n, side, side, 3).swapaxes(1, 2).reshape(rgb.shape)


# ---------------------------------------------------------------- out of nothing


def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, 3).astype(np.float32)


def _surface(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A plain or shaded surface of one or two colours, with a little grain."""
    del rgb
    at = np.linspace(0, 1, INPUT_PX, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * at[:, None] + np.sin(angle) * at[None, :]
    first, second = _far_from_skin(rng), _far_from_skin(rng)
    picture = first + (second - first) * (ramp - ramp.min())[..., None] * rng.uniform(0, 1)
    picture = picture + rng.normal(0, rng.uniform(0, 6), (INPUT_PX, INPUT_PX, 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _far_from_skin(rng: np.random.Generator) -> np.ndarray:
    """A colour that no skin has: not red over green over blue, or grey."""
    while True:
        colour = _colour(rng)
        red, green, blue = colour
        if not (red > green + 8 and green > blue - 25):
            return colour


def _clouds(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of several sizes, in colours."""
    import cv2

    del rgb
    picture = np.zeros((INPUT_PX, INPUT_PX, 3), np.float32)
    for cells in (3, 7, 14, 28, 56, 112):
        noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
        grown = cv2.resize(noise, (INPUT_PX, INPUT_PX), interpolation=cv2.INTER_CUBIC)
        picture += rng.uniform(0, 40) * grown
    return np.clip(picture + _colour(rng), 0, 255).astype(np.uint8)


def _shapes(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rectangles, lines, discs and words: a screen, a page, a street."""
    import cv2

    picture = np.empty_like(rgb)
    picture[:] = _colour(rng)
    for _ in range(int(rng.integers(4, 25))):
        colour = _colour(rng).tolist()
        start, end = (tuple(map(int, rng.integers(-20, INPUT_PX + 20, 2))) for _ in range(2))
        kind = int(rng.integers(4))
        if kind == 0:
            cv2.rectangle(picture, start, end, colour, -1)
        elif kind == 1:
            cv2.line(picture, start, end, colour, int(rng.integers(1, 9)))
        elif kind == 2:
            cv2.circle(picture, start, int(rng.integers(4, 70)), colour, -1, cv2.LINE_AA)
        else:
            words = " ".join(rng.choice(_WORDS, 2))
            size = float(rng.uniform(0.3, 1.4))
            cv2.putText(
                picture, words, start, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA
            )
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 3)))
    return picture


def _stripes(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stripes, checks and weaves: fabric, tiles, a fence."""
    del rgb
    y, x = np.mgrid[:INPUT_PX, :INPUT_PX].astype(np.float32)
    weight = np.zeros((INPUT_PX, INPUT_PX), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        angle, period = rng.uniform(0, np.pi), rng.uniform(3, 60)
        wave = np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period)
        weight += np.sign(wave) if rng.random() < 0.5 else wave
    weight = (weight - weight.min()) / max(float(np.ptp(weight)), 1e-6)
    first, second = _colour(rng), _far_from_skin(rng)
    picture = first + (second - first) * weight[..., None]
    picture += rng.normal(0, rng.uniform(0, 15), picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


_MAKERS: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    _turn_hue,
    _turn_hue,
    _negate,
    _tear,
    _surface,
    _clouds,
    _shapes,
    _stripes,
)
