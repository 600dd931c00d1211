"""Judge: let the candidate through or not, and choose the node that leads; a vision-language model may veto, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.agent.events import Judged, LimitReached, ModelAsked
from conservator.agent.state import told
from conservator.policies import acceptance
from conservator.policies.acceptance import Measurement
from conservator.policies.attempt import Attempt, ToolCall, chain_of, find_attempt
from conservator.policies.opinion import with_opinion
from conservator.restorers.degradations.vocabulary import level_of

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState
    from conservator.agent.vlm.seat import Judgement, Seat

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
        asked=context.contract.checks(baseline, attempt.measurement, context.preset.guards),
    )
    best = state["best"]
    leader = find_attempt(attempts, best)
    replaces = attempt.call.replaces
    lead = 0.0 if leader is None or leader.id == replaces else leader.gain
    leads = verdict.accepted and verdict.gain >= lead + context.preset.minimal_gain
    opinion, update = None, dict[str, Any]()
    if leads and (seat := context.seat) is not None:
        # Only where the opinion can change something: it may veto, never accept.
        said = _compared(seat, attempt, attempt.measurement, baseline, state, context)
        update = told(state, said.asked)
        context.emit(ModelAsked, asked=said.asked)
        if said.opinion is not None:
            verdict, opinion = with_opinion(
                verdict, said.opinion, context.preset.vlm, attempt.measurement.gain
            )
            leads = verdict.accepted
    if leads:
        best = attempt.id
    elif replaces:
        notes = update.get("notes", state["notes"])
        why = verdict.reason if not verdict.accepted else "no gain on the whole"
        update["notes"] = (*notes, f"{attempt.call}, as you said, is not kept: {why}")
    queue = state["queue"]
    if not verdict.accepted and (further := _further(attempt, state, context)) is not None:
        reason = f"{verdict.reason}; judged together with {further.words}, which follows"
        verdict = verdict.model_copy(update={"reason": reason})
        update["queue"] = queue = (further, *queue)
    judged = attempt.model_copy(update={"status": "judged", "verdict": verdict, "opinion": opinion})
    context.emit(Judged, attempt=attempt.id, verdict=verdict, best=best)
    update |= {"attempts": (judged,), "best": best}
    limit = context.clock.limit(state["spent"]) if queue else None
    if limit is not None:
        context.emit(LimitReached, limit=limit)
        update |= {"limit": limit, "queue": ()}
    return update


def _further(attempt: Attempt, state: RunState, context: RunContext) -> ToolCall | None:
    """The step that is expected to make a refused one worth it, on top of it; None without one, without room for it, or where the user spares its kinds."""
    made = sum(1 for a in state["attempts"] if a.status not in ("failed", "skipped"))
    if not attempt.call.then or made >= context.preset.max_attempts:
        return None
    step, *rest = attempt.call.then
    if not context.situation(state).spared.isdisjoint(step.kinds):
        return None
    words = f"expected to gain after {attempt.call.words}"
    return step.model_copy(update={"source": attempt.id, "then": tuple(rest), "rationale": words})


def _compared(
    seat: Seat,
    attempt: Attempt,
    measurement: Measurement,
    baseline: Measurement,
    state: RunState,
    context: RunContext,
) -> Judgement:
    """The vision-language model's opinion on the candidate, the input beside it."""
    with context.timed("vlm"):
        return seat.compare(
            context.picture.pixels,
            context.pixels(state["attempts"], attempt.id),
            attempt=attempt.id,
            treated=attempt.treated,
            found=baseline.findings,
            left=measurement.findings,
            allowance=context.allowance(state["spent"]),
        )


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
