"""What an inspection asks for."""

import numpy as np
import pytest
import torch
from skimage import data

from conservator.restorers.degradations.vocabulary import Kind
from conservator.tools.instruments import measure
from conservator.tools.instruments.prompt import CERTAIN, degradations_of, prompt_of


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """(2, 3, 160, 160): a photo, and the same with noise of sigma 30 of 255."""
    clean = torch.from_numpy(data.astronaut()[:160, 180:340]).permute(2, 0, 1)[None] / 255
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * 30 / 255
    return ((torch.cat([clean, clean + noise]).clamp(0, 1) * 255).round() / 255).float()


def test_prompt_names_what_is_certain(pictures: torch.Tensor) -> None:
    noisy = pictures[1].permute(1, 2, 0).numpy()
    asked = prompt_of(noisy)
    assert asked.degradations[Kind.NOISE] == pytest.approx(30, abs=4)
    found = {f.kind: f for f in measure(noisy)}
    certain = {kind for kind, f in found.items() if f.level > 0 and f.confidence >= CERTAIN}
    assert set(asked.degradations) == certain
    assert not asked.blind


def test_a_batch_is_inspected_picture_by_picture(pictures: torch.Tensor) -> None:
    each = [
        dict(prompt_of(np.ascontiguousarray(x.permute(1, 2, 0))).degradations) for x in pictures
    ]
    assert degradations_of(pictures) == each
    assert Kind.NOISE not in each[0]


@pytest.mark.slow  # two processes import torch
def test_processes_say_the_same(pictures: torch.Tensor) -> None:
    many = pictures.repeat(8, 1, 1, 1)
    assert degradations_of(many, workers=2) == degradations_of(pictures, workers=1) * 8
