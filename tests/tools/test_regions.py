"""Soft masks of parts of a photo."""

import numpy as np
import pytest
from skimage import data

from conservator.restorers.errors import InputError, UsageError
from conservator.tools.regions import (
    Region,
    core_of,
    coverage,
    mask_of,
    mixed,
    shield_of,
)

LEFT = Region(name="the left half", box=(0, 0, 0.5, 1))


def photo(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float32) / 255


def test_a_box_has_soft_inner_borders_only() -> None:
    pixels = np.zeros((100, 200, 3), np.float32)
    mask = mask_of(LEFT, pixels)
    assert mask.shape == (100, 200)
    assert (mask[:, :90] == 1).all() and (mask[:, 110:] == 0).all()
    assert 0.2 < mask[50, 100] < 0.8
    assert (np.diff(mask[50]) <= 0).all()
    assert coverage(LEFT, pixels) == pytest.approx(0.5, abs=0.01)
    outside = LEFT.model_copy(update={"outside": True})
    np.testing.assert_allclose(mask_of(outside, pixels), 1 - mask)


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0.5, 0, 0.6, 1), (-0.1, 0, 0.5, 1)])
def test_boxes_lie_in_the_photo(box: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="box"):
        Region(name="wrong", box=box)  # type: ignore[arg-type]


def test_faces_are_found_where_they_are() -> None:
    pixels = photo(data.astronaut())
    mask = mask_of(Region(name="the face", found="faces"), pixels)
    assert mask[110, 225] > 0.9
    assert mask[400:].max() == 0
    assert 0.02 < mask.mean() < 0.15


def test_what_is_not_there_is_not_found() -> None:
    coffee = photo(data.coffee())[::2, ::2]
    for found in ("faces", "sky"):
        assert coverage(Region(name=found, found=found), coffee) == 0
        assert coverage(Region(name=found, found=found, outside=True), coffee) == 0


def test_the_sky_lies_above_the_ground() -> None:
    rng = np.random.default_rng(3)
    pixels = np.empty((160, 240, 3), np.float32)
    pixels[:70] = np.linspace(0.7, 0.76, 70, dtype=np.float32)[:, None, None] * [0.7, 0.9, 1.15]
    pixels[70:] = 0.25 * rng.random((90, 240, 1)) + [0.2, 0.15, 0.05]
    mask = mask_of(Region(name="the sky", found="sky"), pixels)
    assert mask[:55].min() > 0.9
    assert mask[90:].max() < 0.1


def test_shadows_and_highlights() -> None:
    pixels = np.full((80, 80, 3), 0.1, np.float32)
    pixels[:, 40:] = 0.9
    shadows = mask_of(Region(name="the shadows", found="shadows"), pixels)
    highlights = mask_of(Region(name="the highlights", found="highlights"), pixels)
    assert shadows[40, 10] > 0.9 > 0.1 > shadows[40, 70]
    assert highlights[40, 70] > 0.9 > 0.1 > highlights[40, 10]


def test_mixing() -> None:
    under, over = np.zeros((100, 200, 3), np.float32), np.ones((100, 200, 3), np.float32)
    mask = mask_of(LEFT, under)
    np.testing.assert_allclose(mixed(under, over, mask)[..., 0], mask)
    with pytest.raises(UsageError, match="size"):
        mixed(under, over[::2, ::2], mask)


BOX = Region(name="the box 20,30,50,40", box=(0.1, 0.3, 0.25, 0.4), size=(200, 100))


def test_a_box_covers_every_pixel_that_it_names() -> None:
    core = core_of(BOX, np.zeros((100, 200, 3), np.float32))
    assert core[30:70, 20:70].all()
    assert core.sum() == 40 * 50
    # Thirds of 100 px begin and end within a pixel, which then belongs to both.
    third = Region(name="third", box=(1 / 3, 0, 1 / 3, 1))
    columns = np.flatnonzero(core_of(third, np.zeros((9, 100, 3), np.float32))[0])
    assert (columns[0], columns[-1]) == (33, 66)


def test_px_belong_to_photos_of_one_size() -> None:
    with pytest.raises(InputError, match=r"200x100 photo, this one is 100x50; give it in percent"):
        shield_of((BOX,), np.zeros((50, 100, 3), np.float32))


def test_a_shield_is_whole_inside_and_soft_outside() -> None:
    pixels = np.zeros((100, 200, 3), np.float32)
    shield = shield_of((BOX,), pixels)
    assert (shield.mask[core_of(BOX, pixels)] == 1).all()
    beside = shield.mask[50, 70:80]
    assert 0 < beside[1] < 1 and (np.diff(beside) <= 0).all() and beside[-1] == 0
    assert shield.shares == pytest.approx((0.1,))
    assert shield_of((), pixels).mask.max() == 0
    nobody = shield_of((Region(name="the face", found="faces"),), pixels)
    assert nobody.mask.max() == 0 and nobody.shares == (0,)


def test_what_is_shielded_is_the_same_to_the_bit() -> None:
    rng = np.random.default_rng(1)
    original, treated = (rng.random((100, 200, 3), np.float32) for _ in range(2))
    shield = shield_of((BOX,), original)
    result = shield.over(original, treated)
    core = core_of(BOX, original)
    np.testing.assert_array_equal(result[core], original[core])
    np.testing.assert_array_equal(result[shield.mask == 0], treated[shield.mask == 0])
    border = (shield.mask > 0) & (shield.mask < 1)
    assert (shield.touched(original, result), shield.touched(original, treated)) == (0, 2000)
    low, high = np.minimum(original, treated)[border], np.maximum(original, treated)[border]
    assert border.any()
    assert ((result[border] >= low - 1e-6) & (result[border] <= high + 1e-6)).all()
    with pytest.raises(UsageError, match="size"):
        shield.over(original, treated[::2])
