"""The learned instrument."""

import numpy as np
import pytest
import torch
from skimage import data

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.tools.instruments import estimator
from conservator.tools.instruments.estimator.network import CROP, THUMBNAIL, Estimator
from conservator.tools.instruments.estimator.predictor import (
    JUDGED,
    Predictor,
    crops_of,
    thumbnail_of,
)
from conservator.tools.instruments.estimator.train import quality_of


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    assert estimator.missing() == ""
    return estimator.load()


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (16, 16), (161, 159), (1000, 700)])
def test_any_size_gives_a_reading(size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size)
    crops, thumbnail = crops_of(image), thumbnail_of(image)
    assert thumbnail.shape == (1, 3, THUMBNAIL, THUMBNAIL)
    assert crops.shape[3] % 4 == crops.shape[4] % 4 == 0
    assert max(crops.shape[3:]) <= CROP
    with torch.inference_mode():
        reading = Estimator().eval()(crops, thumbnail)
    assert reading.severity.shape == (1, len(Kind))
    assert 0 <= float(reading.quality) <= 1


def test_crops_keep_the_jpeg_grid() -> None:
    image = torch.arange(400.0).view(1, 1, 1, 400).expand(1, 3, 400, 400)
    corners = crops_of(image)[0, :, 0, 0, 0]
    assert {int(c) % 8 for c in corners} == {0}


def test_noise_is_read(shipped: Predictor, photo: torch.Tensor) -> None:
    noisy = synthesis.gaussian_noise(photo, [30.0], torch.Generator().manual_seed(0))
    found = shipped.estimate_tensor(noisy).findings
    assert found[Kind.NOISE].level in (Level.MEDIUM, Level.HIGH, Level.VERY_HIGH)
    assert found[Kind.NOISE].confidence > 0.6


def test_kinds_it_reads_badly_are_left_out(shipped: Predictor, photo: torch.Tensor) -> None:
    assert set(shipped.estimate_tensor(photo).findings) == set(JUDGED)


def test_quality_falls_with_noise(shipped: Predictor, photo: torch.Tensor) -> None:
    seen = [
        shipped.estimate_tensor(
            synthesis.gaussian_noise(photo, [s], torch.Generator().manual_seed(0))
        ).quality
        for s in (0.0, 15.0, 45.0)
    ]
    assert seen == sorted(seen, reverse=True)


def test_array_and_tensor_agree(shipped: Predictor, photo: torch.Tensor) -> None:
    array = np.ascontiguousarray(photo[0].permute(1, 2, 0).numpy())
    assert shipped.estimate(array).quality == shipped.estimate_tensor(photo).quality


def test_learned_quality_is_one_when_nothing_is_lost(photo: torch.Tensor) -> None:
    assert float(quality_of(photo, photo)) == pytest.approx(1.0, abs=1e-4)
    worse = synthesis.gaussian_noise(photo, [25.0], torch.Generator().manual_seed(0))
    assert 0.1 < float(quality_of(worse, photo)) < 0.7
