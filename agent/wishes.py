"""What a person says during a run, and what it makes of the plan: changed prompts from there on, kinds left alone, kinds treated as well.

The words are read as in a dialogue. There the picture is made anew at once; here they change what is still to be done. What was done against
them is done again from the same source; its first result stays the best until the new one is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from conservator.agent.dialogue.language import read_line
from conservator.agent.dialogue.reading import Reader
from conservator.agent.dialogue.treatment import Treat, Treatment, Untouched
from conservator.agent.dialogue.tree import Turn, Wish
from conservator.agent.dialogue.wording import named, wish_words
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall, chain_of, find_attempt
from conservator.policies.planner import Situation, actionable
from conservator.policies.refinement import STEP, refined
from conservator.policies.review import review
from conservator.policies.strength import LEAST_SEVERITY
from conservator.policies.targets import KindTarget
from conservator.restorers.degradations.vocabulary import (
    Finding,
    Kind,
    Level,
    level_of,
    value_at,
)
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.model import RestorationPrompt

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState
    from conservator.agent.vlm.asked import Asked
    from conservator.policies.refinement import Change

__all__ = ["Heard", "Said", "as_said", "hear", "planned_as_said"]

_WHOLE_ONLY: Final = (
    "during a run the whole photo is treated alike; `conservator chat` treats parts"
)


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


@dataclass(frozen=True)
class Heard:
    """What came of words.

    Attributes:
        lines: the answer: what will be different, and what was not understood or cannot be done.
        understood: whether anything follows from them.
        update: of the run's state.
        asked: questions to a vision-language model.
    """

    lines: tuple[str, ...]
    understood: bool = False
    update: Mapping[str, Any] = field(default_factory=dict)
    asked: tuple[Asked, ...] = ()


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


def hear(words: str, state: RunState, context: RunContext) -> Heard:
    """Read words, and change what is still to be done."""
    command = read_line(words)
    if command.verb != "refine":
        return Heard((f"{words.strip()!r} is for `conservator chat`; say what is to be different",))
    situation = context.situation(state)
    before = _under_way(state, situation)
    reader = _reader(situation, state, context)
    try:
        reading = reader.read(command.words[0], before, _turns(state))
    except PromptError as error:
        return Heard((str(error),))
    remarks = list(reading.remarks)
    if any(wish.region is not None for wish in reading.wishes):
        remarks.append(_WHOLE_ONLY)
    wishes = tuple(wish for wish in reading.wishes if wish.region is None)
    fresh = _fresh(wishes, before)
    faint = [kind for kind, value in fresh.items() if level_of(kind, value) < Level.LOW]
    remarks += [f"so little {named(kind)} is not treated" for kind in faint]
    if not wishes or faint:
        nothing = () if remarks else ("nothing to change; say what is to be different",)
        content = reading.understood and not reading.wishes
        return Heard((*remarks, *nothing), content, asked=reading.asked)
    said = Said(words=words.strip(), wishes=wishes, fresh=fresh, since=len(state["attempts"]))
    update, lines, done = _carried_out(said, state, context)
    if done:
        after = reader.carried_out(before, wishes)
        read = [line for wish in wishes for line in wish_words(wish, before, after)]
        lines = [*read, *lines]
    return Heard((*lines, *remarks), done, update, reading.asked)


def _under_way(state: RunState, situation: Situation) -> Treatment:
    """What is treated, or will be if nobody says otherwise; no restorer's in particular."""
    todo = actionable(situation.report, situation.preset, situation.targets)
    strengths = {finding.kind: finding.value for finding in todo}
    best = find_attempt(situation.attempts, situation.best)
    strengths |= {} if best is None else best.treated
    for call in state["queue"]:
        strengths |= call.prompt.degradations
    if not strengths:
        return Untouched()
    prompt = RestorationPrompt(degradations=strengths)
    return Treat(source=Untouched(), restorer="", configuration="", prompt=prompt)


def _reader(situation: Situation, state: RunState, context: RunContext) -> Reader:
    seat = context.seat
    return Reader(
        original=context.picture.pixels,
        report=situation.report,
        preset=situation.preset,
        preferences=situation.preferences,
        cards=situation.cards,
        ready=lambda name, size: situation.cards[name].ready(size),
        seed=situation.seed,
        seat=seat,
        allowance=None if seat is None else context.allowance(state["spent"]),
    )


def _turns(state: RunState) -> list[Turn]:
    """What was said so far as the turns of a dialogue, so that "more" after "less" goes half the way back."""
    return [
        Turn(
            id=f"t{number}",
            parent=ORIGINAL if number == 1 else f"t{number - 1}",
            instruction="refine",
            words=one.words,
            wishes=one.wishes,
            treatment=Untouched(),
        )
        for number, one in enumerate(state.get("said", ()), 1)
    ]


