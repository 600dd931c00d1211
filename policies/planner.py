"""The deterministic planner: condition report + cards + preset -> tool calls with prompts.

It decides without a vision-language model, and checks or replaces one where it is wrong. Its habits:

- one composed prompt for the lead restorer, from the ORIGINAL, naming every kind that was found, comes first;
- a specialist takes a kind over where it measured better than the lead by a margin (`preferences.yaml`);
- a step may have rivals, which whoever runs the plan tries on a piece: the lead with what was only hinted at, a restorer that looks for itself,
  the next best (`Preset.candidates`);
- what was refused as too strong is blended with its source (and the share is searched for, `Preset.blend_searches`), what was too weak is asked
  for more strongly, and only then does another restorer get its turn;
- what a treatment brings to light is treated next (rain behind haze, haze behind noise);
- a good but incomplete treatment is redone from the original rather than polished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat

from pydantic import BaseModel, ConfigDict

from conservator.policies.attempt import ORIGINAL, ToolCall
from conservator.policies.cases import Condition, Step
from conservator.policies.experience import shortlist
from conservator.policies.ordering import in_treatment_order
from conservator.policies.retries import between, redo, retry
from conservator.policies.situation import Situation, untreated
from conservator.policies.strength import prompt_for
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import Finding, Kind

__all__ = ["Plan", "followers", "plan"]


class Plan(BaseModel):
    """Rival candidates for the next step, the likeliest first; empty when there is nothing sensible left to try."""

    model_config = ConfigDict(frozen=True)

    calls: tuple[ToolCall, ...] = ()
    reason: str


def plan(situation: Situation) -> Plan:
    """Choose the next step's candidates."""
    todo = situation.todo()
    if not todo:
        meant = [f.kind.value for f in situation.report.findings if situation.preset.acts_on(f)]
        if meant:
            return Plan(
                reason=f"{meant[0]} alone may be meant (--target {meant[0]}<=low treats it)"
            )
        return Plan(reason="nothing found that is certain and bad enough to treat")
    made = [a for a in situation.attempts if a.status not in ("failed", "skipped")]
    left = situation.preset.max_attempts - len(made)
    if left <= 0:
        return Plan(reason=f"{len(made)} attempts made, as many as the policy allows")
    call = retry(situation) or between(situation)
    if call is not None:
        return Plan(calls=(call,), reason=call.rationale)
    remaining = untreated(situation, todo)
    if remaining:
        # One is planned even without room for it: whoever runs the plan then knows that a limit stood in its way.
        calls = _candidates(situation, remaining, min(left, situation.preset.candidates))
        if calls:
            return Plan(calls=calls, reason=calls[0].rationale)
    again = redo(situation)
    if again is not None:
        return Plan(calls=(again,), reason=again.rationale)
    why = "no other restorer is worth trying" if remaining else "what was found is treated"
    return Plan(reason=why)


def _candidates(
    situation: Situation, remaining: Sequence[Finding], count: int
) -> tuple[ToolCall, ...]:
    """Up to `count` different ways to take the next step from the best node.

    The best measured restorer goes first; then the lead for all at once, what was only hinted at included; then a restorer that looks for
    itself, told what was found; then the next best restorers. The candidates are judged alike, so a wrong guess costs time and nothing else.
    """
    asked = situation.experience is not None and situation.best == ORIGINAL
    most = max(count, _FOR_EXPERIENCE) if asked else count
    calls: list[ToolCall] = []
    for way in (_next_step, _composed, _looking, *repeat(_next_step, most)):
        call = way(situation, remaining, calls) if len(calls) < most else None
        if call is not None:
            calls.append(call)
    return _experienced(situation, calls, count) if asked else tuple(calls)


_FOR_EXPERIENCE = 5
"""Ways among which experience chooses."""


def _experienced(
    situation: Situation, calls: Sequence[ToolCall], count: int
) -> tuple[ToolCall, ...]:
    """The calls that experience finds worth a trial, with what it expects of each and the steps that would follow it."""
    if situation.experience is None or not calls:
        return tuple(calls)
    condition = Condition.of(situation.report.findings, situation.side)
    steps = [(call, *followers(situation, call)) for call in calls]
    expected = situation.experience.expected(
        condition, [tuple(map(Step.of, treatment)) for treatment in steps]
    )
    preset = situation.preset
    chosen = shortlist(
        expected,
        whole=[len(treatment) == 1 for treatment in steps],
        margin=preset.experience_margin,
        doubt=preset.experience_doubt,
        count=count,
    )
    untried = len(calls) - len(chosen)
    left = f", and leaves {untried} untried" if untried else ""
    return tuple(
        calls[i].model_copy(
            update={"rationale": f"{calls[i].rationale}; experience expects {expected[i]}{left}"}
        )
        for i in chosen
    )


