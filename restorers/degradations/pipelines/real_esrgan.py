"""Real-ESRGAN's second-order pipeline (arXiv 2107.10833, section 3 and the published x4plus training options).

Twice blur, resize, noise, JPEG; then the way down to a quarter of the size together with the final sinc filter, before
or behind the second JPEG with equal chance. Variants: "" leaves the picture at quarter size as in the paper; `same`
resizes it to where it came from, as SPIRE and StableSR train.

Deviation: the real libjpeg codec instead of the differentiable approximation, so quality is an integer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.step import Plan, Step
from conservator.restorers.errors import PromptError

__all__ = ["VARIANTS", "canonical", "draw", "draw_steps"]

VARIANTS: tuple[str, ...] = ("", "same")

_SCALE = 4
_KERNELS = {
    "iso": 0.45,
    "aniso": 0.25,
    "generalised_iso": 0.12,
    "generalised_aniso": 0.03,
    "plateau_iso": 0.12,
    "plateau_aniso": 0.03,
}
_SINC_CHANCE = 0.1
_FINAL_SINC_CHANCE = 0.8
_GREY_CHANCE = 0.4
_GAUSSIAN_CHANCE = 0.5
_MODES = ("area", "bilinear", "bicubic")


@dataclass(frozen=True)
class _Order:
    """The options of one of the two rounds."""

    blur_chance: float
    sigma: tuple[float, float]
    up_down_keep: tuple[float, float, float]
    resize: tuple[float, float]
    noise_sigma: tuple[float, float]
    poisson_scale: tuple[float, float]
    quality: tuple[int, int]


_FIRST = _Order(1.0, (0.2, 3.0), (0.2, 0.7, 0.1), (0.15, 1.5), (1, 30), (0.05, 3.0), (30, 95))
_SECOND = _Order(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (0.3, 1.2), (1, 25), (0.05, 2.5), (30, 95))


def canonical(variant: str) -> str:
    """Read "" or `same`.

    Raises:
        PromptError: no such variant.
    """
    name = variant.strip().lower()
    if name not in VARIANTS:
        raise PromptError(
            f"real-esrgan has no variant {variant!r}; write real-esrgan (quarter size) or "
            "real-esrgan:same (resized back)"
        )
    return name


def _side(dice: Dice) -> int:
    return 2 * dice.integer(3, 10) + 1


def _sinc(dice: Dice) -> Step:
    side = _side(dice)
    lowest = math.pi / 3 if side < 13 else math.pi / 5
    return Step(
        operator="sinc",
        parameters={"side_px": side, "cutoff_rad": dice.uniform(lowest, math.pi)},
    )


def _blur(order: _Order, dice: Dice) -> Step:
    if dice.chance(_SINC_CHANCE):
        return _sinc(dice)
    shape = dice.choice(tuple(_KERNELS), tuple(_KERNELS.values()))
    sigma_x = dice.uniform(*order.sigma)
    uneven = shape.endswith("aniso")
    power = 1.0
    if shape.startswith("generalised"):
        # As published: below and above the Gaussian's own exponent with equal chance.
        power = dice.uniform(0.5, 1) if dice.chance(0.5) else dice.uniform(1, 4)
    elif shape.startswith("plateau"):
        power = dice.uniform(1, 2) if dice.chance(0.5) else 1.0
    return Step(
        operator="kernel_blur",
        parameters={
            "shape": shape,
            "side_px": _side(dice),
            "sigma_x": sigma_x,
            "sigma_y": dice.uniform(*order.sigma) if uneven else sigma_x,
            "rotation_rad": dice.uniform(-math.pi, math.pi) if uneven else 0.0,
            "power": power,
        },
    )


def _resize(order: _Order, dice: Dice) -> tuple[float, str]:
    way = dice.choice(("up", "down", "keep"), order.up_down_keep)
    scale = 1.0
    if way == "up":
        scale = dice.uniform(1, order.resize[1])
    elif way == "down":
        scale = dice.uniform(order.resize[0], 1)
    return scale, dice.choice(_MODES)


def _noise(order: _Order, dice: Dice) -> Step:
    grey = "grey_" if dice.chance(_GREY_CHANCE) else ""
    if dice.chance(_GAUSSIAN_CHANCE):
        return Step(
            operator=f"{grey}gaussian_noise",
            parameters={"sigma_255": dice.uniform(*order.noise_sigma)},
            seed=dice.seed(),
        )
    return Step(
        operator=f"{grey}poisson_noise",
        parameters={"scale": dice.uniform(*order.poisson_scale)},
        seed=dice.seed(),
    )


def _jpeg(order: _Order, dice: Dice) -> Step:
    return Step(operator="jpeg", parameters={"quality": dice.integer(*order.quality)})


def _to(height: float, width: float, mode: str) -> Step:
    size: dict[str, int | float | str] = {
        "height": max(1, int(height)),
        "width": max(1, int(width)),
        "mode": mode,
    }
    return Step(operator="resize", parameters=size)


def draw_steps(dice: Dice, height: int, width: int, *, same_size: bool) -> tuple[Step, ...]:
    """Draw the steps for a picture of a size.

    Args:
        dice: the recipe's stream.
        height: of the clean picture.
        width: of the clean picture.
        same_size: resize the quarter-size result back to (height, width).
    """
    first, second, final = dice.child("first"), dice.child("second"), dice.child("final")
    steps = [_blur(_FIRST, first)]
    scale, mode = _resize(_FIRST, first)
    steps += [_to(height * scale, width * scale, mode), _noise(_FIRST, first), _jpeg(_FIRST, first)]
    if second.chance(_SECOND.blur_chance):
        steps.append(_blur(_SECOND, second))
    scale, mode = _resize(_SECOND, second)
    steps.append(_to(height / _SCALE * scale, width / _SCALE * scale, mode))
    steps.append(_noise(_SECOND, second))
    down = [_to(height / _SCALE, width / _SCALE, final.choice(_MODES))]
    if final.chance(_FINAL_SINC_CHANCE):
        down.append(_sinc(final))
    compressed = [_jpeg(_SECOND, second)]
    steps += [*down, *compressed] if final.chance(0.5) else [*compressed, *down]
    if same_size:
        steps.append(_to(height, width, "bicubic"))
    return tuple(steps)


def draw(variant: str, dice: Dice, height: int, width: int) -> Plan:
    """Draw the pipeline for a picture of (height, width); see the module for `variant`."""
    steps = draw_steps(dice, height, width, same_size=variant == "same")
    return Plan(steps, every_step_8bit=False, blind=True)
