"""SPIRE (arXiv 2312.11595): a frozen text-to-image prior, and a restoration branch that modulates its skip features.

Equation 2 splits the score of p(z_t | y, c_s, c_r): the prior has the semantic prompt c_s and stays as it is; the branch, an encoder
initialised from it, has the degraded picture y and the restoration prompt c_r. UNet, attention and schedule are diffusers' own; its
`UNet2DConditionModel` is run in two halves here, because the branch's features go in between.

Readings of what the paper leaves open:

- E'(y) is ControlNet's small stack of convolutions and has z's own shape; it is concatenated with z_t. The new weights of the branch's
  first layer begin small, those of E' end in zeros, so that the branch begins as a copy of the encoder.
- The branch is the encoder without the middle block, which has no skip: so it has 272 M parameters on Stable Diffusion 1.5's sizes, and
  the paper counts 275 M trainable. Its 1240 M in all are a base of 965 M then, which is not public; Stable Diffusion's has 860 M.
- "Also modulate f_up" (Table 7) modulates what enters each decoder block, by the branch's feature of the same resolution: 3 % more
  parameters in the branch, as the table says.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from conservator.restorers.spire.autoencoder import Autoencoder, Fidelity, VaeAutoencoder
from conservator.restorers.spire.config import SpireConfig
from conservator.restorers.spire.text import ClipText, Said, SmallText

__all__ = [
    "Branch",
    "Controls",
    "Prior",
    "Spire",
    "blank_unet",
    "guided",
    "modulated",
    "schedule",
    "skip_channels",
]


def guided(null: Tensor, conditioned: Tensor, weight: float) -> Tensor:
    """Classifier-free guidance: eps(z, t, nothing) + w (eps(z, t, c) - eps(z, t, nothing))."""
    return null + weight * (conditioned - null)


def modulated(feature: Tensor, control: Tensor) -> Tensor:
    """(1 + gamma) f + beta, or f + beta where `control` has no more channels than f, as ControlNet's addition."""
    if control.shape[1] == feature.shape[1]:
        return feature + control
    gamma, beta = control.chunk(2, dim=1)
    return (1 + gamma) * feature + beta


def schedule(config: SpireConfig) -> Any:
    """Stable Diffusion's noise schedule as diffusers' `DDIMScheduler`, deterministic."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=config.zero_snr,
        steps_offset=0 if config.zero_snr else 1,
        prediction_type=config.prediction,
        rescale_betas_zero_snr=config.zero_snr,
        timestep_spacing="trailing" if config.zero_snr else "leading",
    )


def blank_unet(config: SpireConfig) -> Any:
    """An untrained `UNet2DConditionModel` of these sizes."""
    from diffusers import UNet2DConditionModel

    down = [("CrossAttn" if attends else "") + "DownBlock2D" for attends in config.attention]
    up = [("CrossAttn" if attends else "") + "UpBlock2D" for attends in reversed(config.attention)]
    return UNet2DConditionModel(
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=config.channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        mid_block_type="UNetMidBlock2DCrossAttn" if config.middle_attention else "UNetMidBlock2D",
        layers_per_block=config.layers,
        cross_attention_dim=config.text_width,
        attention_head_dim=config.heads,  # diffusers' name for the number of heads
        norm_num_groups=config.groups,
    )


def skip_channels(unet: Any) -> list[int]:
    """Channels of the skip features, the first layer's first."""
    widths = [unet.conv_in.out_channels]
    for block in unet.down_blocks:
        widths += [resnet.out_channels for resnet in block.resnets]
        widths += [sampler.out_channels for sampler in block.downsamplers or ()]
    return widths


@dataclass(frozen=True, eq=False)
class Controls:
    """What the branch says to the prior, each a (gamma, beta) or an addition.

    Attributes:
        skips: one a skip feature.
        ups: one a decoder block; empty unless f_up is modulated.
    """

    skips: tuple[Tensor, ...]
    ups: tuple[Tensor, ...] = ()

    def repeated(self, count: int) -> Controls:
        """The same for `count` prompts side by side."""
        return Controls(
            tuple(x.repeat(count, 1, 1, 1) for x in self.skips),
            tuple(x.repeat(count, 1, 1, 1) for x in self.ups),
        )


