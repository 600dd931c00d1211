"""MoFE-IR: the equations one by one, the paper's sizes, and what an untrained part leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import pywt
import torch
import torch.nn.functional as F

from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.layers.restormer import MDTA
from conservator.restorers.mofe_ir.config import CONFIGS, MoFEConfig
from conservator.restorers.mofe_ir.network import (
    MGFB,
    FrequencyExperts,
    HaarDWT,
    MoFE,
    MoFEIR,
    guided_loss,
)

TINY = MoFEConfig(
    channels=(8, 8, 16, 16),
    blocks=(1, 1, 1, 1),
    heads=(1, 1, 2, 2),
    refinement=1,
    guide_width=12,
    experts=3,
)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def drawn(random: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=random)


def guide(random: torch.Generator, batch: int, width: int = 12) -> GuideEmbeddings:
    return GuideEmbeddings(
        image=drawn(random, batch, 1, width),
        joint=drawn(random, batch, 3, width),
        answer=drawn(random, batch, width),
    )


def awakened(model: torch.nn.Module) -> torch.nn.Module:
    """Random weights where training begins at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return model.requires_grad_(False)


# ── Eq. 1 and 2 ─────────────────────────────────────────────────────────────


def test_eq1_one_head_is_softmax_attention(random: torch.Generator) -> None:
    block = awakened(MGFB(8, 1, 12))
    x, e = drawn(random, 2, 8, 4, 4), drawn(random, 2, 5, 12)
    cross = block.cross
    pixels = x.flatten(2).transpose(1, 2)
    q = F.linear(pixels, cross.query.weight, cross.query.bias)
    k = F.linear(e, cross.key_value.weight[:8], cross.key_value.bias[:8])
    v = F.linear(e, cross.key_value.weight[8:], cross.key_value.bias[8:])
    attended = torch.softmax(q @ k.mT / 8**0.5, dim=-1) @ v
    expected = x + cross.project(attended).transpose(1, 2).view_as(x)
    torch.testing.assert_close(block(x, e), expected)


def test_eq2_is_a_residual() -> None:
    block = MGFB(8, 1, 12)
    torch.nn.init.zeros_(block.cross.project.weight)
    torch.nn.init.zeros_(block.cross.project.bias)
    x = torch.rand(1, 8, 4, 4)
    assert torch.equal(block(x, torch.rand(1, 1, 12)), x)


# ── Eq. 3 ───────────────────────────────────────────────────────────────────


def test_eq3_agrees_with_pywavelets(random: torch.Generator) -> None:
    image = drawn(random, 1, 3, 8, 12)
    bands = HaarDWT()(image)
    for channel in range(3):
        low, (horizontal, vertical, diagonal) = pywt.dwt2(image[0, channel].numpy(), "haar")
        for i, expected in enumerate((low, horizontal, vertical, diagonal)):
            np.testing.assert_allclose(bands[0, i, channel].numpy(), expected, atol=1e-6)


def test_eq3_has_an_inverse(random: torch.Generator) -> None:
    image = drawn(random, 2, 3, 16, 8)
    wavelet = HaarDWT()
    torch.testing.assert_close(wavelet.inverse(wavelet(image)), image)


@pytest.mark.parametrize(
    ("changes", "count"), [({}, 9), ({"low_band": True}, 12), ({"domain": "spatial"}, 3)]
)
def test_bands_lie_on_the_level_s_own_grid(changes: dict[str, object], count: int) -> None:
    block = MoFE(replace(TINY, **changes), 8, 1)
    assert block.bands(torch.rand(1, 3, 32, 48), torch.Size((8, 12))).shape == (1, count, 8, 12)


def test_a_flat_picture_has_no_high_bands() -> None:
    block = MoFE(TINY, 8, 1)
    assert block.bands(torch.full((1, 3, 32, 32), 0.7), torch.Size((8, 8))).abs().max() < 1e-6


# ── Eq. 4 ───────────────────────────────────────────────────────────────────


def test_eq4_routes_between_zero_and_one(random: torch.Generator) -> None:
    model = MoFEIR(TINY)
    answer = 3 * torch.randn(6, 12, generator=random)
    weights = model.route(answer).detach()
    assert weights.shape == (6, 3)
    assert 0 < float(weights.min()) < float(weights.max()) < 1
    expected = 1 / (1 + torch.exp(-(answer @ model.router.weight.T + model.router.bias)))
    torch.testing.assert_close(weights, expected)


def test_experts_are_a_weighted_sum(random: torch.Generator) -> None:
    experts = awakened(FrequencyExperts(9, 8, 3))
    bands, weights = drawn(random, 2, 9, 6, 6), drawn(random, 2, 3)
    each = experts.each(bands)
    summed = (each * weights[:, :, None, None, None]).sum(1)
    torch.testing.assert_close(experts(bands, weights), experts.project(summed))


