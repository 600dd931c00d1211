"""One step a kind at a given strength: recipes such as `noise:sigma=25+jpeg:quality=20`.

What the parameter leaves open (angles, lengths, airlight, how the light was lost) is drawn from the ranges of mio16 in
BENCHMARK.md where that has the kind, and from ranges that look like photographs where not.
"""

from __future__ import annotations

from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.step import Step
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["step_of"]


def step_of(kind: Kind, value: float, dice: Dice) -> Step:
    """Draw the step that degrades by `value` of `kind`, in the kind's own unit."""
    operator: str
    parameters: dict[str, int | float | str]
    match kind:
        case Kind.NOISE:
            operator, parameters = "gaussian_noise", {"sigma_255": value}
        case Kind.DEFOCUS_BLUR:
            operator, parameters = "defocus_blur", {"radius_px": value, "alias_sigma": 0.5}
        case Kind.MOTION_BLUR:
            operator, parameters = (
                "motion_blur",
                {
                    "sigma_px": value,
                    "angle_deg": dice.uniform(-90, 90),
                },
            )
        case Kind.RAIN:
            operator, parameters = (
                "rain",
                {
                    "value": value,
                    "length_px": dice.integer(20, 39),
                    "angle_deg": dice.integer(-30, 29),
                },
            )
        case Kind.HAZE:
            operator, parameters = "haze", {"beta": value, "airlight": dice.uniform(0.7, 1.0)}
        case Kind.SNOW:
            operator, parameters = (
                "snow",
                {
                    "coverage": value,
                    "size_px": dice.uniform(1.2, 3.0),
                    "angle_deg": dice.uniform(-30, 30),
                    "opacity": dice.uniform(0.8, 1.0),
                },
            )
        case Kind.LOW_LIGHT:
            operator, parameters = (
                "low_light",
                {
                    "stops": value,
                    "method": dice.choice(("shift", "gamma", "range")),
                },
            )
        case Kind.JPEG:
            operator, parameters = "jpeg", {"quality": round(value)}
        case Kind.LOW_RESOLUTION:
            operator, parameters = "downsample", {"factor": value, "mode": "bicubic"}
        case Kind.PEPPER_NOISE:
            operator, parameters = "pepper_noise", {"fraction": value}
        case _:
            operator, parameters = (
                "mask",
                {
                    "fraction": value,
                    "style": dice.choice(("blocks", "scratches", "strokes")),
                    "fill": 0.0,
                },
            )
    return Step(operator=operator, parameters=parameters, seed=dice.seed(), kind=kind, value=value)
