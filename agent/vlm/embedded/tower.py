"""The vision tower while it trains alone: whole batches of square views, and heads that are thrown away afterwards.

The shipped model runs transformers' own tower. That one takes pictures of any size, window by window; here every view is one window, so a
batch goes through each layer at once, which is several times faster and gives the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.guides.tower import cut, window_features

__all__ = ["CONTRAST", "SIDE", "Sight", "filters", "patches_of", "tower_features"]

SIDE = 128
"""Side of a view, px: one attention window."""
CONTRAST = 1.0
"""Added to the pixels by the image processor: with no bias anywhere before the first norm, this is what strength is compared with."""

_FINE_GAIN = 16.0
_PRIOR = (-2.0, 2.0, 0.0, 0.0, 0.0, 0.0)
"""First biases of a head: a kind is seldom there. Without them the tower's first lesson is a large constant."""


def patches_of(views: Tensor, patch: int = 16, merge: int = 2) -> Tensor:
    """Cut (N, 3, S, S), [0, 1], into (N, tokens, 3 * patch * patch), in the processor's order and scale."""
    return cut(views + CONTRAST, patch, merge)


def filters(count: int, patch: int = 16) -> Tensor:
    """(count, 3, patch, patch) first filters: coarse cosines, fine cosines, steps across the block grid of JPEG, colour.

    Noise, blocks and blur live in detail that an average would lose; so detail is there from the first step, amplified
    until faint noise and the picture's own light are of one size.
    """
    place = torch.arange(patch, dtype=torch.float32)
    waves = torch.cos(math.pi * (place + 0.5) * place[:, None] / patch)
    waves /= waves.norm(dim=1, keepdim=True)
    luma = _colour(0.299, 0.587, 0.114)
    chroma = (_colour(0.5, -0.42, -0.08), _colour(-0.17, -0.33, 0.5))
    order = sorted(((u, v) for u in range(patch) for v in range(patch)), key=lambda p: (sum(p), p))

    def wave(u: int, v: int, colour: Tensor) -> Tensor:
        gain = _FINE_GAIN * min(1.0, ((u + v) / patch) ** 1.2)
        shape: Tensor = gain * waves[u][:, None] * waves[v] * colour
        return shape

    level = torch.full((patch, patch), 1 / (patch**2 * (0.5 + CONTRAST)))
    bank = [level * c for c in (luma / luma.sum(), *(4 * c for c in chroma), _colour(1, 0, 0))]
    bank += [wave(u, v, luma) for u, v in order[1:49]]
    bank += [2 * wave(u, v, c) for u, v in order[1:6] for c in chroma]
    half = patch // 2
    for first in range(0, patch, 4):
        step = torch.zeros(patch, patch)
        step[first : first + 4, half - 1], step[first : first + 4, half] = -1, 1
        for version in (step, step.T, step.roll(half // 2, 1), step.T.roll(half // 2, 0)):
            bank.append(version * luma * 4)
    fine = [p for p in order if max(p) >= half]
    left = count - len(bank)
    for i in range(left):
        # A share of the fine ones looks at one colour: sensors' noise differs in the three, texture hardly does.
        bank.append(wave(*fine[(i * len(fine)) // left], luma if i % 3 else chroma[(i // 3) % 2]))
    return torch.stack(bank[:count])


def _colour(*weights: float) -> Tensor:
    return torch.tensor(weights).view(3, 1, 1)


def tower_features(visual: Any, views: Tensor) -> Tensor:
    """What transformers' tower makes of (N, 3, SIDE, SIDE), [0, 1]: (N, tokens, text width)."""
    return window_features(visual, views + CONTRAST)


class Sight(nn.Module):
    """The tower with heads for every kind: presence logits and logits of the five levels, for crops and for overviews."""

    def __init__(self, visual: nn.Module, width: int) -> None:
        super().__init__()
        self.visual = visual
        kinds = len(Kind)
        # Normed over pictures: what all of them share would drown what tells them apart.
        self.near, self.far = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        self.crop_head = nn.Linear(width, kinds * 6)
        self.overview_head = nn.Linear(width, kinds * 6)
        self.whole_head = nn.Linear(2 * width, kinds * 6)
        for head in (self.crop_head, self.overview_head, self.whole_head):
            nn.init.normal_(head.weight, 0, 0.02)
            with torch.no_grad():
                head.bias.view(kinds, 6)[:] = torch.tensor(_PRIOR)
        self.features = tower_features

    def compile_tower(self) -> None:
        """Fuse the small operations between the products: half the time of a step, for a minute at the start."""
        self.features = torch.compile(tower_features, dynamic=False)

    def whole(self, features: Tensor) -> Tensor:
        """Read one picture's features (views, tokens, width), its overview first: (kinds, 6)."""
        pooled = features.float().mean(1)
        both = torch.cat([self.near(pooled[1:]).mean(0), self.far(pooled[:1])[0]])
        read: Tensor = self.whole_head(both)
        return read.view(len(Kind), 6)

    def forward(self, crops: Tensor, overviews: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read (B, N, 3, S, S) crops and (B, 3, S, S) overviews.

        Returns:
            Of each crop (B, N, kinds, 6), of each overview (B, kinds, 6), of both together (B, kinds, 6): presence, then levels.
        """
        b, n = crops.shape[:2]
        seen = self.features(self.visual, torch.cat([crops.flatten(0, 1), overviews]))
        pooled = seen.float().mean(1)
        near, far = self.near(pooled[: b * n]), self.far(pooled[b * n :])
        both = torch.cat([near.view(b, n, -1).mean(1), far], dim=1)
        shape = (len(Kind), 6)
        return (
            self.crop_head(near).view(b, n, *shape),
            self.overview_head(far).view(b, *shape),
            self.whole_head(both).view(b, *shape),
        )
