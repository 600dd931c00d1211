"""What dehazing and the deconvolution of motion see in a photo, and what they make of it."""

from __future__ import annotations

import numpy as np
import pytest

from classical_pictures import (
    PHOTOS,
    Image,
    dragged,
    eight_bits,
    moved,
    photo,
    pixels,
    psnr,
    tensor,
    treated,
)
from conservator.restorers.classical.deblur import line_kernel, motion_kernel
from conservator.restorers.classical.filters import as_pixels
from conservator.restorers.degradations.recipe import Recipe, apply

# ── haze ────────────────────────────────────────────────────────────────────


def thick_haze(block: float) -> Image:
    """A sky over dark houses in thick haze; the sky in squares of 16 px that differ by `block` in colour and a third of it in brightness."""
    rng = np.random.default_rng(6)
    sky = np.full((192, 256, 3), 0.78, np.float32)
    sky -= np.linspace(0, 0.2, 192, dtype=np.float32)[:, None, None]
    squares = np.kron(rng.uniform(-1, 1, (12, 16, 3)), np.ones((16, 16, 1)))
    sky += block * as_pixels(squares - squares.mean(2, keepdims=True) * 2 / 3)
    for left in range(8, 240, 24):
        sky[150 - left // 4 :, left : left + 12] -= 0.12
    return eight_bits(sky)


def patchwork(x: Image) -> float:
    """Mean step of the sky at the borders of the squares over that within them."""
    sky = x[:80].mean(2) + (x[:80, :, 0] - x[:80, :, 2])
    steps = np.abs(np.diff(sky, axis=1)).mean(0)
    border = np.arange(1, 256) % 16 == 0
    return float(steps[border].mean() - steps[~border].mean())


def test_what_compression_left_in_a_hazy_sky_is_not_amplified() -> None:
    hazy_sky = thick_haze(0.008)
    clear = pixels(treated("classical-dehaze", hazy_sky, haze=1.8))
    assert patchwork(clear) < 1.5 * patchwork(hazy_sky)
    before, after = (x[160:, 22:30].mean() - x[160:, 8:20].mean() for x in (hazy_sky, clear))
    assert after > 1.7 * before


def test_a_photo_cleared_of_haze_does_not_become_night() -> None:
    grey_day = thick_haze(0.0)
    result = treated("classical-dehaze", grey_day, haze=1.8)
    assert result.details["exponent"] < 1
    assert pixels(result).mean() == pytest.approx(0.6 * grey_day.mean(), rel=0.03)


# ── the course of a motion ──────────────────────────────────────────────────


@pytest.mark.parametrize("title", ["astronaut", "coffee"])
@pytest.mark.parametrize(("length", "angle_deg", "told"), [(7, 20, 1.2), (10, -65, 0.85)])
def test_a_steady_motion_is_recognised_and_undone(
    title: str, length: float, angle_deg: float, told: float
) -> None:
    clean = photo(title, 200)
    blurred = dragged(clean, length, angle_deg)
    result = treated("classical-motion", blurred, motion_blur=told * length / 2.09)
    facts = result.details
    assert facts["course"] == "steady"
    assert facts["recognised"] is True
    assert facts["sigma_px"] * 2.09 == pytest.approx(length, abs=0.7)
    assert abs((facts["angle_deg"] - angle_deg + 90) % 180 - 90) <= 4
    assert psnr(eight_bits(pixels(result)), clean) > psnr(blurred, clean) + 2


@pytest.mark.parametrize("title", ["astronaut", "coffee"])
@pytest.mark.parametrize("angle_deg", [40, 220])
def test_a_motion_that_ebbs_away_is_recognised(title: str, angle_deg: float) -> None:
    blurred = moved(photo(title, 200), 3, angle_deg)
    facts = treated("classical-motion", blurred, motion_blur=3).details
    assert facts["course"] == "ebbing"
    assert facts["recognised"] is True
    assert "usual_db" not in facts


@pytest.mark.parametrize("sigma", [2, 4])
@pytest.mark.parametrize("title", ["astronaut", "coffee"])
def test_motion_in_whole_pixels_is_not_taken_for_steady(title: str, sigma: float) -> None:
    clean = tensor(photo(title, 200))
    for seed in range(6):
        made = apply(clean, Recipe.parse(f"motion_blur:sigma={sigma}").draw(seed, 200, 200))
        blurred = eight_bits(made[0].permute(1, 2, 0).numpy())
        facts = treated("classical-motion", blurred, motion_blur=sigma).details
        assert (facts["course"], facts["recognised"]) != ("steady", True)


@pytest.mark.parametrize("title", PHOTOS)
def test_where_nothing_moved_no_motion_is_recognised(title: str) -> None:
    facts = treated("classical-motion", photo(title), motion_blur=3).details
    assert facts["recognised"] is False


def test_a_line_has_the_variance_of_the_motion_that_ebbs_away() -> None:
    for kernel in (line_kernel(4, 30), motion_kernel(4, 30, 1)):
        assert kernel.sum() == pytest.approx(1)
        half = kernel.shape[0] // 2
        down, across = np.mgrid[-half : half + 1, -half : half + 1]
        along = across * np.cos(np.radians(30)) + down * np.sin(np.radians(30))
        spread = np.sqrt((kernel * along**2).sum() - (kernel * along).sum() ** 2)
        assert spread == pytest.approx(4 * np.sqrt(1 - 2 / np.pi), rel=0.06)
