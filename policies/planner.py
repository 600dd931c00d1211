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

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

from pydantic import BaseModel, ConfigDict

from conservator.policies.acceptance import Measurement
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall, chain_of, find_attempt
from conservator.policies.cases import Condition, Step
from conservator.policies.experience import Experience, shortlist
from conservator.policies.ordering import in_treatment_order
from conservator.policies.preferences import Preferences
from conservator.policies.preset import Preset
from conservator.policies.strength import prompt_for, shifted
from conservator.policies.targets import KindTarget, Target, default_targets
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind, Level

__all__ = ["Plan", "Situation", "actionable", "followers", "plan"]


class Situation(BaseModel):
    """All that a plan depends on.

    Attributes:
        report: what the inspection of the original found.
        attempts: the tree so far, in the order of making.
        best: node that is the result if the run ended now.
        targets: the user's, empty when none were given.
        cards: restorers that may be called.
        room: tool calls left in the budget.
        settled: kinds whose strength the user has set in words; the policy does not ask for more of them.
        experience: what was learned, None to plan without.
        side: shorter side of the picture, px; 0 where nobody knows.
        spared: kinds that the user wants left alone; the preset leaves them, too.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    report: ConditionReport
    attempts: tuple[Attempt, ...] = ()
    best: str = ORIGINAL
    targets: tuple[Target, ...] = ()
    preset: Preset
    preferences: Preferences
    cards: Mapping[str, RestorerCard]
    room: float = float("inf")
    seed: int = 0
    settled: frozenset[Kind] = frozenset()
    experience: Experience | None = None
    side: int = 0
    spared: frozenset[Kind] = frozenset()

    def bounds(self) -> dict[Kind, Level]:
        """Kind -> level it shall be at or below, the user's before the preset's."""
        defaults = default_targets(self.report.findings, self.preset)
        both = (*defaults, *self.targets)
        return {t.kind: t.level for t in both if isinstance(t, KindTarget)}


class Plan(BaseModel):
    """Rival candidates for the next step, the likeliest first; empty when there is nothing sensible left to try."""

    model_config = ConfigDict(frozen=True)

    calls: tuple[ToolCall, ...] = ()
    reason: str


def actionable(
    report: ConditionReport, preset: Preset, targets: Iterable[Target] = ()
) -> tuple[Finding, ...]:
    """Findings to treat, in treatment order: what the preset acts on, and what a target of the user's names."""
    asked = {t.kind: t.level for t in targets if isinstance(t, KindTarget)}
    unasked = preset.treats(report.findings)
    chosen = {
        f.kind: f
        for f in report.findings
        if f in unasked
        or (f.kind in asked and f.level > asked[f.kind] and f.confidence >= preset.asked_confidence)
    }
    return tuple(chosen[kind] for kind in in_treatment_order(chosen))


def plan(situation: Situation) -> Plan:
    """Choose the next step's candidates."""
    todo = actionable(situation.report, situation.preset, situation.targets)
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
    call = _retry(situation) or _between(situation)
    if call is not None:
        return Plan(calls=(call,), reason=call.rationale)
    remaining = _remaining(situation, todo)
    if remaining:
        # One is planned even without room for it: whoever runs the plan then knows that a limit stood in its way.
        calls = _candidates(situation, remaining, min(left, situation.preset.candidates))
        if calls:
            return Plan(calls=calls, reason=calls[0].rationale)
    redo = _redo(situation)
    if redo is not None:
        return Plan(calls=(redo,), reason=redo.rationale)
    why = "no other restorer is worth trying" if remaining else "what was found is treated"
    return Plan(reason=why)


def _last_judged(situation: Situation) -> Attempt | None:
    return situation.attempts[-1] if situation.attempts else None


def _retry(situation: Situation) -> ToolCall | None:
    """A refused candidate once more: blended when too strong, more strongly when too weak."""
    last = _last_judged(situation)
    if last is None or last.verdict is None or last.accepted:
        return None
    family = [a for a in situation.attempts if a.call.same_treatment(last.call)]
    # Another candidate for this step made it, or this one was a redo of something that did.
    if situation.best != last.call.source:
        return None
    if last.verdict.fault == "strong":
        return _weaker(situation, last, family)
    return _stronger(situation, last, family)


