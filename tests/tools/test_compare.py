"""The guards see what they are for and are blind to what they are not for; the sheet shows both pictures."""

import numpy as np
import pytest
from skimage import data, filters, metrics

from conservator.restorers.errors import UsageError
from conservator.tools.compare import compare, png, sheet
from conservator.tools.look import Crop, Pixels, crops, overview


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return (data.astronaut()[:256, 100:420] / 255).astype(np.float32)


def noisy(photo: Pixels, sigma_255: float = 25) -> Pixels:
    rng = np.random.default_rng(3)
    return np.clip(photo + rng.normal(0, sigma_255 / 255, photo.shape), 0, 1).astype(np.float32)


def test_a_picture_is_perfectly_like_itself(photo: Pixels) -> None:
    guards = compare(photo, photo.copy())
    assert guards.structure == pytest.approx(1, abs=1e-6)
    assert guards.as_numbers() | {"structure": 0} == dict.fromkeys(guards.as_numbers(), 0.0)
    assert guards.fidelity == guards.structure


def test_residual_is_the_rms_difference(photo: Pixels) -> None:
    assert compare(photo, np.clip(photo + 10 / 255, 0, 2)).residual == pytest.approx(10, rel=1e-3)


def test_structure_is_blind_to_exposure_and_lowpass_is_not(photo: Pixels) -> None:
    darker = (photo * 0.5).astype(np.float32)
    guards = compare(photo, darker)
    assert guards.structure > 0.97
    assert guards.lowpass > 0.1
    assert guards.colour < 0.02


def test_colour_sees_a_cast(photo: Pixels) -> None:
    cast = np.clip(photo * np.array([1.0, 0.8, 0.8], np.float32), 0, 1)
    assert compare(photo, cast).colour > 0.04


def test_denoising_keeps_the_structure_and_another_scene_does_not(photo: Pixels) -> None:
    before = noisy(photo)
    smooth = filters.gaussian(before, 1.2, channel_axis=2).astype(np.float32)
    other = np.ascontiguousarray(photo[::-1, ::-1])
    assert compare(before, smooth).structure > 0.85
    assert compare(before, smooth).lowpass < 0.02
    assert compare(before, other).structure < 0.4


def test_heavy_smearing_costs_structure(photo: Pixels) -> None:
    smeared = filters.gaussian(photo, 12, channel_axis=2).astype(np.float32)
    mild = filters.gaussian(photo, 1, channel_axis=2).astype(np.float32)
    assert compare(photo, smeared).structure < 0.8 < compare(photo, mild).structure


def test_a_larger_result_of_the_same_scene_compares(photo: Pixels) -> None:
    doubled = photo.repeat(2, axis=0).repeat(2, axis=1)
    guards = compare(photo, doubled)
    assert guards.residual < 0.01
    assert guards.structure > 0.999


def test_another_aspect_ratio_is_refused(photo: Pixels) -> None:
    with pytest.raises(UsageError, match="200x256"):
        compare(photo, photo[:, :200])


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 3)])
def test_tiny_pictures_compare(shape: tuple[int, int]) -> None:
    tiny = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
    assert compare(tiny, tiny).residual == 0


def test_sheet_shows_both_pictures_and_writes_a_png(photo: Pixels) -> None:
    after = np.zeros_like(photo)
    after[..., 2] = 1
    page = sheet(photo, after, crops=crops(photo, 2, 64), title="a photo", lines=["met: done"])
    samples = np.asarray(page)
    blue = (samples == (0, 0, 255)).all(axis=2)
    assert blue.sum() > photo.shape[0] * photo.shape[1]
    assert not blue[:, : page.width // 2 - 250].any()
    assert png(page).startswith(b"\x89PNG")


def test_sheet_of_an_enlarged_result(photo: Pixels) -> None:
    doubled = photo.repeat(2, axis=0).repeat(2, axis=1)
    assert sheet(photo, doubled, crops=crops(photo, 1, 64)).width > 0


def test_crops_stay_inside_and_hardly_overlap(photo: Pixels) -> None:
    chosen = crops(photo, 4, 96)
    assert [crop.reason for crop in chosen][:2] == ["smooth", "edges"]
    covered = np.zeros(photo.shape[:2], int)
    for crop in chosen:
        assert crop.of(photo).shape == (96, 96, 3)
        covered[crop.top : crop.top + 96, crop.left : crop.left + 96] += 1
    assert (covered > 1).sum() < 0.35 * 96 * 96 * len(chosen)


def test_crops_go_where_each_kind_tells_most() -> None:
    picture = np.full((256, 256, 3), 0.5, np.float32)
    rng = np.random.default_rng(1)
    picture[128:, :128] = rng.random((128, 128, 3), dtype=np.float32)
    picture[128:, 128:] = 0.02
    found = {crop.reason: crop for crop in crops(picture, 4, 96)}
    assert found["smooth"].top < 64
    assert (found["edges"].top >= 96, found["edges"].left <= 32) == (True, True)
    assert (found["dark"].top >= 96, found["dark"].left >= 96) == (True, True)


def test_a_small_photo_has_one_crop() -> None:
    assert crops(np.zeros((40, 60, 3), np.float32), 4, 96) == (Crop(0, 0, 96, 60, 40, "centre"),)
    assert crops(np.zeros((40, 60, 3), np.float32), 0, 96) == ()


def test_overview_keeps_the_aspect_and_never_enlarges(photo: Pixels) -> None:
    assert overview(photo, 160).shape == (128, 160, 3)
    assert overview(photo, 4000) is photo


@pytest.mark.parametrize("size", [(256, 320), (700, 60), (12, 40)])
def test_ssim_is_the_usual_one_of_luma(photo: Pixels, size: tuple[int, int]) -> None:
    tall = np.tile(photo, (3, 1, 1))[: size[0], : size[1]]
    worse = noisy(tall)
    luma = [x @ np.array([0.299, 0.587, 0.114], np.float32) for x in (tall, worse)]
    expected = metrics.structural_similarity(
        *luma, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert compare(tall, worse, ssim=True).ssim == pytest.approx(expected, abs=1e-4)


def test_ssim_of_equal_and_of_tiny_pictures(photo: Pixels) -> None:
    assert compare(photo, photo.copy(), ssim=True).ssim == 1
    tiny = compare(photo[:6, :9], noisy(photo)[:6, :9], ssim=True).ssim
    assert tiny is not None and 0 < tiny < 1
    assert compare(photo, photo).ssim is None
