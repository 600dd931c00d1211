"""SPIRE's parts: texts, fusion, what is frozen, sizes, the autoencoder and its fidelity path."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from conservator.restorers.spire.autoencoder import low_frequencies
from conservator.restorers.spire.config import CONFIGS, SpireConfig
from conservator.restorers.spire.network import (
    Prior,
    Spire,
    blank_unet,
    guided,
    modulated,
    skip_channels,
)
from conservator.restorers.spire.text import SmallText, tokenise
from tiny_spire import TINY


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def built(**switches: object) -> Spire:
    torch.manual_seed(0)
    return Spire(replace(TINY, **switches))  # type: ignore[arg-type]


def speaking(model: nn.Module) -> None:
    """Give every part a voice that begins without one."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)


# ── texts ───────────────────────────────────────────────────────────────────
def test_numbers_are_read_digit_by_digit_with_the_size_of_the_whole() -> None:
    assert tokenise("Deblur with sigma 3.0;") == ["deblur", "with", "sigma", "3", ".", "0", ";"]
    tower = SmallText(16, 32, 1)
    words = tower.tokens(["Denoise with sigma 0.06;", "Denoise with sigma 0.24;"])
    spoken = words.amounts.abs().sum(-1) > 0
    # The start, three words, then "0", ".", "0", "6".
    assert spoken[0].tolist() == [False] * 4 + [True] * 4 + [False] * 8
    assert torch.equal(words.amounts[0, 4], words.amounts[0, 7])
    assert not torch.equal(words.amounts[0, 4], words.amounts[1, 4])


def test_words_nobody_listed_differ_and_share_their_letters() -> None:
    tower = SmallText(8, 32, 1)
    zebra, zebras, horse = (
        set(tower.tokens([word]).ids[0, 1].tolist()) - {0} for word in ("zebra", "zebras", "horse")
    )
    assert len(zebra & zebras) >= 3
    assert zebra != zebras
    assert not zebra & horse
    long = tower.tokens(["a " * 99])
    assert long.ids.shape == (1, 8, 12)


def test_an_empty_text_is_a_text() -> None:
    tower = SmallText(8, 32, 1)
    said = tower(tower.tokens(["", "a photo of a cat"]))
    assert torch.isfinite(said.tokens).all()
    assert said.pooled.shape == (2, 32)
    assert not torch.equal(said.pooled[0], said.pooled[1])


# ── equations ───────────────────────────────────────────────────────────────
def test_guidance_formula() -> None:
    null, conditioned = seeded(2, 3), seeded(2, 3, seed=1)
    torch.testing.assert_close(guided(null, conditioned, 0.0), null)
    torch.testing.assert_close(guided(null, conditioned, 1.0), conditioned)
    torch.testing.assert_close(guided(null, conditioned, 3.0), null + 3.0 * (conditioned - null))


def test_modulation_and_addition() -> None:
    feature = seeded(1, 2, 4, 4)
    control = seeded(1, 4, 4, 4, seed=1)
    expected = (1 + control[:, :2]) * feature + control[:, 2:]
    assert torch.equal(modulated(feature, control), expected)
    assert torch.equal(modulated(feature, control[:, :2]), feature + control[:, :2])


@pytest.mark.parametrize(
    "switches", [{}, {"fusion": "add"}, {"modulate_up": True}, {"latent_condition": False}]
)
def test_zero_initialised_fusion_leaves_the_prior_exactly_as_it_is(
    switches: dict[str, object],
) -> None:
    model = built(**switches)
    z, t = seeded(2, 32, 8, 8), torch.tensor([999, 20])
    shown = model.showing(["a photo of a cat", ""])
    asked = model.restoring(["Denoise with sigma 0.06;", "Deblur;"])
    degraded = seeded(2, 3, 64, 64).sigmoid()
    condition = model.branch.conditioned(degraded, model.encode(degraded))
    alone = model.prior(z, t, shown)
    assert torch.equal(model.predict(z, t, condition, asked, shown), alone)
    speaking(model.branch)
    assert not torch.equal(model.predict(z, t, condition, asked, shown), alone)


def test_the_two_halves_are_diffusers_own_forward() -> None:
    prior = built(pooled=False).prior
    z, t = seeded(2, 32, 8, 8), torch.tensor([999, 20])
    said = prior.text(prior.text.tokens(["a cat", ""]))
    expected = prior.unet(z, t, encoder_hidden_states=said.tokens).sample
    assert torch.equal(prior(z, t, said), expected)


def test_the_branch_begins_as_the_prior_s_encoder() -> None:
    model = built()
    with torch.no_grad():
        for parameter in model.prior.parameters():
            parameter.add_(0.1)
    model.branch.initialise(model.prior)
    ours = model.branch.down_blocks.state_dict()
    for name, value in model.prior.unet.down_blocks.state_dict().items():
        assert torch.equal(ours[name], value)
    assert torch.equal(model.branch.conv_in.weight[:, :32], model.prior.unet.conv_in.weight)


