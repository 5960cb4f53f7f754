"""Random augmentation: drawing and acting are two things.

``draw`` decides, from a generator, what happens to each image; ``apply`` does it, with one
affine warp and one colour matrix an image, so that nothing is resampled twice and 2,000
images a second pass through one core.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesionlens.imaging import INPUT_PX
from lesionlens.labels import Label
from lesionlens.train.config import Augmentation

# Rec. 601 luma, the grey that saturation and contrast pivot on.
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Draw:
    """What happens to one image."""

    warp: np.ndarray  # (2, 3) float64: output pixel -> input pixel
    colour: np.ndarray  # (3, 4) float64: RGB 0..255 -> RGB 0..255
    blur_sigma_px: float  # 0: none


def draw(rng: np.random.Generator, options: Augmentation, label: Label) -> Draw:
    """Draw what happens to one image.

    Args:
        rng: source of chance.
        options: how far to go.
        label: of the image; healthy skin and what is not skin have windows of their own.
    """
    blur = 0.0
    if rng.random() < options.blur_share:
        blur = rng.uniform(*options.blur_sigma_px)
    windows = {Label.NORMAL: options.window_normal, Label.NOT_SKIN: options.window_photo}
    window = windows.get(label) or options.window
    return Draw(_draw_warp(rng, options, window), _draw_colour(rng, options), blur)


def _draw_warp(
    rng: np.random.Generator, options: Augmentation, window: tuple[float, float]
) -> np.ndarray:
    low, high = window
    scale = np.exp(rng.uniform(np.log(low), np.log(high)))
    stretch = np.exp(rng.uniform(-options.stretch, options.stretch) / 2)
    angle = np.deg2rad(rng.uniform(-options.rotation_degrees, options.rotation_degrees))
    shear = np.tan(np.deg2rad(rng.uniform(-options.shear_degrees, options.shear_degrees)))
    shift = rng.uniform(-options.shift, options.shift, 2) * INPUT_PX
    flips = rng.random(3) < 0.5
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.array([[1.0, shear], [0.0, 1.0]])
    linear = linear @ np.diag([scale * stretch, scale / stretch])
    if options.horizontal_flip and flips[0]:
        linear = linear @ np.diag([-1.0, 1.0])
    if options.vertical_flip and flips[1]:
        linear = linear @ np.diag([1.0, -1.0])
    if options.transpose and flips[2]:
        linear = linear[:, ::-1]
    centre = np.full(2, (INPUT_PX - 1) / 2)
    return np.hstack([linear, (centre + shift - linear @ centre)[:, None]])


def _draw_colour(rng: np.random.Generator, options: Augmentation) -> np.ndarray:
    def factor(spread: float) -> float:
        return float(rng.uniform(1 - spread, 1 + spread))

    brightness, contrast = factor(options.brightness), factor(options.contrast)
    saturation = factor(options.saturation)
    hue = np.deg2rad(rng.uniform(-options.hue_degrees, options.hue_degrees))
    gains = np.exp(rng.normal(0, options.channel_gain, 3)) if options.channel_gain else np.ones(3)

    grey = np.tile(_LUMA, (3, 1))
    matrix = saturation * np.eye(3) + (1 - saturation) * grey
    # Rotation about the grey axis (Rodrigues), which leaves greys as they are.
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turn = np.cos(hue) * np.eye(3) + np.sin(hue) * cross + (1 - np.cos(hue)) / 3
    matrix = brightness * contrast * np.diag(gains) @ turn @ matrix
    offset = np.full((3, 1), (1 - contrast) * 128.0)
    return np.hstack([matrix, offset])


def apply(rgb: np.ndarray, chosen: Draw, *, border: str) -> np.ndarray:
    """Return ``rgb`` moved and coloured as ``chosen`` says.

    Args:
        rgb: (H, W, 3) uint8.
        chosen: from ``draw``.
        border: ``"nearest"`` or ``"reflect"``, what lies outside the frame.

    Returns:
        (INPUT_PX, INPUT_PX, 3) uint8.
    """
    import cv2

    mode = {"nearest": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT_101}[border]
    moved = cv2.warpAffine(
        rgb,
        chosen.warp,
        (INPUT_PX, INPUT_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=mode,
    )
    if chosen.blur_sigma_px:
        moved = cv2.GaussianBlur(moved, (0, 0), chosen.blur_sigma_px)
    return cv2.transform(moved, chosen.colour)
