"""Restormer's four-level U-Net with places for guidance; LLMRA's and MoFE-IR's backbone.

A subclass fills the places it needs: before the blocks of an encoder level or the latent one, after the latent blocks, before and
after the blocks of a decoder level. Levels count from 0, the latent one is 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.layers.restormer import Downsample, TransformerBlock, Upsample
from conservator.restorers.layers.tone import ToneCurve

__all__ = ["COMPACT", "LATENT", "ResidualBlock", "UNet", "UNetConfig", "keep_variance"]

LATENT = 3


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the backbone; the defaults are Restormer's.

    Attributes:
        channels: width of levels 1, 2, 3 and the latent level.
        blocks: blocks of levels 1, 2, 3 and latent, encoder and decoder alike.
        heads: attention heads a level.
        kinds: block a level, `transformer` (Restormer's) or `residual` (two dense 3x3 convolutions).
        refinement: blocks after the last decoder level.
        expansion: of GDFN.
        unshuffle: the image is folded by this factor before level 1; 1 is the papers' plain convolution.
        reduce_last: False leaves the concatenated skip of level 1 unreduced, as Restormer does.
        gain: the output also has a gain a pixel, image * (1 + gain) + residual; False is the papers' plain residual.
        tone: a tone curve of the whole picture goes before the U-Net; False is the papers.
    """

    channels: tuple[int, int, int, int] = (48, 96, 192, 384)
    blocks: tuple[int, int, int, int] = (4, 6, 6, 8)
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    kinds: tuple[str, str, str, str] = ("transformer",) * 4
    refinement: int = 4
    expansion: float = 2.66
    unshuffle: int = 1
    reduce_last: bool = False
    gain: bool = False
    tone: bool = False


COMPACT = UNetConfig(
    channels=(48, 96, 128, 192),
    blocks=(2, 3, 3, 3),
    heads=(1, 3, 4, 4),
    kinds=("residual", "residual", "residual", "transformer"),
    refinement=1,
    expansion=2.0,
    unshuffle=2,
    reduce_last=True,
    gain=True,
    tone=True,
)
"""The backbone that ships: folded input, residual blocks but for the latent level; each restorer can start from another's."""


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3x3, no norm; Eq. 2's image feature and the compact body."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x + self.second(F.relu(self.first(x), inplace=True))


def keep_variance(module: nn.Module) -> None:
    """Initialise the convolutions so that the variance stays from layer to layer.

    PyTorch's default shrinks it threefold at each convolution, so the deep levels, where text and global tone come in, hardly
    spoke at first: noise was learned, haze and darkness were not.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, ResidualBlock):
                part.second.weight.mul_(0.2)  # stacks without a norm start near the identity


class UNet(nn.Module):
    """The backbone.

    Args:
        config: the sizes.
        tone: a `ToneCurve` for the whole picture goes before level 0; None leaves it out.
    """

    def __init__(self, config: UNetConfig, tone: ToneCurve | None = None) -> None:
        super().__init__()
        self.unshuffle = config.unshuffle
        c = config.channels
        last = c[0] if config.reduce_last else 2 * c[0]

        def stage(level: int, width: int, count: int) -> nn.Sequential:
            if config.kinds[level] == "residual":
                return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))
            return nn.Sequential(
                *(
                    TransformerBlock(width, config.heads[level], expansion=config.expansion)
                    for _ in range(count)
                )
            )

        self.embed = nn.Conv2d(3 * self.unshuffle**2, c[0], 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(stage(i, c[i], config.blocks[i]) for i in range(3))
        self.down = nn.ModuleList(Downsample(c[i], c[i + 1]) for i in range(3))
        self.latent = stage(LATENT, c[3], config.blocks[3])
        self.up = nn.ModuleList(Upsample(c[i + 1], c[i]) for i in range(3))
        self.widths = (last, c[1], c[2], c[3])
        """Channels of the decoder levels and the latent one."""
        self.reduce = nn.ModuleList(
            nn.Conv2d(2 * c[i], self.widths[i], 1, bias=False)
            if i or config.reduce_last
            else nn.Identity()
            for i in range(3)
        )
        self.decoder = nn.ModuleList(stage(i, self.widths[i], config.blocks[i]) for i in range(3))
        self.refine = stage(0, last, config.refinement)
        # Darkness and haze are undone by a product; as a sum each pixel's answer would have to be exact by itself.
        self.gain = config.gain
        planes = 6 if config.gain else 3
        self.output = nn.Conv2d(last, planes * self.unshuffle**2, 3, padding=1, bias=False)
        keep_variance(self)
        with torch.no_grad():
            self.output.weight.mul_(0.1)
        self.tone = tone

    @property
    def multiple(self) -> int:
        """Height and width must be multiples of this."""
        return 8 * self.unshuffle

    def before_encoding(self, level: int, x: Tensor, guide: Any) -> Tensor:
        """Features that go into the blocks of encoder level 0-2 or the latent level."""
        return x

    def after_latent(self, x: Tensor, guide: Any) -> Tensor:
        """Features that leave the latent level."""
        return x

    def before_decoding(self, level: int, x: Tensor, guide: Any) -> Tensor:
        """Features that go into the blocks of a decoder level."""
        return x

    def after_decoding(self, level: int, x: Tensor, guide: Any) -> Tensor:
        """Features that leave the blocks of a decoder level."""
        return x

    def restored(self, image: Tensor, guide: Any) -> Tensor:
        """(B, 3, H, W) plus what the network says, after the tone curve."""
        x = self.embed(F.pixel_unshuffle(image, self.unshuffle))
        skips = []
        for level, (stage, down) in enumerate(zip(self.encoder, self.down, strict=True)):
            x = stage(self.before_encoding(level, x, guide))
            skips.append(x)
            x = down(x)
        x = self.after_latent(self.latent(self.before_encoding(LATENT, x, guide)), guide)
        for level in (2, 1, 0):
            x = self.reduce[level](torch.cat([self.up[level](x), skips[level]], dim=1))
            x = self.decoder[level](self.before_decoding(level, x, guide))
            x = self.after_decoding(level, x, guide)
        out = F.pixel_shuffle(self.output(self.refine(x)), self.unshuffle)
        restored = image + out[:, :3]
        return restored + image * out[:, 3:] if self.gain else restored
