from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlens.errors import LesionLensError
from lesionlens.labels import Label
from lesionlens.records import Prediction, Quality
from lesionlens.render import (
    CONTOURS,
    NOTE,
    PANEL_PX,
    colours,
    draw_explanation,
    overlay,
    save_picture,
)
from lesionlens.saliency import MAP_PX, Explanation

#: What people without one kind of cone see of linear RGB: Machado, Oliveira and Fernandes 2009,
#: https://doi.org/10.1109/TVCG.2009.113, severity 1.
SIGHT = {
    "no deficiency": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
#: Of linear RGB, ITU-R BT.709; what is left to someone who sees no colours at all.
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def luminance(rgb: np.ndarray, sight: np.ndarray) -> np.ndarray:
    """Return the relative luminance 0..1 of sRGB 0..255 as someone sees it."""
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.clip(linear @ sight.T, 0, 1) @ LUMINANCE


def contrast(lighter: float, darker: float) -> float:
    """Return the contrast ratio of WCAG 2, 1 (none) to 21."""
    return (lighter + 0.05) / (darker + 0.05)


def explanation(
    values: np.ndarray, *, verdict: str = "confident", label: Label = Label.BCC, peak: float = 1.0
) -> Explanation:
    prediction = Prediction(
        file="lesion.jpg",
        label=Label.BCC,
        probabilities={Label.BCC: 0.7, Label.SCC: 0.2, Label.NORMAL: 0.1},
        scope=0.8,
        prediction_set=(Label.BCC, Label.SCC),
        verdict=verdict,
        quality=Quality((), {}),
        policy="balanced",
        views=10,
        elapsed_ms=1.0,
    )
    return Explanation(values.astype(np.float32), label, None, peak, prediction)


def blob() -> np.ndarray:
    """Return a map with its peak a quarter from the left and a third from the top."""
    place = np.arange(MAP_PX) / MAP_PX
    return np.exp(-((place - 0.25) ** 2 + (place[:, np.newaxis] - 0.33) ** 2) / 0.02)


# ---------------------------------------------------------------- colours


def test_the_colours_are_cividis() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(0, 1, 256)
    theirs = matplotlib.colormaps["cividis"](values)[:, :3] * 255
    assert np.abs(colours(values) - theirs).max() < 11
    assert np.abs(colours(values) - theirs).mean() < 1


@pytest.mark.parametrize("sight", SIGHT)
def test_every_colour_is_lighter_than_the_one_before(sight: str) -> None:
    steps = luminance(colours(np.linspace(0, 1, 33)), SIGHT[sight])
    assert (np.diff(steps) > 0).all()
    assert contrast(steps[-1], steps[0]) > 8


@pytest.mark.parametrize("sight", SIGHT)
def test_hot_is_lighter_than_cold_whatever_the_photo_under_it(sight: str) -> None:
    white, black = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), "black")
    cold = np.asarray(overlay(white, np.zeros((7, 7))))[32, 32]
    hot = np.asarray(overlay(black, np.ones((7, 7))))[32, 32]
    assert contrast(luminance(hot, SIGHT[sight]), luminance(cold, SIGHT[sight])) > 2


