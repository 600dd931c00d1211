"""Inspect: the instruments measure the original, and a vision-language model describes it where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.agent.events import Inspected, ModelAsked
from conservator.agent.measuring import measured
from conservator.agent.state import told
from conservator.policies.acceptance import Measurement
from conservator.policies.situation import actionable
from conservator.policies.targets import MetricTarget
from conservator.tools.instruments import inspect_picture

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["inspect"]

_MUCH = 0.4
"""Protected share of a photo from which on it decides what the instruments read."""


def inspect(state: RunState, context: RunContext) -> dict[str, Any]:
    """Write the condition report, and measure the original as candidates will be measured.

    The model's findings are worked into the instruments' by `policies.condition.joined`; the baseline is the instruments' alone, as candidates are
    measured by them alone.

    The report may use what the file says about itself (quantisation tables); a candidate has no file yet, so the
    baseline that it is compared with is measured on the pixels alone. A photo in which there is nothing to treat is
    compared with nothing, so it gets no baseline scores unless a target asks for them.
    """
    picture = context.picture
    with context.timed("instruments"):
        report = inspect_picture(picture)
    instruments, update = report, dict[str, Any]()
    if context.seat is not None:
        with context.timed("vlm"):
            said = context.seat.describe(report, picture.pixels, context.allowance(state["spent"]))
        report = said.report
        update = told(state, said.asked)
        context.emit(ModelAsked, asked=said.asked)
    if notes := _about_protection(context):
        update["notes"] = (*update.get("notes", state["notes"]), *notes)
    todo = actionable(report, context.preset, context.targets)
    if picture.jpeg is not None and todo:
        baseline = measured(context, picture.pixels)
    else:
        found = tuple(f for f in instruments.findings if f.source == "instrument")
        scored = bool(todo) or any(isinstance(t, MetricTarget) for t in context.targets)
        scores = measured(context, picture.pixels, findings=False).scores if scored else {}
        baseline = Measurement(findings=found, scores=scores)
    context.emit(Inspected, report=report, baseline=baseline)
    return {"report": report, "baseline": baseline, **update}


def _about_protection(context: RunContext) -> tuple[str, ...]:
    """What a user should know about the parts to protect: those that are not in the photo, and what large ones do to the numbers."""
    places = context.contract.protect
    if not places:
        return ()
    shield = context.shield
    notes = [
        f"protect {place.name}: not found in the photo, so nothing is protected there"
        for place, share in zip(places, shield.shares, strict=True)
        if share == 0
    ]
    whole = float((shield.mask >= 1).mean())
    if whole > _MUCH:
        notes.append(
            f"{whole:.0%} of the photo is protected and counts in every measurement, so that little can be seen to change"
        )
    return tuple(notes)