def _fresh(wishes: Iterable[Wish], before: Treatment) -> dict[Kind, float]:
    """Kinds that wishes ask to treat as well, with the strengths."""
    treated = before.prompt.degradations if isinstance(before, Treat) else {}
    found: dict[Kind, float] = {}
    for wish in wishes:
        for kind in wish.kinds:
            if kind in treated or wish.changes.get(kind) == "off":
                continue
            dose = wish.doses.get(kind, 0.0)
            if kind in wish.values or dose > 0:
                found[kind] = wish.values.get(kind, value_at(kind, max(dose, LEAST_SEVERITY)))
    return found


def _carried_out(
    said: Said, state: RunState, context: RunContext
) -> tuple[dict[str, Any], list[str], bool]:
    """The update that follows from words, what is told of it, and whether it is done."""
    after: Any = {**state, "said": (*state.get("said", ()), said)}
    situation = context.situation(after)
    queue: list[ToolCall] = []
    lines: list[str] = []
    for call in state["queue"]:
        new = _as_wished(call, (said,), situation)
        if new is None:
            lines.append(f"{call.words} is left out")
            continue
        if new != call:
            if complaint := review(new, situation):
                return {}, [complaint], False
            lines.append(f"{call} becomes {new}")
        queue.append(new)
    best = _sparing(said, state)
    if best != state["best"]:
        lines.append(f"{state['best']} is put aside, going on from {best}")
        queue = [call for call in queue if call.source in (ORIGINAL, best)]
    moved = {kind for wish in said.wishes for kind in wish.kinds if _moves(wish, kind)}
    moved -= set(said.fresh)
    redo = None
    if moved.isdisjoint(kind for call in queue for kind in call.kinds):
        step = next(
            (s for s in chain_of(state["attempts"], best) if moved & set(s.call.kinds)), None
        )
        if step is not None:
            redo = _again(step, best, said, situation)
            if redo is None:
                best, queue = step.call.source, []
                lines.append(f"{step.id} is put aside, going on from {best}")
    if redo is not None:
        limit = context.clock.limit(state["spent"]) if redo.calls_tool else None
        room = f"the limit of {limit} leaves no room for it" if limit else ""
        if complaint := room or review(redo, situation):
            return {}, [complaint], False
        lines.append(f"instead of {best}: {redo}")
        queue = [redo]
    update = {"said": after["said"], "queue": tuple(queue), "best": best, "exhausted": False}
    return update, lines, True


def _sparing(said: Said, state: RunState) -> str:
    """The best node that was not treated for what these words leave alone."""
    left = {k for wish in said.wishes for k in wish.kinds if wish.changes.get(k) == "off"}
    attempts = tuple(state["attempts"])

    def spares(attempt: Attempt) -> bool:
        # A restorer that looks for itself may have treated what it was not told.
        looked = any(step.call.prompt.blind for step in chain_of(attempts, attempt.id))
        return left.isdisjoint(attempt.treated) and not looked

    best = find_attempt(attempts, state["best"])
    if not left or best is None or spares(best):
        return state["best"]
    others = [attempt for attempt in attempts if attempt.accepted and spares(attempt)]
    return max(others, key=lambda attempt: attempt.gain).id if others else ORIGINAL


def _moves(wish: Wish, kind: Kind) -> bool:
    return kind in wish.values or wish.doses.get(kind, 0.0) != 0


def _again(step: Attempt, best: str, said: Said, situation: Situation) -> ToolCall | None:
    """An accepted step once more, as the words want it; None where they want nothing of it."""
    new = _as_wished(step.call, (said,), situation)
    if new is None:
        return None
    card = situation.cards.get(new.restorer)
    blends = card is not None and not card.understands_strength and step.call.blend == 1
    # What is only mixed with its source in other shares is there already.
    return new.model_copy(
        update={
            "replaces": best,
            "reuses": step.id if blends else new.reuses,
            "source": step.call.source,
        }
    )


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
        new = _as_wished(call, [one for one in counting if one.since >= born], situation)
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

    def counts(kind: Kind, number: int) -> bool:
        last = off.get(kind, -1)
        return number > last or (number == last and kind in situation.spared)

    return [
        one.model_copy(
            update={
                "wishes": tuple(
                    wish.model_copy(
                        update={
                            name: {k: v for k, v in given.items() if counts(k, number)}
                            for name, given in (
                                ("changes", wish.changes),
                                ("doses", wish.doses),
                                ("values", wish.values),
                            )
                        }
                    )
                    for wish in one.wishes
                )
            }
        )
        for number, one in enumerate(said)
    ]


def _as_wished(call: ToolCall, said: Iterable[Said], situation: Situation) -> ToolCall | None:
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
    todo = actionable(situation.report, situation.preset, situation.targets)
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