def test_an_expert_is_conv_gelu_conv(random: torch.Generator) -> None:
    experts = awakened(FrequencyExperts(9, 8, 3))
    bands = drawn(random, 1, 9, 6, 6)
    first = F.conv2d(bands, experts.first.weight[8:16], experts.first.bias[8:16], padding=1)
    second = F.conv2d(F.gelu(first), experts.second.weight[:, 8:16], experts.bias[1], padding=1)
    torch.testing.assert_close(experts.each(bands)[:, 1], second)


# ── Eq. 5 and 6 ─────────────────────────────────────────────────────────────


def test_eq5_with_itself_is_mdta(random: torch.Generator) -> None:
    block = awakened(MoFE(TINY, 8, 1))
    plain = MDTA(8, 1)
    plain.load_state_dict(block.attention.state_dict())
    x = drawn(random, 2, 8, 6, 6)
    torch.testing.assert_close(block.attention(x, x), plain(x))


def test_eq6_is_a_residual(random: torch.Generator) -> None:
    x, image = drawn(random, 1, 8, 8, 8), drawn(random, 1, 3, 32, 32)
    model = MoFEIR(TINY).requires_grad_(False)
    assert torch.equal(model.mofe["encoder1"](x, image, torch.ones(1, 3)), x)
    block = awakened(MoFE(TINY, 8, 1))
    frequency = block.experts(block.bands(image, x.shape[-2:]), torch.ones(1, 3))
    expected = x + block.project(block.attention(x, frequency))
    torch.testing.assert_close(block(x, image, torch.ones(1, 3)), expected)


# ── Eq. 7 and 8 ─────────────────────────────────────────────────────────────


def test_eq7_is_zero_where_the_relations_agree(random: torch.Generator) -> None:
    answer = drawn(random, 5, 12)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=random))[0]
    scaled = answer @ turn * drawn(random, 5, 1).add(0.5)
    assert float(guided_loss(answer, scaled)) == pytest.approx(0, abs=1e-6)


def test_eq7_by_hand() -> None:
    answer = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weights = torch.tensor([[0.6, 0.8], [0.6, 0.8]])
    # Off the diagonal 0 against 1, on it 1 against 1: two of four entries differ by 1.
    assert float(guided_loss(answer, weights)) == pytest.approx(0.5)


# ── the whole ───────────────────────────────────────────────────────────────


def test_untrained_guidance_leaves_the_backbone_alone(random: torch.Generator) -> None:
    model = MoFEIR(TINY).eval()
    plain = MoFEIR(replace(TINY, use_mofe=False, encoder_guide=None, decoder_guide=None)).eval()
    plain.load_state_dict(model.state_dict(), strict=False)
    image = drawn(random, 1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(image, guide(random, 1)), plain(image, guide(random, 1)))


def test_the_guide_matters_once_trained(random: torch.Generator) -> None:
    model = awakened(MoFEIR(TINY)).eval()
    image = drawn(random, 1, 3, 32, 32)
    with torch.inference_mode():
        one, other = (model(image, guide(random, 1)) for _ in range(2))
    assert float((one - other).abs().max()) > 1e-4


def test_every_part_learns(random: torch.Generator) -> None:
    model = awakened(MoFEIR(replace(TINY, tone=True))).requires_grad_(True)
    image = drawn(random, 2, 3, 32, 32)
    given = guide(random, 2)
    loss = model(image, given).square().mean() + guided_loss(
        given.answer, model.route(given.answer)
    )
    loss.backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        # One pooled token: the softmax over it is 1 whatever is asked.
        if parameter.grad is None or (not parameter.grad.any() and "cross" not in name)
    ]
    assert silent == []


def count(**changes: object) -> float:
    with torch.device("meta"):
        model = MoFEIR(replace(CONFIGS["paper"], **changes))
    return sum(p.numel() for p in model.parameters()) / 1e6


@pytest.mark.parametrize(
    ("changes", "millions"),
    [
        ({}, 37.5),
        ({"use_mofe": False, "encoder_guide": None, "decoder_guide": None}, 26.1),
        ({"encoder_guide": None, "decoder_guide": None}, 29.6),
        ({"use_mofe": False, "decoder_guide": None}, 30.0),
        ({"use_mofe": False, "encoder_guide": None}, 30.2),
        ({"experts": 1}, 35.9),
        ({"experts": 2}, 36.1),
        ({"experts": 4}, 36.6),
        ({"experts": 16}, 39.3),
        ({"low_band": True}, 38.1),
    ],
)
def test_parameters_as_in_the_paper(changes: dict[str, object], millions: float) -> None:
    assert count(**changes) == pytest.approx(millions, rel=0.02)
