"""Hearing what a person says during a run.

The words are read as in a dialogue. There the picture is made anew at once; here they change what is still to be done. What was done against
them is done again from the same source; its first result stays the best until the new one is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from conservator.agent.dialogue.language import read_line
from conservator.agent.dialogue.reading import Reader
from conservator.agent.dialogue.treatment import Treat, Treatment, Untouched
from conservator.agent.dialogue.tree import Turn, Wish
from conservator.agent.dialogue.wording import named, wish_words
from conservator.agent.wishes import Said, as_wished
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall, chain_of, find_attempt
from conservator.policies.review import review
from conservator.policies.situation import Situation
from conservator.policies.strength import LEAST_SEVERITY
from conservator.restorers.degradations.vocabulary import Kind, Level, level_of, value_at
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.model import RestorationPrompt

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState
    from conservator.agent.vlm.asked import Asked

__all__ = ["Heard", "hear"]

_WHOLE_ONLY: Final = (
    "during a run the whole photo is treated alike; `conservator chat` treats parts"
)


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
    todo = situation.todo()
    strengths = {finding.kind: finding.value for finding in todo}
    best = situation.best_attempt()
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
        new = as_wished(call, (said,), situation)
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
    new = as_wished(step.call, (said,), situation)
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
