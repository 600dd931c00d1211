"""What a policy lets a vision-language model do: its tool calls are proposals."""

from __future__ import annotations

from conservator.policies.attempt import ORIGINAL, ToolCall, find_attempt
from conservator.policies.planner import Situation
from conservator.policies.targets import KindTarget
from conservator.restorers.degradations.vocabulary import Level

__all__ = ["review"]


def review(call: ToolCall, situation: Situation) -> str:
    """Why a proposed call must not run; "" when it may.

    A call may start only from a node that exists and was not refused, and may treat only what was found, or what a
    target of the user's names.
    """
    try:
        source = find_attempt(situation.attempts, call.source)
    except KeyError:
        known = ", ".join([ORIGINAL, *(a.id for a in situation.attempts if a.accepted)])
        return f"source {call.source!r} is not a node; known: {known}"
    if source is not None and not source.accepted:
        return f"source {call.source!r} was refused; start from {ORIGINAL!r}"
    asked = {t.kind for t in situation.targets if isinstance(t, KindTarget)}
    for kind in call.kinds:
        finding = situation.report.finding(kind)
        there = finding is not None and finding.level > Level.ABSENT
        if not there and kind not in asked:
            return f"{kind.value} was not found; name only what was found"
    tried = [a.call for a in situation.attempts]
    repeats = any(
        call.same_treatment(other) and call.prompt == other.prompt and call.blend == other.blend
        for other in tried
    )
    return f"{call} was tried already; change it" if repeats else ""
