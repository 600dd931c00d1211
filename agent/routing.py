"""Where the run goes after each node: pure functions of the state."""

from __future__ import annotations

from typing import Literal

from conservator.agent.state import RunState

__all__ = ["after_act", "after_judge", "after_plan"]


def after_plan(state: RunState) -> Literal["act", "finish"]:
    """Make the planned candidates, or end when there are none, a limit forbids them, or nothing shall be made."""
    if state["dry_run"]:
        return "finish"
    return "act" if state["queue"] and state["limit"] is None else "finish"


def after_act(state: RunState) -> Literal["score", "act", "plan", "finish"]:
    """Score what was made; after a failed tool go on with the next candidate, or plan anew."""
    if state["attempts"] and state["attempts"][-1].status == "made":
        return "score"
    if state["limit"] is not None:
        return "finish"
    return "act" if state["queue"] else "plan"


def after_judge(state: RunState) -> Literal["act", "plan", "finish"]:
    """Make the step's other candidates, then plan the next step."""
    if state["limit"] is not None:
        return "finish"
    return "act" if state["queue"] else "plan"
