"""SPIRE behind the contract: modes, tiles, what weights must be, and what the shipped ones do."""

from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from skimage import data

from conservator.policies.preferences import load_preferences
from conservator.restorers import catalog
from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.errors import CancelledError, PromptError, UsageError, WeightsError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.runner import Runner
from conservator.restorers.spire.base import VARIABLE
from conservator.restorers.spire.card import CARD
from conservator.restorers.spire.config import CONFIGS
from conservator.restorers.spire.network import Spire
from conservator.restorers.spire.parts import ours, write
from conservator.restorers.spire.restorer import SpireRestorer, instructions
from conservator.restorers.weights import load_weights, save_weights
from tiny_spire import TINY, write_base, write_weights

NOISY = RestorationPrompt(degradations={Kind.NOISE: 15.3})
BLIND = RestorationPrompt(blind=True)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_weights(tmp_path / "tiny.safetensors", monkeypatch)


@pytest.fixture
def photo() -> torch.Tensor:
    return torch.rand(1, 3, 150, 180, generator=torch.Generator().manual_seed(0))


def run(restorer: SpireRestorer, photo: torch.Tensor, prompt: RestorationPrompt) -> torch.Tensor:
    return Runner(restorer, device="cpu", dtype="float32").restore(photo, prompt).image


def test_prompts_are_the_paper_s() -> None:
    both = RestorationPrompt(degradations={Kind.NOISE: 15.3, Kind.DEFOCUS_BLUR: 6, Kind.RAIN: 50})
    assert instructions(both) == "Deblur with sigma 3.0; Denoise with sigma 0.06;"
    assert instructions(both, numbers=False) == "Deblur; Denoise;"
    assert instructions(BLIND) == "Remove all degradation"


def test_all_modes_of_the_paper_differ(weights: Path, photo: torch.Tensor) -> None:
    restorer = SpireRestorer("compact", weights)
    semantic = BLIND.model_copy(update={"semantic": "a zebra"})
    every = NOISY.model_copy(update={"semantic": "a zebra"})
    assert restorer.render(BLIND) == "Remove all degradation"
    assert restorer.render(every) == "Denoise with sigma 0.06; | a zebra"
    stronger = RestorationPrompt(degradations={Kind.NOISE: 61})
    results = [run(restorer, photo, p) for p in (BLIND, semantic, NOISY, every, stronger)]
    assert all(image.shape == photo.shape for image in results)
    for i, one in enumerate(results):
        assert not any(torch.equal(one, other) for other in results[:i])
    without = SpireRestorer("compact", weights, numbers=False)
    assert without.render(NOISY) == "Denoise;"
    assert torch.equal(run(without, photo, NOISY), run(without, photo, stronger))


def test_the_same_seed_gives_the_same_bits_and_tiles_share_one_drawing(
    weights: Path, photo: torch.Tensor
) -> None:
    runner = Runner(SpireRestorer("compact", weights), device="cpu", dtype="float32")
    first = runner.restore(photo, NOISY, seed=4)
    assert torch.equal(first.image, runner.restore(photo, NOISY, seed=4).image)
    assert not torch.equal(first.image, runner.restore(photo, NOISY, seed=5).image)
    assert first.details["steps"] == TINY.sampling.steps
    assert first.details["latent_tiles"] == 1
    # The decoder's tiles cut one z_0, so only its own seams differ.
    tiled = runner.with_tile(96).restore(photo, NOISY, seed=4)
    assert tiled.details["tiles"] > 1
    assert float((tiled.image - first.image).abs().mean()) < 0.01


def test_drawing_is_watched_and_cancelled(weights: Path, photo: torch.Tensor) -> None:
    runner = Runner(SpireRestorer("compact", weights), device="cpu", dtype="float32")
    seen: list[tuple[int, int]] = []
    runner.restore(photo, NOISY, on_progress=lambda done, total: seen.append((done, total)))
    pieces = TINY.sampling.steps + 1
    assert seen == [(i, pieces + 1) for i in range(pieces + 2)]
    cancel = Event()

    def stop(done: int, total: int) -> None:
        if done == 2:
            cancel.set()

    with pytest.raises(CancelledError, match="after 3 of 5 tiles"):
        runner.restore(photo, NOISY, on_progress=stop, cancel=cancel)


def test_drawing_can_be_changed(weights: Path, photo: torch.Tensor) -> None:
    plain = run(SpireRestorer("compact", weights), photo, NOISY)
    for change in ({"steps": 2}, {"start": "noise"}, {"fidelity": 0.0}):
        other = SpireRestorer("compact", weights, sampling=change)
        assert not torch.equal(run(other, photo, NOISY), plain)
    with pytest.raises(UsageError, match="steps=0"):
        SpireRestorer("compact", weights, sampling={"steps": 0})


def test_small_pictures_are_padded(weights: Path) -> None:
    tiny = torch.rand(1, 3, 9, 21, generator=torch.Generator().manual_seed(0))
    assert run(SpireRestorer("compact", weights), tiny, BLIND).shape == tiny.shape


def test_other_kinds_are_refused(weights: Path, photo: torch.Tensor) -> None:
    with pytest.raises(PromptError, match="asked to treat rain"):
        run(
            SpireRestorer("compact", weights),
            photo,
            RestorationPrompt(degradations={Kind.RAIN: 50}),
        )