def _encoded(
    part: Any, x: Tensor, embedded: Tensor, tokens: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The encoder half of a UNet or of the branch: what it ends in, and the skip features."""
    x = part.conv_in(x)
    skips = (x,)
    for block in part.down_blocks:
        if getattr(block, "has_cross_attention", False):
            x, more = block(x, embedded, encoder_hidden_states=tokens)
        else:
            x, more = block(x, embedded)
        skips += tuple(more)
    return x, skips


def _embedded(part: Any, time_proj: Any, t: Tensor, said: Said, pooled: nn.Linear | None) -> Tensor:
    """(B,) steps, and the mean of the text where it joins, to (B, 4 C)."""
    weight = part.time_embedding.linear_1.weight
    embedded: Tensor = part.time_embedding(time_proj(t).to(weight.dtype))
    return embedded if pooled is None else embedded + pooled(said.pooled)


class Prior(nn.Module):
    """The text-to-image UNet and its text encoder; frozen once it is trained.

    Args:
        config: sizes.
        unet: a base's; None makes one.
        text: the base's; None makes a small one.
    """

    def __init__(
        self, config: SpireConfig, unet: Any | None = None, text: ClipText | None = None
    ) -> None:
        super().__init__()
        self.unet = blank_unet(config) if unet is None else unet
        self.text: Any = (
            SmallText(config.tokens, config.text_width, config.text_depth) if text is None else text
        )
        self.pooled = _pooled(config)

    def forward(self, z: Tensor, t: Tensor, said: Said, controls: Controls | None = None) -> Tensor:
        """The prediction for z_t (B, C, h, w) at the steps (B,)."""
        unet = self.unet
        embedded = _embedded(unet, unet.time_proj, t, said, self.pooled)
        x, skips = _encoded(unet, z, embedded, said.tokens)
        if getattr(unet.mid_block, "has_cross_attention", False):
            x = unet.mid_block(x, embedded, encoder_hidden_states=said.tokens)
        else:
            x = unet.mid_block(x, embedded)
        if controls is not None:
            skips = tuple(
                modulated(skip, said_to)
                for skip, said_to in zip(skips, controls.skips, strict=True)
            )
        for i, block in enumerate(unet.up_blocks):
            if controls is not None and controls.ups:
                x = modulated(x, controls.ups[i])
            count = len(block.resnets)
            taken, skips = skips[-count:], skips[:-count]
            if getattr(block, "has_cross_attention", False):
                x = block(x, taken, embedded, encoder_hidden_states=said.tokens)
            else:
                x = block(x, taken, embedded)
        predicted: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))
        return predicted


class Branch(nn.Module):
    """The restoration branch: the prior's encoder once more, on z_t and y, told by c_r."""

    def __init__(self, config: SpireConfig, prior: Prior) -> None:
        super().__init__()
        from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding

        unet = prior.unet
        self.latent_condition = config.latent_condition
        self.condition = ControlNetConditioningEmbedding(
            config.condition_channels, block_out_channels=config.condition_widths
        )
        added = config.condition_channels
        added += config.latent_channels if config.latent_condition else 0
        first = unet.conv_in
        self.conv_in = nn.Conv2d(
            first.in_channels + added, first.out_channels, first.kernel_size, padding=first.padding
        )
        self.time_embedding = copy.deepcopy(unet.time_embedding)
        self.down_blocks = copy.deepcopy(unet.down_blocks)
        # A frozen tower is shared; one of ours is trained along, so the branch has its own.
        self.text = copy.deepcopy(prior.text) if isinstance(prior.text, SmallText) else None
        self.pooled = _pooled(config)
        widths = skip_channels(unet)
        times = 1 if config.fusion == "add" else 2
        self.skip_fusion = nn.ModuleList(_zero_conv(c, times * c) for c in widths)
        self._places = _last_of_levels(unet) if config.modulate_up else []
        self.up_fusion = nn.ModuleList(
            _zero_conv(widths[place], times * entering)
            for place, entering in zip(self._places, _entering(unet), strict=False)
        )
        self.requires_grad_(True)
        self.initialise(prior)

    def initialise(self, prior: Prior) -> None:
        """Begin as the prior's encoder; the fusion is left alone."""
        unet = prior.unet
        self.time_embedding.load_state_dict(unet.time_embedding.state_dict())
        self.down_blocks.load_state_dict(unet.down_blocks.state_dict())
        if self.text is not None:
            self.text.load_state_dict(prior.text.state_dict())
        if self.pooled is not None and prior.pooled is not None:
            self.pooled.load_state_dict(prior.pooled.state_dict())
        own = unet.conv_in.in_channels
        with torch.no_grad():
            self.conv_in.weight[:, :own] = unet.conv_in.weight
            self.conv_in.weight[:, own:].normal_(std=0.02)
            self.conv_in.bias = nn.Parameter(unet.conv_in.bias.clone())

    def conditioned(self, degraded: Tensor, latent: Tensor | None) -> Tensor:
        """E'(y) of (B, 3, H, W), with E(y) beside it where the configuration says so."""
        seen = self.condition(degraded * 2 - 1)
        if not self.latent_condition:
            return seen
        assert latent is not None
        return torch.cat([seen, latent.to(seen.dtype)], dim=1)

    def forward(
        self, z: Tensor, t: Tensor, condition: Tensor, said: Said, time_proj: Any
    ) -> Controls:
        """What z_t (B, C, h, w) with `conditioned` (B, C', h, w) beside it has the prior do."""
        embedded = _embedded(self, time_proj, t, said, self.pooled)
        both = torch.cat([z, condition.to(z.dtype)], dim=1)
        _, features = _encoded(self, both, embedded, said.tokens)
        skips = tuple(f(x) for f, x in zip(self.skip_fusion, features, strict=True))
        ups = tuple(f(features[i]) for f, i in zip(self.up_fusion, self._places, strict=True))
        return Controls(skips, ups)


class Spire(nn.Module):
    """Autoencoder, prior, branch and fidelity path together.

    Args:
        config: sizes.
        prior: a base's; None makes one.
        autoencoder: the base's; None makes our own.
    """

    def __init__(
        self,
        config: SpireConfig,
        prior: Prior | None = None,
        autoencoder: VaeAutoencoder | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.autoencoder: Any = (
            Autoencoder(config.latent_channels, config.autoencoder)
            if autoencoder is None
            else autoencoder
        )
        self.prior = Prior(config) if prior is None else prior
        self.branch = Branch(config, self.prior)
        self.fidelity = (
            Fidelity(config.text_width, config.autoencoder) if autoencoder is None else None
        )
        self.schedule = schedule(config)

    @property
    def multiple(self) -> int:
        """Height and width of pictures must be multiples of this."""
        return int(self.autoencoder.factor) * 2 ** (len(self.config.channels) - 1)

    def restoring(self, texts: list[str]) -> Said:
        """c_r, encoded."""
        tower = self.prior.text if self.branch.text is None else self.branch.text
        return self._said(tower, texts)

    def showing(self, texts: list[str]) -> Said:
        """c_s, encoded."""
        return self._said(self.prior.text, texts)

    def _said(self, tower: Any, texts: list[str]) -> Said:
        device = next(self.prior.unet.parameters()).device
        said: Said = tower(tower.tokens(texts).to(device))
        return said

    def predict(
        self, z: Tensor, t: Tensor, condition: Tensor, restoring: Said, showing: Said
    ) -> Tensor:
        """What the prior, as the branch has it, predicts for z_t (B, C, h, w) at the steps (B,)."""
        controls = self.branch(z, t, condition, restoring, self.prior.unet.time_proj)
        predicted: Tensor = self.prior(z, t, showing, controls)
        return predicted

    def predict_guided(
        self,
        z: Tensor,
        t: Tensor,
        condition: Tensor,
        restoring: Said,
        showing: Said,
        nothing: Said,
        weight: float,
    ) -> Tensor:
        """The same under classifier-free guidance away from c_s = ""; the branch does not hear c_s, so it runs once."""
        controls = self.branch(z, t, condition, restoring, self.prior.unet.time_proj)
        both = self.prior(
            torch.cat([z, z]),
            torch.cat([t, t]),
            Said.together([nothing, showing]),
            controls.repeated(2),
        )
        null, conditioned = both.chunk(2)
        return guided(null, conditioned, weight)

    def encode(self, image: Tensor) -> Tensor:
        """The latent of (B, 3, H, W) in [0, 1]."""
        z: Tensor = self.autoencoder.encode(image)
        return z

    def decode(self, z: Tensor, degraded: Tensor, restoring: Said, weight: float) -> Tensor:
        """The picture of z, not clipped; `weight` is the fidelity path's."""
        if self.fidelity is None or weight == 0:
            picture: Tensor = self.autoencoder.decode(z)
            return picture
        assert isinstance(self.autoencoder, Autoencoder)
        assert restoring.pooled is not None
        return self.fidelity.restored(self.autoencoder, z, degraded, restoring.pooled, weight)


def _pooled(config: SpireConfig) -> nn.Linear | None:
    if not config.pooled:
        return None
    layer = nn.Linear(config.text_width, 4 * config.channels[0])
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _zero_conv(channels: int, out: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, out, 1)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _entering(unet: Any) -> list[int]:
    """Channels of what enters each decoder block: its first residual block takes that and one skip."""
    widths, channels = skip_channels(unet), []
    for block in unet.up_blocks:
        channels.append(int(block.resnets[0].in_channels - widths[-1]))
        widths = widths[: -len(block.resnets)]
    return channels


def _last_of_levels(unet: Any) -> list[int]:
    """Places of the last skip at each resolution, the coarsest first."""
    places, at = [], 0
    for block in unet.down_blocks:
        at += len(block.resnets)
        places.append(at)
        at += len(block.downsamplers or ())
    return places[::-1]