def _composed(
    situation: Situation, remaining: Sequence[Finding], planned: Sequence[ToolCall]
) -> ToolCall | None:
    """The lead for all that was found, and for what the inspection was not sure of."""
    preset, found = situation.preset, {finding.kind: finding for finding in remaining}
    best = situation.best_attempt()
    done = {} if best is None else best.treated
    hints = {
        finding.kind: finding
        for finding in situation.report.findings
        if finding.kind not in found
        and finding.kind not in done
        and finding.kind not in preset.leave
        and finding.level >= preset.level_needed(finding.kind)
        and finding.confidence >= preset.hint_confidence
    }
    card = situation.usable().get(situation.preferences.lead)
    if card is None or not card.ready() or card.scale != 1:
        return None
    both = {**found, **hints}
    named = [both[kind] for kind in in_treatment_order(both) if _helps(card, both[kind], situation)]
    return _new(_call(situation, card.name, named), situation, planned) if named else None


def _looking(
    situation: Situation, remaining: Sequence[Finding], planned: Sequence[ToolCall]
) -> ToolCall | None:
    """A restorer that sees for itself what is wrong, told what was found; None without one."""
    card = next((c for c in situation.usable().values() if c.looks and c.ready()), None)
    if card is None or not any(_helps(card, finding, situation) for finding in remaining):
        return None
    named = [finding for finding in remaining if finding.kind in card.treats]
    call = _call(situation, card.name, named)
    prompt = call.prompt.model_copy(update={"blind": True})
    reason = f"{call.rationale}, which looks for the rest itself"
    call = call.model_copy(update={"prompt": prompt, "rationale": reason})
    return _new(call, situation, planned)


def _helps(card: RestorerCard, finding: Finding, situation: Situation) -> bool:
    """Whether a restorer treats a kind and was not measured to harm there."""
    gain = situation.preferences.gain(card.name, finding.kind, finding.level)
    return finding.kind in card.treats and (gain is None or gain > 0)


def _new(call: ToolCall, situation: Situation, planned: Sequence[ToolCall]) -> ToolCall | None:
    """The call, unless it was tried or planned already."""
    tried = (*(a.call for a in situation.attempts), *planned)
    return None if any(call.same_treatment(other) for other in tried) else call


def _next_step(
    situation: Situation, remaining: Sequence[Finding], planned: Sequence[ToolCall]
) -> ToolCall | None:
    """The first group of kinds, with the best restorer that was not tried for it on this node."""
    cards = situation.usable()
    # What stands together is better undone together: a specialist sees the other damage as picture, and the next one finds its traces.
    alone = len(remaining) == 1
    margin = situation.preset.specialist_margin if alone else situation.preset.composite_margin
    options = {
        f.kind: list(situation.preferences.ranked(f.kind, f.level, cards, margin=margin))
        for f in remaining
    }
    findings = {f.kind: f for f in remaining}
    while any(options.values()):
        name, kinds = _first_group({k: o[0].restorer for k, o in options.items() if o}, situation)
        call = _new(_call(situation, name, [findings[kind] for kind in kinds]), situation, planned)
        if call is not None:
            return call
        for kind in kinds:
            options[kind].pop(0)
    return None


def followers(situation: Situation, call: ToolCall) -> tuple[ToolCall, ...]:
    """What would be done after a call for the kinds that it leaves, were it accepted: a step among many is no rival for a whole treatment."""
    todo = situation.todo()
    left = {f.kind: f for f in untreated(situation, todo) if f.kind not in call.prompt.degradations}
    calls: list[ToolCall] = []
    margin = (
        situation.preset.composite_margin if len(left) > 1 else situation.preset.specialist_margin
    )
    while left and not call.prompt.blind:
        choice = {
            finding.kind: ranked[0].restorer
            for finding in left.values()
            if (
                ranked := situation.preferences.ranked(
                    finding.kind, finding.level, situation.usable(), margin=margin
                )
            )
        }
        if not choice:
            break
        name, kinds = _first_group(choice, situation)
        calls.append(_call(situation, name, [left.pop(kind) for kind in kinds]))
    return tuple(calls)


def _first_group(choice: Mapping[Kind, str], situation: Situation) -> tuple[str, tuple[Kind, ...]]:
    """The restorer due first and the kinds it takes; a composite-capable restorer takes all of its kinds at once."""
    ordered = in_treatment_order(choice)
    name = choice[ordered[0]]
    if situation.cards[name].prompt_style == "parameters":
        return name, ordered[:1]
    return name, tuple(kind for kind in ordered if choice[kind] == name)


def _call(situation: Situation, name: str, findings: Sequence[Finding]) -> ToolCall:
    prompt = prompt_for(
        findings, bias=situation.preset.strength_bias, semantic=situation.report.scene
    )
    found = ", ".join(f"{f.kind.value} {f.level.label} ({f.value:.3g})" for f in findings)
    return ToolCall(
        restorer=name,
        prompt=prompt,
        source=situation.best,
        seed=situation.seed,
        configuration=_size(situation, name),
        rationale=f"{found}: {name}",
    )


def _size(situation: Situation, name: str) -> str:
    """The preset's configuration where the restorer has it, else its only or first one."""
    sizes = situation.cards[name].configurations
    wanted = situation.preset.configuration
    return wanted if wanted in sizes or not sizes else next(iter(sizes))