# ── weights ─────────────────────────────────────────────────────────────────
def psnr(image: torch.Tensor, clean: torch.Tensor) -> float:
    return float(-10 * (image - clean).square().mean().log10())


def test_the_shipped_weights_restore_what_they_are_told() -> None:
    assert catalog.card("spire") is CARD
    assert CARD.ready()
    shipped = catalog.load("spire", device="cpu")
    image = np.ascontiguousarray(data.coffee()[:256, 60:316] / 255).astype(np.float32)
    clean = torch.from_numpy(image).permute(2, 0, 1)[None]
    generator = torch.Generator().manual_seed(1)
    noisy = synthesis.quantise8(synthesis.gaussian_noise(clean, [25.0], generator))
    told = shipped.restore(noisy, RestorationPrompt(degradations={Kind.NOISE: 25.0})).image
    assert psnr(told, clean) > psnr(noisy, clean) + 3
    # A word about something else leaves the noise where it is.
    wrong = shipped.restore(noisy, RestorationPrompt(degradations={Kind.JPEG: 60.0})).image
    assert psnr(wrong, clean) < psnr(told, clean) - 1
    assert psnr(shipped.restore(clean, RestorationPrompt(blind=True)).image, clean) > 25


def test_where_its_gain_was_not_measured_it_comes_last() -> None:
    table = load_preferences()
    for kind in CARD.treats:
        ranked = table.ranked(kind, Level.HIGH, catalog.cards())
        place = [option.restorer for option in ranked].index("spire")
        assert ranked[place].gain is None
        assert all(option.gain is None for option in ranked[place:])


def test_weights_that_are_not_trained_to_the_end_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: torch.Tensor
) -> None:
    early = write_weights(tmp_path / "early.safetensors", monkeypatch, ("autoencoder", "prior"))
    with pytest.raises(
        WeightsError, match=r"went through autoencoder, prior only; .* --stage branch"
    ):
        SpireRestorer("compact", early)
    late = write_weights(
        tmp_path / "late.safetensors", monkeypatch, ("autoencoder", "prior", "branch")
    )
    assert SpireRestorer("compact", late).sampling.fidelity == 0


def test_weights_carry_their_switches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: torch.Tensor
) -> None:
    from dataclasses import replace

    monkeypatch.setitem(CONFIGS, "compact", TINY)
    path = tmp_path / "add.safetensors"
    switches = {"fusion": "add", "numbers": False}
    model = Spire(replace(TINY, **switches))  # type: ignore[arg-type]
    write(ours(model), path, ("autoencoder", "prior", "branch"), "compact", switches)
    restorer = SpireRestorer("compact", path)
    assert restorer.model.config.fusion == "add"
    assert restorer.render(NOISY) == "Denoise;"
    save_weights(load_weights(path), path, {"stages": "branch", "switches": '{"width": 3}'})
    with pytest.raises(WeightsError, match="switches nobody knows"):
        SpireRestorer("compact", path)


def test_weights_of_something_else_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, "compact", TINY)
    path = tmp_path / "other.safetensors"
    save_weights({"head.weight": torch.zeros(3)}, path, {"stages": "branch"})
    with pytest.raises(WeightsError, match="do not fit Spire"):
        SpireRestorer("compact", path)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="truncated or no safetensors"):
        SpireRestorer("compact", path)


# ── the paper's configuration ───────────────────────────────────────────────
def test_the_paper_s_configuration_runs_on_a_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conservator.restorers.spire.base import on_base

    base = write_base(tmp_path / "base")
    model = on_base(CONFIGS["paper"], base)
    assert model.fidelity is None
    assert model.config.channels == (16, 16)
    assert not any(p.requires_grad for p in model.prior.parameters())
    assert all(p.requires_grad for p in model.branch.parameters())
    path = tmp_path / "branch.safetensors"
    write(ours(model), path, ("branch",), "paper", {}, base=str(base))
    assert all(name.startswith("branch.") for name in load_weights(path))
    monkeypatch.setenv(VARIABLE, str(base))
    restorer = SpireRestorer("paper", path, sampling={"steps": 2})
    photo = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    prompt = NOISY.model_copy(update={"semantic": "a zebra"})
    assert run(restorer, photo, prompt).shape == photo.shape
    # The fusion is zero, so the branch changes nothing yet.
    restored = Runner(restorer, device="cpu", dtype="float32").restore(photo, BLIND)
    assert restored.details["fidelity"] == 0
    assert restored.details["guidance"] == 1.0


def test_a_base_that_is_not_there_is_named(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conservator.restorers.errors import BackendMissingError

    with pytest.raises(WeightsError, match="spire ships no weights for 'paper'"):
        SpireRestorer("paper")
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UsageError, match=VARIABLE):
        SpireRestorer("paper", weights)
    with pytest.raises(BackendMissingError, match="downloads are off"):
        SpireRestorer("paper", weights, "nobody/no-such-base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="diffusers' layout"):
        SpireRestorer("paper", weights, tmp_path / "empty")


def test_without_diffusers_it_says_so(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from conservator.restorers.errors import BackendMissingError
    from conservator.restorers.spire import base

    monkeypatch.setattr(base, "find_spec", lambda name: None)
    with pytest.raises(BackendMissingError, match="SPIRE needs diffusers"):
        SpireRestorer("compact", weights)
