"""Numbers of the prompt language: what is physically possible, and how a value is written out."""

from __future__ import annotations

import math

from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind
from conservator.restorers.errors import PromptError

__all__ = ["DOMAINS", "checked", "rounded", "written"]

DOMAINS: dict[Kind, tuple[float, float]] = {
    Kind.NOISE: (0, 255),
    Kind.DEFOCUS_BLUR: (0, 50),
    Kind.MOTION_BLUR: (0, 50),
    Kind.RAIN: (0, 100),
    Kind.HAZE: (0, 10),
    Kind.SNOW: (0, 1),
    Kind.LOW_LIGHT: (0, 10),
    Kind.JPEG: (1, 100),
    Kind.LOW_RESOLUTION: (1, 16),
    Kind.PEPPER_NOISE: (0, 1),
    Kind.MASK: (0, 1),
}
"""Smallest and largest value that makes sense, in the kind's own unit; wider than the severity ladder."""


def checked(kind: Kind, value: float) -> float:
    """Return `value` when it lies in the kind's domain.

    Raises:
        PromptError: not finite, or outside `DOMAINS[kind]`.
    """
    low, high = DOMAINS[kind]
    if not (math.isfinite(value) and low <= value <= high):
        parameter = PARAMETERS[kind]
        raise PromptError(
            f"{kind.value} {parameter.name}={value:g} is impossible; "
            f"give {parameter.unit}, between {low:g} and {high:g}"
        )
    return float(value)


def written(kind: Kind, value: float) -> str:
    """Write a value with the digits that carry meaning: `25.0` for noise, `20` for jpeg.

    Raises:
        PromptError: outside `DOMAINS[kind]`.
    """
    return f"{checked(kind, value):.{PARAMETERS[kind].decimals}f}"


def rounded(kind: Kind, value: float) -> float:
    """The value as it reads back from `written`."""
    return float(written(kind, value))
