"""From the user's words to wishes, and from wishes to a changed treatment."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from conservator.agent.dialogue.treatment import (
    Addition,
    Treatment,
    changed_in,
    inside,
    moved,
    set_to,
    strengths,
    without,
)
from conservator.agent.dialogue.tree import Turn, Wish
from conservator.agent.vlm.asked import Asked
from conservator.policies.comments import Comment, read_comment
from conservator.policies.dose import next_dose
from conservator.policies.places import PLACES, Statement, read_statements
from conservator.policies.preferences import Preferences
from conservator.policies.preset import Preset
from conservator.policies.refinement import STEP, Change, refined
from conservator.policies.strength import LEAST_SEVERITY
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Kind,
    level_of,
    severity_of,
    value_at,
)
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts import plain
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.look import Pixels
from conservator.tools.regions import Region, coverage

if TYPE_CHECKING:
    from conservator.agent.vlm.exchange import Allowance
    from conservator.agent.vlm.seat import Seat

__all__ = ["Reader", "Reading", "louder", "settled"]

LONGEST: Final = 500
"""Characters of a sentence; more is a pasted text and no comment."""
_LEAST_PART: Final = 0.003
"""Share of the photo below which a place counts as not found."""
_ALONE: Final = re.compile(
    r"(?:please )?(?:keep|leave|preserve|spare|protect|restore|don't touch|do not touch|don't change|do not change)"
    r"(?: (?:it|alone|untouched|unchanged|as|is|was|original|the|from|everything))*"
)
"""About a place: leave it as it came in."""
_ELSEWHERE: Final = re.compile(r"(?:on|in|around|at|over|for) .*\b(?!edges?\b)\w+$")


@dataclass(frozen=True)
class Reading:
    """What was understood.

    Attributes:
        wishes: by place, in the order of the words; empty when nothing is to be done.
        remarks: what was not understood, and what cannot be done, in plain words.
        understood: False where no word of it could be read.
        decided_by: `policy` for the rules, `vlm` where the model read what they could not.
        first_steps: whether strengths moved by whole steps; they may go further when nobody would see a difference.
    """

    wishes: tuple[Wish, ...] = ()
    remarks: tuple[str, ...] = ()
    understood: bool = True
    decided_by: str = "policy"
    asked: tuple[Asked, ...] = ()
    first_steps: bool = False


@dataclass(frozen=True)
class Reader:
    """What reading depends on.

    Attributes:
        original: the input, (H, W, 3), float32, [0, 1]; places are looked for in it.
        report: what was found on it, for the strength of what is added.
        ready: whether a restorer can be called here: its weights and packages are there.
        seat: the vision-language model, asked where the rules leave something unread.
        allowance: what its question may take.
    """

    original: Pixels = field(repr=False)
    report: ConditionReport
    preset: Preset
    preferences: Preferences
    cards: Mapping[str, RestorerCard]
    ready: Callable[[str, str], bool]
    seed: int = 0
    seat: Seat | None = None
    allowance: Allowance | None = None

    def read(self, words: str, treatment: Treatment, path: Sequence[Turn]) -> Reading:
        """Read what the user says about the picture of `treatment`, after the turns of `path`.

        Raises:
            PromptError: a place that is not found, or words too long to be a comment.
        """
        if len(words) > LONGEST:
            raise PromptError(
                f"a comment of {len(words)} characters is too long; say it in a sentence"
            )
        height, width = self.original.shape[:2]
        wishes: list[Wish] = []
        remarks: list[str] = []
        asked: list[Asked] = []
        first_steps = False
        for statement in read_statements(words, width=width, height=height):
            self._look_for(statement.region)
            comment = self._comment(statement, inside(treatment, statement.region), asked)
            wish, notes, steps = self._wish(statement, comment, treatment, path)
            remarks += notes
            first_steps |= steps
            if wish.kinds:
                wishes.append(wish)
                treatment = self.carried_out(treatment, (wish,))
        by_model = any(one.status == "answered" for one in asked)
        return Reading(
            wishes=tuple(wishes),
            remarks=tuple(dict.fromkeys(remarks)),
            understood=bool(wishes) or not any("understand" in remark for remark in remarks),
            decided_by="vlm" if by_model else "policy",
            asked=tuple(asked),
            first_steps=first_steps,
        )

    def carried_out(self, treatment: Treatment, wishes: Sequence[Wish]) -> Treatment:
        """The treatment as the wishes change it."""
        for wish in wishes:
            for kind in wish.kinds:
                treatment = changed_in(treatment, wish.region, self._change(wish, kind))
        return treatment

    def sparing(self, treatment: Treatment, said: Iterable[Wish]) -> Treatment:
        """The treatment without what the user wants left alone in parts of the photo, after all that was said."""
        for (kind, region), wish in settled(said).items():
            if region is not None and wish.changes.get(kind) == "off":
                treatment = changed_in(treatment, region, _leave(kind, wish))
        return treatment

    def _change(self, wish: Wish, kind: Kind) -> Callable[[Treatment], Treatment]:
        if wish.changes.get(kind) == "off":
            return _leave(kind, wish)

        def change(treatment: Treatment) -> Treatment:
            value = wish.values.get(kind)
            if value is not None:
                return set_to(treatment, kind, value, self._addition(kind, value, treatment))
            dose = wish.doses.get(kind, 0.0)
            if dose == 0:
                return treatment
            first = value_at(kind, max(LEAST_SEVERITY, dose))
            addition = self._addition(kind, first, treatment) if dose > 0 else None
            return moved(treatment, kind, dose, self.cards, addition, first)

        return change

    def _addition(self, kind: Kind, value: float, treatment: Treatment) -> Addition | None:
        """The restorer that measured best for a kind; one that gained nothing there only where there is no other."""
        alone = not set(strengths(treatment)) - {kind}
        margin = self.preset.specialist_margin if alone else self.preset.composite_margin
        ranked = self.preferences.ranked(kind, level_of(kind, value), self.cards, margin=margin)
        names = [option.restorer for option in ranked]
        names += [n for n, c in self.cards.items() if kind in c.treats and c.scale == 1]
        for name in dict.fromkeys(names):
            sizes = self.cards[name].configurations
            wanted = self.preset.configuration
            size = wanted if wanted in sizes or not sizes else next(iter(sizes))
            if self.ready(name, size):
                return Addition(self.cards[name], size, self.seed, self.report.scene)
        return None

    def _look_for(self, region: Region | None) -> None:
        if region is None or region.found is None:
            return
        bare = region.model_copy(update={"outside": False})
        if coverage(bare, self.original) < _LEAST_PART:
            what = {"faces": "a face", "sky": "a sky"}.get(region.found, str(region.found))
            raise PromptError(
                f"I cannot find {what} in the photo as it came in; name a box or a side instead ({PLACES})"
            )

    def _comment(self, statement: Statement, treatment: Treatment, asked: list[Asked]) -> Comment:
        """The statement as changes: by rule, and by the model where the rules leave something unread."""
        prompt = RestorationPrompt(degradations=strengths(treatment), semantic=self.report.scene)
        by_rule = read_comment(statement.text, prompt)
        if not by_rule.unmapped or self.seat is None or self.allowance is None:
            return by_rule
        if _elsewhere(by_rule) or (statement.region and _ALONE.fullmatch(statement.text)):
            return by_rule
        said = self.seat.refine(statement.text, prompt, self.report, self.allowance)
        if said.asked is not None:
            asked.append(said.asked)
        if said.decided_by != "vlm" or not said.comment.changes:
            return by_rule
        # What the rules read they read for certain.
        changes = {**said.comment.changes, **by_rule.changes}
        return Comment(changes=changes, amount=by_rule.amount)

    def _wish(
        self, statement: Statement, comment: Comment, whole: Treatment, path: Sequence[Turn]
    ) -> tuple[Wish, list[str], bool]:
        """The wish of a statement, remarks on it, and whether its strengths move by whole steps."""
        region = statement.region
        if region is not None and _ALONE.fullmatch(statement.text):
            return Wish(region=region, changes=dict.fromkeys(Kind, "off")), [], False
        if place := _elsewhere(comment):
            return (
                Wish(region=region),
                [f"I do not know where that is: {place!r}. I can find: {PLACES}"],
                False,
            )
        numbers = _numbers(statement.text)
        if numbers:
            return Wish(region=region, values=numbers), [], False
        remarks = [
            f"I do not understand: {piece!r}" for piece in comment.unmapped if "edge" not in piece
        ]
        treated = strengths(inside(whole, region))
        changes: dict[Kind, Change] = {}
        doses: dict[Kind, float] = {}
        steps = False
        for kind, change in comment.changes.items():
            name = kind.value.replace("_", " ")
            earlier = _doses(path, kind, region)
            if change == "less" and kind not in treated:
                remarks.append(_nothing_to_lessen(kind, name))
                continue
            changes[kind] = change
            if change == "off":
                continue
            if change != "less" and kind not in treated and not any(d > 0 for d in earlier):
                doses[kind] = self._first_dose(kind, comment.amount)
                continue
            direction: Literal["more", "less"] = "less" if change == "less" else "more"
            dose = next_dose(earlier, direction, amount=comment.amount)
            doses[kind] = round(dose, 4)
            steps |= math.isclose(abs(dose), comment.amount * STEP)
        return Wish(region=region, changes=changes, doses=doses), remarks, steps

    def _first_dose(self, kind: Kind, amount: float) -> float:
        """Severity at which an untreated kind is treated first: as measured on the input, medium where it was not seen."""
        prompt = refined(RestorationPrompt(), {kind: "add"}, self.report)
        severity = severity_of(kind, prompt.degradations[kind])
        return round(min(1.0, max(LEAST_SEVERITY, severity * (0.5 + amount / 2))), 4)


def louder(wishes: Sequence[Wish], factor: float) -> tuple[Wish, ...]:
    """The wishes with larger doses, for restorers that hardly answer to small ones."""

    def times(dose: float) -> float:
        return round(max(-1.0, min(1.0, dose * factor)), 4)

    return tuple(
        wish.model_copy(update={"doses": {kind: times(d) for kind, d in wish.doses.items()}})
        for wish in wishes
    )


def settled(said: Iterable[Wish]) -> dict[tuple[Kind, Region | None], Wish]:
    """The last wish about each kind in each place; what is left alone everywhere needs no word about its parts."""
    last: dict[tuple[Kind, Region | None], Wish] = {}
    for wish in said:
        for kind in wish.kinds:
            if wish.region is None and wish.changes.get(kind) == "off":
                last = {key: w for key, w in last.items() if key[0] is not kind}
            last[kind, wish.region] = wish
    return last


def _doses(path: Sequence[Turn], kind: Kind, region: Region | None) -> list[float]:
    """By how much the user's words moved a kind in a place, since it was last left alone or set to a number."""
    found: list[float] = []
    for turn in path:
        for wish in turn.wishes:
            if wish.region != region or kind not in wish.kinds:
                continue
            if kind in wish.doses:
                found.append(wish.doses[kind])
            else:
                found.clear()
    return found


def _leave(kind: Kind, wish: Wish) -> Callable[[Treatment], Treatment]:
    everything = set(wish.changes) == set(Kind)
    return lambda treatment: without(treatment, None if everything else kind)


def _numbers(text: str) -> dict[Kind, float]:
    """Strengths that the user gives as numbers: "noise sigma 15"."""
    if not re.search(r"\d", text):
        return {}
    reading = plain.read(text)
    return {} if reading.unmapped or reading.denied else dict(reading.strengths)


def _elsewhere(comment: Comment) -> str:
    """A place that was named and cannot be found; "" without one."""
    return next(
        (
            piece
            for piece in comment.unmapped
            if _ELSEWHERE.fullmatch(piece) and not piece.endswith(("edge", "edges"))
        ),
        "",
    )


def _nothing_to_lessen(kind: Kind, name: str) -> str:
    if kind is Kind.LOW_LIGHT:
        return "nothing here brightens the photo, so there is nothing to take back; I do not darken photos"
    return f"nothing here treats {name}, so there is nothing to take back"
