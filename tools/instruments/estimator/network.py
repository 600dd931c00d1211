"""A small network from native-resolution crops and a thumbnail to severities, presences and quality."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.degradations.vocabulary import Kind

__all__ = [
    "CROP",
    "THUMBNAIL",
    "Estimator",
    "Reading",
    "knowledge",
    "pooled",
    "trunk",
    "with_detail",
]

CROP = 160
"""Side of the native-resolution crops it was trained on, px."""
THUMBNAIL = 64
"""Side of the thumbnail of the whole picture, px."""
_LOGITS = 8.0


@dataclass(frozen=True)
class Reading:
    """Raw outputs: `presence` logits (B, 11), `severity` (B, 11) in [0, 1], `quality` (B,) in [0, 1]."""

    presence: Tensor
    severity: Tensor
    quality: Tensor


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(channels, channels), *_convolution(channels, channels)[:2]
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """Batch norm, not a norm per picture: the strength of noise is what is to be read."""
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def trunk(channels: int, widths: tuple[int, ...]) -> nn.Sequential:
    """Convolutions from `channels`, halving the sides between widths."""
    layers = [*_convolution(channels, widths[0]), _Residual(widths[0])]
    for a, b in pairwise(widths):
        layers += [*_convolution(a, b, stride=2), _Residual(b)]
    return nn.Sequential(*layers)


def pooled(x: Tensor) -> Tensor:
    """(B, C, h, w) to (B, 2C): mean and standard deviation over all places."""
    x = x.float()
    return torch.cat(
        [x.mean(dim=(2, 3)), x.var(dim=(2, 3), correction=0).clamp(min=1e-6).sqrt()], dim=1
    )


def with_detail(x: Tensor) -> Tensor:
    """(B, 3, H, W) to (B, 6, H, W): centred, and its high frequencies, which are faint, amplified."""
    smooth = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.cat([x - 0.5, 4 * (x - smooth)], dim=1)


class Estimator(nn.Module):
    """Reads degradations off crops (fine structure) and a thumbnail (light, haze, layout).

    The crops are folded by 4, so that no detail is averaged away; their features are pooled to mean and standard
    deviation over all places of all crops, so any number of crops of any size gives one reading.
    """

    def __init__(self, widths: tuple[int, ...] = (64, 96, 128), hidden: int = 192) -> None:
        super().__init__()
        self.fine = trunk(6 * 4**2, widths)
        self.coarse = trunk(6 * 2**2, (32, 64, 96))
        features = 2 * widths[-1] + 2 * 96
        kinds = len(Kind)
        self.head = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, 2 * kinds + 1),
        )

    def features(self, crops: Tensor, thumbnail: Tensor) -> Tensor:
        """What the head sees of (B, N, 3, h, w) crops and (B, 3, THUMBNAIL, THUMBNAIL): (B, `width`)."""
        b, n = crops.shape[:2]
        fine = pooled(self.fine(F.pixel_unshuffle(with_detail(crops.flatten(0, 1)), 4)))
        coarse = pooled(self.coarse(F.pixel_unshuffle(with_detail(thumbnail), 2)))
        return torch.cat([fine.view(b, n, -1).mean(1), coarse], dim=1)

    def forward(self, crops: Tensor, thumbnail: Tensor) -> Reading:
        """Read (B, N, 3, h, w) crops and (B, 3, THUMBNAIL, THUMBNAIL)."""
        return self.read(self.features(crops, thumbnail))

    def read(self, features: Tensor) -> Reading:
        """The head's reading of `features`."""
        out = self.head(features)
        k = len(Kind)
        return Reading(out[:, :k], out[:, k : 2 * k].sigmoid(), out[:, 2 * k].sigmoid())


def knowledge(features: Tensor, reading: Reading) -> Tensor:
    """What others learn from, (B, F): the pooled features and what was read from them, logits clamped."""
    presence = reading.presence.clamp(-_LOGITS, _LOGITS)
    return torch.cat([features, presence, reading.severity, reading.quality[:, None]], dim=1)
