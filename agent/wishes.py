"""What a person said during a run, and what it makes of plans: changed strengths, kinds left alone, kinds treated as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict

from conservator.agent.dialogue.tree import Wish
from conservator.policies.attempt import ToolCall
from conservator.policies.refinement import STEP, refined
from conservator.policies.review import review
from conservator.policies.situation import Situation
from conservator.policies.strength import LEAST_SEVERITY
from conservator.policies.targets import KindTarget
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level
from conservator.restorers.prompts.model import RestorationPrompt

if TYPE_CHECKING:
    from conservator.policies.refinement import Change

__all__ = ["Said", "as_said", "as_wished", "planned_as_said"]

T = TypeVar("T")


class Said(BaseModel):
    """Words that count from some point of a run on.

    Attributes:
        wishes: how they were read; all are about the whole photo.
        fresh: kinds that nobody was going to treat -> the strength that is asked for now.
        since: attempts that had been made by then.
    """

    model_config = ConfigDict(frozen=True)

    words: str
    wishes: tuple[Wish, ...]
    fresh: Mapping[Kind, float] = {}
    since: int = 0


def as_said(situation: Situation, said: Sequence[Said]) -> Situation:
    """What the planner sees after these words: what is left alone, what is found because the user says so."""
    if not said:
        return situation
    left, asked, settled = _standing(said)
    preset = situation.preset
    report = situation.report
    others = [finding for finding in report.findings if finding.kind not in asked]
    users = [
        Finding(kind=kind, value=value, confidence=1.0, source="user")
        for kind, value in asked.items()
    ]
    leave = [kind for kind in preset.leave if kind not in asked]
    return situation.model_copy(
        update={
            "report": report.model_copy(update={"findings": (*others, *users)}),
            "preset": preset.model_copy(
                update={
                    "leave": tuple(dict.fromkeys((*leave, *left))),
                    "level": {**preset.level, **dict.fromkeys(asked, Level.LOW)},
                }
            ),
            "targets": tuple(
                target
                for target in situation.targets
                if not (isinstance(target, KindTarget) and target.kind in left)
            ),
            "settled": frozenset(settled),
            "spared": (situation.spared - settled) | left,
        }
    )


def _standing(said: Iterable[Said]) -> tuple[set[Kind], dict[Kind, float], set[Kind]]:
    """Kinds to leave alone, kinds asked for with their strength, kinds whose strength is the user's; the last word counts."""
    left, asked, settled = set[Kind](), dict[Kind, float](), set[Kind]()
    for one in said:
        for wish in one.wishes:
            for kind in wish.kinds:
                if wish.changes.get(kind) == "off":
                    left.add(kind)
                    settled.discard(kind)
                    asked.pop(kind, None)
                    continue
                left.discard(kind)
                settled.add(kind)
                if kind in one.fresh:
                    asked[kind] = one.fresh[kind]
    return left, asked, settled


def planned_as_said(
    calls: Iterable[ToolCall], situation: Situation, said: Sequence[Said]
) -> tuple[tuple[ToolCall, ...], tuple[str, ...]]:
    """A policy's or a model's calls, as the words since then want them, and what stands in the way.

    A call that goes on from an earlier attempt has that attempt's words in it already.
    """
    kept: list[ToolCall] = []
    notes: list[str] = []
    counting = _counting(said, situation)
    for planned in calls:
        # "All but the grain" cannot be said to a restorer that looks for itself.
        call = _listing(planned, situation) if situation.spared else planned
        family = [n for n, a in enumerate(situation.attempts, 1) if a.call.same_treatment(call)]
        born = max(family, default=0)
        new = as_wished(call, [one for one in counting if one.since >= born], situation)
        if new is None:
            continue
        if new != call and (complaint := review(new, situation)):
            notes.append(complaint)
            new = call
        kept.append(new)
    return tuple(kept), tuple(notes)


def _counting(said: Sequence[Said], situation: Situation) -> list[Said]:
    """The words without those about kinds that were left alone later, and without that where they are not any more."""
    off = {
        kind: number
        for number, one in enumerate(said)
        for wish in one.wishes
        for kind, change in wish.changes.items()
        if change == "off"
    }

    def counting(given: Mapping[Kind, T], number: int) -> dict[Kind, T]:
        kept: dict[Kind, T] = {}
        for kind, value in given.items():
            last = off.get(kind, -1)
            if number > last or (number == last and kind in situation.spared):
                kept[kind] = value
        return kept

    def rest(wish: Wish, number: int) -> Wish:
        return Wish(
            changes=counting(wish.changes, number),
            doses=counting(wish.doses, number),
            values=counting(wish.values, number),
        )

    return [
        one.model_copy(update={"wishes": tuple(rest(wish, number) for wish in one.wishes)})
        for number, one in enumerate(said)
    ]


def as_wished(call: ToolCall, said: Iterable[Said], situation: Situation) -> ToolCall | None:
    """The call with the words' changes; None when nothing is left of it."""
    new, words = call, list[str]()
    for one in said:
        before = new
        for wish in one.wishes:
            for kind in wish.kinds:
                changed = _with(new, kind, wish, one.fresh, situation)
                if changed is None:
                    return None
                new = changed
        if new != before:
            words.append(one.words)
    if new == call:
        return call
    rationale = f"{call.rationale}; as you said: {'; '.join(words)}"
    return new.model_copy(update={"decided_by": "user", "rationale": rationale, "trial": ""})


def _with(
    call: ToolCall, kind: Kind, wish: Wish, fresh: Mapping[Kind, float], situation: Situation
) -> ToolCall | None:
    """The call with one kind changed; None when nothing is left of it."""
    if wish.changes.get(kind) == "off":
        call = _listing(call, situation)
        rest = {k: v for k, v in call.prompt.degradations.items() if k is not kind}
        return _asking(call, rest)
    strengths = call.prompt.degradations
    if kind not in strengths or kind in fresh:
        return call
    if kind in wish.values:
        return _asking(call, {**strengths, kind: wish.values[kind]})
    dose = wish.doses.get(kind, 0.0)
    card = situation.cards.get(call.restorer)
    if card is not None and not card.understands_strength:
        blend = round(min(1.0, call.blend + dose), 4)
        return None if blend < LEAST_SEVERITY else call.model_copy(update={"blend": blend})
    change: Change = "more" if dose > 0 else "less"
    moved = refined(call.prompt, {kind: change}, amount=abs(dose) / STEP) if dose else call.prompt
    return _asking(call, moved.degradations)


def _listing(call: ToolCall, situation: Situation) -> ToolCall:
    """The call with what was found by name, in place of a restorer's own look."""
    card = situation.cards.get(call.restorer)
    if not call.prompt.blind or card is None:
        return call
    todo = situation.todo()
    found = {f.kind: f.value for f in todo if f.kind in card.treats}
    listed = {**found, **call.prompt.degradations}
    prompt = RestorationPrompt(degradations=listed, semantic=call.prompt.semantic)
    return call.model_copy(update={"prompt": prompt, "reuses": ""})


def _asking(call: ToolCall, strengths: Mapping[Kind, float]) -> ToolCall | None:
    """The call with these strengths, made anew; None when there are none."""
    if not strengths:
        return None
    if strengths == call.prompt.degradations:
        return call
    prompt = call.prompt.model_copy(
        update={"degradations": {k: strengths[k] for k in Kind if k in strengths}}
    )
    return call.model_copy(update={"prompt": prompt, "reuses": ""})
