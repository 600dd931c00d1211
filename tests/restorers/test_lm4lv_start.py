"""The autoencoder's first weights: principal components, not chance."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conservator.restorers.lm4lv.mae import MAE, place_codes
from conservator.restorers.lm4lv.pictures import Crops
from conservator.restorers.lm4lv.start import free_directions, start_from_components
from conservator.restorers.training.data import CropBank
from conservator.restorers.training.validation import psnr
from tiny_lm4lv import TINY_MAE


@pytest.fixture
def crops(photos: Path) -> torch.Tensor:
    return Crops(CropBank(photos), TINY_MAE.side, torch.device("cpu"), 0).take(64)


def _psnr(vision: MAE, pictures: torch.Tensor, noise: float = 0.0) -> float:
    with torch.no_grad():
        return float(psnr(vision(pictures, noise=noise).clamp(0, 1), pictures).mean())


def test_a_picture_comes_back_before_any_training(crops: torch.Tensor) -> None:
    torch.manual_seed(0)
    vision = MAE(TINY_MAE)
    before = _psnr(vision, crops)
    start_from_components(vision, crops[:48])
    assert _psnr(vision, crops[48:]) > max(24, before + 8)


def test_more_numbers_a_token_keep_more(crops: torch.Tensor) -> None:
    kept = []
    for numbers in (4, 12, 24):
        torch.manual_seed(0)
        vision = MAE(replace(TINY_MAE, token_width=numbers))
        start_from_components(vision, crops)
        kept.append(_psnr(vision, crops))
    assert kept[0] + 1 < kept[1] < kept[2] - 0.5


def test_a_place_leaves_no_trace_in_a_token(crops: torch.Tensor) -> None:
    vision = MAE(TINY_MAE)
    start_from_components(vision, crops)
    flat = crops.mean(dim=(2, 3), keepdim=True).expand_as(crops)
    with torch.no_grad():
        tokens = vision.encoder(flat)[:, 1:]
    torch.testing.assert_close(tokens, tokens[:, :1].expand_as(tokens), atol=1e-4, rtol=1e-4)


def test_free_directions_are_orthonormal_and_see_no_place() -> None:
    codes = place_codes(14, 192)
    found = free_directions(codes, 64)
    torch.testing.assert_close(found @ found.T, torch.eye(64), atol=1e-5, rtol=0)
    assert float((codes @ found.T).abs().max()) < 1e-4
