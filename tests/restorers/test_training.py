"""Crops, synthesis on the fly, and the loop."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError, WeightsError
from conservator.restorers.llmra.train import erring, false_sentence, sentence
from conservator.restorers.prompts.llmra import parse
from conservator.restorers.training.data import CAPTURE_ORDER, CropBank, Mixture, Synthesiser
from conservator.restorers.training.loop import Budget, Trainer
from conservator.restorers.training.losses import fourier_l1, reconstruction_loss
from conservator.restorers.training.validation import psnr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i, size in enumerate([(96, 96), (120, 90), (60, 200)]):
        low = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(low).resize(size, Image.Resampling.BICUBIC).save(tmp_path / f"{i}.png")
    return tmp_path


def test_bank_decodes_every_size_to_one_side(folder: Path) -> None:
    bank = CropBank(folder, side=96)
    assert bank.images.shape == (3, 3, 96, 96)
    patches = bank.patches(5, 48, random.Random(0))
    assert patches.shape == (5, 3, 48, 48)
    assert 0 <= float(patches.min()) <= float(patches.max()) <= 1


def test_bank_refuses_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training images"):
        CropBank(tmp_path)


def test_capture_order_names_every_kind_once() -> None:
    assert sorted(CAPTURE_ORDER) == sorted(Kind)


def test_same_seed_gives_the_same_pairs() -> None:
    clean = torch.rand(6, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    first, second = (Synthesiser(seed=3).pairs(clean) for _ in range(2))
    assert torch.equal(first.degraded, second.degraded)
    assert torch.equal(first.target, second.target)
    assert first.present == second.present


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_changes_the_input_and_not_the_target(kind: Kind) -> None:
    maker = Synthesiser(seed=1)
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    kinds = [{kind: maker.severity(kind)} for _ in range(2)]
    pairs = maker.apply(clean, kinds, kinds)
    assert torch.equal(pairs.target, clean)
    assert not torch.equal(pairs.degraded, clean)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_that_is_not_asked_for_stays_in_the_target_by_the_same_draw(kind: Kind) -> None:
    maker = Synthesiser(seed=1)
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    kinds = [{kind: maker.severity(kind)} for _ in range(2)]
    pairs = maker.apply(clean, kinds, [{}, kinds[1]])
    assert (pairs.target[0] - pairs.degraded[0]).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(pairs.target[1], clean[1])


def test_partial_prompts_name_a_subset() -> None:
    maker = Synthesiser(Mixture(partial=1.0, counts=(0, 0, 0, 1)), seed=0)
    pairs = maker.pairs(torch.rand(8, 3, 32, 32))
    for present, asked in zip(pairs.present, pairs.asked, strict=True):
        assert set(asked) < set(present)


def test_sentences_say_what_is_there_and_false_ones_do_not() -> None:
    rng = random.Random(0)
    present = {Kind.NOISE: 30.0, Kind.JPEG: 20.0}
    for _ in range(20):
        assert set(parse(sentence(present, rng)).degradations) == set(present)
        assert not set(parse(false_sentence(present, rng)).degradations) & set(present)


def test_erring_inspection_is_right_more_often_than_not() -> None:
    rng = random.Random(0)
    said = [erring({Kind.RAIN: 75.0}, rng) for _ in range(200)]
    hits = sum(Kind.RAIN in kinds for kinds in said)
    assert 150 < hits < 200
    assert any(set(kinds) - {Kind.RAIN} for kinds in said)


def test_losses_are_zero_on_equal_images() -> None:
    x = torch.rand(2, 3, 16, 16)
    assert float(reconstruction_loss(x, x)) == pytest.approx(0, abs=1e-7)
    assert float(reconstruction_loss(x + 0.1, x, fourier=0)) == pytest.approx(0.099, abs=1e-4)
    # A constant offset lies in one frequency: sqrt(H W) there, orthonormal, averaged over the half spectrum's parts.
    assert float(fourier_l1(x + 0.1, x)) == pytest.approx(0.1 * 16 / (16 * 9 * 2), rel=1e-3)
    assert psnr(x, x).tolist() == [100.0, 100.0]


def _quadratic(out: Path, minutes: float) -> Trainer:
    torch.manual_seed(0)
    return Trainer(nn.Linear(4, 1), Budget(minutes=minutes, warmup=1, checkpoint_s=0.05), out)


def _losses(model: nn.Module):  # type: ignore[no-untyped-def]
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    y = x.sum(1, keepdim=True)
    while True:
        yield lambda: (model(x) - y).square().mean()


def test_loop_learns_logs_and_resumes(tmp_path: Path) -> None:
    first = _quadratic(tmp_path, 0.03)
    start = float(next(_losses(first.model))().detach())
    first.run(_losses(first.model))
    assert float(next(_losses(first.model))().detach()) < 0.9 * start
    assert (tmp_path / "log.csv").read_text().count("\n") >= 2
    assert not list(tmp_path.glob("*.part"))

    second = _quadratic(tmp_path, 0.03)
    assert second.resume()
    assert second.step == first.step
    assert second.progress == 1.0
    assert torch.equal(second.model.weight, first.model.weight)


def test_a_budget_of_steps_ends_after_as_many_however_the_run_was_cut(tmp_path: Path) -> None:
    def run(out: Path, steps: int) -> Trainer:
        torch.manual_seed(0)
        trainer = Trainer(nn.Linear(4, 1), Budget(minutes=1e-9, steps=steps, warmup=1), out)
        trainer.resume()
        trainer.run(_losses(trainer.model))
        return trainer

    run(tmp_path, 3)
    assert run(tmp_path, 7).step == 7
    assert run(tmp_path / "other", 7).step == 7


def test_resume_refuses_the_checkpoint_of_another_network(tmp_path: Path) -> None:
    _quadratic(tmp_path, 0.001).save()
    other = Trainer(nn.Linear(5, 1), Budget(minutes=1), tmp_path)
    with pytest.raises(WeightsError, match="cannot resume"):
        other.resume()


def test_average_follows_the_weights(tmp_path: Path) -> None:
    trainer = _quadratic(tmp_path, 0.01)
    trainer.run(_losses(trainer.model))
    assert not torch.equal(trainer.ema.weight, trainer.model.weight)
    assert torch.allclose(trainer.ema.weight, trainer.model.weight, atol=0.3)
