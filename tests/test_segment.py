"""The segmentation finds drawn lesions, and says so where it may well be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lesionlens.data.segment import WORK_PX, dice, segment_lesion

Y, X = np.mgrid[-1 : 1 : WORK_PX * 1j, -1 : 1 : WORK_PX * 1j]


def skin(seed: int = 0) -> np.ndarray:
    """Return textured skin, lit from one side; float, (128, 128, 3)."""
    noise = Image.fromarray(np.random.default_rng(seed).normal(0, 2, (40, 40)).astype(np.float32))
    texture = np.asarray(noise.resize((WORK_PX, WORK_PX), Image.Resampling.BICUBIC))
    return np.array([205.0, 165.0, 150.0]) + texture[..., None] + 12 * X[..., None]


def with_lesion(
    ground: np.ndarray, x: float = 0.0, y: float = 0.0, radius: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture with a brown disc, and its mask."""
    distance = np.hypot((X - x) * 0.8, Y - y)
    amount = 1 / (1 + np.exp((distance - radius) / 0.02))
    picture = ground * (1 - amount[..., None]) + np.array([110.0, 70.0, 60.0]) * amount[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8), distance < radius


@pytest.mark.parametrize("radius", [0.15, 0.3, 0.5])
def test_drawn_lesion_is_found_and_all_of_it_is_forbidden(radius: float) -> None:
    picture, mask = with_lesion(skin(), radius=radius)
    found = segment_lesion(picture)
    assert found.doubt == ""
    assert dice(found.lesion, mask) > 0.8  # it is drawn a little wide, on purpose
    assert found.forbidden[mask].all()
    assert not found.forbidden.all()


def test_hair_is_no_lesion_but_a_mark() -> None:
    picture, mask = with_lesion(skin(), radius=0.3)
    picture[:, 20] = 40
    picture[100] = 40
    found = segment_lesion(picture)
    assert dice(found.lesion, mask) > 0.85
    assert found.marks[:, 20].mean() > 0.8
    assert found.marks.mean() < 0.1


def test_dark_corners_are_forbidden_and_not_taken_for_the_lesion() -> None:
    picture, mask = with_lesion(skin(), radius=0.3)
    outside = np.hypot(X, Y) > 1.05
    picture[outside] = 5
    found = segment_lesion(picture)
    assert dice(found.lesion, mask) > 0.85
    assert found.forbidden[outside].all()


@pytest.mark.parametrize("colour", [(60, 90, 200), (40, 150, 90), (255, 255, 250)])
def test_pen_stickers_and_glare_are_forbidden(colour: tuple[int, int, int]) -> None:
    picture, _ = with_lesion(skin(), radius=0.3)
    picture[5:25, 90:120] = colour
    assert segment_lesion(picture).forbidden[5:25, 90:120].all()


def test_second_lesion_is_forbidden_too() -> None:
    picture, _ = with_lesion(skin(), radius=0.35)
    picture, second = with_lesion(picture.astype(float), 0.75, 0.75, radius=0.12)
    assert segment_lesion(picture).forbidden[second].all()


def test_frames_that_may_be_wrong_say_why() -> None:
    assert segment_lesion(np.clip(skin(), 0, 255).astype(np.uint8)).doubt
    assert segment_lesion(with_lesion(skin(), radius=2.0)[0]).doubt
    assert "far" in segment_lesion(with_lesion(skin(), 0.5, 0.5, radius=0.2)[0]).doubt
    assert "border" in segment_lesion(with_lesion(skin(), 0.45, 0.0, radius=0.5)[0]).doubt
    black = np.zeros((WORK_PX, WORK_PX, 3), np.uint8)
    assert segment_lesion(black).doubt


def test_given_mask_takes_the_place_of_what_is_found() -> None:
    picture, mask = with_lesion(skin(), 0.7, 0.7, radius=0.2)
    found = segment_lesion(picture, mask=mask)
    assert found.doubt == ""
    assert (found.lesion == mask).all()
    assert found.forbidden[mask].all()


def test_dice_of_equal_disjoint_and_empty_masks() -> None:
    some = X > 0
    assert dice(some, some) == 1
    assert dice(some, ~some) == 0
    assert dice(X > 5, X > 5) == 1
    assert dice(some, np.ones_like(some)) == pytest.approx(2 / 3)
