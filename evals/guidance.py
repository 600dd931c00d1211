"""A guided restorer that is shown the wrong picture: what its guide is worth.

The other picture is the next one of the same folder, with a degradation that the sample does not have; so the guide reports, in its hidden
states, another scene and another damage.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from conservator.evals.sample import Image, Sample
from conservator.evals.sources import PICTURE_SUFFIXES, natural
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.errors import PromptError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.runner import Runner

if TYPE_CHECKING:
    from conservator.restorers.mofe_ir.restorer import MoFEGuidance, MoFEIRRestorer

__all__ = ["absent_kind", "misguided", "other_picture"]


def absent_kind(truth: RestorationPrompt | None) -> Kind:
    """A kind that is not there."""
    real = truth.degradations if truth else {}
    return next(k for k in (Kind.SNOW, Kind.RAIN, Kind.NOISE, Kind.HAZE) if k not in real)


def other_picture(sample: Sample) -> Image:
    """The next picture of the sample's folder, degraded by a kind that the sample does not have, at a high level.

    Raises:
        PromptError: the folder holds no second picture.
    """
    from conservator.tools.image_io import load

    own = Path(sample.spec.picture)
    paths = sorted(
        (p for p in own.parent.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES),
        key=lambda p: natural(p.name),
    )
    names = [p.name for p in paths]
    if len(paths) < 2 or own.name not in names:
        raise PromptError(f"{own.parent} holds no second picture; guide=other needs one")
    pixels = load(paths[(names.index(own.name) + 1) % len(paths)]).pixels
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    kind = absent_kind(sample.truth)
    recipe = Recipe(kinds=((kind, value_of(kind, Level.HIGH)),))
    degraded = apply(image, recipe.draw(sample.spec.seed, *image.shape[-2:]))
    wrong: Image = degraded[0].permute(1, 2, 0).contiguous().numpy()
    return wrong


class _Misguided:
    """A `TileRestorer` whose guide looks at another picture than the one that is restored."""

    def __init__(self, inner: MoFEIRRestorer) -> None:
        self.inner, self.card = inner, inner.card
        self.weights_sha256 = inner.weights_sha256
        self.shown: torch.Tensor | None = None

    def render(self, prompt: RestorationPrompt) -> str:
        return self.inner.render(prompt)

    def prepare(self, image: torch.Tensor, prompt: RestorationPrompt, *, seed: int) -> MoFEGuidance:
        shown = image if self.shown is None else self.shown
        return self.inner.guidance(image, self.inner.guide.embed(shown, self.render(prompt)))

    def restore_tile(self, tile: torch.Tensor, guidance: MoFEGuidance) -> torch.Tensor:
        return self.inner.restore_tile(tile, guidance)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        self.inner.to(device, dtype)


@cache
def _loaded(weights: str) -> tuple[_Misguided, Runner]:
    from conservator.restorers.mofe_ir.restorer import build

    wrong = _Misguided(build("compact", weights or None))
    return wrong, Runner(wrong)


def misguided(
    restorer: str, sample: Sample, prompt: RestorationPrompt, *, seed: int, weights: str = ""
) -> Image:
    """Restore a sample under another picture's guidance; the words of the prompt stay its own.

    Raises:
        UsageError: the restorer has no guide.
        PromptError: there is no other picture.
        WeightsError: the restorer has no weights.
    """
    if restorer != "mofe-ir":
        raise UsageError(f"{restorer} has no guide; guide=other is for mofe-ir")
    wrong, runner = _loaded(weights)
    wrong.shown = torch.from_numpy(other_picture(sample)).permute(2, 0, 1)[None]
    x = torch.from_numpy(sample.degraded.copy()).permute(2, 0, 1)[None]
    restored: Image = (
        runner.restore(x, prompt, seed=seed).image[0].permute(1, 2, 0).contiguous().numpy()
    )
    return restored
