"""What a policy lets a vision-language model do: its tool calls are proposals."""

from __future__ import annotations

from conservator.policies.attempt import ORIGINAL, ToolCall, find_attempt
from conservator.policies.planner import Plan
from conservator.policies.situation import Situation, uncovered
from conservator.policies.targets import KindTarget
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Finding,
    Kind,
    Level,
    severity_of,
    value_at,
)
from conservator.restorers.prompts.amounts import rounded

__all__ = ["beside", "offered", "review", "sources", "strongest", "treatable"]

_FAR = 0.5
"""Two levels."""
_NEAR = 0.125
"""Half a level."""
_RANKED = 2


def treatable(situation: Situation) -> dict[Kind, Finding | None]:
    """Kinds that a proposal may name, with what was measured of them on the best node.

    What was found, unless hardly anybody believes it or the policy leaves the kind alone; what a target of the user's names (None where
    nobody measured it); and what a treatment brought to light.
    """
    preset = situation.preset
    found: dict[Kind, Finding | None] = {
        f.kind: f
        for f in situation.report.findings
        if f.level > Level.ABSENT
        and f.kind not in preset.leave
        and f.confidence >= preset.asked_confidence
    }
    for target in situation.targets:
        if isinstance(target, KindTarget):
            found.setdefault(target.kind, situation.report.finding(target.kind))
    best = situation.best_attempt()
    if best is not None:
        found |= {f.kind: f for f in uncovered(best, situation.todo(), situation)}
    return found


def offered(situation: Situation, count: int = 6) -> dict[str, RestorerCard]:
    """The restorers worth proposing: the lead, and for each treatable kind the ones that measured best.

    Never one that failed in this run, changes the picture's size, or gained nothing where it was measured.
    """
    cards = situation.usable()
    ranked = [
        [option.restorer for option in situation.preferences.ranked(kind, level, cards)]
        for kind, finding in treatable(situation).items()
        for level in (Level.MEDIUM if finding is None else max(finding.level, Level.LOW),)
    ]
    useful = {name for names in ranked for name in names}
    lead = situation.preferences.lead
    order = [lead] if lead in useful else []
    for place in range(_RANKED):
        order += [names[place] for names in ranked if len(names) > place]
    return {name: cards[name] for name in list(dict.fromkeys(order))[:count]}


def sources(situation: Situation) -> tuple[str, ...]:
    """Nodes that a call may start from."""
    return (ORIGINAL, *(a.id for a in situation.attempts if a.accepted))


def strongest(kind: Kind, measured: float) -> float:
    """The most that a proposal may ask for: two levels above what was measured, at the ladder's end no more than that end or the measured value."""
    most = severity_of(kind, measured) + _FAR
    if most < 1:
        return rounded(kind, value_at(kind, most))
    ends = (PARAMETERS[kind].anchors[-1], measured, rounded(kind, measured))
    return max(ends) if PARAMETERS[kind].rising else min(ends)


def review(call: ToolCall, situation: Situation) -> str:
    """Why a proposed call must not run; "" when it may.

    A call may start only from a node that exists and was not refused, may treat only what is treatable, and may ask for two levels more
    than was measured at most.
    """
    try:
        source = find_attempt(situation.attempts, call.source)
    except KeyError:
        return f"source {call.source!r} is not a node; known: {', '.join(sources(situation))}"
    if source is not None and not source.accepted:
        return f"source {call.source!r} was refused; start from {ORIGINAL!r}"
    allowed = treatable(situation)
    for kind, strength in call.prompt.degradations.items():
        if kind not in allowed:
            return f"{kind.value} was not found; name only what was found"
        finding = allowed[kind]
        if finding is not None and _beyond(kind, strength, finding.value):
            return (
                f"{kind.value}={strength:g} is far beyond the measured {PARAMETERS[kind].name} "
                f"{finding.value:.3g}; stay within two levels of it"
            )
    tried = [a.call for a in situation.attempts if a.status != "skipped"]
    repeats = any(
        call.same_treatment(other) and call.prompt == other.prompt and call.blend == other.blend
        for other in tried
    )
    return f"{call} was tried already; change it" if repeats else ""


def beside(proposal: Plan, own: Plan, situation: Situation) -> Plan:
    """A model's plan among the policy's own candidates; where both mean the same, the model's stands for both.

    The policy's first choice goes first, then what the model proposes, then the policy's other rivals, one more in all than the policy has
    alone. So a poor proposal costs a trial and no quality: the most promising candidate is made.
    """
    preset = situation.preset
    if not preset.vlm.beside:
        return proposal
    first, *others = own.calls
    same = next((call for call in proposal.calls if _alike(first, call)), None)
    calls = [
        first if same is None else same,
        *(call for call in proposal.calls if call is not same),
        *(call for call in others if not any(_alike(call, given) for given in proposal.calls)),
    ]
    return proposal.model_copy(update={"calls": tuple(calls[: preset.candidates + 1])})


def _alike(one: ToolCall, other: ToolCall) -> bool:
    """The same treatment, every strength within half a level."""
    if not one.same_treatment(other) or one.blend != other.blend or one.reuses != other.reuses:
        return False
    return all(
        abs(severity_of(kind, value) - severity_of(kind, other.prompt.degradations[kind])) <= _NEAR
        for kind, value in one.prompt.degradations.items()
    )


def _beyond(kind: Kind, strength: float, measured: float) -> bool:
    limit = strongest(kind, measured)
    return strength > limit if PARAMETERS[kind].rising else strength < limit
