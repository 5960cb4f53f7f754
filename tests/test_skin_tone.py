"""The typology angle is that of the formula, and of the skin, not of what lies on it."""

from __future__ import annotations

import numpy as np
import pytest

from lesionlens import phantoms
from lesionlens.evidence.skin_tone import CLASSES, SkinColour, estimate_skin, tone_class
from lesionlens.imaging import load_pixels


@pytest.mark.parametrize(
    ("lightness", "yellow", "angle", "name"),
    [
        (75, 10, 68.2, "very light"),
        (65, 15, 45.0, "light"),
        (61, 15, 36.3, "intermediate"),
        (57, 18, 21.3, "tan"),
        (45, 18, -15.5, "brown"),
        (30, 12, -59.0, "dark"),
    ],
)
def test_angles_and_classes_are_those_of_the_literature(
    lightness: float, yellow: float, angle: float, name: str
) -> None:
    found = SkinColour(lightness, yellow).angle
    assert found == pytest.approx(angle, abs=0.1)
    assert tone_class(found) == name


def test_the_classes_meet_without_a_gap() -> None:
    assert tone_class(55.0) == "light"
    assert tone_class(55.001) == "very light"
    assert tone_class(-30.0) == "dark"
    assert [name for name, _ in CLASSES][::5] == ["very light", "dark"]


def test_light_without_yellow_gives_no_angle() -> None:
    assert SkinColour(70, 0).angle is None
    assert SkinColour(70, -5).angle is None


def skin(rgb: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    grain = rng.normal(0, 2, (224, 224, 1))
    return (np.array(rgb) + grain).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("rgb", [(236, 205, 188), (200, 150, 120), (110, 74, 55), (70, 48, 38)])
@pytest.mark.parametrize("is_told", [True, False])
def test_a_lesion_does_not_change_the_tone_of_the_skin_around_it(
    rgb: tuple[int, int, int], is_told: bool, rng: np.random.Generator
) -> None:
    from skimage.color import rgb2lab

    lightness, _, yellow = rgb2lab(np.array(rgb) / 255)
    expected = SkinColour(float(lightness), float(yellow)).angle
    picture = skin(rgb, rng)
    y, x = np.mgrid[:224, :224] - 112
    lesion = np.hypot(x, y) < 55
    picture[lesion] = picture[lesion] // 2
    found = estimate_skin(picture, lesion=lesion if is_told else None)
    assert found is not None
    assert found.angle == pytest.approx(expected, abs=1.5)


def test_a_picture_without_skin_left_has_no_tone() -> None:
    assert estimate_skin(np.zeros((224, 224, 3), np.uint8)) is None
    everything = np.ones((224, 224), bool)
    assert estimate_skin(np.full((224, 224, 3), 180, np.uint8), lesion=everything) is None


def test_drawn_skin_is_as_light_as_it_was_painted(rng: np.random.Generator) -> None:
    for _ in range(3):
        rgb = load_pixels(phantoms.draw("skin", rng=rng)).rgb
        found = estimate_skin(rgb, lesion=np.zeros((224, 224), bool))
        assert found is not None
        assert found.angle is not None
        assert 10 < found.angle < 75