@pytest.mark.parametrize("sight", SIGHT)
def test_on_a_picture_hot_and_cold_are_told_apart_by_lightness(
    sight: str, phantom_image: Image.Image
) -> None:
    values = np.zeros((MAP_PX, MAP_PX), np.float32)
    values[:, : MAP_PX // 2] = 1
    seen = luminance(np.asarray(overlay(phantom_image, values)), SIGHT[sight])
    third = phantom_image.width // 3
    assert contrast(np.percentile(seen[:, :third], 1), np.percentile(seen[:, -third:], 99)) > 2


def test_red_and_green_alone_would_fail_that_test() -> None:
    """The test can fail: a map from green to red of equal luminance means nothing to some."""
    red, green = np.array([206, 0, 0]), np.array([0, 114, 0])
    seen = [luminance(colour, SIGHT["deuteranopia"]) for colour in (red, green)]
    assert contrast(max(seen), min(seen)) < 2


# ---------------------------------------------------------------- lines


def test_lines_stand_at_half_and_three_quarters_and_nowhere_else() -> None:
    ramp = np.tile(np.linspace(0, 1, 400, dtype=np.float32), (100, 1))
    drawn = np.asarray(overlay(Image.new("L", (400, 100), 128), ramp), np.float32)
    row = drawn[50].min(axis=-1)  # yellow has little blue: only the lines are white
    lines = np.flatnonzero(row > 150)
    expected = [round(level * 399) for level, _ in CONTOURS]
    assert {min(expected, key=lambda place: abs(place - x)) for x in lines} == set(expected)
    assert max(min(abs(place - x) for place in expected) for x in lines) <= 2


def test_lines_are_seen_by_their_lightness_alone() -> None:
    ramp = np.tile(np.linspace(0, 1, 400, dtype=np.float32), (100, 1))
    seen = luminance(overlay(Image.new("L", (400, 100), 128), ramp), np.eye(3))[50]
    for level, _ in CONTOURS:
        near = seen[round(level * 399) - 5 : round(level * 399) + 6]
        assert contrast(near.max(), near.min()) > 7  # white on its black halo


def test_a_map_without_a_slope_has_no_lines() -> None:
    for level in (0.0, 0.5, 0.75, 1.0):
        drawn = np.asarray(overlay(Image.new("L", (50, 40), 128), np.full((7, 7), level)))
        assert np.ptp(drawn.reshape(-1, 3), axis=0).max() <= 1
        assert drawn.min() < 200


# ---------------------------------------------------------------- the whole picture


def test_the_photo_stands_unsquashed_beside_its_overlay(phantom_image: Image.Image) -> None:
    page = draw_explanation(phantom_image, explanation(blob()), name="drawn-bcc.jpg")
    width, height = PANEL_PX, round(PANEL_PX * phantom_image.height / phantom_image.width)
    photo = phantom_image.resize((width, height), Image.Resampling.LANCZOS)
    left = np.asarray(page.crop((16, 92, 16 + width, 92 + height)), np.int16)
    assert np.array_equal(left, np.asarray(photo))
    right = page.crop((32 + width, 92, 32 + 2 * width, 92 + height))
    seen = luminance(np.asarray(right), np.eye(3))
    # Hottest where the map says: beyond the lines, which are whiter.
    hot = seen[height // 3 - 5 : height // 3 + 5, width // 4 - 5 : width // 4 + 5]
    assert hot.mean() > 1.8 * seen[-50:, -50:].mean()


@pytest.mark.parametrize("size", [(600, 450), (450, 600), (40, 900), (900, 40), (33, 33), (5, 1)])
def test_any_shape_of_photo_leaves_room_for_the_words(size: tuple[int, int]) -> None:
    page = draw_explanation(Image.new("RGB", size, (200, 150, 140)), explanation(blob()))
    assert page.width >= 660
    assert max(size) == size[0] or page.height > PANEL_PX
    words = np.asarray(page.convert("L"))[:60, :400]
    assert (words < 100).sum() > 300


def test_words_say_the_answer_the_verdict_and_what_was_asked(
    monkeypatch: pytest.MonkeyPatch, phantom_image: Image.Image
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "lesionlens.render._Pen.write",
        lambda _, place, text, *rest, **options: written.append(text),
    )
    draw_explanation(phantom_image, explanation(blob(), verdict="uncertain"), name="my.jpg")
    assert "Uncertain: Basal cell carcinoma, 70 %" in written
    assert "one of the three: 80 % · may be BCC or SCC · mean of 10 views" in written
    assert "What spoke for: Basal cell carcinoma" in written
    assert "my.jpg" in written
    assert NOTE in written
    assert "its peak" in written
    written.clear()
    draw_explanation(phantom_image, explanation(blob(), verdict="out_of_scope"))
    assert "None of the three; likeliest of them: Basal cell carcinoma, 70 %" in written
    written.clear()
    nothing = explanation(np.zeros((MAP_PX, MAP_PX)), label=Label.SCC, peak=0.0)
    draw_explanation(phantom_image, nothing)
    assert "Nothing spoke for: Squamous cell carcinoma" in written


def test_a_long_name_gives_way_and_a_foreign_one_is_no_error(phantom_image: Image.Image) -> None:
    plain = draw_explanation(phantom_image, explanation(blob()), name="x")
    for name in ("a very long name " * 20, "Läsion–皮膚\udcff.jpg"):
        page = draw_explanation(phantom_image, explanation(blob()), name=name)
        difference = np.abs(np.asarray(page, np.int16) - np.asarray(plain, np.int16)).max(axis=-1)
        rows, columns = np.nonzero(difference)
        assert rows.min() >= 70  # only the caption differs,
        assert rows.max() < 92
        assert columns.max() < 16 + PANEL_PX  # and it stays over its panel


def test_a_saved_picture_says_that_it_is_no_diagnosis(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    page = draw_explanation(phantom_image, explanation(blob()))
    path = save_picture(page, tmp_path / "new" / "lesion-BCC.png")
    with Image.open(path) as image:
        assert image.text["Description"] == NOTE  # type: ignore[attr-defined]
        assert np.array_equal(np.asarray(image), np.asarray(page))
    assert [file.name for file in path.parent.iterdir()] == ["lesion-BCC.png"]


def test_a_place_that_cannot_be_written_is_named(
    tmp_path: Path, phantom_image: Image.Image
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LesionLensError, match=r"file/x\.png: cannot be written"):
        save_picture(phantom_image, tmp_path / "file" / "x.png")
