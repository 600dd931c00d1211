"""Where the run goes after each node: pure functions of the state."""

from __future__ import annotations

from typing import Literal

from conservator.agent.state import RunState

__all__ = ["after_act", "after_approve", "after_heed", "after_judge", "after_plan"]


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


def after_heed(state: RunState) -> Literal["act", "plan", "finish"]:
    """Make what is planned; plan where nothing is; end where the last plan was empty and nothing was said since."""
    if state["dry_run"] or state["limit"] is not None:
        return "finish"
    if state["queue"]:
        return "act"
    return "finish" if state.get("exhausted") else "plan"


def after_approve(state: RunState) -> Literal["act", "approve", "plan"]:
    """Make what was approved; ask again about what is left of the plan; plan anew where nothing is."""
    if not state["queue"]:
        return "plan"
    return "act" if state.get("approved") else "approve"
