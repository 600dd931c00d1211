"""What a treatment gained, told without the clean picture."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from conservator.restorers import catalog
from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError, WeightsError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.training.data import CropBank
from conservator.restorers.weights import save_weights
from conservator.tools.gain import LEAST_SIDE, Gain, candidates, estimate_gain
from conservator.tools.gain.network import GainNetwork, GainReading, Look, differences
from conservator.tools.gain.predictor import GainPredictor
from conservator.tools.gain.train import loss_of, train
from conservator.tools.instruments import estimator

SMALL = 96


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[:384, :384]).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def noisy(photo: torch.Tensor) -> torch.Tensor:
    made = synthesis.gaussian_noise(photo, [25.0], torch.Generator().manual_seed(0))
    return synthesis.quantise8(made)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clean photos."""
    path = tmp_path_factory.mktemp("clean")
    from PIL import Image

    Image.fromarray(data.coffee()[:320, :320]).save(path / "a.png")
    Image.fromarray(data.chelsea()[:300, :300]).save(path / "b.png")
    return path


def estimate(before: torch.Tensor, after: torch.Tensor) -> Gain:
    return estimate_gain(*(x[0].permute(1, 2, 0).contiguous().numpy() for x in (before, after)))


def test_taking_noise_off_gains_and_taking_the_picture_off_does_not(
    photo: torch.Tensor, noisy: torch.Tensor
) -> None:
    prompt = RestorationPrompt(degradations={Kind.NOISE: 25.0})
    treated = synthesis.quantise8(catalog.load("llmra").restore(noisy, prompt).image)
    good = estimate(noisy, treated)
    assert good.psnr > 3
    assert good.ssim > 0.05
    for name, kind, strength in (
        ("llmra", Kind.NOISE, 50.0),
        ("llmra", Kind.HAZE, 1.5),
        ("classical-nlm", Kind.NOISE, 40.0),
        ("classical-gamma", Kind.LOW_LIGHT, 1.2),
    ):
        harmed = catalog.load(name).restore(photo, RestorationPrompt(degradations={kind: strength}))
        bad = estimate(photo, synthesis.quantise8(harmed.image))
        assert bad.psnr < -1, name
        assert bad.psnr + bad.spread < good.psnr - good.spread


def test_the_better_of_two_treatments_is_told(noisy: torch.Tensor) -> None:
    right, faint = (
        synthesis.quantise8(
            catalog.load("llmra")
            .restore(noisy, RestorationPrompt(degradations={Kind.NOISE: sigma}))
            .image
        )
        for sigma in (25.0, 6.0)
    )
    assert estimate(noisy, right).psnr > estimate(noisy, faint).psnr


@pytest.mark.parametrize("size", [(LEAST_SIDE, LEAST_SIDE), (33, 201), (700, 500)])
def test_any_size_gives_numbers(size: tuple[int, int]) -> None:
    before = np.random.default_rng(0).random((*size, 3), np.float32)
    gain = estimate_gain(before, before * 0.5)
    assert np.isfinite([gain.psnr, gain.ssim]).all()
    assert gain.spread > 0


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(UsageError, match="at the input's size"):
        estimate_gain(np.zeros((64, 64, 3), np.float32), np.zeros((128, 128, 3), np.float32))


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "gain.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"gain\.safetensors"):
        GainPredictor.from_weights(tmp_path / "gain.safetensors")


def test_gains_are_what_a_library_measures(photo: torch.Tensor, noisy: torch.Tensor) -> None:
    blurred = synthesis.gaussian_blur(noisy, [1.0])
    gains = candidates.gained(noisy, blurred, photo)[0]
    clean, *both = (x[0].permute(1, 2, 0).numpy() for x in (photo, noisy, blurred))
    before, after = (peak_signal_noise_ratio(clean, x, data_range=1) for x in both)
    assert float(gains[0]) == pytest.approx(after - before, abs=1e-3)
    luma = np.array([0.299, 0.587, 0.114], np.float32)
    old, new = (structural_similarity(clean @ luma, x @ luma, data_range=1.0) for x in both)
    assert float(gains[1]) == pytest.approx(new - old, abs=1e-3)


