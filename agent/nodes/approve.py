"""Approve: let a person look at the plan before its calls are made.

Nothing happens in this node before the interrupt, because LangGraph runs it from its beginning again when the answer is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.types import interrupt

from conservator.agent.approval import Answer, Question, changed, prompt_of
from conservator.agent.hearing import hear
from conservator.agent.state import heard
from conservator.policies.attempt import Attempt
from conservator.restorers.errors import PromptError

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["approve"]


def approve(state: RunState, context: RunContext) -> dict[str, Any]:
    """Ask where the request wants it, and do what the answer says."""
    scope = context.request.approve
    if scope == "never" or (scope == "plan" and state.get("approved")) or not state["queue"]:
        return {"approved": True}
    situation = context.situation(state)
    question = Question(
        scope=scope,
        report=situation.report,
        calls=state["queue"],
        prompts=tuple(prompt_of(call, context.cards) for call in state["queue"]),
        reason=state["plan_reason"],
        decided_by=state["decided_by"],
        best=state["best"],
        replies=state.get("replies", ()),
    )
    answer = Answer.model_validate(interrupt(question.model_dump(mode="json")))
    call, *rest = state["queue"]
    again: dict[str, Any] = {"approved": False, "replies": ()}
    if answer.what == "approve":
        return {"approved": True, "replies": ()}
    if answer.what == "skip":
        name = f"a{len(state['attempts']) + 1}"
        skipped = Attempt(id=name, call=call, status="skipped", error="skipped by you")
        return {**again, "attempts": (skipped,), "queue": tuple(rest)}
    if answer.what == "change":
        try:
            new = changed(call, answer, situation)
        except PromptError as error:
            return {**again, "replies": (str(error),)}
        return {"approved": True, "replies": (), "queue": (new, *rest)}
    if answer.what == "say":
        said = hear(answer.words, state, context)
        return {**again, **heard(state, answer.words, said), "replies": said.lines}
    raise RuntimeError(
        f"{answer.what!r} is for the caller of the graph, who leaves it at the question"
    )