def _weaker(situation: Situation, last: Attempt, family: Sequence[Attempt]) -> ToolCall | None:
    tried = {a.call.blend for a in family if a.call.blend < 1}
    whole = next((a for a in reversed(family) if a.call.calls_tool and a.artifact), None)
    share = next((s for s in situation.preset.blends if s not in tried), None)
    if whole is None or share is None:
        return None
    reason = last.verdict.reason if last.verdict else ""
    return whole.call.model_copy(
        update={
            "blend": share,
            "reuses": whole.id,
            "rationale": f"too strong ({reason}): blend {share:.0%} of it with its source",
        }
    )


_GOLDEN = (5**0.5 - 1) / 2
_LEAST_SHARE = 0.03
"""Between two blends, below which nobody sees a difference."""


def _between(situation: Situation) -> ToolCall | None:
    """A golden section (Kiefer, 1953) from the blend that is the best so far towards the next one that was worse, or too strong."""
    best, last = find_attempt(situation.attempts, situation.best), _last_judged(situation)
    if best is None or last is None or best.call.calls_tool:
        return None
    family = [a for a in situation.attempts if a.call.reuses == best.call.reuses]
    searched = [a for a in family if a.call.blend not in situation.preset.blends]
    if last not in family or len(searched) >= situation.preset.blend_searches:
        return None
    low = best.call.blend
    high = min((a.call.blend for a in family if a.call.blend > low), default=1.0)
    share = round(low + _GOLDEN * (high - low), 3)
    if high - low < _LEAST_SHARE:
        return None
    reason = f"{low:.0%} held, {high:.0%} did not do better: blend {share:.0%}"
    return best.call.model_copy(update={"blend": share, "rationale": reason})


def _stronger(situation: Situation, last: Attempt, family: Sequence[Attempt]) -> ToolCall | None:
    card = situation.cards.get(last.call.restorer)
    repeated = sum(1 for a in family if a.call.calls_tool) > 1 or not last.call.calls_tool
    settled = not situation.settled.isdisjoint(last.call.kinds)
    if card is None or not card.understands_strength or repeated or settled:
        return None
    prompt = shifted(last.call.prompt, last.call.kinds, situation.preset.strength_step)
    if prompt == last.call.prompt:
        return None
    return last.call.model_copy(
        update={"prompt": prompt, "rationale": "too weak: ask for more strength"}
    )


def _remaining(situation: Situation, todo: Sequence[Finding]) -> tuple[Finding, ...]:
    """What the best node has not been treated for, at the strength measured on that node."""
    best = find_attempt(situation.attempts, situation.best)
    if best is None:
        return tuple(todo)
    remaining = []
    for finding in (*todo, *uncovered(best, todo, situation)):
        if finding.kind in best.treated:
            continue
        # What the user sees is there, whatever the instruments say.
        by_user = finding.source == "user"
        now = finding if by_user else _measured(best.measurement, finding.kind) or finding
        if now.level >= situation.preset.level_needed(finding.kind):
            remaining.append(now)
    return tuple(remaining)


UNCOVERS: Mapping[Kind, frozenset[Kind]] = {
    Kind.HAZE: frozenset({Kind.RAIN, Kind.SNOW, Kind.NOISE}),
    Kind.LOW_LIGHT: frozenset({Kind.RAIN, Kind.SNOW, Kind.NOISE, Kind.HAZE}),
    Kind.NOISE: frozenset({Kind.RAIN, Kind.HAZE, Kind.LOW_LIGHT}),
    Kind.PEPPER_NOISE: frozenset({Kind.NOISE, Kind.RAIN, Kind.HAZE, Kind.LOW_LIGHT}),
    Kind.RAIN: frozenset({Kind.HAZE, Kind.NOISE}),
    Kind.SNOW: frozenset({Kind.HAZE, Kind.NOISE}),
}
"""What a treatment may bring to light that it hid; anything else that appears after it is its own doing."""


