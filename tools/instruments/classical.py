"""Findings of the classical instruments: the fitted calibration, and exact measures where they hold.

Some damage leaves traces that can be counted rather than estimated: quantisation steps, lost pixels, flat patches, and
noise that is white and independent in the three colours. Where such a trace is clear its number replaces the
calibrated one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Finding,
    Kind,
    level_of,
    value_at,
)
from conservator.tools.instruments.calibration import Levels, calibration
from conservator.tools.instruments.compression import quality_of_tables
from conservator.tools.instruments.readings import Examination

__all__ = ["classical_findings", "confidence_of", "jpeg_from_tables", "severity_in", "undrawn"]

TRACE_SURPRISE = 12.0
TRACE_FIT = 0.2
CLEAR_STEP = 0.1
CRISP = 0.92
"""Crispness of masks is 0.97-1.02, that of clipped facades and windows in photos 0.75-0.85."""
JUST_ABSENT, JUST_PRESENT = 0.12, 0.13
"""Severities on either side of the border between absent and low."""

PRESENT: dict[Kind, float] = {Kind.LOW_RESOLUTION: 0.55, Kind.LOW_LIGHT: 0.35}
"""Probability from which a kind counts as present, `LIKELY` where it is not named.

Clean photos through soft lenses look enlarged. Darkness is seldom likelier than not and still mostly right: of 42 darkened photos F1 is
0.68 from 0.55 on and 0.78 from 0.35 on, without an alarm on the clean ones. The confidence says how unsure it is, and policies ask for more."""
GUESSED = frozenset({Kind.LOW_LIGHT})
"""Kinds whose strength is hardly more than guessed, because scenes differ as much as exposures: the mean over all levels, absent included."""
LIKELY = 0.5

READ: dict[Kind, tuple[float, float, float, float]] = {
    Kind.HAZE: (1.49, 1.96, 3.03, 3.3),
    Kind.MOTION_BLUR: (1.38, 1.9, 3.03, 3.42),
    Kind.LOW_LIGHT: (0.23, 0.8, 2.12, 3.28),
}
"""What the levels 1 to 4 are read as, in levels: medians of 40 training photos a level.

A calibration draws its answers towards the middle (haze at its worst reads as high), a guess even towards absent. Undone, the mean error falls from 0.46 to
0.34 of a level for haze, from 0.42 to 0.32 for motion blur, from 1.21 to 0.72 for low light."""


def classical_findings(examination: Examination) -> dict[Kind, Finding]:
    """One finding a kind, absent kinds included."""
    table = calibration().levels(examination.values)
    found = {kind: _calibrated(kind, levels) for kind, levels in table.items()}
    return found | _exact(examination, found)


def severity_in(levels: Levels) -> float:
    """Severity [0, 1] around the likeliest level that is not absent.

    Not the mean over all levels, by which all that is hardly seen would read as middling.
    """
    mode = int(levels[1:].argmax()) + 1
    near = np.arange(max(1, mode - 1), min(4, mode + 1) + 1)
    mass = levels[near]
    return float(mass @ near / mass.sum()) / 4 if mass.sum() > 0 else mode / 4


def _calibrated(kind: Kind, levels: Levels) -> Finding:
    mean = float(levels @ np.arange(5)) / 4
    if 1 - levels[0] >= PRESENT.get(kind, LIKELY):
        read = max(mean if kind in GUESSED else severity_in(levels), JUST_PRESENT)
        severity = max(undrawn(kind, read), JUST_PRESENT)
    else:
        read = severity = min(mean, JUST_ABSENT)
    return Finding(
        kind=kind,
        value=value_at(kind, severity),
        confidence=confidence_of(levels, read),
        source="instrument",
    )


def undrawn(kind: Kind, severity: float) -> float:
    """The severity [0, 1] that is usually read as `severity`."""
    if kind not in READ:
        return severity
    return float(np.interp(4 * severity, (0.0, *READ[kind]), np.arange(5)) / 4)


def confidence_of(levels: Levels, severity: float) -> float:
    """Probability that a kind is present within one level of `severity`, or absent where `severity` says so."""
    places = np.arange(5) / 4
    if severity < 0.125:
        # Half of what lies between absent and low is below the middle between them.
        return float(min(1.0, levels[0] + levels[1] / 2))
    near = (np.abs(places - severity) <= 0.3) & (places > 0)
    return float(min(1.0, levels[near].sum() + (levels[0] / 2 if severity < 0.3 else 0.0)))


def jpeg_from_tables(tables: Sequence[Sequence[int]], seen: Finding) -> Finding:
    """Quality from a file's quantisation tables, unless the pixels show an earlier, coarser compression.

    Args:
        tables: 64 steps each in natural order, luma first.
        seen: what the pixels say.
    """
    quality, confidence = quality_of_tables(tables)
    if seen.confidence >= 0.9 and seen.value < quality - 5:
        return seen
    return Finding(kind=Kind.JPEG, value=quality, confidence=confidence, source="metadata")


def _exact(examination: Examination, found: dict[Kind, Finding]) -> dict[Kind, Finding]:
    traces, losses = examination.traces, examination.losses
    exact: dict[Kind, Finding] = {}
    if traces.surprise >= TRACE_SURPRISE and traces.fit >= TRACE_FIT:
        exact[Kind.JPEG] = _measured(Kind.JPEG, traces.quality, 0.98)
    lost = losses.pepper + losses.salt
    if lost > 0.02 or (lost > 0.002 and _present(found[Kind.PEPPER_NOISE])):
        exact[Kind.PEPPER_NOISE] = _measured(Kind.PEPPER_NOISE, lost, 0.97)
    if losses.flat > 0.004 and losses.step > CLEAR_STEP:
        if losses.crisp > CRISP:
            exact[Kind.MASK] = _measured(Kind.MASK, losses.flat, 0.95)
        else:
            exact[Kind.MASK] = _measured(Kind.MASK, 0.0, 0.7)
    if examination.white is not None:
        exact[Kind.NOISE] = _measured(Kind.NOISE, examination.white, 0.97)
    return exact


def _measured(kind: Kind, value: float, confidence: float) -> Finding:
    identity = PARAMETERS[kind].identity
    bounded = min(value, identity) if kind is Kind.JPEG else max(value, identity)
    return Finding(kind=kind, value=bounded, confidence=confidence, source="instrument")


def _present(finding: Finding) -> bool:
    return level_of(finding.kind, finding.value) > 0
