"""Finish: name the outcome, write the picture, the recipe and the sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.agent.delivery import concluded, deliver

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["finish"]


def finish(state: RunState, context: RunContext) -> dict[str, Any]:
    """End the run with the best node of the tree, which may be the untouched input."""
    conclusion = concluded(state, context)
    if not context.request.dry_run:
        deliver(state, context, conclusion)
    return {"conclusion": conclusion}
