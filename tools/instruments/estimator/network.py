"""A small network from native-resolution crops and a thumbnail to severities, presences and quality."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["CROP", "THUMBNAIL", "Estimator", "Reading"]

CROP = 160
"""Side of the native-resolution crops it was trained on, px."""
THUMBNAIL = 64
"""Side of the thumbnail of the whole picture, px."""


@dataclass(frozen=True)
class Reading:
    """Raw outputs: `presence` logits (B, 11), `severity` (B, 11) in [0, 1], `quality` (B,) in [0, 1]."""

    presence: Tensor
    severity: Tensor
    quality: Tensor


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


def _trunk(fold: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(3 * fold**2, widths[0], 3, padding=1),
        _Residual(widths[0]),
    ]
    for a, b in pairwise(widths):
        layers += [nn.ReLU(), nn.Conv2d(a, b, 3, stride=2, padding=1), _Residual(b)]
    return nn.Sequential(*layers)


class Estimator(nn.Module):
    """Reads degradations off crops (fine structure) and a thumbnail (light, haze, layout).

    The crops are folded by 2, so that no detail is averaged away; their features are pooled to mean and standard
    deviation over all places of all crops, so any number of crops of any size gives one reading.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 96, 128), hidden: int = 192) -> None:
        super().__init__()
        self.fine = _trunk(2, widths)
        self.coarse = _trunk(2, (32, 64, 96))
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

    @staticmethod
    def _pooled(x: Tensor) -> Tensor:
        x = x.float()
        return torch.cat([x.mean(dim=(2, 3)), x.var(dim=(2, 3)).clamp(min=1e-6).sqrt()], dim=1)

    def forward(self, crops: Tensor, thumbnail: Tensor) -> Reading:
        """Read (B, N, 3, h, w) crops and (B, 3, THUMBNAIL, THUMBNAIL)."""
        b, n = crops.shape[:2]
        fine = self.fine(F.pixel_unshuffle(crops.flatten(0, 1) - 0.5, 2))
        pooled = self._pooled(fine).view(b, n, -1).mean(1)
        coarse = self._pooled(self.coarse(F.pixel_unshuffle(thumbnail - 0.5, 2)))
        out = self.head(torch.cat([pooled, coarse], dim=1))
        k = len(Kind)
        return Reading(out[:, :k], out[:, k : 2 * k].sigmoid(), out[:, 2 * k].sigmoid())
