"""What LM4LV trains on: crops and the paper's degradations, in batches, wherever the network is.

Nothing here is done picture by picture, so a GPU makes its own training data: the crops lie in its memory, and the draws of
`degradations.pipelines.lm4lv` (those of the test suites) are applied a task at a time. A picture is four times as large as one that the
autoencoder takes, as photos are, and gives four tiles: blocks, streaks and their scale are those of a picture.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.pipelines import lm4lv
from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.lm4lv.config import PROBES
from conservator.restorers.training.data import CropBank

__all__ = ["WEIGHTS", "Crops", "Degrader", "blocks", "probed", "tiles"]

WEIGHTS: Mapping[str, float] = {
    "denoise": 1.0,
    "deblur": 0.6,
    "derain": 1.0,
    "depepper": 0.8,
    "demask": 1.0,
    "rotate": 0.2,
    "flip": 0.2,
}
"""How often a task is practised."""

_SHRUNK = (1.0, 2**0.5, 2.0)
_CHUNK = 64


class Crops:
    """The training images on a device, as they are and made smaller."""

    def __init__(self, bank: CropBank, side: int, device: torch.device, seed: int = 0) -> None:
        """Copy the images.

        Args:
            bank: of clean images.
            side: of the crops, at most that of the images.
            device: of the crops.
            seed: of their places.
        """
        whole = bank.images.shape[-1]
        self.side = side
        self.generator = torch.Generator(device).manual_seed(seed)
        self.levels = [
            _shrunk(bank.images.to(device), round(whole / factor))
            for factor in _SHRUNK
            if round(whole / factor) >= side
        ]

    def take(self, count: int) -> Tensor:
        """Random crops (count, 3, side, side), float, [0, 1], flipped and turned."""
        made = [
            self._cut(level, share)
            for level, share in zip(self.levels, _shares(count, len(self.levels)), strict=True)
            if share
        ]
        crops = torch.cat(made)
        crops = crops[torch.randperm(count, generator=self.generator, device=crops.device)]
        out = torch.empty_like(crops)
        for way in range(8):
            part = crops[way::8]
            out[way::8] = torch.rot90(part.flip(-1) if way >= 4 else part, way % 4, (2, 3))
        return out

    def _cut(self, images: Tensor, count: int) -> Tensor:
        size, side, device = images.shape[-1], self.side, images.device

        def drawn(most: int) -> Tensor:
            return torch.randint(most, (count,), generator=self.generator, device=device)

        span = torch.arange(side, device=device)
        rows, columns = (drawn(size - side + 1)[:, None] + span for _ in range(2))
        which = drawn(len(images))
        # Indices on both sides of the channels' slice put the channels last.
        cut = images[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return cut.permute(0, 3, 1, 2).float() / 255


def _shrunk(images: Tensor, size: int) -> Tensor:
    if size == images.shape[-1]:
        return images
    parts = []
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].float()
        small = F.interpolate(part, size=(size, size), mode="bicubic", antialias=True)
        parts.append(small.round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)


def _shares(count: int, parts: int) -> list[int]:
    """Half of the crops from the images as they are, the rest in equal shares."""
    if parts == 1:
        return [count]
    others = [count // 2 // (parts - 1)] * (parts - 1)
    return [count - sum(others), *others]


def tiles(pictures: Tensor, side: int) -> Tensor:
    """Cut (B, 3, H, W) into (B * n, 3, side, side); H and W are multiples of the side."""
    b, c, h, w = pictures.shape
    cut = pictures.view(b, c, h // side, side, w // side, side)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, side, side)


def probed(pictures: Tensor, task: str) -> Tensor:
    """What a probe asks for of (B, 3, S, S)."""
    return torch.rot90(pictures, 1, (2, 3)) if task == "rotate" else pictures.flip(-1)


class Degrader:
    """Draws tasks and degrades whole batches by them."""

    def __init__(
        self, seed: int, device: torch.device, weights: Mapping[str, float] = WEIGHTS
    ) -> None:
        self.rng = random.Random(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.weights = weights

    def tasks(self, count: int) -> list[str]:
        """So many tasks, as often as their weights say."""
        return self.rng.choices(list(self.weights), list(self.weights.values()), k=count)

    def degraded(self, clean: Tensor, tasks: Sequence[str]) -> Tensor:
        """Degrade (B, 3, H, W) by a task each; a probe leaves its picture as it is."""
        out = clean.clone()
        for task in dict.fromkeys(tasks):
            if task in PROBES:
                continue
            rows = [i for i, other in enumerate(tasks) if other == task]
            out[rows] = self._struck(clean[rows], task)
        return out

    def pairs(self, pictures: Tensor, side: int) -> tuple[Tensor, Tensor, list[str]]:
        """Degraded and wanted tiles (B, 3, side, side) of pictures, and the task of each; a picture's tiles share it."""
        drawn = self.tasks(len(pictures))
        degraded, wanted = tiles(self.degraded(pictures, drawn), side), tiles(pictures, side)
        each = len(wanted) // len(pictures)
        tasks = [task for task in drawn for _ in range(each)]
        for probe in PROBES:
            rows = [i for i, task in enumerate(tasks) if task == probe]
            if rows:
                wanted[rows] = probed(wanted[rows], probe)
        return degraded, wanted, tasks

    def _struck(self, x: Tensor, task: str) -> Tensor:
        height, width = x.shape[-2:]
        plans = [lm4lv.draw(task, Dice(self.rng.getrandbits(64)), height, width) for _ in x]
        for steps in zip(*(plan.steps for plan in plans), strict=True):
            operator = _OPERATORS[steps[0].operator]
            x = synthesis.quantise8(operator(x, [s.parameters for s in steps], self.generator))
        return x


