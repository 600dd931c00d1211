"""In which order kinds are undone: the reverse of the order in which a camera and a file gather them.

A photo is darkened, blurred and rained on in front of the sensor, gets its noise in the sensor, and its blocks in the
file. So the file's compression goes first and the light nearly last; resolution is last of all, because everything
before it is cheaper and better measured on the original grid. (AgenticIR, MAIR and 4KAgent find the same order.)
"""

from __future__ import annotations

from collections.abc import Iterable

from conservator.restorers.degradations.vocabulary import Finding, Kind

__all__ = ["TREATMENT_ORDER", "in_treatment_order", "ordered_findings"]

TREATMENT_ORDER: tuple[Kind, ...] = (
    Kind.JPEG,
    Kind.PEPPER_NOISE,
    Kind.MASK,
    Kind.NOISE,
    Kind.RAIN,
    Kind.SNOW,
    Kind.HAZE,
    Kind.MOTION_BLUR,
    Kind.DEFOCUS_BLUR,
    Kind.LOW_LIGHT,
    Kind.LOW_RESOLUTION,
)

_PLACE = {kind: place for place, kind in enumerate(TREATMENT_ORDER)}


def in_treatment_order(kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    """Each kind once, first to be treated first."""
    return tuple(sorted(set(kinds), key=_PLACE.__getitem__))


def ordered_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings, first to be treated first."""
    return tuple(sorted(findings, key=lambda finding: _PLACE[finding.kind]))
