"""How a run ends, and the one line that says why."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from conservator.policies.attempt import ORIGINAL
from conservator.policies.budget import Budget, Limit
from conservator.policies.situation import Situation
from conservator.policies.targets import Clause, TargetCheck
from conservator.restorers.degradations.vocabulary import Level

__all__ = ["Broken", "Conclusion", "Outcome", "conclude"]

Broken = Literal["cancelled", "stopped", "waiting"]
"""How a run ends before its end: `cancelled`, work thrown away; `stopped` by a person between two steps, content with the best so
far; `waiting` for a person's answer."""

Outcome = Literal["met", "not_met", "unchanged", "limit"] | Broken


class Conclusion(BaseModel):
    """How a run ended.

    Attributes:
        reason: one line for people; names what blocks the targets, or which limit was reached.
        limit: the limit that was reached, None otherwise.
        blocking: targets that are not met, one line each, and what the user asked for that refused a candidate.
        clauses: what the user asked for, and what came of each of it.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    reason: str
    limit: Limit | None = None
    blocking: tuple[str, ...] = ()
    clauses: tuple[Clause, ...] = ()


_BROKEN = {
    "cancelled": "cancelled",
    "stopped": "stopped by you",
    "waiting": "waiting for an answer",
}


def conclude(
    situation: Situation,
    check: TargetCheck,
    *,
    plan_reason: str = "",
    limit: Limit | None = None,
    budget: Budget | None = None,
    broken: Broken | None = None,
) -> Conclusion:
    """Name the outcome of a run that ends now.

    Args:
        situation: the tree and its best node.
        check: the best node against the targets, the user's or the preset's.
        plan_reason: why the planner had nothing more.
        limit: the budget that ended the run, if one did.
        budget: its numbers, for the message.
        broken: how it ended before its end, if it did.
    """
    untouched = situation.best == ORIGINAL
    kept = "the input is kept as it is" if untouched else f"kept {situation.best}"
    blocking = check.blocking if check.met else (*check.blocking, *_in_the_way(situation))
    if broken is not None:
        reason = f"{_BROKEN[broken]}; {kept}"
        return Conclusion(outcome=broken, reason=reason, blocking=blocking)
    todo = situation.todo()
    if limit is not None and todo and not (check.met and not untouched):
        allowed = None if budget is None else getattr(budget, f"max_{limit}")
        reason = (
            f"the limit of {allowed:g} {limit} was reached; {kept}" if allowed is not None else kept
        )
        return Conclusion(outcome="limit", reason=reason, limit=limit, blocking=blocking)
    if situation.targets:
        if check.met:
            reason = "the targets are met" + (" by the input as it is" if untouched else "")
            if untouched:
                reason = "; ".join((reason, *_in_the_way(situation)))
            return Conclusion(outcome="unchanged" if untouched else "met", reason=reason)
        return Conclusion(outcome="not_met", reason="; ".join(blocking), blocking=blocking)
    if untouched:
        return Conclusion(outcome="unchanged", reason=_why_untouched(situation, plan_reason))
    if check.met:
        return Conclusion(outcome="met", reason="what was found is treated")
    return Conclusion(outcome="not_met", reason="; ".join(blocking), blocking=blocking)


def _in_the_way(situation: Situation) -> tuple[str, ...]:
    """What the user asked for that refused candidates, one line each, with the candidate that came nearest."""
    nearest: dict[str, tuple[float, str]] = {}
    for attempt in situation.attempts:
        for check in () if attempt.verdict is None else attempt.verdict.failed():
            if check.name in ("target", "kept"):
                text = check.says.partition(":")[0]
                found = abs(check.value - check.limit), f"{check.says} in {attempt.id}"
                nearest[text] = min(nearest.get(text, found), found)
    return tuple(line for _, line in nearest.values())


def _why_untouched(situation: Situation, plan_reason: str) -> str:
    made = [attempt for attempt in situation.attempts if attempt.status != "skipped"]
    refused = any(a.verdict is not None and not a.accepted for a in made)
    if situation.spared and not refused:
        return f"{', '.join(sorted(situation.spared))} left alone, as you said"
    if situation.attempts and not made:
        return "what was planned was skipped by you"
    if made:
        last = made[-1]
        why = last.error or (last.verdict.reason if last.verdict else "not judged")
        if last.accepted:
            why = f"{why}, but no gain on the whole ({last.gain:+.2f})"
        return f"none of {len(made)} attempts was better; the last one: {why}"
    unsure = [f for f in situation.report.findings if f.level > Level.ABSENT]
    if not unsure:
        return "nothing found that needs treatment"
    listed = ", ".join(
        f"{f.kind.value} {f.level.label} (confidence {f.confidence:.2f})" for f in unsure[:3]
    )
    return f"{plan_reason or 'left alone'}: {listed}"
