"""Masks are read as their frames are, and what is taken out of a picture is gone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lesionlens.errors import DataError
from lesionlens.evidence import masks

SIDE = 224
SKIN, LESION = (205, 160, 140), (90, 30, 30)


def save_mask(path: Path, size: tuple[int, int], box: tuple[int, int, int, int]) -> Path:
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    mask.save(path)
    return path


@pytest.fixture
def disc() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    return np.hypot(x, y) < 50


@pytest.fixture
def picture(disc: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grainy skin with a dark, even lesion in the middle."""
    grain = rng.normal(0, 6, (SIDE, SIDE, 1))
    skin = np.array(SKIN) + grain
    return np.where(disc[..., None], LESION, skin).clip(0, 255).astype(np.uint8)


def test_a_larger_mask_is_squashed_as_its_frame_is(tmp_path: Path) -> None:
    path = save_mask(tmp_path / "a.png", (600, 450), (0, 0, 299, 449))
    mask = masks.load_mask(path, image_size_px=(300, 225))
    assert mask.shape == (SIDE, SIDE)
    assert mask[:, :111].all()
    assert not mask[:, 113:].any()
    # An archive's small copy is a square: the mask of the whole frame goes with it.
    assert np.array_equal(mask, masks.load_mask(path, image_size_px=(224, 224)))


def test_a_mask_of_another_shape_than_its_image_is_refused(tmp_path: Path) -> None:
    path = save_mask(tmp_path / "a.png", (600, 450), (0, 0, 99, 99))
    with pytest.raises(DataError, match=r"a\.png: is 600 x 450, its image 512 x 300"):
        masks.load_mask(path, image_size_px=(512, 300))


def test_a_photo_is_no_mask(tmp_path: Path, phantom_jpeg: Path) -> None:
    with pytest.raises(DataError, match="is not a mask"):
        masks.load_mask(phantom_jpeg)
    broken = tmp_path / "b.png"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b\.png: cannot be read as a mask"):
        masks.load_mask(broken)


def test_a_mask_of_ones_and_one_without_a_lesion_are_read(tmp_path: Path) -> None:
    faint = np.zeros((60, 60), np.uint8)
    faint[10:20] = 1  # some tools write 0 and 1
    Image.fromarray(faint).save(tmp_path / "faint.png")
    assert 0.1 < masks.load_mask(tmp_path / "faint.png").mean() < 0.25
    Image.new("L", (60, 60), 0).save(tmp_path / "empty.png")
    assert not masks.load_mask(tmp_path / "empty.png").any()


def test_masks_are_found_by_the_names_that_archives_give_them(tmp_path: Path) -> None:
    for name in ("A.png", "B_segmentation.png", "C_Segmentation.png", "D_mask.png", "E.txt"):
        save_mask(tmp_path / "x.png", (32, 32), (0, 0, 9, 9)).rename(tmp_path / name)
    assert sorted(masks.find_masks(tmp_path, "ABCDEF")) == ["A", "B", "C", "D"]
    with pytest.raises(DataError, match="no such folder"):
        masks.find_masks(tmp_path / "nowhere", "A")


@pytest.mark.parametrize("grain", [False, True])
def test_nothing_of_a_lesion_is_left_when_it_is_taken_out(
    picture: np.ndarray, disc: np.ndarray, grain: bool
) -> None:
    left = masks.without_lesion(picture, disc, grain=grain)
    assert np.abs(left.astype(int) - SKIN).max() < 60  # LESION is 110 and more away
    assert np.abs(left[disc].mean(axis=0) - SKIN).max() < 3
    far = ~masks.grow(disc, 2 * masks.MARGIN_PX)
    assert np.array_equal(left[far], picture[far])


def test_skin_that_is_continued_has_the_grain_of_skin(
    picture: np.ndarray, disc: np.ndarray
) -> None:
    around = picture[~masks.grow(disc, masks.MARGIN_PX)].std(axis=0)
    flat = masks.without_lesion(picture, disc, grain=False)[disc].std(axis=0)
    grainy = masks.without_lesion(picture, disc, grain=True)[disc].std(axis=0)
    assert (flat == 0).all()
    assert (np.abs(grainy / around - 1) < 0.3).all()


def test_a_slope_of_light_goes_on_through_the_hole(disc: np.ndarray) -> None:
    slope = np.broadcast_to(np.linspace(100, 220, SIDE)[None, :, None], (SIDE, SIDE, 3))
    left = masks.without_lesion(slope.astype(np.uint8), disc, grain=True)
    assert np.abs(left.astype(float) - slope)[disc].mean() < 8
    flat = masks.without_lesion(slope.astype(np.uint8), disc, grain=False)
    assert np.abs(flat.astype(float) - slope)[disc].mean() > 10


def test_a_lesion_alone_stands_on_one_colour(picture: np.ndarray, disc: np.ndarray) -> None:
    alone = masks.lesion_only(picture, disc, (1, 2, 3))
    inner = ~masks.grow(~disc, 5)
    assert np.array_equal(alone[inner], picture[inner])
    assert (alone[~masks.grow(disc, 20)] == (1, 2, 3)).all()
    own = masks.lesion_only(picture, disc)
    assert np.abs(own[0, 0].astype(int) - SKIN).max() < 4


def test_shapes_alone_tell_nothing_of_colour(disc: np.ndarray) -> None:
    shape = masks.silhouette(disc)
    assert (shape[112, 112] == masks.LESION_COLOUR).all()
    assert (shape[0, 0] == masks.SKIN_COLOUR).all()


def test_a_mask_over_everything_leaves_no_picture_to_speak_of(picture: np.ndarray) -> None:
    everything = np.ones((SIDE, SIDE), bool)
    assert not masks.is_usable(everything)
    assert not masks.is_usable(np.zeros_like(everything))
    assert (masks.without_lesion(picture, everything, grain=True) == masks.SKIN_COLOUR).all()
    assert np.array_equal(masks.lesion_only(picture, everything), picture)


def test_healthy_skin_borrows_the_holes_of_lesions(
    disc: np.ndarray, rng: np.random.Generator
) -> None:
    own = {3: disc, 5: ~disc}
    lent = masks.borrow_masks(own, range(10, 60), rng)
    assert sorted(lent) == list(range(10, 60))
    assert {id(mask) for mask in lent.values()} == {id(disc), id(own[5])}
