"""The learned instrument."""

import numpy as np
import pytest
import torch
from skimage import data

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.tools.instruments import estimator
from conservator.tools.instruments.estimator.network import (
    CROP,
    THUMBNAIL,
    TONES,
    Estimator,
    tones_of,
)
from conservator.tools.instruments.estimator.predictor import (
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
        tones = tones_of(image)
        reading = Estimator().eval()(crops, thumbnail, tones)
    assert tones.shape == (1, TONES)
    assert reading.levels.shape == (1, len(Kind), len(Level))
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


def test_every_kind_is_read(shipped: Predictor, photo: torch.Tensor) -> None:
    assert set(shipped.estimate_tensor(photo).findings) == set(Kind)


def test_tones_tell_a_capped_white() -> None:
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 64, 256)
    whole, capped = tones_of(ramp), tones_of(ramp * 0.6)
    assert float(whole.square().sum()) == pytest.approx(4.0, abs=1e-4)
    brightest = whole[0, : TONES // 4], capped[0, : TONES // 4]
    assert int(brightest[0].nonzero().max()) > int(brightest[1].nonzero().max())


def test_a_dark_photo_is_read(shipped: Predictor, photo: torch.Tensor) -> None:
    dark = synthesis.quantise8(synthesis.low_light(photo, [1.2], ["range"]))
    assert shipped.estimate_tensor(dark).findings[Kind.LOW_LIGHT].level >= Level.MEDIUM


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
