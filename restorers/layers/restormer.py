"""The building blocks of Restormer (Zamir et al., 2022), shared by LLMRA and MoFE-IR.

All maps are (B, C, H, W); `channels_last` memory makes the layer norms and 1x1 convolutions cheap on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GDFN", "MDTA", "ChannelNorm", "Downsample", "TransformerBlock", "Upsample"]


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each pixel."""

    def __init__(self, channels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        y = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, 1e-5)
        return y.permute(0, 3, 1, 2)


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention: attention between channels, linear in the pixels."""

    def __init__(self, channels: int, heads: int, *, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=bias)
        self.depthwise = nn.Conv2d(
            3 * channels, 3 * channels, 3, padding=1, groups=3 * channels, bias=bias
        )
        self.project = nn.Conv2d(channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return self.attended(self.depthwise(self.qkv(x)))

    def attended(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (B, 3 C, H, W) to the projected attention (B, C, H, W)."""
        b, _, h, w = qkv.shape
        qkv = qkv.permute(0, 2, 3, 1).reshape(b, h * w, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 4, 1)  # each (B, heads, C / heads, H W)
        # Cosine similarity with the norms divided out afterwards: a (c, c) matrix instead of two maps.
        norms_q = q.float().square().sum(-1).clamp(min=1e-12).rsqrt()
        norms_k = k.float().square().sum(-1).clamp(min=1e-12).rsqrt()
        scores = (q @ k.transpose(-2, -1)).float() * norms_q.unsqueeze(-1) * norms_k.unsqueeze(-2)
        attention = (scores * self.temperature).softmax(-1).to(v.dtype)
        y = (v.transpose(-2, -1) @ attention.transpose(-2, -1)).transpose(1, 2)
        return self.project(y.reshape(b, h, w, -1).permute(0, 3, 1, 2))


class GDFN(nn.Module):
    """Gated-Dconv feed-forward network."""

    def __init__(self, channels: int, *, expansion: float = 2.66, bias: bool = False) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.expand = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.depthwise = nn.Conv2d(
            2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias
        )
        self.project = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        gate, value = self.depthwise(self.expand(x)).chunk(2, dim=1)
        return self.project(F.gelu(gate) * value)


class TransformerBlock(nn.Module):
    """MDTA, then GDFN, each after a norm and with a residual."""

    def __init__(
        self, channels: int, heads: int, *, expansion: float = 2.66, bias: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.attention = MDTA(channels, heads, bias=bias)
        self.norm2 = ChannelNorm(channels)
        self.feed_forward = GDFN(channels, expansion=expansion, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class Downsample(nn.Sequential):
    """(B, C, H, W) to (B, 2 C, H / 2, W / 2), or `out` channels."""

    def __init__(self, channels: int, out: int | None = None) -> None:
        out = 2 * channels if out is None else out
        super().__init__(
            nn.Conv2d(channels, out // 4, 3, padding=1, bias=False), nn.PixelUnshuffle(2)
        )


class Upsample(nn.Sequential):
    """(B, C, H, W) to (B, C / 2, 2 H, 2 W), or `out` channels."""

    def __init__(self, channels: int, out: int | None = None) -> None:
        out = channels // 2 if out is None else out
        super().__init__(nn.Conv2d(channels, out * 4, 3, padding=1, bias=False), nn.PixelShuffle(2))