def test_guided_prediction_runs_the_branch_once_for_both_prompts() -> None:
    model = built()
    speaking(model)
    z, t = seeded(1, 32, 8, 8), torch.tensor([500])
    shown, nothing = model.showing(["a cat"]), model.showing([""])
    asked = model.restoring(["Deblur with sigma 2.0;"])
    degraded = seeded(1, 3, 64, 64).sigmoid()
    condition = model.branch.conditioned(degraded, model.encode(degraded))
    calls: list[int] = []
    model.branch.register_forward_hook(lambda *_: calls.append(1))
    together = model.predict_guided(z, t, condition, asked, shown, nothing, 2.5)
    assert len(calls) == 1
    null = model.predict(z, t, condition, asked, nothing)
    conditioned = model.predict(z, t, condition, asked, shown)
    torch.testing.assert_close(together, guided(null, conditioned, 2.5), atol=1e-4, rtol=1e-4)


def test_frozen_parts_get_no_gradient() -> None:
    model = built()
    speaking(model.branch)
    model.requires_grad_(False)
    model.branch.requires_grad_(True)
    z, t = seeded(2, 32, 8, 8), torch.tensor([700, 20])
    degraded = seeded(2, 3, 64, 64).sigmoid()
    condition = model.branch.conditioned(degraded, model.encode(degraded))
    predicted = model.predict(
        z, t, condition, model.restoring(["Deblur;"] * 2), model.showing([""] * 2)
    )
    predicted.square().mean().backward()
    for part in (model.prior, model.autoencoder, model.fidelity):
        assert all(p.grad is None for p in part.parameters())
    heard = {
        name.split(".")[0] for name, p in model.branch.named_parameters() if p.grad is not None
    }
    assert heard == {
        "condition", "conv_in", "time_embedding", "down_blocks", "text", "pooled", "skip_fusion",
    }  # fmt: skip
    assert all(
        p.grad is not None and bool(p.grad.any()) for p in model.branch.skip_fusion.parameters()
    )


# ── sizes ───────────────────────────────────────────────────────────────────
def millions(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def on_meta(config: SpireConfig) -> Spire:
    with torch.device("meta"):
        unet = blank_unet(config)
        return Spire(config, Prior(config, unet, text=None))


def test_the_paper_s_branch_on_stable_diffusion_s_sizes() -> None:
    paper = replace(CONFIGS["paper"], text_depth=1)
    model = on_meta(paper)
    base = millions(model.prior.unet)
    assert base == pytest.approx(859.5, abs=0.1)
    ours = millions(model.branch) - millions(model.branch.text or nn.Identity())
    # 275 M in the paper; and 3 and 6 % more than a plain ControlNet encoder (Table 7).
    assert ours == pytest.approx(275, rel=0.015)
    plain = on_meta(replace(paper, fusion="add"))
    both = on_meta(replace(paper, modulate_up=True))
    text = millions(model.branch.text or nn.Identity())
    assert ours / (millions(plain.branch) - text) == pytest.approx(1.03, abs=0.01)
    assert (millions(both.branch) - text) / (millions(plain.branch) - text) == pytest.approx(
        1.06, abs=0.012
    )
    assert len(skip_channels(model.prior.unet)) == 12


def test_the_compact_size_fits_its_budget() -> None:
    with torch.device("meta"):
        model = Spire(CONFIGS["compact"])
    assert sum(x.numel() for x in model.state_dict().values()) * 2 < 28e6
    assert model.multiple == 16


# ── autoencoder ─────────────────────────────────────────────────────────────
def test_latents_have_the_measured_scale() -> None:
    model = built()
    pictures = seeded(4, 3, 64, 64).sigmoid()
    model.autoencoder.measure(pictures)
    z = model.encode(pictures)
    assert z.shape == (4, 32, 8, 8)
    torch.testing.assert_close(z.mean(dim=(0, 2, 3)), torch.zeros(32), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(dim=(0, 2, 3)), torch.ones(32), atol=1e-3, rtol=0)
    # Folding and scaling are undone before decoding.
    direct = model.autoencoder.drawn(model.autoencoder.unfolded(pictures))
    torch.testing.assert_close(model.autoencoder.decode(z), direct, atol=1e-4, rtol=1e-4)


def test_the_fidelity_path_is_off_at_zero_and_told_by_the_prompt() -> None:
    model = built()
    assert model.fidelity is not None
    z, degraded = seeded(1, 32, 4, 4), seeded(1, 3, 32, 32).sigmoid()
    asked = model.restoring(["Denoise with sigma 0.06;"])
    plain = model.autoencoder.decode(z)
    assert torch.equal(model.decode(z, degraded, asked, 0.0), plain)
    # Untrained it corrects low frequencies only.
    begun = model.decode(z, degraded, asked, 1.0)
    torch.testing.assert_close(begun, plain + low_frequencies(degraded - plain))
    speaking(model.fidelity)
    spoken = model.decode(z, degraded, asked, 1.0)
    other = model.decode(z, degraded, model.restoring(["Dejpeg;"]), 1.0)
    half = model.decode(z, degraded, asked, 0.5)
    assert not torch.equal(spoken, begun)
    assert not torch.equal(spoken, other)
    assert (half - plain).abs().mean() < (spoken - plain).abs().mean()


def test_low_frequencies_are_the_mean_over_squares() -> None:
    flat = torch.full((1, 3, 32, 48), 0.3)
    torch.testing.assert_close(low_frequencies(flat), flat)
    fine = torch.zeros(1, 1, 32, 32)
    fine[..., ::2] = 1
    torch.testing.assert_close(low_frequencies(fine), torch.full_like(fine, 0.5))
