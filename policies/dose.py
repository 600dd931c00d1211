"""How far the next "more" or "less" goes: steps at first, then halfway between what was too little and what was too much.

Somebody who says "too dark" and then "too bright now" wants neither of the two pictures again, so strengths are searched by
bisection on the severity scale. What was said last counts: where it contradicts what was said before, the search starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from conservator.policies.refinement import STEP

__all__ = ["next_dose"]

_LEAST_GAP: Final = 0.04
"""Severity between "too little" and "too much" below which nobody sees a difference."""


def next_dose(
    earlier: Sequence[float], direction: Literal["more", "less"], *, amount: float = 1.0
) -> float:
    """Severity by which a strength moves now, negative for less.

    Args:
        earlier: by how much the same strength was moved for the user's words so far, oldest first.
        direction: what the user asks for now.
        amount: 0.5 for "a little", 2 for "much": factor on the first steps, and nearer to either end in a bisection.
    """
    too_little: float | None = None
    too_much: float | None = None
    here = 0.0
    for moved in earlier:
        if moved > 0:
            too_little = here
        elif moved < 0:
            too_much = here
        here += moved
    if direction == "more":
        too_little = here
    else:
        too_much = here
    sign = 1.0 if direction == "more" else -1.0
    if too_little is not None and too_much is not None and too_much - too_little >= _LEAST_GAP:
        # 1/3, 1/2 and 2/3 of the way for a little, somewhat and much.
        return sign * (too_much - too_little) * amount / (1 + amount)
    return sign * amount * STEP