Parameters = Sequence[Mapping[str, Any]]


def _of(parameters: Parameters, name: str) -> list[float]:
    return [float(one[name]) for one in parameters]


def _rain(x: Tensor, p: Parameters, generator: torch.Generator) -> Tensor:
    return synthesis.rain(
        x,
        _of(p, "value"),
        _of(p, "length_px"),
        _of(p, "angle_deg"),
        generator,
        width_px=_of(p, "width_px"),
        opacity=_of(p, "opacity"),
    )


_OPERATORS: Mapping[str, Callable[[Tensor, Parameters, torch.Generator], Tensor]] = {
    "gaussian_noise": lambda x, p, g: synthesis.gaussian_noise(x, _of(p, "sigma_255"), g),
    "gaussian_blur": lambda x, p, g: synthesis.gaussian_blur(x, _of(p, "sigma_px")),
    "rain": _rain,
    "pepper_noise": lambda x, p, g: synthesis.pepper_noise(x, _of(p, "fraction"), g),
    "mask": lambda x, p, g: blocks(x, _of(p, "fraction"), g),
}


def blocks(x: Tensor, fraction: Sequence[float], generator: torch.Generator) -> Tensor:
    """`synthesis.mask` in black blocks, by the same draws, without asking the device how much is covered after each of them."""
    b, _, h, w = x.shape
    draws = torch.rand((b, 64, 4), generator=generator, device=generator.device).to(x.device)
    rows = torch.arange(h, device=x.device, dtype=torch.float32)[:, None]
    columns = torch.arange(w, device=x.device, dtype=torch.float32)[None, :]
    goal = torch.tensor(fraction, device=x.device, dtype=torch.float32).view(b, 1, 1) * (h * w)
    most = goal.sqrt().clamp(min=2.0)
    covered = torch.zeros(b, h, w, dtype=torch.bool, device=x.device)
    for number in range(draws.shape[1]):
        down, across, large, _ = draws[:, number].view(b, 4, 1, 1).unbind(1)
        side = torch.minimum(((0.04 + 0.1 * large) * min(h, w)).clamp(min=2.0), most)
        near = ((rows - down * h).abs() <= side / 2) & ((columns - across * w).abs() <= side / 2)
        covered |= near & (covered.sum(dim=(1, 2), keepdim=True) < goal)
    return x * ~covered[:, None]
