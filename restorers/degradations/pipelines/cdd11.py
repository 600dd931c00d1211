"""CDD11 (OneRestore, ECCV 2024): low light, rain, snow and haze, and their combinations.

Facts from the data set's recipe: light map L by a 3x3 guided filter (eps 0.01), picture divided by L and multiplied
by L^U[2, 3], then noise of sigma U[.03, .08]; rain added as a mask; snow alpha-blended; haze with beta U[1, 2], airlight
U[.6, .9] and a depth blurred over 22x22 pixels and capped at .7; in the order low, rain, snow, haze.

Deviation: CDD11 takes rain and snow masks from files and depth from a network. We draw streaks and flakes with the
operators of `synthesis` and use its pseudo-depth, unless a depth map is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.step import Plan, Step
from conservator.restorers.degradations.synthesis import MID_GREY
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError

__all__ = ["VARIANTS", "canonical", "draw"]

VARIANTS: tuple[str, ...] = (
    *("L", "H", "R", "S", "L+H", "L+R", "L+S", "H+R", "H+S", "L+H+R", "L+H+S"),
)


def _low(dice: Dice) -> tuple[Step, ...]:
    power, sigma = dice.uniform(2, 3), dice.uniform(0.03, 0.08) * 255
    stops = (power - 1) * math.log2(1 / MID_GREY)
    return (
        Step(
            operator="illumination",
            parameters={"power": power},
            kind=Kind.LOW_LIGHT,
            value=stops,
        ),
        Step(
            operator="gaussian_noise",
            parameters={"sigma_255": sigma},
            seed=dice.seed(),
            kind=Kind.NOISE,
            value=sigma,
        ),
    )


def _rain(dice: Dice) -> tuple[Step, ...]:
    value = dice.uniform(40, 95)
    return (
        Step(
            operator="rain",
            parameters={
                "value": value,
                "length_px": dice.integer(15, 39),
                "angle_deg": dice.uniform(-40, 40),
                "width_px": dice.uniform(2, 4),
                "opacity": dice.uniform(0.6, 1.0),
            },
            seed=dice.seed(),
            kind=Kind.RAIN,
            value=value,
        ),
    )


def _snow(dice: Dice) -> tuple[Step, ...]:
    coverage = dice.uniform(0.03, 0.15)
    return (
        Step(
            operator="snow",
            parameters={
                "coverage": coverage,
                "size_px": dice.uniform(1.2, 3.5),
                "angle_deg": dice.uniform(-40, 40),
                "opacity": dice.uniform(0.8, 1.0),
            },
            seed=dice.seed(),
            kind=Kind.SNOW,
            value=coverage,
        ),
    )


def _haze(dice: Dice) -> tuple[Step, ...]:
    beta = dice.uniform(1, 2)
    return (
        Step(
            operator="haze",
            parameters={
                "beta": beta,
                "airlight": dice.uniform(0.6, 0.9),
                "depth_blur_px": 22,
                "depth_cap": 0.7,
            },
            seed=dice.seed(),
            kind=Kind.HAZE,
            value=beta,
        ),
    )


_STEPS: dict[str, Callable[[Dice], tuple[Step, ...]]] = {
    "L": _low,
    "R": _rain,
    "S": _snow,
    "H": _haze,
}
"""Letter -> steps, in the order in which they strike."""


def canonical(variant: str) -> str:
    """Read `l+h` or `H+L` as `L+H`; "" stands for any combination.

    Raises:
        PromptError: no such combination.
    """
    letters = {part.strip().upper() for part in variant.split("+")} if variant.strip() else set()
    if not letters:
        return ""
    for name in VARIANTS:
        if set(name.split("+")) == letters:
            return name
    raise PromptError(
        f"cdd11 has no combination {variant!r}; write cdd11 or one of "
        f"{', '.join(f'cdd11:{name}' for name in VARIANTS)}"
    )


def draw(variant: str, dice: Dice, height: int, width: int) -> Plan:
    """Draw a combination, or any.

    Args:
        variant: as `canonical` returns it.
        dice: the recipe's stream.
        height: unused, the draws do not depend on the size.
        width: unused.
    """
    name = variant or dice.child("combination").choice(VARIANTS)
    chosen = name.split("+")
    steps = [
        s for letter, make in _STEPS.items() if letter in chosen for s in make(dice.child(letter))
    ]
    return Plan(tuple(steps), every_step_8bit=False)
