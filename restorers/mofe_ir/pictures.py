"""What MoFE-IR trains on: whole pictures with composite degradations, looked at once by the guide, and patches of them.

Degrading and looking at a picture costs as much as a step on several patches, and patches of one picture all teach the same routing.
So each step makes a few new pictures, and takes its patches out of the last few hundred.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.pipelines import cdd11
from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.operators import run
from conservator.restorers.degradations.vocabulary import Kind, severity_of, value_at
from conservator.restorers.guides.base import GuideEmbeddings
from conservator.restorers.guides.qwen import QwenGuide
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.prompts.mofe import QUESTION, render
from conservator.restorers.training.data import CropBank, Mixture, Pairs, Synthesiser

__all__ = ["Batch", "Composites", "Gallery", "written_answer"]

GENERAL = Mixture(counts=(0.2, 0.46, 0.23, 0.11), partial=0.0)
"""Of the pictures that are no composites; with those, one in ten is clean."""

_GRID = 8
"""Patches and crops begin on JPEG's grid, as photos and their tiles do."""
_CROPS = 3
_HISTOGRAM_STEP = 3
"""The tone curve counts every third pixel of a picture both ways: a tenth of the time, the same histogram."""


def written_answer(asked: dict[Kind, float], rng: random.Random, *, others: bool = False) -> str:
    """The question with an answer behind it; half of them with numbers, and numbers a little off as measurements are.

    With `others` the answer says at its end that there is more.
    """
    jittered = {
        kind: value_at(kind, min(1.0, max(0.02, severity_of(kind, value) + rng.gauss(0, 0.02))))
        if severity_of(kind, value) < 1
        else value
        for kind, value in asked.items()
    }
    prompt = RestorationPrompt(degradations=jittered, blind=others)
    return render(prompt, numbers=rng.random() < 0.5)


