from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lesionlens.errors import LesionLensError
from lesionlens.views import make_views, turn_back, view_plan
from lesionlens.zooms import MAX_VIEWS, ZOOMS


@pytest.fixture
def rgb(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)


def test_the_first_view_is_the_image_itself(rgb: np.ndarray) -> None:
    assert np.array_equal(make_views(rgb, 1), rgb[np.newaxis])


def test_fewer_views_are_the_beginning_of_more(rgb: np.ndarray) -> None:
    all_views = make_views(rgb, MAX_VIEWS)
    for n in range(1, MAX_VIEWS + 1):
        assert np.array_equal(make_views(rgb, n), all_views[:n])


def test_without_zooms_the_first_eight_are_the_eight_symmetries(rgb: np.ndarray) -> None:
    turned = [np.rot90(rgb, k) for k in range(4)]
    expected = {view.tobytes() for view in [*turned, *(np.fliplr(view) for view in turned)]}
    assert {view.tobytes() for view in make_views(rgb, 8, [1.0])} == expected


@pytest.mark.parametrize("symmetry", range(8))
def test_every_symmetry_is_the_one_that_it_says_and_can_be_undone(
    rgb: np.ndarray, symmetry: int
) -> None:
    turned = rgb.swapaxes(0, 1) if symmetry & 4 else rgb
    turned = turned[:, ::-1] if symmetry & 1 else turned
    turned = turned[::-1] if symmetry & 2 else turned
    view = make_views(rgb, 8, [1.0])[symmetry]
    assert np.array_equal(view, turned)
    assert np.array_equal(turn_back(view, symmetry), rgb)


def test_five_views_look_from_five_distances_and_ten_are_all_different() -> None:
    assert sorted(zoom for _, zoom in view_plan(5)) == sorted(ZOOMS)
    assert len(set(view_plan(MAX_VIEWS))) == MAX_VIEWS


def test_a_zoomed_view_enlarges_the_centre(rgb: np.ndarray) -> None:
    views = make_views(rgb, 10)
    for view, (symmetry, zoom) in zip(views, view_plan(10), strict=True):
        if 224 * (1 - zoom) / 2 % 1:
            continue  # no whole pixels to cut at
        margin = round(224 * (1 - zoom) / 2)
        box = (margin, margin, 224 - margin, 224 - margin)
        cut = Image.fromarray(rgb).crop(box).resize((224, 224), Image.Resampling.BILINEAR)
        difference = np.abs(turn_back(view, symmetry).astype(int) - np.asarray(cut).astype(int))
        # At the rim our filter sees the pixels beside the box, which a cut image lacks.
        assert difference[1:-1, 1:-1].max() <= 1


def test_views_are_whole_arrays_that_do_not_touch_the_image(rgb: np.ndarray) -> None:
    before = rgb.copy()
    views = make_views(rgb, 10)
    assert views.shape == (10, 224, 224, 3)
    assert views.dtype == np.uint8
    assert views.flags.c_contiguous
    views[:] = 0
    assert np.array_equal(rgb, before)


def test_an_image_that_is_not_contiguous_gives_the_same_views(rgb: np.ndarray) -> None:
    sliced = np.repeat(rgb, 2, axis=1)[:, ::2]
    assert not sliced.flags.c_contiguous
    assert np.array_equal(make_views(sliced, 10), make_views(rgb, 10))


@pytest.mark.parametrize("n", [0, 11, -1, 1.5, True, "10"])
def test_a_number_of_views_out_of_range_is_refused(rgb: np.ndarray, n: object) -> None:
    with pytest.raises(LesionLensError, match="from 1 to 10"):
        make_views(rgb, n)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(224, 200, 3), (224, 224), (224, 224, 4)])
def test_what_is_not_a_square_rgb_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(LesionLensError, match="square"):
        make_views(np.zeros(shape, np.uint8), 2)
