"""LLMRA's network, text encoders and losses."""

import dataclasses
from pathlib import Path

import pytest
import torch

from conservator.restorers.errors import UnknownNameError, WeightsError
from conservator.restorers.llmra.config import CONFIGS
from conservator.restorers.llmra.network import CAFF, CEM, LLMRA, triplet_loss
from conservator.restorers.llmra.restorer import LLMRARestorer
from conservator.restorers.llmra.text import SmallTextEncoder
from conservator.restorers.prompts.llmra import render, tokenise
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.weights import PACKAGED
from tiny_llmra import TINY

CLEAN = "The image is well lit. No rain streaks detected. No noise detected."
NOISY = render(RestorationPrompt.at_level(noise="high"))


@pytest.fixture
def tiny() -> LLMRA:
    torch.manual_seed(0)
    return LLMRA(TINY).eval()


def test_output_has_the_shape_of_the_input(tiny: LLMRA) -> None:
    image = torch.rand(2, 3, 32, 48)
    assert tiny(image, [CLEAN, NOISY]).shape == image.shape
    assert tiny(image, [CLEAN, NOISY], enhance=True).shape == image.shape


def test_context_keeps_one_vector_a_token(tiny: LLMRA) -> None:
    assert tiny.context([NOISY]).shape == (1, TINY.tokens, TINY.text_width)


def test_text_changes_the_result(tiny: LLMRA) -> None:
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(tiny(image, [CLEAN]), tiny(image, [NOISY]))


def test_numbers_in_a_text_carry_their_size() -> None:
    encoder = SmallTextEncoder(tokens=77, width=32, depth=1)
    text = "The image is dark (1.37 stops). Noise 25."
    said = encoder.amounts([text, "No numbers here."])
    words = tokenise(text)
    sized = [word for word, size in zip(words, said[0], strict=False) if size.any()]
    assert sized == ["1", ".", "3", "7", "2", "5"]
    assert not said[1].any()
    first, last = said[0, words.index("1")], said[0, words.index("2")]
    assert torch.equal(first, said[0, words.index("7")]) and not torch.equal(first, last)
    near, far = (encoder.amounts([f"sigma {n}"])[0, 1] for n in (26, 50))
    assert (near - last).norm() < (far - last).norm()


def test_numbers_begin_unheard_and_can_be_learned() -> None:
    encoder = SmallTextEncoder(tokens=77, width=32, depth=1)
    assert torch.equal(encoder.amount.weight, torch.zeros_like(encoder.amount.weight))
    encoder(["noise (sigma 25.0)"]).square().sum().backward()
    assert encoder.amount.weight.grad is not None and encoder.amount.weight.grad.any()


def test_cem_begins_as_the_identity(tiny: LLMRA) -> None:
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(tiny.context([CLEAN]), tiny.context([CLEAN], image))


