"""SPIRE's training data (arXiv 2312.11595, Table 2 and Algorithm 1), with the restoration prompt of every picture.

Variants: "" is the parameterised pipeline, four stages, each with probability 0.5 and each written with or without its
number with equal chance; `blind` is Real-ESRGAN's pipeline under "Remove all degradation"; `mixed` is Algorithm 1, one
or the other with equal chance. Pictures keep their size: what was downsampled is resized back behind the last stage,
because the network concatenates the picture with a latent of the clean picture's grid.
"""

from __future__ import annotations

from conservator.restorers.degradations.pipelines import real_esrgan
from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.step import Plan, Step
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.spire import BLIND, instruction

__all__ = ["VARIANTS", "canonical", "draw"]

VARIANTS: tuple[str, ...] = ("", "blind", "mixed")
_STAGE_CHANCE = 0.5
_NUMBER_CHANCE = 0.5


def canonical(variant: str) -> str:
    """Read "", `blind` or `mixed`.

    Raises:
        PromptError: no such variant.
    """
    name = variant.strip().lower()
    if name not in VARIANTS:
        raise PromptError(
            f"spire has no variant {variant!r}; write spire, spire:blind or spire:mixed"
        )
    return name


def draw(variant: str, dice: Dice, height: int, width: int) -> Plan:
    """Draw the pipeline for a picture of (height, width); see the module for `variant`."""
    if variant == "blind" or (variant == "mixed" and dice.child("which").chance(0.5)):
        steps = real_esrgan.draw_steps(dice.child("real-esrgan"), height, width, same_size=True)
        return Plan(steps, every_step_8bit=False, prompt=BLIND, blind=True)
    return _parameterised(dice, height, width)


def _parameterised(dice: Dice, height: int, width: int) -> Plan:
    steps: list[Step] = []
    small = False
    for kind in (Kind.DEFOCUS_BLUR, Kind.LOW_RESOLUTION, Kind.NOISE, Kind.JPEG):
        stage = dice.child(kind.value)
        if not stage.chance(_STAGE_CHANCE):
            continue
        steps.append(_stage(kind, stage))
        small = small or kind is Kind.LOW_RESOLUTION
    words = [
        instruction(
            step.kind,
            step.value if dice.child(f"{step.kind} number").chance(_NUMBER_CHANCE) else None,
        )
        for step in steps
        if step.kind is not None
    ]
    if small:
        size: dict[str, int | float | str] = {"height": height, "width": width, "mode": "bicubic"}
        steps.append(Step(operator="resize", parameters=size))
    return Plan(tuple(steps), every_step_8bit=False, prompt=" ".join(words))


def _stage(kind: Kind, dice: Dice) -> Step:
    if kind is Kind.DEFOCUS_BLUR:
        sigma = dice.uniform(0.2, 3.0)
        # Equal second moments: a disk of radius r spreads like a Gaussian of sigma r / 2.
        return Step(
            operator="gaussian_blur", parameters={"sigma_px": sigma}, kind=kind, value=2 * sigma
        )
    if kind is Kind.LOW_RESOLUTION:
        factor = dice.uniform(1.0, 7.0)
        return Step(
            operator="downsample",
            parameters={"factor": factor, "mode": "bicubic"},
            kind=kind,
            value=factor,
        )
    if kind is Kind.NOISE:
        sigma = dice.uniform(0.0, 0.12) * 255
        return Step(
            operator="gaussian_noise",
            parameters={"sigma_255": sigma},
            seed=dice.seed(),
            kind=kind,
            value=sigma,
        )
    quality = dice.integer(30, 92)
    return Step(operator="jpeg", parameters={"quality": quality}, kind=kind, value=quality)
