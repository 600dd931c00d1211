"""Sizes of SPIRE: `paper` as published, `compact` as shipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CONFIGS", "Sampling", "SpireConfig", "guidance_needed"]


@dataclass(frozen=True)
class Sampling:
    """How a picture is drawn out of noise.

    Attributes:
        steps: of DDIM.
        guidance: w of classifier-free guidance between c_s = "" and the semantic prompt; 1 needs one evaluation a step instead of two.
        start: `noise` begins at pure noise, as the paper; `degraded` at the degraded picture's own latent, noised (an addition).
        strength: how far up the noise schedule `degraded` begins, (0, 1].
        fidelity: weight of the fidelity path in the decoder, [0, 1]; 0 is the paper.
        tile: side of a tile, latent px.
        overlap: latent px shared by neighbouring tiles.
    """

    steps: int = 50
    guidance: float = 7.5
    start: Literal["noise", "degraded"] = "noise"
    strength: float = 0.8
    fidelity: float = 0.0
    tile: int = 64
    overlap: int = 16


def guidance_needed(sampling: Sampling, semantic: str) -> bool:
    """Whether a step takes a second evaluation: without a semantic prompt both would be the same."""
    return bool(semantic) and sampling.guidance != 1


@dataclass(frozen=True)
class SpireConfig:
    """One size of SPIRE (arXiv 2312.11595); the defaults are the paper's on Stable Diffusion 1.5's sizes.

    Attributes:
        factor: px a side of the picture for one of the latent.
        latent_channels: of z.
        autoencoder: widths of our own one at a quarter and at half of the resolution; not used on a base.
        channels: widths of the UNet's levels.
        attention: which levels attend (to themselves and to the text).
        middle_attention: the same for the middle block.
        layers: residual blocks a level of the encoder; the decoder has one more.
        heads: of the attentions.
        groups: of the group norms.
        text: `clip` (the base's own, frozen) or `small` (ours, trained along, one for c_s and one for c_r).
        tokens: length of a text.
        text_width: of its features.
        text_depth: layers of the small tower.
        pooled: the mean of the text joins the time embedding, so that levels without attention hear it; False is the paper.
        condition_widths: of E'(y), one more than the times it halves the picture.
        condition_channels: of E'(y), beside z_t at the branch's input.
        latent_condition: the frozen encoder's E(y) stands beside E'(y); False is the paper.
        prediction: what the UNet predicts.
        zero_snr: the schedule ends in pure noise.
        late: training draws t as 1000 u^(1 / late); 1 is the papers' uniform draw, more sees more noise.
        fusion: `modulate` is the paper's, `add` ControlNet's (Table 5).
        modulate_up: the decoder's features are modulated too (Table 7).
        numbers: False drops the parameters from the prompts (Tables 5 and 6).
        semantic: False drops the semantic prompts (Table 6).
        drop_semantic: share of training prompts c_s that are dropped to "".
        partial: share of the parameterised training pictures whose prompt asks for a part only, the target then keeps the rest; 0 is the paper.
        wide: share of them with severities beyond Table 2; 0 is the paper.
        sampling: by default.
    """

    factor: int = 8
    latent_channels: int = 4
    autoencoder: tuple[int, int] = (128, 64)
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    middle_attention: bool = True
    layers: int = 2
    heads: int = 8
    groups: int = 32
    text: Literal["clip", "small"] = "clip"
    tokens: int = 77
    text_width: int = 768
    text_depth: int = 12
    pooled: bool = False
    condition_widths: tuple[int, ...] = (16, 32, 96, 256)
    condition_channels: int = 4
    latent_condition: bool = False
    prediction: Literal["epsilon", "v_prediction"] = "epsilon"
    zero_snr: bool = False
    late: float = 1.0
    fusion: Literal["modulate", "add"] = "modulate"
    modulate_up: bool = False
    numbers: bool = True
    semantic: bool = True
    drop_semantic: float = 0.1
    partial: float = 0.0
    wide: float = 0.0
    sampling: Sampling = Sampling()


CONFIGS: dict[str, SpireConfig] = {
    "paper": SpireConfig(),
    "compact": SpireConfig(
        latent_channels=32,
        channels=(128, 160),
        attention=(False, True),
        middle_attention=False,
        layers=1,
        heads=4,
        groups=16,
        text="small",
        tokens=40,
        text_width=128,
        text_depth=2,
        pooled=True,
        condition_widths=(16, 32, 64, 96),
        condition_channels=32,
        latent_condition=True,
        prediction="v_prediction",
        zero_snr=True,
        late=1.5,
        partial=0.5,
        wide=0.25,
        sampling=Sampling(steps=8, guidance=1.0, start="degraded", fidelity=1.0),
    ),
}
