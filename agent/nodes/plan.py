"""Plan: choose the next step's candidates; a vision-language model proposes where there is one, a policy decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.agent.events import LimitReached, ModelAsked, Planned
from conservator.agent.state import told
from conservator.agent.trial import chosen
from conservator.agent.wishes import planned_as_said
from conservator.policies import planner
from conservator.policies.planner import Plan
from conservator.policies.review import beside
from conservator.restorers.errors import CancelledError

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState
    from conservator.policies.attempt import DecidedBy
    from conservator.policies.budget import Limit
    from conservator.policies.situation import Situation

__all__ = ["plan"]


def plan(state: RunState, context: RunContext) -> dict[str, Any]:
    """Fill the queue, or leave it empty when nothing sensible is left, or a limit forbids it."""
    situation = context.situation(state)
    spent, update = state["spent"], dict[str, Any]()
    # The policy plans first: where it finds nothing to treat, nobody else may insist.
    ahead, decided_by = planner.plan(situation), _policy()
    # Blends of what is there already are the policy's, and cost nothing.
    calls_tool = any(call.calls_tool for call in ahead.calls)
    limit = context.clock.limit(spent) if calls_tool else None
    if calls_tool and limit is None and context.seat is not None:
        with context.timed("vlm"):
            answer = context.seat.propose(
                situation, context.picture.pixels, context.allowance(spent)
            )
        update = told(state, answer.asked)
        context.emit(ModelAsked, asked=answer.asked)
        if answer.plan is not None:
            ahead, decided_by = beside(answer.plan, ahead, situation), "vlm"
        # The answer may have taken the time that its calls would need.
        limit = context.clock.limit(spent)
    said = state.get("said", ())
    if said or situation.spared:
        calls, notes = planned_as_said(ahead.calls, situation, said)
        ahead = ahead.model_copy(update={"calls": calls})
        update["notes"] = (*update.get("notes", state["notes"]), *notes)
    if limit is None and not state["dry_run"]:
        ahead, tried, limit = _tried(ahead, situation, state, context)
        spent = update.get("spent", spent)
        update["spent"] = spent.model_copy(update={"trials": spent.trials + tried})
    if limit is not None:
        context.emit(LimitReached, limit=limit)
        ahead = Plan(reason=ahead.reason)
    context.emit(Planned, calls=ahead.calls, reason=ahead.reason, decided_by=decided_by)
    return {
        "queue": ahead.calls,
        "exhausted": not ahead.calls,
        "plan_reason": ahead.reason,
        "decided_by": decided_by,
        "limit": limit,
        **update,
    }


def _tried(
    plan: Plan, situation: Situation, state: RunState, context: RunContext
) -> tuple[Plan, int, Limit | None]:
    """The plan's most promising candidate, how many were tried for it, and the limit that was reached meanwhile."""
    try:
        calls, tried = chosen(plan.calls, situation, state, context)
    except CancelledError:
        context.raise_if_cancelled()
        return plan, 0, "seconds"
    # The trial may have taken the time that making would need.
    limit = context.clock.limit(state["spent"]) if tried else None
    return plan.model_copy(update={"calls": calls}), tried, limit


def _policy() -> DecidedBy:
    return "policy"
