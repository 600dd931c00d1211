"""Which candidates nobody beats: the Pareto front of removal and fidelity.

A candidate that takes off more is usually further from the input. Those on the front are the choices a person may have another taste about;
all others are worse in one way and no better in the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from conservator.policies.attempt import ORIGINAL, Attempt
from conservator.restorers.degradations.vocabulary import Finding

__all__ = ["Standing", "pareto_front"]


@dataclass(frozen=True)
class Standing:
    """Where a node stands.

    Attributes:
        node: id, or `original`.
        removal: severity taken off all kinds that were found, weighted by confidence; below 0 where more came than went.
        fidelity: structure shared with the input, [0, 1].
    """

    node: str
    removal: float
    fidelity: float


def pareto_front(before: Sequence[Finding], attempts: Iterable[Attempt]) -> tuple[Standing, ...]:
    """The untouched input and the candidates that no other one beats in both, the most faithful first.

    Refused candidates are left out: they harm the photo, or are not what was asked for.

    Args:
        before: found on the input.
        attempts: of the run.
    """
    there = [Standing(ORIGINAL, 0.0, 1.0)]
    for attempt in attempts:
        measurement = attempt.measurement
        if not attempt.accepted or measurement is None or measurement.guards is None:
            continue
        removal = sum(
            old.confidence * (old.severity - new.severity)
            for old in before
            if (new := measurement.finding(old.kind)) is not None
        )
        there.append(Standing(attempt.id, round(removal, 4), measurement.guards.structure))
    front = [one for one in there if not any(_beats(other, one) for other in there)]
    return tuple(sorted(front, key=lambda one: -one.fidelity))


def _beats(one: Standing, other: Standing) -> bool:
    """No worse in either, better in one."""
    no_worse = one.removal >= other.removal and one.fidelity >= other.fidelity
    return no_worse and (one.removal, one.fidelity) != (other.removal, other.fidelity)
