"""From a picture and a treated version of it to what the treatment gained.

The learned instrument has seen what damage looks like in many more pictures than were ever treated. So it looks, at both pictures and at what the
treatment took off, and only the conclusion is learned here: a few small perceptrons on what it sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.tools.instruments.estimator.network import Estimator, knowledge

__all__ = ["DB", "MEMBERS", "GainNetwork", "GainReading", "Look", "differences", "seen"]

DB = 4.0
"""Decibels to one unit of a member's output."""
MEMBERS = 4
_AMPLIFIED = 2.0


@dataclass(frozen=True)
class GainReading:
    """(B,) each: `psnr` gained, dB; `spread`, its expected absolute error, dB; `ssim` gained."""

    psnr: Tensor
    spread: Tensor
    ssim: Tensor


@dataclass(frozen=True)
class Look:
    """A picture as the estimator gets it: `crops` (B, N, 3, h, w) and `thumbnail` (B, 3, S, S)."""

    crops: Tensor
    thumbnail: Tensor


def seen(estimator: Estimator, look: Look) -> Tensor:
    """What the estimator makes of a picture, (B, F): pooled features, and its reading of them."""
    features = estimator.features(look.crops, look.thumbnail)
    return knowledge(features, estimator.read(features))


def differences(
    estimator: Estimator, before: Look, after: Look, first: Tensor | None = None
) -> Tensor:
    """What the head learns from, (B, 4F + 3): both pictures, how they differ, the difference as a picture, and its energy.

    Args:
        estimator: the learned instrument.
        before: the input.
        after: the treated picture, its crops at the same places.
        first: `seen` of `before`, where it is known already.
    """
    one = seen(estimator, before) if first is None else first
    other = seen(estimator, after)
    change = Look(
        *(
            (0.5 + _AMPLIFIED * (b - a)).clamp(0, 1)
            for a, b in ((before.crops, after.crops), (before.thumbnail, after.thumbnail))
        )
    )
    return torch.cat(
        [one, other, other - one, seen(estimator, change), _energies(before, after)], dim=1
    )


class GainNetwork(nn.Module):
    """Perceptrons that differ in their first weights, on standardised features; their mean is the answer."""

    middle: Tensor
    scale: Tensor

    def __init__(self, features: int, hidden: int = 128, dropout: float = 0.3) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(dropout * 2 / 3),
                nn.Linear(features, hidden),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(hidden, hidden),
                nn.GELU(),
                nn.Linear(hidden, 3),
            )
            for _ in range(MEMBERS)
        )

    def standardise(self, features: Tensor) -> None:
        """Take mean and standard deviation from (N, F) training features."""
        self.middle.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp(min=1e-3))

    def forward(self, features: Tensor) -> GainReading:
        """Read (B, F)."""
        return _mean(self.each(features))

    def each(self, features: Tensor) -> tuple[GainReading, ...]:
        """What every member reads."""
        x = ((features - self.middle) / self.scale).clamp(-5, 5)
        readings = []
        for member in self.members:
            psnr, spread, ssim = member(x).unbind(1)
            readings.append(GainReading(DB * psnr, DB * F.softplus(spread) + 0.05, ssim))
        return tuple(readings)


def _mean(readings: tuple[GainReading, ...]) -> GainReading:
    columns = ([getattr(r, name) for r in readings] for name in ("psnr", "spread", "ssim"))
    return GainReading(*(torch.stack(column).mean(0) for column in columns))


def _energies(before: Look, after: Look) -> Tensor:
    """(B, 3), in 20 dB: mean square of the change, of its fine part, and of its coarse part."""
    b, n = before.crops.shape[:2]
    change = (after.crops - before.crops).flatten(0, 1)
    coarse = F.avg_pool2d(change, 4)
    fine = change - F.interpolate(coarse, scale_factor=4)
    means = [x.square().mean(dim=(1, 2, 3)) for x in (change, fine, coarse)]
    return (0.5 * torch.log10(torch.stack(means, dim=1) + 1e-7)).view(b, n, -1).mean(1)