def test_the_loss_prefers_the_truth_and_the_right_order() -> None:
    gains = torch.tensor([[4.0, 0.1], [-30.0, -0.2]])
    spread, ssim = torch.ones(2), gains[:, 1]

    def loss(*psnr: float) -> float:
        return float(loss_of(GainReading(torch.tensor(psnr), spread, ssim), gains))

    assert loss(4.0, -12.0) < loss(4.0, -30.0)  # beyond 12 dB nobody asks how much
    assert loss(4.0, -12.0) < loss(1.0, -12.0) < loss(-12.0, 4.0)
    # The same distance from the truth, in the right order and in the wrong one.
    near = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    level = torch.zeros(2)
    right = loss_of(GainReading(torch.tensor([2.0, -1.0]), spread, level), near)
    wrong = loss_of(GainReading(torch.tensor([0.0, 1.0]), spread, level), near)
    assert float(right) < float(wrong)


def test_treated_pictures_are_made_once_and_read_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_PART", 2)
    monkeypatch.setattr(candidates, "SIDE", SMALL)
    bank = CropBank(folder)
    lines: list[str] = []
    candidates.gather(bank, tmp_path, 4, seed=3, say=lines.append)
    assert [line.split()[1] for line in lines] == ["2", "4"]
    made = candidates.read(tmp_path)
    assert made.before.shape == (4, 3, SMALL, SMALL)
    assert made.after.shape == (4, candidates.WAYS, 3, SMALL, SMALL)
    assert made.gains.shape == (4, candidates.WAYS, 2)
    assert torch.isfinite(made.gains).all()
    first = tmp_path / "candidates-000.safetensors"
    kept = first.read_bytes()
    first.unlink()
    candidates.gather(bank, tmp_path, 4, seed=3, say=lines.append)
    assert len(lines) == 3
    assert first.read_bytes() == kept
    first.write_bytes(b"")
    with pytest.raises(UsageError, match="delete it to make it anew"):
        candidates.read(tmp_path)
    with pytest.raises(UsageError, match="gather some first"):
        candidates.read(tmp_path / "nothing")


def test_it_learns_from_few_pictures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that starts from nothing tells a restored picture from a ruined one after a few steps."""
    rng = random.Random(0)
    before, after, gains = [], [], []
    bank = CropBank(folder)
    for _ in range(8):
        clean = bank.patches(1, candidates.SIDE, rng)
        bad = synthesis.gaussian_noise(clean, [25.0], torch.Generator().manual_seed(1))
        ways = torch.cat([clean, synthesis.gaussian_blur(bad, [4.0]), bad])
        before.append(bad[0])
        after.append(ways)
        gains.append(torch.tensor([[12.0, 0.5], [-4.0, -0.3], [0.0, 0.0]]))
    taught = candidates.Candidates(
        *((torch.stack(x) * 255).round().to(torch.uint8) for x in (before, after)),
        torch.stack(gains),
    )
    monkeypatch.setattr("conservator.tools.gain.train.gather", lambda *_, **__: None)
    monkeypatch.setattr("conservator.tools.gain.train.read", lambda _: taught)
    path = train(folder, tmp_path, minutes=0.1, batch=8)
    told = GainPredictor.from_weights(path)
    pictures = [x.permute(1, 2, 0).contiguous().float().numpy() / 255 for x in taught.after[0]]
    restored, blurred, same = (told.estimate(pictures[2], x).psnr for x in pictures)
    assert restored > same > blurred
    step = torch.load(tmp_path / "state.pt", weights_only=True)["step"]
    lines: list[str] = []
    train(folder, tmp_path, minutes=0.12, batch=8, resume=True, say=lines.append)
    assert lines[0].startswith(f"resumed at step {step}")


def test_any_number_of_the_same_crops_gives_one_reading() -> None:
    eyes = estimator.load().model
    x, small = torch.rand(2, 3, 3, 64, 64), torch.rand(2, 3, 64, 64)
    other = x.flip(-1)
    twice = [0, 1, 2, 0, 1, 2]
    with torch.inference_mode():
        one = differences(eyes, Look(x, small), Look(other, small))
        many = differences(eyes, Look(x[:, twice], small), Look(other[:, twice], small))
    assert torch.allclose(one, many, atol=1e-3)
    network = GainNetwork(one.shape[1])
    assert sum(p.numel() for p in network.parameters()) < 1.5e6


def test_weights_of_another_estimator_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gain.safetensors"
    save_weights(GainNetwork(8), path, {"estimator_sha256": "0" * 64})
    with pytest.raises(WeightsError, match="trained with another estimator"):
        GainPredictor.from_weights(path)
