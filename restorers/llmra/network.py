"""LLMRA (Jin et al., arXiv 2401.11401): CEM, CT and DC-former with DMM and CAFF.

Readings of what the paper leaves open: a DMM stands before the blocks of its decoder level (latent, 3, 2, 1), so that
the blocks work on modulated features; Z keeps one token a text token. The compact size departs from the paper in five
ways: for speed on a CPU the image is folded by 2 before level 1, the upper levels use residual blocks of dense 3x3
convolutions in place of Restormer's (a tenth of the training time at equal width in bf16), and the text tower is small; for
haze and darkness the output has a gain beside the residual, and a tone curve of the whole picture goes before the U-Net.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.layers.restormer import ChannelNorm, TransformerBlock
from conservator.restorers.layers.text import AttentionBlock, CrossAttention
from conservator.restorers.layers.tone import ToneCurve
from conservator.restorers.layers.unet import LATENT, ResidualBlock, UNet, keep_variance
from conservator.restorers.llmra.config import LLMRAConfig
from conservator.restorers.llmra.text import build_text_encoder

__all__ = ["CAFF", "CEM", "DMM", "LLMRA", "ContextGate", "DCFormer", "triplet_loss"]


class CEM(nn.Module):
    """Context enhance module, Eq. 2: corrects the text features by what the image shows."""

    def __init__(self, config: LLMRAConfig) -> None:
        super().__init__()
        fold, channels, width = config.cem_unshuffle, config.cem_channels, config.text_width
        self.fold = fold
        self.stem = nn.Conv2d(3 * fold**2, channels, 3, padding=1)
        self.shallow = ResidualBlock(channels)
        self.norm = nn.LayerNorm(channels)
        heads = max(1, width // 64)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, channels) for _ in range(2))
        # CEM begins as the identity, so that stage 2 starts from what stage 1 learned.
        for name, parameter in self.blocks.named_parameters():
            if name.split(".", 1)[1].startswith(("attention.project", "mlp.2")):
                nn.init.zeros_(parameter)

    def image_tokens(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, H W / fold^2, channels)."""
        shallow = self.shallow(self.stem(F.pixel_unshuffle(image, self.fold)))
        return self.norm(shallow.flatten(2).transpose(1, 2))

    def forward(self, image: Tensor | None, text: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Text features (B, T, width) to enhanced ones; `tokens` replaces the image's own."""
        if tokens is None:
            assert image is not None
            tokens = self.image_tokens(image)
        for block in self.blocks:
            text = block(text, tokens)
        return text


class CAFF(nn.Module):
    """Concatenate attention feature fusion, Eq. 5-8."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local1 = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.local_norm1 = ChannelNorm(2 * channels)
        self.local2 = nn.Conv2d(2 * channels, channels, 1)
        self.local_norm2 = ChannelNorm(channels)
        self.pooled = nn.Sequential(
            nn.Linear(2 * channels, 2 * channels),
            nn.LayerNorm(2 * channels),
            nn.ReLU(),
            nn.Linear(2 * channels, channels),
            nn.LayerNorm(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fuse two (B, C, H, W) maps into one."""
        xy = torch.cat([x, y], dim=1)
        local = F.relu(self.local_norm1(self.local1(xy)))
        local = self.local_norm2(self.local2(local))
        pooled = self.pooled(xy.mean(dim=(2, 3)))[:, :, None, None]
        weight = torch.sigmoid(local + pooled)
        return y + weight * (x - y)


class DMM(nn.Module):
    """Degradation modulation module, Eq. 4: image cross attention, CAFF, Restormer block."""

    def __init__(
        self, channels: int, heads: int, context: int, expansion: float, *, fuse: bool = True
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.cross = CrossAttention(channels, heads, context)
        self.fusion = CAFF(channels) if fuse else None
        self.block = TransformerBlock(channels, heads, expansion=expansion)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Modulate (B, C, H, W) by the context (B, T, D)."""
        b, c, h, w = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
        y = pixels + self.cross(self.norm(pixels), z)
        y = y.view(b, h, w, c).permute(0, 3, 1, 2)
        return self.block(y if self.fusion is None else self.fusion(x, y))


class ContextGate(nn.Module):
    """Channel gains and offsets of the decoder levels without a DMM, from Z and the latent map's mean.

    Not in the paper: where the compact size leaves a DMM out, this is the cheap way for text and global tone to act.
    """

    def __init__(self, latent: int, context: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.norm = nn.LayerNorm(latent + context)
        self.hidden = nn.Linear(latent + context, 2 * context)
        self.output = nn.Linear(2 * context, 2 * sum(widths))

    def forward(self, latent: Tensor, z: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(B, C, h, w) and (B, T, D) to a (gain, offset) pair of (B, width, 1, 1) a level."""
        pooled = torch.cat([latent.mean(dim=(2, 3)), z.mean(dim=1).to(latent.dtype)], dim=1)
        both = self.output(F.gelu(self.hidden(self.norm(pooled))))[:, :, None, None]
        gains, offsets = both.chunk(2, dim=1)
        return list(
            zip(gains.split(self.widths, dim=1), offsets.split(self.widths, dim=1), strict=True)
        )


@dataclass
class _Context:
    """Z, and the gates of the decoder levels once the latent level has set them."""

    z: Tensor
    gates: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


class DCFormer(UNet):
    """The four-level U-Net with one DMM a decoder level."""

    def __init__(self, config: LLMRAConfig) -> None:
        super().__init__(config, ToneCurve(config.text_width) if config.tone else None)
        self.modulate = nn.ModuleDict(
            {
                str(level): DMM(
                    self.widths[level],
                    config.heads[level],
                    config.text_width,
                    config.expansion,
                    fuse=config.use_dmm,
                )
                for level in config.dmm_levels
            }
        )
        keep_variance(self.modulate)
        self.gated = [level for level in range(LATENT) if level not in config.dmm_levels]
        widths = tuple(self.widths[level] for level in self.gated)
        self.gate = (
            ContextGate(self.widths[LATENT], config.text_width, widths) if self.gated else None
        )

    def curve(self, image: Tensor, z: Tensor) -> Tensor | None:
        """The tone curve of a whole picture (B, 3, H, W), for `forward` on its tiles; None without a ToneCurve."""
        return None if self.tone is None else self.tone(image, z)

    def forward(self, image: Tensor, z: Tensor, curve: Tensor | None = None) -> Tensor:
        """Restore (B, 3, H, W) given the context (B, T, D); `curve` is that of the picture a tile is from, else its own."""
        if self.tone is not None:
            image = self.tone.apply_to(image, self.tone(image, z) if curve is None else curve)
        return self.restored(image, _Context(z))

    def before_encoding(self, level: int, x: Tensor, guide: _Context) -> Tensor:
        """The latent level is modulated."""
        return self._modulated(level, x, guide.z) if level == LATENT else x

    def after_latent(self, x: Tensor, guide: _Context) -> Tensor:
        """The latent map sets the gates."""
        if self.gate is not None:
            guide.gates = dict(zip(self.gated, self.gate(x, guide.z), strict=True))
        return x

    def before_decoding(self, level: int, x: Tensor, guide: _Context) -> Tensor:
        """Gated or modulated."""
        if level in guide.gates:
            gain, offset = guide.gates[level]
            x = x * (1 + gain) + offset
        return self._modulated(level, x, guide.z)

    def _modulated(self, level: int, x: Tensor, z: Tensor) -> Tensor:
        name = str(level)
        return self.modulate[name](x, z) if name in self.modulate else x


class LLMRA(nn.Module):
    """Text encoder, CEM, CT and DC-former together."""

    def __init__(self, config: LLMRAConfig) -> None:
        super().__init__()
        self.config = config
        self.text = build_text_encoder(config)
        self.cem = CEM(config) if config.use_cem else None
        self.ct = AttentionBlock(config.text_width, max(1, config.text_width // 64))
        self.network = DCFormer(config)

    def context(
        self, texts: list[str], image: Tensor | None = None, tokens: Tensor | None = None
    ) -> Tensor:
        """Degradation context Z (B, T, D) of a text each.

        Args:
            texts: LLMRA sentences, one a sample.
            image: given, the instruction is `<restore>` and CEM corrects the text by it; None is `<refine>`.
            tokens: CEM's image tokens when they were computed elsewhere.
        """
        features = self.text(texts)
        if self.cem is not None and (image is not None or tokens is not None):
            features = self.cem(image, features, tokens)
        return self.ct(features)

    def forward(self, image: Tensor, texts: list[str], *, enhance: bool = False) -> Tensor:
        """Restore (B, 3, H, W); `enhance` runs CEM (`<restore>`)."""
        return self.network(image, self.context(texts, image if enhance else None))


def triplet_loss(z: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.5) -> Tensor:
    """Eq. 3 on (B, T, D) contexts, squared L2 averaged over tokens and channels so that the margin has a scale."""
    near = (z - positive).square().mean(dim=(1, 2))
    far = (z - negative).square().mean(dim=(1, 2))
    return F.relu(near - far + margin).mean()
