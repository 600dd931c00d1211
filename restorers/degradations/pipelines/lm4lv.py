"""LM4LV's restoration tasks (arXiv 2405.15734, Table 2), one degradation each, with the task token as prompt.

The slides name the tasks and give the degraded PSNR, not the parameters. The ranges here are ours, chosen so that the
mean PSNR of degraded 224x224 pictures lands on Table 2: denoising 23.11, deblurring 30.88, deraining 20.52, pepper 19.22,
mask 20.54 dB. "" draws one of the tasks.
"""

from __future__ import annotations

from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.step import Plan, Step
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.lm4lv import TASKS

__all__ = ["VARIANTS", "canonical", "draw"]

VARIANTS: tuple[str, ...] = ("", *TASKS)


def canonical(variant: str) -> str:
    """Read a task's name; "" stands for any.

    Raises:
        PromptError: no such task.
    """
    name = variant.strip().lower().strip("<>")
    if name not in VARIANTS:
        raise PromptError(
            f"lm4lv has no task {variant!r}; write lm4lv or one of "
            f"{', '.join(f'lm4lv:{task}' for task in TASKS)}"
        )
    return name


def draw(variant: str, dice: Dice, height: int, width: int) -> Plan:
    """Draw a task, or any.

    Args:
        variant: as `canonical` returns it.
        dice: the recipe's stream.
        height: unused, the draws do not depend on the size.
        width: unused.
    """
    task = variant or dice.child("task").choice(tuple(TASKS))
    kind = TASKS[task]
    # One layer of streaks stays 3 dB above Table 2.
    layers = 2 if kind is Kind.RAIN else 1
    steps = tuple(_step(kind, dice.child(f"{task} {i}")) for i in range(layers))
    return Plan(steps, prompt=f"<{task}>")


def _step(kind: Kind, dice: Dice) -> Step:
    operator: str
    parameters: dict[str, int | float | str]
    if kind is Kind.NOISE:
        value = dice.uniform(1, 45)
        operator, parameters = "gaussian_noise", {"sigma_255": value}
    elif kind is Kind.DEFOCUS_BLUR:
        sigma = dice.uniform(0.3, 1.8)
        operator, parameters, value = "gaussian_blur", {"sigma_px": sigma}, 2 * sigma
    elif kind is Kind.RAIN:
        value = dice.uniform(60, 99)
        operator, parameters = (
            "rain",
            {
                "value": value,
                "length_px": dice.integer(20, 39),
                "angle_deg": dice.uniform(-30, 30),
                "width_px": dice.uniform(3, 5),
                "opacity": dice.uniform(0.6, 1.0),
            },
        )
    elif kind is Kind.PEPPER_NOISE:
        value = dice.uniform(0.005, 0.12)
        operator, parameters = "pepper_noise", {"fraction": value}
    else:
        value = dice.uniform(0.005, 0.08)
        operator, parameters = "mask", {"fraction": value, "style": "blocks", "fill": 0.0}
    return Step(operator=operator, parameters=parameters, seed=dice.seed(), kind=kind, value=value)
