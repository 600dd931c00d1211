"""Score: measure the candidate on exactly the bytes that would be saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.agent.events import Scored
from conservator.agent.measuring import measured
from conservator.agent.saving import as_saved
from conservator.policies.attempt import find_attempt
from conservator.policies.expectation import expected

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["score"]


def score(state: RunState, context: RunContext) -> dict[str, Any]:
    """Measure the attempt that was made last."""
    attempt = state["attempts"][-1]
    pixels = context.pixels(state["attempts"], attempt.id)
    with context.timed("coding"):
        saved = as_saved(context.picture, pixels, context.request.suffix)
    source = find_attempt(state["attempts"], attempt.call.source)
    before = None
    if (
        source is not None
        and source.measurement is not None
        and source.measurement.gain is not None
    ):
        before = context.pixels(state["attempts"], source.id), source.measurement.gain
    measurement = measured(context, saved, against_input=True, source=before)
    if measurement.gain is not None:
        gain = expected(
            measurement.gain, (attempt.call,), attempt.details, context.situation(state)
        )
        measurement = measurement.model_copy(update={"gain": gain})
    context.emit(Scored, attempt=attempt.id, measurement=measurement)
    return {"attempts": (attempt.model_copy(update={"measurement": measurement}),)}
