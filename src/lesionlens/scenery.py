"""Pictures of nothing medical: hills, a brick wall, fruit on a table.

What a person may point a camera at by mistake, drawn with the brushes of ``painting.py``.
"""

from __future__ import annotations

import numpy as np

from lesionlens.painting import Canvas


def paint_nonskin(canvas: Canvas) -> None:
    """Paint one of the scenes, by lot."""
    (_paint_hills, _paint_bricks, _paint_table)[int(canvas.rng.integers(3))](canvas)


def _paint_hills(canvas: Canvas) -> None:
    rng = canvas.rng
    sky = np.clip(canvas.y + 0.5, 0, 1)[..., None] * np.ones_like(canvas.rgb)
    canvas.rgb = (
        np.array((0.33, 0.58, 0.87)) * (1 - sky) + np.array((0.93, 0.94, 0.92)) * sky
    ).astype(np.float32)
    clouds = np.clip(canvas.noise(0.4, octaves=5) * 1.6 - 0.1, 0, 1) * np.clip(
        -canvas.y + 0.1, 0, 1
    )
    canvas.blend((0.99, 0.99, 0.99), 1.8 * clouds)
    sun = canvas.blob((rng.uniform(-0.5, 0.5), -0.32), 0.06, wobble=0.0, soft=0.2)
    canvas.blend((1.0, 0.95, 0.72), sun)
    far, near = np.array((0.52, 0.64, 0.74)), np.array((0.20, 0.40, 0.14))
    for depth in np.linspace(0, 1, 4):
        line = 0.02 + 0.34 * depth
        for wave in range(1, 6):
            swing = 0.09 / wave * rng.normal() * (1 - 0.4 * depth)
            line = line + swing * np.sin(wave * 2.2 * canvas.x + rng.uniform(0, 6.3))
        ground = np.clip((canvas.y - line) * canvas.short, 0, 1)
        shade = 1 + (0.05 + 0.22 * depth) * canvas.noise(0.05 + 0.04 * depth, octaves=4)
        canvas.blend((far + (near - far) * depth) * shade[..., None], ground)


def _paint_bricks(canvas: Canvas) -> None:
    rng = canvas.rng
    tall, wide, mortar = 0.11, 0.27, 0.012
    row = np.floor(canvas.y / tall)
    column = np.floor((canvas.x + (row % 2) * wide / 2) / wide)
    hue = rng.normal(0, 1, (31, 31)).astype(np.float32)[
        (row.astype(int)) % 31, column.astype(int) % 31
    ]
    brick = np.array((0.62, 0.29, 0.21)) * (1 + 0.13 * hue[..., None])
    canvas.rgb = (brick * np.ones_like(canvas.rgb)).astype(np.float32)
    canvas.shade(1 + 0.16 * canvas.noise(0.03, octaves=4))
    inside_y = np.minimum(canvas.y % tall, tall - canvas.y % tall)
    shifted = (canvas.x + (row % 2) * wide / 2) % wide
    gap = np.minimum(inside_y, np.minimum(shifted, wide - shifted)) + 0.004 * canvas.noise(0.02)
    canvas.blend((0.76, 0.73, 0.68), np.clip((mortar - gap) / 0.004, 0, 1))
    canvas.shade(1 + 0.12 * canvas.noise(0.6) + 0.1 * canvas.x)


def _paint_table(canvas: Canvas) -> None:
    rng = canvas.rng
    canvas.rgb = (
        np.array((0.72, 0.78, 0.76)) * (1 + 0.12 * canvas.x[..., None] + np.zeros_like(canvas.rgb))
    ).astype(np.float32)
    table = np.clip((canvas.y - 0.14) * canvas.short, 0, 1)
    rings = np.sin(60 * (canvas.y + 0.02 * canvas.noise(0.25)))
    grain = rings + canvas.noise(0.02, octaves=2)
    canvas.blend(np.array((0.55, 0.37, 0.22)) * (1 + 0.09 * grain[..., None]), table)
    for at, radius, colour in (
        ((-0.34, 0.11), 0.145, (0.80, 0.13, 0.12)),
        ((0.00, 0.15), 0.125, (0.93, 0.60, 0.12)),
        ((0.33, 0.10), 0.155, (0.52, 0.70, 0.20)),
    ):
        x, y = at[0] + rng.normal(0, 0.02), at[1]
        shadow = canvas.blob(
            (x + 0.05, y + radius * 0.93), radius * 0.8, aspect=1.0, wobble=0, soft=1.2
        )
        canvas.shade(1 - 0.4 * shadow * table)
        fruit = canvas.blob((x, y), radius, wobble=0.012, soft=0.03)
        light = 1 - 0.75 * np.clip(
            np.hypot(canvas.x - x + radius * 0.4, canvas.y - y + radius * 0.4) / radius - 0.35, 0, 1
        )
        speckle = 1 + 0.05 * canvas.noise(0.012, octaves=2)
        canvas.blend(np.array(colour) * (light * speckle)[..., None], fruit)
        glint = canvas.blob((x - radius * 0.4, y - radius * 0.42), radius * 0.14, wobble=0, soft=1)
        canvas.blend((1.0, 1.0, 0.98), 0.75 * glint)
