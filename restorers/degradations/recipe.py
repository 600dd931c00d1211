"""Degradation recipes: text to steps, steps to pictures, every draw stored.

    recipe = Recipe.parse("noise:sigma=25+jpeg:quality=20")
    draws = recipe.draw(seed=7, height=512, width=768)
    degraded = apply(image, draws)

A recipe is a list of kinds with their parameters, which strike from left to right (`rain:value=70+haze:beta=1.2`, also
with levels, `noise:high`), or a named pipeline: `mio16:A1`, `cdd11:L+H`, `spire`, `real-esrgan`, `lm4lv:denoise`.
Low resolution leaves a smaller picture, as it does in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from conservator.restorers.degradations.pipelines import cdd11, lm4lv, mio16, real_esrgan, spire
from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.kinds import step_of
from conservator.restorers.degradations.pipelines.operators import run
from conservator.restorers.degradations.pipelines.step import Draws, Plan, Step
from conservator.restorers.degradations.synthesis import quantise8
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.parameters import item, items

__all__ = ["PIPELINES", "Draws", "Recipe", "Step", "apply", "named_recipes"]


@dataclass(frozen=True)
class _Pipeline:
    variants: tuple[str, ...]
    canonical: Callable[[str], str]
    draw: Callable[[str, Dice, int, int], Plan]


PIPELINES: dict[str, _Pipeline] = {
    "mio16": _Pipeline(mio16.VARIANTS, mio16.canonical, mio16.draw),
    "cdd11": _Pipeline(cdd11.VARIANTS, cdd11.canonical, cdd11.draw),
    "spire": _Pipeline(spire.VARIANTS, spire.canonical, spire.draw),
    "real-esrgan": _Pipeline(real_esrgan.VARIANTS, real_esrgan.canonical, real_esrgan.draw),
    "lm4lv": _Pipeline(lm4lv.VARIANTS, lm4lv.canonical, lm4lv.draw),
}
"""The named pipelines."""


def named_recipes() -> tuple[str, ...]:
    """Every named recipe, `mio16`, `mio16:A1`, ..., for help texts and completion."""
    names: list[str] = []
    for name, pipeline in PIPELINES.items():
        names += [name, *(f"{name}:{variant}" for variant in pipeline.variants if variant)]
    return tuple(names)


@dataclass(frozen=True)
class Recipe:
    """What to do to a picture, before chance.

    Attributes:
        pipeline: a name in `PIPELINES`, "" for a list of kinds.
        variant: of the pipeline, "" for its default.
        kinds: kind and strength of each step, for a list of kinds.
    """

    pipeline: str = ""
    variant: str = ""
    kinds: tuple[tuple[Kind, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read a recipe, tolerant of case and spaces.

        Raises:
            PromptError: an unknown pipeline, combination, kind or parameter, or an impossible value.
        """
        name, _, variant = text.strip().partition(":")
        key = name.strip().lower().replace("_", "-").replace("realesrgan", "real-esrgan")
        if key in PIPELINES:
            return cls(pipeline=key, variant=PIPELINES[key].canonical(variant))
        try:
            return cls(kinds=tuple(items(text)))
        except PromptError as error:
            if "unknown degradation" not in str(error):
                raise
            raise PromptError(f"{error}; named recipes: {', '.join(PIPELINES)}") from None

    def __str__(self) -> str:
        if self.pipeline:
            return f"{self.pipeline}:{self.variant}" if self.variant else self.pipeline
        return "+".join(item(kind, value) for kind, value in self.kinds)

    def draw(self, seed: int, height: int, width: int) -> Draws:
        """Draw every random number for a picture of (height, width); the same arguments draw the same."""
        dice = Dice(seed, self)
        if self.pipeline:
            plan = PIPELINES[self.pipeline].draw(self.variant, dice, height, width)
        else:
            steps = (
                step_of(kind, value, dice.child(f"{i} {kind}"))
                for i, (kind, value) in enumerate(self.kinds)
            )
            plan = Plan(tuple(steps))
        return Draws(
            recipe=str(self),
            seed=seed,
            height=height,
            width=width,
            steps=plan.steps,
            every_step_8bit=plan.every_step_8bit,
            prompt=plan.prompt,
            blind=plan.blind,
        )


_ONE_AT_A_TIME = Lock()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one core: interpolation and FFT differ by 1e-7 with the number of threads, enough to turn a rounding.

    The number of threads is the process's, so only one caller at a time may change and restore it.
    """
    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@torch.no_grad()
def apply(image: Tensor, draws: Draws, *, depth: Tensor | None = None) -> Tensor:
    """Degrade a picture by stored draws; the same draws give the same bits, on any number of cores.

    Args:
        image: (1, 3, H, W), float32, [0, 1], RGB, of the size the draws were made for. Computed on the CPU wherever
            it lies, because random fields differ between devices.
        draws: from `Recipe.draw`, or read back from JSON.
        depth: (1, 1, h, w) for haze instead of the seeded pseudo-depth; farther is larger, any scale.

    Returns:
        (1, 3, h, w), float32, on the device of `image`, at the 256 values of uint8; smaller than the input when a
        step lowers the resolution.

    Raises:
        PromptError: the picture is not of the draws' size, or the draws name an unknown step.
    """
    if tuple(image.shape) != (1, 3, draws.height, draws.width):
        raise PromptError(
            f"these draws are for a picture of {draws.width}x{draws.height}, this one has shape "
            f"{tuple(image.shape)}; draw the recipe again for its size"
        )
    x = quantise8(image.detach().to("cpu", torch.float32))
    with _one_thread():
        for step in draws.steps:
            x = run(x, step, depth)
            if draws.every_step_8bit:
                x = quantise8(x)
    return quantise8(x).to(image.device)