def uncovered(best: Attempt, todo: Iterable[Finding], situation: Situation) -> tuple[Finding, ...]:
    """Findings on a treated picture that the inspection of the original could not be sure of.

    What the original had hinted at, below the policy's confidence, needs only the policy's least confidence now: it was seen twice.
    """
    if best.measurement is None:
        return ()
    preset = situation.preset
    known = {finding.kind for finding in todo} | set(best.treated)
    hidden = frozenset().union(*(UNCOVERS.get(kind, frozenset()) for kind in best.treated))

    def twice(now: Finding) -> bool:
        hint = situation.report.finding(now.kind)
        return (
            hint is not None
            and now.kind not in preset.leave
            and hint.level > Level.ABSENT
            and now.confidence >= preset.minimal_confidence
            and now.level >= preset.level_needed(now.kind)
        )

    return tuple(
        f
        for f in best.measurement.findings
        if f.kind in hidden and f.kind not in known and (preset.acts_on(f) or twice(f))
    )


def _measured(measurement: Measurement | None, kind: Kind) -> Finding | None:
    return None if measurement is None else measurement.finding(kind)


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


def _usable(situation: Situation) -> dict[str, RestorerCard]:
    """The cards but those that failed in this run: no weights, no memory; they would fail again."""
    broken = {a.call.restorer for a in situation.attempts if a.status == "failed"}
    return {name: card for name, card in situation.cards.items() if name not in broken}


def _composed(
    situation: Situation, remaining: Sequence[Finding], planned: Sequence[ToolCall]
) -> ToolCall | None:
    """The lead for all that was found, and for what the inspection was not sure of."""
    preset, found = situation.preset, {finding.kind: finding for finding in remaining}
    best = find_attempt(situation.attempts, situation.best)
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
    card = _usable(situation).get(situation.preferences.lead)
    if card is None or not card.ready() or card.scale != 1:
        return None
    both = {**found, **hints}
    named = [both[kind] for kind in in_treatment_order(both) if _helps(card, both[kind], situation)]
    return _new(_call(situation, card.name, named), situation, planned) if named else None


def _looking(
    situation: Situation, remaining: Sequence[Finding], planned: Sequence[ToolCall]
) -> ToolCall | None:
    """A restorer that sees for itself what is wrong, told what was found; None without one."""
    card = next((c for c in _usable(situation).values() if c.looks and c.ready()), None)
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
    cards = _usable(situation)
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
    todo = actionable(situation.report, situation.preset, situation.targets)
    left = {
        f.kind: f for f in _remaining(situation, todo) if f.kind not in call.prompt.degradations
    }
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
                    finding.kind, finding.level, _usable(situation), margin=margin
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


def _redo(situation: Situation) -> ToolCall | None:
    """From the original once more, asking more strongly for what is still there."""
    best = find_attempt(situation.attempts, situation.best)
    if best is None or best.call.source != ORIGINAL:
        return None
    card = situation.cards.get(best.call.restorer)
    if card is None or not card.understands_strength:
        return None
    bounds = situation.bounds()
    left_over = [
        f.kind
        for kind in best.treated
        if kind not in situation.settled
        and (f := _measured(best.measurement, kind)) is not None
        and f.level > bounds.get(kind, situation.preset.target_level)
        and f.confidence >= situation.preset.confidence_needed(kind)
    ]
    redone = sum(
        1 for a in situation.attempts if a.call.same_treatment(best.call) and a.call.calls_tool
    )
    if not left_over or redone > situation.preset.max_redos:
        return None
    if len(chain_of(situation.attempts, best.id)) > 1:
        return None
    prompt = shifted(best.call.prompt, left_over, situation.preset.strength_step)
    if prompt == best.call.prompt:
        return None
    names = ", ".join(kind.value for kind in left_over)
    return best.call.model_copy(
        update={
            "prompt": prompt,
            "source": ORIGINAL,
            "blend": 1.0,
            "reuses": "",
            "rationale": f"{names} still there: redo from the original, more strongly",
        }
    )