def test_cem_lets_the_image_change_the_context(tiny: LLMRA) -> None:
    dark, bright = torch.zeros(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    for block in tiny.cem.blocks:
        torch.nn.init.normal_(block.attention.project.weight)
    assert not torch.allclose(tiny.context([CLEAN], dark), tiny.context([CLEAN], bright))
    # Without an image it is <refine>: the context is the text's alone.
    assert torch.equal(tiny.context([CLEAN]), tiny.context([CLEAN]))


def test_every_trained_parameter_gets_a_gradient(tiny: LLMRA) -> None:
    image = torch.rand(2, 3, 32, 32)
    tiny(image, [NOISY, CLEAN], enhance=True).mean().backward()
    without = [n for n, p in tiny.named_parameters() if p.grad is None]
    assert without == []


def test_ablations_remove_their_module() -> None:
    assert LLMRA(dataclasses.replace(TINY, use_cem=False)).cem is None
    stacked = LLMRA(dataclasses.replace(TINY, use_dmm=False))
    assert not [n for n, m in stacked.named_modules() if isinstance(m, CAFF)]
    full = LLMRA(TINY)
    assert len([m for m in full.modules() if isinstance(m, CAFF)]) == 4
    assert isinstance(full.cem, CEM)


def test_caff_is_a_convex_mix_of_its_inputs() -> None:
    torch.manual_seed(0)
    fuse = CAFF(8)
    x, y = torch.rand(1, 8, 5, 5), torch.rand(1, 8, 5, 5)
    mixed = fuse(x, y)
    low, high = torch.minimum(x, y), torch.maximum(x, y)
    assert bool(((mixed >= low - 1e-6) & (mixed <= high + 1e-6)).all())


def test_triplet_loss_is_zero_beyond_the_margin() -> None:
    z = torch.zeros(2, 4, 3)
    far = torch.full((2, 4, 3), 2.0)
    assert float(triplet_loss(z, z, far, margin=0.5)) == 0.0
    assert float(triplet_loss(z, far, z, margin=0.5)) == pytest.approx(4.5)


def test_paper_size_is_the_papers() -> None:
    config = CONFIGS["paper"]
    assert (config.channels, config.blocks, config.heads) == (
        (48, 96, 192, 384),
        (4, 6, 6, 8),
        (1, 2, 4, 8),
    )
    with torch.device("meta"):
        model = LLMRA(dataclasses.replace(config, text="small", text_width=512, text_depth=1))
    body = sum(p.numel() for p in model.network.parameters()) / 1e6
    # Restormer's 26.1 M and four DMMs.
    assert 26.1 < body < 45
    assert len(model.network.modulate) == 4


@pytest.mark.slow
def test_paper_configuration_runs_forward_and_backward() -> None:
    config = dataclasses.replace(CONFIGS["paper"], blocks=(1, 1, 1, 1), refinement=1)
    model = LLMRA(config)
    output = model(torch.rand(1, 3, 16, 16), [NOISY], enhance=True)
    output.mean().backward()
    assert output.shape == (1, 3, 16, 16)
    assert model.text(["a"]).shape == (1, 77, 512)
    assert not any(p.requires_grad for p in model.text.parameters())


@pytest.fixture(scope="module")
def shipped() -> LLMRARestorer:
    return LLMRARestorer("compact")


def test_shipped_weights_remove_noise(shipped: LLMRARestorer) -> None:
    from skimage import data

    clean = torch.from_numpy(data.astronaut()[100:228, 150:278]).permute(2, 0, 1)[None] / 255
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * 25 / 255
    noisy = (clean + noise).clamp(0, 1)
    prompt = RestorationPrompt.at_level(noise="high")
    output = shipped.restore_tile(noisy, shipped.prepare(noisy, prompt, seed=0))
    before, after = ((x - clean).square().mean() for x in (noisy, output))
    assert 10 * float(torch.log10(before / after)) > 5.0


def test_shipped_weights_leave_alone_what_is_not_named(shipped: LLMRARestorer) -> None:
    from skimage import data

    clean = torch.from_numpy(data.astronaut()[100:228, 150:278]).permute(2, 0, 1)[None] / 255
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)) * 25 / 255
    noisy = (clean + noise).clamp(0, 1)
    named = shipped.prepare(noisy, RestorationPrompt.at_level(noise="high"), seed=0)
    unnamed = shipped.prepare(noisy, RestorationPrompt(), seed=0)
    removed = (shipped.restore_tile(noisy, named) - noisy).square().mean()
    kept = (shipped.restore_tile(noisy, unnamed) - noisy).square().mean()
    assert float(kept) < 0.25 * float(removed)


def test_damaged_weights_are_refused_before_the_network_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((PACKAGED / "llmra/weights/compact.safetensors").read_bytes()[:-1])
    # A network that cannot be built: whoever tries fails in another way.
    monkeypatch.setitem(CONFIGS, "compact", dataclasses.replace(TINY, channels=(-8,) * 4))
    with pytest.raises(WeightsError, match="truncated"):
        LLMRARestorer("compact", damaged)
    with pytest.raises(RuntimeError, match="negative dimension"):
        LLMRARestorer("compact")


def test_unknown_configuration_is_named() -> None:
    with pytest.raises(UnknownNameError, match="configuration of llmra 'huge'; known: compact"):
        LLMRARestorer("huge")


def test_rendered_prompt_is_the_sentences(shipped: LLMRARestorer) -> None:
    both = RestorationPrompt.at_level(noise="high").model_copy(update={"blind": True})
    assert shipped.render(both) == NOISY
    assert shipped.render(RestorationPrompt(blind=True)) == "Remove all degradation."
