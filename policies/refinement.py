"""A user's wish as a changed prompt: `more`, `less`, `off` or `add`, kind by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from conservator.policies.strength import LEAST_SEVERITY, moved
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Kind,
    Level,
    severity_of,
    value_of,
)
from conservator.restorers.prompts.amounts import DOMAINS
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["STEP", "Change", "refined"]

Change = Literal["more", "less", "off", "add"]
"""What becomes of a kind in a prompt: ask for more or less of it, leave it alone, or treat it as well."""

STEP: Final = 0.2
"""Severity by which `more` and `less` move a strength; a little less than a level, so that a user can see it and correct it."""


def refined(
    prompt: RestorationPrompt,
    changes: Mapping[Kind, Change],
    report: ConditionReport | None = None,
    *,
    amount: float = 1.0,
) -> RestorationPrompt:
    """The prompt with the changes made.

    `more` of what is not treated adds it, `add` of what is treated asks for more of it; `less` below the ladder's first steps takes a kind
    off. A blind prompt cannot except a kind, so it first becomes a list of what was found.

    Args:
        prompt: the treatment so far.
        changes: kind -> change.
        report: what was found on the input: the strength of an added kind, `medium` where it is not known.
        amount: factor on the step: 0.5 for "a little", 2 for "much".
    """
    strengths = dict(prompt.degradations)
    blind = prompt.blind
    if blind and report is not None and changes:
        found = {f.kind: f.value for f in report.present()}
        strengths, blind = {**found, **strengths}, False
    for kind, change in changes.items():
        now = strengths.get(kind)
        if change == "off":
            strengths.pop(kind, None)
        elif change == "less":
            if now is not None and severity_of(kind, now) - amount * STEP < LEAST_SEVERITY:
                del strengths[kind]
            elif now is not None:
                strengths[kind] = moved(kind, now, -amount * STEP)
        elif now is None:
            finding = None if report is None else report.finding(kind)
            there = finding is not None and finding.level > Level.ABSENT
            strengths[kind] = (
                finding.value if finding is not None and there else value_of(kind, Level.MEDIUM)
            )
        else:
            strengths[kind] = _more(kind, now, amount * STEP)
    return prompt.model_copy(
        update={
            "degradations": {kind: strengths[kind] for kind in Kind if kind in strengths},
            "blind": blind,
        }
    )


def _more(kind: Kind, value: float, step: float) -> float:
    """Stronger, beyond the ladder's end as well, as far as the kind's domain goes."""
    anchors = PARAMETERS[kind].anchors
    if severity_of(kind, value) + step <= 1:
        return moved(kind, value, step)
    low, high = DOMAINS[kind]
    further = value + 4 * step * (anchors[4] - anchors[3])
    return round(min(max(further, low), high), PARAMETERS[kind].decimals + 1)
