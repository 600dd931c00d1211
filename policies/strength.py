"""How strongly to treat: a strength is the measured parameter, moved along the severity ladder.

Moving on the ladder rather than in the kind's own unit makes "a little stronger" mean the same for a noise sigma, which
rises with severity, and a jpeg quality, which falls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Finding,
    Kind,
    severity_of,
    value_at,
)
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["LEAST_SEVERITY", "moved", "prompt_for", "shifted"]

LEAST_SEVERITY = 0.05
"""Below this a prompt would name a kind and ask for nothing."""


def moved(kind: Kind, value: float, step: float) -> float:
    """A strength moved by `step` on the severity scale of [0, 1].

    A step of 0 returns the value untouched, also beyond the ladder's end (noise of sigma 60); a positive step never
    makes such a value smaller.
    """
    if step == 0:
        return value
    severity = min(max(severity_of(kind, value) + step, LEAST_SEVERITY), 1.0)
    result = value_at(kind, severity)
    beyond = severity_of(kind, value) >= 1.0 and step > 0
    return round(value if beyond else result, PARAMETERS[kind].decimals + 1)


def prompt_for(
    findings: Iterable[Finding], *, bias: float = 0.0, semantic: str = ""
) -> RestorationPrompt:
    """Ask for what was found, every strength moved by `bias` on the severity scale."""
    strengths = {f.kind: moved(f.kind, f.value, bias) for f in findings}
    return RestorationPrompt(degradations=strengths, semantic=semantic)


def shifted(prompt: RestorationPrompt, kinds: Collection[Kind], step: float) -> RestorationPrompt:
    """The same prompt with the strengths of `kinds` moved by `step`; may equal `prompt` at the ladder's ends."""
    strengths = {
        kind: moved(kind, value, step if kind in kinds else 0.0)
        for kind, value in prompt.degradations.items()
    }
    return prompt.model_copy(update={"degradations": strengths})
