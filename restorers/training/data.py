"""Clean crops and degraded training pairs made from them on the fly.

A pair carries what is present and what the prompt asks for. Most prompts ask for everything; some name a part, and then
the target keeps what was not named, by the same draw, so that a restorer learns to leave alone what it is not asked about.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, value_at
from conservator.restorers.errors import UsageError

__all__ = ["CAPTURE_ORDER", "CropBank", "Mixture", "Pairs", "Synthesiser"]

CAPTURE_ORDER: tuple[Kind, ...] = (
    Kind.LOW_LIGHT,
    Kind.RAIN,
    Kind.SNOW,
    Kind.HAZE,
    Kind.MOTION_BLUR,
    Kind.DEFOCUS_BLUR,
    Kind.LOW_RESOLUTION,
    Kind.NOISE,
    Kind.PEPPER_NOISE,
    Kind.MASK,
    Kind.JPEG,
)
"""Scene, lens, sensor, storage: the order in which degradations are applied."""


class CropBank:
    """Every training image decoded once, as (N, 3, S, S) uint8.

    Attributes:
        names: the files' names, in the same order.
    """

    def __init__(self, folder: Path, side: int = 320, limit: int | None = None) -> None:
        """Decode all images of a folder; smaller ones are mirrored up to `side`, larger ones cut at the centre.

        Raises:
            UsageError: the folder holds no images.
        """
        from PIL import Image, ImageOps

        paths = sorted(
            p for p in folder.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}
        )[:limit]
        if not paths:
            raise UsageError(f"no training images in {folder}: give a folder of JPEG, PNG or WebP")
        self.names = tuple(path.name for path in paths)
        crops = np.empty((len(paths), 3, side, side), np.uint8)
        for i, path in enumerate(paths):
            with Image.open(path) as image:
                rgb = image.convert("RGB")
            if min(rgb.size) < side // 2:
                rgb = ImageOps.fit(rgb, (side, side))
            array = np.asarray(rgb)
            pad = [(0, max(0, side - n)) for n in array.shape[:2]]
            array = np.pad(array, [*pad, (0, 0)], mode="reflect")
            top, left = ((n - side) // 2 for n in array.shape[:2])
            crops[i] = array[top : top + side, left : left + side].transpose(2, 0, 1)
        self.images = torch.from_numpy(crops)

    def patches(self, batch: int, size: int, rng: random.Random) -> Tensor:
        """Random patches (B, 3, size, size), float, flipped and turned; half of them from a shrunken crop.

        Shrinking by up to 2 removes the crops' own JPEG traces and varies the scale; the rest shrinks up to the whole crop,
        so that some patches have the histogram of a whole picture.
        """
        out = torch.empty(batch, 3, size, size)
        side = self.images.shape[-1]
        for i in range(batch):
            image = self.images[rng.randrange(len(self.images))]
            limit = side / size
            way, shrink = rng.random(), 1.0
            if way < 0.35:
                shrink = rng.uniform(1.0, min(2.0, limit))
            elif way < 0.5:
                shrink = rng.uniform(min(2.0, limit), limit)
            span = min(side, round(size * shrink))
            top, left = rng.randint(0, side - span), rng.randint(0, side - span)
            patch = image[:, top : top + span, left : left + span].float() / 255
            if span != size:
                patch = synthesis.downsample(patch[None], span / size)[0]
                patch = (
                    patch
                    if patch.shape[-1] == size
                    else synthesis.upsample(patch[None], (size, size))[0]
                )
            if rng.random() < 0.5:
                patch = patch.flip(-1)
            out[i] = torch.rot90(patch, rng.randrange(4), (1, 2))
        return out


@dataclass(frozen=True)
class Mixture:
    """How often what occurs.

    Attributes:
        weights: kind -> relative frequency.
        counts: probability of 0, 1, 2, 3 degradations in one picture.
        partial: share of prompts that name only a part of what is present.
        overshoot: severities run to this much of the ladder.
    """

    weights: dict[Kind, float] = field(
        default_factory=lambda: {
            Kind.NOISE: 5.0,
            Kind.RAIN: 2.6,
            Kind.JPEG: 2.0,
            Kind.LOW_LIGHT: 2.2,
            Kind.HAZE: 2.0,
            Kind.DEFOCUS_BLUR: 1.7,
            Kind.MOTION_BLUR: 1.2,
            Kind.LOW_RESOLUTION: 1.2,
            Kind.PEPPER_NOISE: 0.8,
            Kind.SNOW: 0.8,
            Kind.MASK: 0.6,
        }
    )
    counts: tuple[float, float, float, float] = (0.1, 0.55, 0.24, 0.11)
    partial: float = 0.15
    overshoot: float = 1.1


@dataclass
class Pairs:
    """A training batch.

    Attributes:
        degraded: (B, 3, H, W), rounded to 8 bits as files are, except where float noise was drawn.
        target: (B, 3, H, W), `clean` but for what the prompt does not name.
        clean: (B, 3, H, W).
        present: kind -> parameter, one dict a sample.
        asked: what the prompt names; a subset of `present` but for false prompts made elsewhere.
    """

    degraded: Tensor
    target: Tensor
    clean: Tensor
    present: list[dict[Kind, float]]
    asked: list[dict[Kind, float]]


class Synthesiser:
    """Draws degradations and applies them kind by kind, in capture order, to whole batches."""

    def __init__(self, mixture: Mixture | None = None, seed: int = 0, device: str = "cpu") -> None:
        self.mixture = mixture or Mixture()
        self.rng = random.Random(seed)
        self.device = torch.device(device)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)

    def draw(self) -> dict[Kind, float]:
        """What goes wrong with one picture: kind -> parameter."""
        mixture, rng = self.mixture, self.rng
        count = rng.choices(range(4), mixture.counts)[0]
        chosen: dict[Kind, float] = {}
        while len(chosen) < count:
            kind = rng.choices(list(mixture.weights), list(mixture.weights.values()))[0]
            chosen.setdefault(kind, self.severity(kind))
        return {kind: chosen[kind] for kind in CAPTURE_ORDER if kind in chosen}

    def severity(self, kind: Kind) -> float:
        """A parameter somewhere on the ladder, low levels included, a little beyond its top for some."""
        rng = self.rng
        severity = rng.uniform(0.1, 1.0)
        value = value_at(kind, severity)
        if kind is Kind.NOISE:
            return rng.choice((15.0, 25.0, 50.0)) if rng.random() < 0.2 else rng.uniform(2, 53)
        if kind is Kind.LOW_LIGHT and rng.random() < 0.3:
            return rng.uniform(1.2, 2.6)
        if kind is Kind.RAIN:
            return rng.uniform(3, 99)
        if kind is Kind.JPEG:
            return float(round(value))
        return value

    def apply(
        self, clean: Tensor, present: list[dict[Kind, float]], asked: list[dict[Kind, float]]
    ) -> Pairs:
        """Degrade (B, 3, H, W); kinds that a prompt does not name are in its target too."""
        degraded, target = clean.clone(), clean.clone()
        late_noise = self.rng.random() < 0.5
        order = list(CAPTURE_ORDER)
        if late_noise:
            i, j = order.index(Kind.LOW_RESOLUTION), order.index(Kind.NOISE)
            order[i], order[j] = order[j], order[i]
        for kind in order:
            rows = [i for i, kinds in enumerate(present) if kind in kinds]
            if not rows:
                continue
            values = [present[i][kind] for i in rows]
            state, seed = self.rng.getstate(), self.rng.getrandbits(48)
            degraded[rows] = self._degrade(degraded[rows], kind, values, seed, clean[rows])
            kept = [n for n, i in enumerate(rows) if kind not in asked[i]]
            if kept:
                end = self.rng.getstate()
                self.rng.setstate(state)
                self.rng.getrandbits(48)
                both = self._degrade(target[rows], kind, values, seed, clean[rows])
                self.rng.setstate(end)
                target[[rows[n] for n in kept]] = both[kept]
        keep_float = torch.tensor(
            [set(kinds) == {Kind.NOISE} and self.rng.random() < 0.3 for kinds in present]
        ).view(-1, 1, 1, 1)
        rounded = synthesis.quantise8(degraded)
        degraded = torch.where(keep_float.to(clean.device), degraded, rounded)
        return Pairs(degraded, target, clean, present, asked)

    def pairs(self, clean: Tensor) -> Pairs:
        """Draw and degrade a batch of clean patches."""
        present = [self.draw() for _ in range(len(clean))]
        asked = [self._asked(kinds) for kinds in present]
        return self.apply(clean.to(self.device), present, asked)

    def _asked(self, present: dict[Kind, float]) -> dict[Kind, float]:
        if not present or self.rng.random() >= self.mixture.partial:
            return dict(present)
        keep = self.rng.randrange(len(present))
        return {k: present[k] for k in self.rng.sample(list(present), keep)}

    def stream(self, bank: CropBank, batch: int, size: int) -> Iterator[Pairs]:
        """Endless batches."""
        while True:
            yield self.pairs(bank.patches(batch, size, self.rng))

    def _degrade(
        self, x: Tensor, kind: Kind, values: list[float], seed: int, scene: Tensor
    ) -> Tensor:
        rng, n = self.rng, len(values)
        generator = self.generator.manual_seed(seed)

        def uniform(low: float, high: float) -> list[float]:
            return [rng.uniform(low, high) for _ in range(n)]

        match kind:
            case Kind.NOISE:
                return self._noise(x, values, generator)
            case Kind.JPEG:
                return synthesis.jpeg(x, values)
            case Kind.LOW_LIGHT:
                ways = ("shift", "gamma", "range", "illumination", "exposure")
                return synthesis.low_light(x, values, [rng.choice(ways) for _ in range(n)])
            case Kind.RAIN:
                width, opacity = uniform(1.5, 4), uniform(0.35, 1.0)
                return synthesis.rain(
                    x,
                    values,
                    uniform(15, 45),
                    uniform(-35, 35),
                    generator,
                    width_px=width,
                    opacity=opacity,
                )
            case Kind.SNOW:
                size, angle = uniform(1, 4), uniform(-40, 40)
                return synthesis.snow(
                    x, values, size, generator, angle_deg=angle, opacity=uniform(0.6, 1)
                )
            case Kind.HAZE:
                depth = synthesis.pseudo_depth(n, x.shape[-2], x.shape[-1], generator)
                depth = self._with_edges(depth, scene)
                # A patch sees a part of the scene: let its depths span a random share of the whole.
                spans = [rng.choice((0.0, rng.uniform(0, 0.7))) for _ in range(n)]
                floor = torch.tensor(spans, device=x.device).view(-1, 1, 1, 1)
                light = torch.tensor(uniform(0.6, 1.0), device=x.device).view(-1, 1)
                tint = torch.tensor([uniform(-0.04, 0.04) for _ in range(3)], device=x.device).T
                return synthesis.haze(
                    x, values, (light + tint).clamp(0, 1), floor + (1 - floor) * depth
                )
            case Kind.DEFOCUS_BLUR:
                if rng.random() < 0.35:
                    return synthesis.gaussian_blur(x, [v / 2 for v in values])
                return synthesis.defocus_blur(x, values, uniform(0.1, 0.5))
            case Kind.MOTION_BLUR:
                return synthesis.motion_blur(x, values, uniform(-90, 90))
            case Kind.LOW_RESOLUTION:
                return synthesis.down_up(x, values)
            case Kind.PEPPER_NOISE:
                salt = [rng.choice((0.0, 0.0, 0.5)) for _ in range(n)]
                return synthesis.pepper_noise(x, values, generator, salt=salt)
            case Kind.MASK:
                styles = [rng.choice(("blocks", "scratches", "strokes")) for _ in range(n)]
                fill = [rng.choice((0.0, 0.0, 1.0, 0.5)) for _ in range(n)]
                return synthesis.mask(x, values, generator, style=styles, fill=fill)

    def _with_edges(self, depth: Tensor, scene: Tensor) -> Tensor:
        """Let some depths (B, 1, H, W) jump where the scene's own lightness crosses a threshold, as at the rim of an object."""
        light = F.avg_pool2d(scene.mean(1, keepdim=True), 5, 1, padding=2)
        jumps = torch.zeros_like(depth)
        for i in range(len(scene)):
            if self.rng.random() < 0.5:
                for _ in range(self.rng.randint(1, 2)):
                    level = light[i].flatten().quantile(self.rng.uniform(0.15, 0.85))
                    jumps[i] += (light[i] > level) * self.rng.uniform(-0.6, 0.6)
        depth = (depth + jumps - jumps.amin(dim=(1, 2, 3), keepdim=True)).clamp(min=0.02)
        return depth / depth.amax(dim=(1, 2, 3), keepdim=True)

    def _noise(self, x: Tensor, values: list[float], generator: torch.Generator) -> Tensor:
        way = self.rng.random()
        if way < 0.15:  # Poisson of about the same standard deviation at this picture's mean
            mean = x.mean(dim=(1, 2, 3)).clamp(min=0.02)
            scale = torch.tensor(values, device=x.device) / (256 * mean).sqrt()
            return synthesis.poisson_noise(x, scale, generator)
        if way < 0.3:
            correlation = [self.rng.uniform(0.2, 1.0) for _ in values]
            return synthesis.gaussian_noise(x, values, generator, correlation=correlation)
        return synthesis.gaussian_noise(x, values, generator, clip=self.rng.random() < 0.7)
