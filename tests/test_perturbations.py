"""Every change of a picture grows with its strength, and comes out the same each time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from lesionlens.evidence.overlays import N_DRAWINGS, hair_layer
from lesionlens.evidence.perturbations import PERTURBATIONS, Perturbation, draw_contact_sheet
from lesionlens.imaging import load_pixels

BY_KEY = {kind.key: kind for kind in PERTURBATIONS}
KINDS = pytest.mark.parametrize("kind", PERTURBATIONS, ids=lambda kind: kind.key)


@pytest.fixture(scope="module")
def rgb(phantom_image: Image.Image) -> np.ndarray:
    return load_pixels(phantom_image).rgb


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@KINDS
def test_there_are_five_strengths_and_each_changes_more(
    kind: Perturbation, rgb: np.ndarray
) -> None:
    before = rgb.copy()
    shown = [kind.apply(rgb, strength, 3) for strength in kind.strengths]
    assert len(shown) == 5
    assert all(picture.shape == rgb.shape and picture.dtype == np.uint8 for picture in shown)
    assert np.array_equal(rgb, before), "the picture itself was changed"
    if kind.key == "ruler":  # of one length, further in each time
        middle = [distance(picture[60:164, 60:164], rgb[60:164, 60:164]) for picture in shown]
        assert middle[0] == middle[1] == 0 < middle[-1]
        return
    distances = [distance(picture, rgb) for picture in shown]
    assert all(0 < a < b for a, b in pairwise(distances)), distances


@KINDS
def test_the_same_image_gets_the_same_change(kind: Perturbation, rgb: np.ndarray) -> None:
    strength = kind.strengths[2]
    assert np.array_equal(kind.apply(rgb, strength, 5), kind.apply(rgb, strength, 5))


@pytest.mark.parametrize("key", ["hair", "ruler", "ink", "rotation"])
def test_other_images_get_other_hairs_rulers_marks_and_turns(key: str, rgb: np.ndarray) -> None:
    kind = BY_KEY[key]
    first = kind.apply(rgb, kind.strengths[3], 0)
    assert not np.array_equal(first, kind.apply(rgb, kind.strengths[3], 1))


@pytest.mark.parametrize("key", ["darker", "brighter", "warm", "cool", "rotation", "blur"])
def test_the_untouched_strength_touches_nothing(key: str, rgb: np.ndarray) -> None:
    kind = BY_KEY[key]
    assert np.abs(kind.apply(rgb, kind.untouched, 0).astype(int) - rgb).max() <= 1


def test_one_stop_less_is_half_the_light() -> None:
    grey = np.full((224, 224, 3), 188, np.uint8)  # sRGB 188 is 50 % of white's light
    (found,) = np.unique(BY_KEY["darker"].apply(grey, -1, 0))
    assert found == 137  # and 137 is 25 %
    white = BY_KEY["brighter"].apply(grey, 1.5, 0)
    assert (white == 255).all()


@pytest.mark.parametrize(("key", "is_warm"), [("warm", True), ("cool", False)])
def test_a_cast_turns_grey_to_one_side_and_keeps_its_brightness(key: str, is_warm: bool) -> None:
    grey = np.full((224, 224, 3), 120, np.uint8)
    red, green, blue = (int(v) for v in BY_KEY[key].apply(grey, BY_KEY[key].strengths[2], 0)[0, 0])
    assert (red > 120 > blue) if is_warm else (red < 120 < blue)
    linear = [((v / 255 + 0.055) / 1.055) ** 2.4 for v in (red, green, blue, 120)]
    luminance = float(np.dot(linear[:3], (0.2126, 0.7152, 0.0722)))
    assert luminance == pytest.approx(linear[3], rel=0.02)


def test_a_turn_has_no_black_corners(rgb: np.ndarray) -> None:
    assert BY_KEY["rotation"].apply(rgb, 45, 0).min() > 5


def test_hairs_of_one_strength_are_there_at_the_next() -> None:
    for drawing in range(N_DRAWINGS):
        few, many = hair_layer(5, drawing), hair_layer(40, drawing)
        assert (many.cover >= few.cover - 0.02).all()
        assert many.cover.mean() > 2 * few.cover.mean()


def test_ink_lets_the_skin_shine_through(rgb: np.ndarray) -> None:
    marked = BY_KEY["ink"].apply(rgb, 8, 0)
    touched = np.abs(marked.astype(int) - rgb).sum(axis=2) > 30
    assert 0.005 < touched.mean() < 0.2
    assert (marked[touched] <= rgb[touched]).all()  # a filter takes light, and adds none
    red, green, blue = marked[touched].mean(axis=0) / rgb[touched].mean(axis=0)
    assert blue > red > green  # violet


def test_the_contact_sheet_shows_every_kind_and_strength(rgb: np.ndarray) -> None:
    sheet = draw_contact_sheet(rgb, gap_px=0)
    assert sheet.size == (6 * 224, len(PERTURBATIONS) * 224)
    left = np.asarray(sheet)[:224, :224]
    assert np.array_equal(left, rgb)
