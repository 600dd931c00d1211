"""Degraded whole pictures to learn from, and the views of them that the model gets."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.agent.vlm.embedded.tower import SIDE
from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.training.data import CropBank, Mixture
from conservator.tools.instruments.calibrate import WholePhotos, handled

__all__ = ["MIXTURE", "SPOILED", "Pictures", "Studio", "overviews_of", "random_crops"]

MIXTURE = Mixture(
    weights=dict.fromkeys(Kind, 1.0)
    | {
        Kind.NOISE: 1.5,
        Kind.JPEG: 1.2,
        Kind.LOW_LIGHT: 1.5,
        Kind.RAIN: 1.2,
        Kind.HAZE: 1.2,
        Kind.DEFOCUS_BLUR: 1.2,
        Kind.MOTION_BLUR: 1.2,
        Kind.LOW_RESOLUTION: 1.2,
        Kind.PEPPER_NOISE: 0.6,
        Kind.MASK: 0.6,
        Kind.SNOW: 0.8,
    },
    counts=(0.18, 0.5, 0.22, 0.1),
    partial=0.0,
)

SPOILED = replace(MIXTURE, counts=(0.0, 0.4, 0.35, 0.25))
"""For plans: there is always something to treat."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Degraded pictures.

    Attributes:
        degraded: (B, 3, S, S), [0, 1], at the 256 values of files.
        clean: the same before.
        present: kind -> parameter of each.
    """

    degraded: Tensor
    clean: Tensor
    present: list[dict[Kind, float]]


class Studio(WholePhotos):
    """Degrades as the estimator's training does; a share lies exactly on the ladder, as it is drawn for tests."""

    on_ladder = 0.35

    def __init__(
        self, bank: CropBank, seed: int = 0, device: str = "cpu", mixture: Mixture = MIXTURE
    ) -> None:
        super().__init__(mixture, seed=seed, device=device)
        self.bank = bank

    def take(self, batch: int, side: int) -> Pictures:
        """Degrade `batch` random pictures of `side` px."""
        clean = self._varied(self.bank.patches(batch, side, self.rng)).to(self.device)
        pairs = self.pairs(clean)
        degraded = synthesis.quantise8(pairs.degraded)
        for i, kinds in enumerate(pairs.present):
            one = degraded[i : i + 1]
            if self.rng.random() < 0.12:
                one = handled(one, self.rng)
            if Kind.JPEG not in kinds and self.rng.random() < 0.2:
                quality = float(self.rng.randint(60, 95))
                one = synthesis.jpeg(one, [quality])
                kinds[Kind.JPEG] = quality
            degraded[i : i + 1] = one
        return Pictures(degraded, pairs.clean, pairs.present)

    def severity(self, kind: Kind) -> float:
        """A parameter: on a rung of the ladder, or anywhere on it."""
        if self.rng.random() < self.on_ladder:
            return value_of(kind, Level(self.rng.randint(1, 4)))
        return super().severity(kind)

    def _varied(self, clean: Tensor) -> Tensor:
        # Exposure and contrast as clean photos have them.
        out = clean.clone()
        for i in range(len(out)):
            if self.rng.random() < 0.5:
                gain, gamma = self.rng.uniform(0.9, 1.1), self.rng.uniform(0.9, 1.15)
                out[i] = (out[i] ** gamma * gain).clamp(0, 1)
        return out

    def _degrade(
        self, x: Tensor, kind: Kind, values: list[float], seed: int, scene: Tensor
    ) -> Tensor:
        if kind is Kind.RAIN and self.rng.random() < 0.5:
            rng = self.rng
            return synthesis.rain(
                x,
                values,
                [rng.uniform(20, 39) for _ in values],
                [rng.uniform(-30, 29) for _ in values],
                self.generator.manual_seed(seed),
            )
        return super()._degrade(x, kind, values, seed, scene)


def random_crops(pictures: Tensor, count: int, rng: random.Random) -> Tensor:
    """(B, count, 3, SIDE, SIDE) crops at native resolution, most of them on JPEG's grid."""
    b, side = len(pictures), pictures.shape[-1]
    out = torch.empty(b, count, 3, SIDE, SIDE, device=pictures.device)
    for i in range(b):
        for j in range(count):
            step = 1 if rng.random() < 0.15 else 8
            top, left = (rng.randrange((side - SIDE) // step + 1) * step for _ in range(2))
            out[i, j] = pictures[i, :, top : top + SIDE, left : left + SIDE]
    return out


def overviews_of(pictures: Tensor) -> Tensor:
    """(B, 3, SIDE, SIDE): the whole pictures, area-averaged and at the 256 values of files."""
    return synthesis.quantise8(F.interpolate(pictures, size=(SIDE, SIDE), mode="area"))
