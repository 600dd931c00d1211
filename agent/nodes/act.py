"""Act: make the next candidate of the queue by calling its tool, or by blending a picture that is there already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conservator.agent.calling import called, names_the_device
from conservator.agent.context import CancelSignal, ToolBench
from conservator.agent.events import LimitReached, ToolFinished, ToolProgressed, ToolStarted
from conservator.agent.saving import artifact_samples
from conservator.policies.attempt import Attempt, ToolCall, find_attempt
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import (
    CancelledError,
    ConservatorError,
    OutputError,
)
from conservator.tools.restore import Treated, blended

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["act"]


def act(state: RunState, context: RunContext) -> dict[str, Any]:
    """Make one candidate. A tool that fails is a failed attempt; a deadline that cuts it short is a limit.

    Raises:
        CancelledError: the caller asked to stop; the queue is then as it was.
        BackendMissingError: the caller asked for a device that is not there.
    """
    call, *rest = state["queue"]
    attempts = tuple(state["attempts"])
    name = f"a{len(attempts) + 1}"
    spent = state["spent"]
    context.emit(ToolStarted, attempt=name, call=call)
    if call.calls_tool:
        spent = spent.model_copy(update={"tools": spent.tools + 1})
    try:
        treated = _treated(call, name, attempts, context)
        treated = replace(treated, pixels=context.protected(treated.pixels))
        with context.timed("artifacts"):
            artifact = context.folder.save_artifact(
                artifact_samples(context.picture, treated.pixels)
            )
    except CancelledError:
        context.raise_if_cancelled()
        context.emit(LimitReached, limit="seconds")
        return {"limit": "seconds", "queue": (), "spent": spent}
    except ConservatorError as error:
        if isinstance(error, OutputError) or names_the_device(error, context):
            raise
        failed = Attempt(id=name, call=call, status="failed", error=str(error))
        context.emit(ToolFinished, attempt=name, seconds=0.0, error=str(error))
        return {"attempts": (failed,), "queue": tuple(rest), "spent": spent}
    context.count("restorers", treated.seconds)
    context.count("loading", treated.loading_seconds)
    made = Attempt(
        id=name,
        call=call,
        status="made",
        artifact=artifact,
        treated=_treated_kinds(call, attempts),
        seconds=treated.seconds,
        rendered_prompt=treated.rendered_prompt,
        details=dict(treated.details),
    )
    context.emit(ToolFinished, attempt=name, seconds=treated.seconds, error="")
    return {"attempts": (made,), "queue": tuple(rest), "spent": spent}


def _treated_kinds(call: ToolCall, attempts: tuple[Attempt, ...]) -> dict[Kind, float]:
    source = find_attempt(attempts, call.source)
    return {**({} if source is None else source.treated), **call.prompt.degradations}


def _treated(
    call: ToolCall, name: str, attempts: tuple[Attempt, ...], context: RunContext
) -> Treated:
    if not call.calls_tool:
        return _blend(call, attempts, context)
    signal = CancelSignal(context.cancel, deadline=lambda: context.clock.remaining_seconds() <= 0)

    def progressed(done: int, total: int) -> None:
        context.emit(ToolProgressed, attempt=name, done=done, total=total)

    bench = ToolBench(context, attempts, name, signal, progressed)
    return called(call, bench, name)


def _blend(call: ToolCall, attempts: tuple[Attempt, ...], context: RunContext) -> Treated:
    whole = find_attempt(attempts, call.reuses)
    if whole is None:
        raise KeyError(f"{call} reuses no attempt")
    with context.timed("blending"):
        pixels = blended(
            context.pixels(attempts, call.source), context.pixels(attempts, whole.id), call.blend
        )
    return Treated(
        pixels=pixels,
        rendered_prompt=whole.rendered_prompt,
        seconds=0.0,
        details={**whole.details, "blend": call.blend, "reuses": whole.id},
    )
