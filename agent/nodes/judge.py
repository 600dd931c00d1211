"""Judge: let the candidate through or not, and choose the node that leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.agent.events import Judged, LimitReached
from conservator.policies import acceptance
from conservator.policies.acceptance import Measurement
from conservator.policies.attempt import Attempt, chain_of, find_attempt
from conservator.restorers.degradations.vocabulary import level_of

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState

__all__ = ["judge"]


def judge(state: RunState, context: RunContext) -> dict[str, Any]:
    """Judge the attempt that was made last against the untouched input."""
    attempts = tuple(state["attempts"])
    attempt = attempts[-1]
    baseline = state["baseline"]
    if attempt.measurement is None or baseline is None:
        raise RuntimeError(f"attempt {attempt.id} was judged before it was scored")
    verdict = acceptance.judge(
        _uncovered(baseline, attempts, attempt),
        attempt.measurement,
        treated=attempt.treated,
        preset=context.preset,
        directions=context.directions,
        prior=_prior(attempts, attempt, context),
    )
    best = state["best"]
    leader = find_attempt(attempts, best)
    lead = 0.0 if leader is None else leader.gain
    if verdict.accepted and verdict.gain >= lead + context.preset.minimal_gain:
        best = attempt.id
    judged = attempt.model_copy(update={"status": "judged", "verdict": verdict})
    context.emit(Judged, attempt=attempt.id, verdict=verdict, best=best)
    update: dict[str, Any] = {"attempts": (judged,), "best": best}
    limit = context.clock.limit(state["spent"]) if state["queue"] else None
    if limit is not None:
        context.emit(LimitReached, limit=limit)
        update |= {"limit": limit, "queue": ()}
    return update


def _uncovered(
    baseline: Measurement, attempts: tuple[Attempt, ...], attempt: Attempt
) -> Measurement:
    """The input's measurement, but what an earlier step brought to light as bad as it was then.

    Rain behind haze reads low on the input; taking it off must count against the rain that was seen without the haze.
    """
    steps = [s for s in chain_of((*attempts[:-1], attempt), attempt.id) if s.id != attempt.id]
    findings = []
    for finding in baseline.findings:
        seen = [finding]
        if finding.kind in attempt.treated:
            seen += [
                now
                for step in steps
                if step.measurement is not None
                and (now := step.measurement.finding(finding.kind)) is not None
            ]
        findings.append(max(seen, key=lambda f: f.severity))
    return baseline.model_copy(update={"findings": tuple(findings)})


def _prior(attempts: tuple[Attempt, ...], attempt: Attempt, context: RunContext) -> float:
    """Measured gains, in dB, of the tools that led to an attempt, over all it treated; a blend promises its share."""
    promised = 0.0
    for step in chain_of((*attempts[:-1], attempt), attempt.id):
        for kind, strength in step.call.prompt.degradations.items():
            level = level_of(kind, strength)
            gain = context.preferences.gain(step.call.restorer, kind, level)
            promised += (gain or 0.0) * step.call.blend
    return promised
