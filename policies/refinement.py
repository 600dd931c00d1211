"""A user's wish as a changed prompt: `more`, `less`, `off` or `add`, kind by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from conservator.policies.strength import LEAST_SEVERITY
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Kind,
    Level,
    severity_of,
    value_at,
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
            if now is not None and _severity(kind, now) - amount * STEP < LEAST_SEVERITY:
                del strengths[kind]
            elif now is not None:
                strengths[kind] = _moved(kind, now, -amount * STEP)
        elif now is None:
            finding = None if report is None else report.finding(kind)
            there = finding is not None and finding.level > Level.ABSENT
            strengths[kind] = (
                finding.value if finding is not None and there else value_of(kind, Level.MEDIUM)
            )
        else:
            strengths[kind] = _moved(kind, now, amount * STEP)
    return prompt.model_copy(
        update={
            "degradations": {kind: strengths[kind] for kind in Kind if kind in strengths},
            "blind": blind,
        }
    )


def _severity(kind: Kind, value: float) -> float:
    """Severity, above 1 beyond the ladder's end, where it goes on as between its last two steps."""
    *_, before, last = PARAMETERS[kind].anchors
    beyond = (value - last) / (last - before) / 4
    return 1 + beyond if beyond > 0 else severity_of(kind, value)


def _moved(kind: Kind, value: float, step: float) -> float:
    """Stronger or weaker by a step of severity, also beyond the ladder's end, as far as the kind's domain goes."""
    severity = _severity(kind, value) + step
    *_, before, last = PARAMETERS[kind].anchors
    further = last + 4 * (severity - 1) * (last - before)
    low, high = DOMAINS[kind]
    result = further if severity > 1 else value_at(kind, severity)
    return round(min(max(result, low), high), PARAMETERS[kind].decimals + 1)
