"""Plan: choose the next step's candidates; a vision-language model proposes where there is one, a policy decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.agent.events import LimitReached, Planned
from conservator.agent.state import told
from conservator.policies import planner
from conservator.policies.planner import Plan
from conservator.policies.review import beside

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState
    from conservator.policies.attempt import DecidedBy

__all__ = ["plan"]


def plan(state: RunState, context: RunContext) -> dict[str, Any]:
    """Fill the queue, or leave it empty when nothing sensible is left, or a limit forbids it."""
    situation = context.situation(state)
    spent, update = state["spent"], dict[str, Any]()
    # The policy plans first: where it finds nothing to treat, nobody else may insist.
    chosen, decided_by = planner.plan(situation), _policy()
    limit = context.clock.limit(spent) if any(call.calls_tool for call in chosen.calls) else None
    if chosen.calls and limit is None and context.seat is not None:
        with context.timed("vlm"):
            answer = context.seat.propose(
                situation, context.picture.pixels, context.allowance(spent)
            )
        update = told(state, answer.asked)
        if answer.plan is not None:
            chosen, decided_by = beside(answer.plan, chosen, situation), "vlm"
        # The answer may have taken the time that its calls would need.
        limit = context.clock.limit(spent)
    if limit is not None:
        context.emit(LimitReached, limit=limit)
        chosen = Plan(reason=chosen.reason)
    context.emit(Planned, calls=chosen.calls, reason=chosen.reason, decided_by=decided_by)
    return {
        "queue": chosen.calls,
        "plan_reason": chosen.reason,
        "decided_by": decided_by,
        "limit": limit,
        **update,
    }


def _policy() -> DecidedBy:
    return "policy"