class Composites(Synthesiser):
    """Half of the pictures get a combination of CDD11, the others what `GENERAL` draws.

    Attributes:
        composite: share of CDD11's combinations.
        answered: share of prompts with the answer behind the question; the others ask to undo everything.
        partial: share of the answers that name a part of what is there; the target keeps the rest.
        others: share of those that end in "others", and so ask to undo everything after all.
        alarmed: share of the answers that also name what is not there.
    """

    composite, answered, partial, others, alarmed = 0.5, 0.5, 0.25, 0.2, 0.06

    def __init__(self, seed: int = 0, device: str = "cpu") -> None:
        super().__init__(GENERAL, seed=seed, device=device)

    def asked(self, clean: Tensor) -> tuple[Pairs, list[str]]:
        """Degrade (B, 3, S, S) and put a prompt to each."""
        rows = [self.rng.random() < self.composite for _ in clean]
        apart = [i for i, composite in enumerate(rows) if composite]
        others = [i for i, composite in enumerate(rows) if not composite]
        pairs = Pairs(
            torch.empty_like(clean, device=self.device),
            torch.empty_like(clean, device=self.device),
            clean.to(self.device),
            [{} for _ in rows],
            [{} for _ in rows],
        )
        texts = [""] * len(rows)
        for i in apart:
            plan = cdd11.draw("", Dice(self.rng.getrandbits(48)), *clean.shape[-2:])
            present = {
                step.kind: step.value
                for step in plan.steps
                if step.kind is not None and step.value is not None
            }
            named, texts[i] = self._prompt(present)
            degraded = kept = clean[i : i + 1].cpu()
            for step in plan.steps:
                degraded = run(degraded, step)
                kept = kept if step.kind in named else run(kept, step)
            pairs.degraded[i], pairs.target[i] = degraded[0], kept[0]
            pairs.present[i], pairs.asked[i] = present, named
        if others:
            drawn = [self.draw() for _ in others]
            prompts = [self._prompt(present) for present in drawn]
            made = self.apply(pairs.clean[others], drawn, [named for named, _ in prompts])
            pairs.degraded[others], pairs.target[others] = made.degraded, made.target
            for i, present, (named, text) in zip(others, drawn, prompts, strict=True):
                pairs.present[i], pairs.asked[i], texts[i] = present, named, text
        return pairs, texts

    def _prompt(self, present: dict[Kind, float]) -> tuple[dict[Kind, float], str]:
        """What is to be undone, and the prompt for it."""
        rng = self.rng
        if rng.random() >= self.answered:
            return dict(present), QUESTION
        named = dict(present)
        if present and rng.random() < self.partial:
            chosen = set(rng.sample(list(present), rng.randrange(len(present))))
            part = {kind: value for kind, value in present.items() if kind in chosen}
            if rng.random() < self.others:
                return dict(present), written_answer(part, rng, others=True)
            named = part
        said = dict(named)
        if rng.random() < self.alarmed:
            alarm = rng.choice([kind for kind in Kind if kind not in present])
            said[alarm] = value_at(alarm, rng.uniform(0.1, 0.6))
        return named, written_answer(said, rng)


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches of different pictures.

    Attributes:
        degraded: (B, 3, S, S), float, [0, 1].
        target: the same without what the prompts name.
        whole: the degraded pictures themselves, thinned out, for the tone curve.
        guide: embeddings of the pictures and their prompts.
    """

    degraded: Tensor
    target: Tensor
    whole: Tensor
    guide: GuideEmbeddings


class Gallery:
    """The last pictures, each with its prompt's embeddings; full pictures push the oldest out."""

    def __init__(
        self,
        bank: CropBank,
        maker: Composites,
        guide: QwenGuide,
        *,
        side: int = 224,
        size: int = 256,
        first: int = 64,
    ) -> None:
        """Make the first pictures.

        Args:
            bank: clean pictures.
            maker: degrades them.
            guide: looks at them.
            side: of a picture, px; at least the guide's views.
            size: how many are kept; 0.3 MB each.
            first: how many are made at once.
        """
        self.bank, self.maker, self.guide = bank, maker, guide
        self.side = max(side, guide.side)
        self._degraded = torch.zeros(size, 3, self.side, self.side, dtype=torch.uint8)
        self._target = torch.zeros_like(self._degraded)
        self._guided: list[GuideEmbeddings] = []
        self._next = 0
        while len(self._guided) < first:
            self.grow(min(8, first - len(self._guided)))

    def grow(self, count: int) -> None:
        """Make, look at and keep `count` pictures."""
        pairs, texts = self.maker.asked(self.bank.patches(count, self.side, self.maker.rng))
        degraded = synthesis.quantise8(pairs.degraded)
        guided = self.guide.embed_views(self._views(degraded), texts)
        for i in range(count):
            row = self._next
            self._degraded[row], self._target[row] = _bytes(degraded[i]), _bytes(pairs.target[i])
            one = guided.sample(i)
            if row < len(self._guided):
                self._guided[row] = one
            else:
                self._guided.append(one)
            self._next = (row + 1) % len(self._degraded)

    def take(self, count: int, size: int, device: torch.device) -> Batch:
        """Random patches of `size` px, flipped and turned, of as many different pictures as there are."""
        rng = self.maker.rng
        have = range(len(self._guided))
        rows = rng.sample(have, count) if count <= len(have) else rng.choices(have, k=count)
        both = torch.empty(2, count, 3, size, size, dtype=torch.uint8)
        for i, row in enumerate(rows):
            top, left = (_GRID * rng.randrange((self.side - size) // _GRID + 1) for _ in range(2))
            mirrored, quarter = rng.random() < 0.5, rng.randrange(4)
            for version, pictures in enumerate((self._degraded, self._target)):
                patch = pictures[row, :, top : top + size, left : left + size]
                both[version, i] = torch.rot90(
                    patch.flip(-1) if mirrored else patch, quarter, (1, 2)
                )
        degraded, target = (x.to(device).float() / 255 for x in both)
        thinned = self._degraded[rows, :, ::_HISTOGRAM_STEP, ::_HISTOGRAM_STEP]
        guided = GuideEmbeddings.stacked([self._guided[row] for row in rows]).to(device)
        return Batch(degraded, target, thinned.to(device).float() / 255, guided)

    def _views(self, pictures: Tensor) -> Tensor:
        """(B, 1 + crops, 3, S, S): overviews, then crops at native resolution, most of them on JPEG's grid."""
        rng, side = self.maker.rng, self.guide.side
        small = F.interpolate(pictures, size=(side, side), mode="area")
        views = [synthesis.quantise8(small)]
        for _ in range(_CROPS):
            crops = []
            for picture in pictures:
                step = 1 if rng.random() < 0.15 else _GRID
                top, left = (step * rng.randrange((self.side - side) // step + 1) for _ in range(2))
                crops.append(picture[:, top : top + side, left : left + side])
            views.append(torch.stack(crops))
        return torch.stack(views, dim=1)


def _bytes(picture: Tensor) -> Tensor:
    return (picture.clamp(0, 1) * 255).round().to("cpu", torch.uint8)
