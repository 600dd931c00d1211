"""Heed: take up what the caller said since the last step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from conservator.agent.events import Steered
from conservator.agent.hearing import hear
from conservator.agent.state import heard

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["heed"]


def heed(state: RunState, context: RunContext) -> dict[str, Any]:
    """Change the plan as the words want it; what is not understood becomes a note, and is not guessed."""
    update: dict[str, Any] = {}
    for words in () if context.steering is None else context.steering.take():
        now = cast("RunState", {**state, **update})
        answer = hear(words, now, context)
        update |= heard(now, words, answer)
        context.emit(Steered, words=words.strip(), lines=answer.lines, understood=answer.understood)
    return update
