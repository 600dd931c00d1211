"""The composite benchmark: AgenticIR's sixteen combinations on MiO100, as BENCHMARK.md writes them down.

Every step works on uint8, clips and rounds; steps strike from left to right; the low resolution stays quarter size.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.step import Plan, Step
from conservator.restorers.degradations.synthesis import MID_GREY
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError

__all__ = ["COMBINATIONS", "VARIANTS", "canonical", "draw"]

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "A1": ("rain", "haze"),
    "A2": ("motion blur", "low resolution"),
    "A3": ("dark", "noise"),
    "A4": ("defocus blur", "jpeg"),
    "A5": ("noise", "jpeg"),
    "A6": ("rain", "low resolution"),
    "A7": ("motion blur", "dark"),
    "A8": ("defocus blur", "haze"),
    "B1": ("motion blur", "jpeg"),
    "B2": ("haze", "noise"),
    "B3": ("defocus blur", "low resolution"),
    "B4": ("rain", "dark"),
    "C1": ("haze", "motion blur", "low resolution"),
    "C2": ("rain", "noise", "low resolution"),
    "C3": ("dark", "defocus blur", "jpeg"),
    "C4": ("motion blur", "defocus blur", "noise"),
}
"""Combination -> steps, from left to right."""

VARIANTS: tuple[str, ...] = tuple(COMBINATIONS)


def _low_resolution(dice: Dice) -> Step:
    return Step(
        operator="downsample",
        parameters={"factor": 4, "mode": "bicubic"},
        kind=Kind.LOW_RESOLUTION,
        value=4,
    )


def _noise(dice: Dice) -> Step:
    if dice.chance(0.5):
        sigma = dice.uniform(20, 50)
        return Step(
            operator="gaussian_noise",
            parameters={"sigma_255": sigma},
            seed=dice.seed(),
            kind=Kind.NOISE,
            value=sigma,
        )
    scale = dice.uniform(1, 3)
    # Poisson noise grows with the light; its label is the standard deviation at mid-grey.
    sigma = scale * math.sqrt(MID_GREY / 256) * 255
    return Step(
        operator="poisson_noise",
        parameters={"scale": scale},
        seed=dice.seed(),
        kind=Kind.NOISE,
        value=sigma,
    )


def _jpeg(dice: Dice) -> Step:
    quality = dice.integer(10, 29)
    return Step(operator="jpeg", parameters={"quality": quality}, kind=Kind.JPEG, value=quality)


def _dark(dice: Dice) -> Step:
    method = dice.choice(("shift", "gamma", "range"))
    if method == "shift":
        stops = -math.log2(1 - dice.integer(30, 49) / (255 * MID_GREY))
    elif method == "gamma":
        stops = (1 / dice.uniform(0.5, 0.7) - 1) * math.log2(1 / MID_GREY)
    else:
        stops = math.log2(255 / dice.integer(100, 149))
    return Step(
        operator="low_light",
        parameters={"stops": stops, "method": method},
        kind=Kind.LOW_LIGHT,
        value=stops,
    )


def _haze(dice: Dice) -> Step:
    airlight, beta = dice.uniform(0.7, 1.0), dice.uniform(0.6, 1.8)
    return Step(
        operator="haze",
        parameters={"beta": beta, "airlight": airlight},
        seed=dice.seed(),
        kind=Kind.HAZE,
        value=beta,
    )


def _motion_blur(dice: Dice) -> Step:
    radius, sigma = dice.choice(((10, 3), (15, 5), (15, 8)))
    return Step(
        operator="motion_blur",
        parameters={
            "sigma_px": sigma,
            "angle_deg": dice.uniform(-90, 90),
            "half_length_px": radius,
        },
        kind=Kind.MOTION_BLUR,
        value=sigma,
    )


def _defocus_blur(dice: Dice) -> Step:
    radius, alias = dice.choice(((3, 0.1), (4, 0.5), (6, 0.5)))
    return Step(
        operator="defocus_blur",
        parameters={"radius_px": radius, "alias_sigma": alias},
        kind=Kind.DEFOCUS_BLUR,
        value=radius,
    )


def _rain(dice: Dice) -> Step:
    value = dice.integer(50, 99)
    return Step(
        operator="rain",
        parameters={
            "value": value,
            "length_px": dice.integer(20, 39),
            "angle_deg": dice.integer(-30, 29),
        },
        seed=dice.seed(),
        kind=Kind.RAIN,
        value=value,
    )


_STEPS: dict[str, Callable[[Dice], Step]] = {
    "low resolution": _low_resolution,
    "noise": _noise,
    "jpeg": _jpeg,
    "dark": _dark,
    "haze": _haze,
    "motion blur": _motion_blur,
    "defocus blur": _defocus_blur,
    "rain": _rain,
}


def canonical(variant: str) -> str:
    """Read `a1`, a group `A`, or "" for any combination.

    Raises:
        PromptError: no such combination.
    """
    name = variant.strip().upper()
    if name and name not in COMBINATIONS and name not in {"A", "B", "C"}:
        raise PromptError(
            f"mio16 has no combination {variant!r}; write mio16:A1..A8, B1..B4, C1..C4, "
            "a group mio16:A, or mio16"
        )
    return name


def draw(variant: str, dice: Dice, height: int, width: int) -> Plan:
    """Draw a combination, or one of a group, or any.

    Args:
        variant: as `canonical` returns it.
        dice: the recipe's stream.
        height: unused, the draws do not depend on the size.
        width: unused.
    """
    names = [name for name in COMBINATIONS if name.startswith(variant)]
    name = dice.child("combination").choice(names)
    steps = tuple(
        _STEPS[step](dice.child(f"{i} {step}")) for i, step in enumerate(COMBINATIONS[name])
    )
    return Plan(steps)
