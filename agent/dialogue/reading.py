"""From the user's words to wishes, and from wishes to a changed treatment."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

from conservator.agent.dialogue.parts import unknown_part
from conservator.agent.dialogue.treatment import (
    Addition,
    Treatment,
    changed_in,
    inside,
    moved,
    set_to,
    showing,
    strengths,
    without,
)
from conservator.agent.dialogue.tree import Turn, Wish
from conservator.agent.vlm.asked import Asked
from conservator.policies.comments import Comment, read_comment
from conservator.policies.dose import next_dose
from conservator.policies.intents import kept_kinds
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
_QUESTION: Final = re.compile(
    r"(?:is|are|was|were|did|does|do|has|have|what|how|where|when|who|which)\b.*\?", re.IGNORECASE
)
_SOMETHING: Final = RestorationPrompt(degradations={Kind.NOISE: 10})
"""What "too strong" would be about if anything were treated."""
_LEAST_PART: Final = 0.003
"""Share of the photo below which a place counts as not found."""
_ALONE: Final = re.compile(
    r"(?:please )?(?:keep|leave|preserve|spare|protect|restore|don't touch|do not touch|don't change|do not change)"
    r"(?: (?:it|alone|untouched|unchanged|as|is|was|original|the|from|everything))*"
)
"""About a place: leave it as it came in."""
_SHOWS: Final = re.compile(
    r"(?:(?:it|this|that|he|she|they|these|those|there)(?: is| are|'s|'re)"
    r"|(?:it|this|the (?:photo|picture|image)) (?:shows|depicts|is of))"
    r" (?:(?:actually|really|in fact) )?(?:(?:an?|the) (?:photo|picture|image) of )?"
    r"(?P<scene>(?:an?|the|my|our|his|her|their|two|three|some) .+)",
    re.IGNORECASE,
)
"""What the photo shows: "it is a zebra"."""


@dataclass(frozen=True)
class Understood:
    """One statement, read.

    Attributes:
        unread: pieces without a meaning.
        remarks: what cannot be done.
        steps: whether strengths move by whole steps.
        by_model: whether the vision-language model read some of it.
    """

    wish: Wish
    unread: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    steps: bool = False
    by_model: bool = False


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
        if _QUESTION.fullmatch(words.strip()):
            answers = "that is a question; I answer why, compare and tree, and change what you say is not right"
            return Reading(remarks=(answers,), understood=False)
        height, width = self.original.shape[:2]
        wishes: list[Wish] = []
        read: list[Understood] = []
        asked: list[Asked] = []
        for statement in read_statements(words, width=width, height=height):
            scene, statement = _scene_in(statement)
            if scene:
                wishes.append(Wish(shows=scene))
                treatment = self.carried_out(treatment, wishes[-1:])
                if not statement.text:
                    continue
            self._look_for(statement.region)
            understood = self._understood(statement, treatment, path, asked)
            read.append(understood)
            if understood.wish.kinds:
                wishes.append(understood.wish)
                treatment = self.carried_out(treatment, (understood.wish,))
        remarks = [remark for one in read for remark in one.remarks]
        unread = [f"I do not understand: {piece!r}" for one in read for piece in one.unread]
        by_model = any(one.by_model for one in read)
        return Reading(
            wishes=tuple(wishes),
            remarks=tuple(dict.fromkeys((*remarks, *unread))),
            understood=bool(wishes) or not unread,
            decided_by="vlm" if by_model else "policy",
            asked=tuple(asked),
            first_steps=any(one.steps for one in read),
        )

    def carried_out(self, treatment: Treatment, wishes: Sequence[Wish]) -> Treatment:
        """The treatment as the wishes change it."""
        reader = self
        for wish in wishes:
            if wish.shows:
                reader = reader.told(wish.shows)
                treatment = showing(treatment, wish.shows, self.cards)
            for kind in wish.kinds:
                treatment = changed_in(treatment, wish.region, reader._change(wish, kind))
        return treatment

    def told(self, scene: str) -> Reader:
        """The reader who knows what the photo shows."""
        return replace(self, report=self.report.model_copy(update={"scene": scene}))

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

    def _understood(
        self,
        statement: Statement,
        whole: Treatment,
        path: Sequence[Turn],
        asked: list[Asked],
    ) -> Understood:
        """Read a statement about the picture of the treatment `whole`."""
        region, text = statement.region, statement.text
        if region is not None and _ALONE.fullmatch(text):
            return Understood(Wish(region=region, changes=dict.fromkeys(Kind, "off")))
        if numbers := _numbers(text):
            return self._given(numbers, region, whole)
        treated = strengths(inside(whole, region))
        prompt = RestorationPrompt(degradations=treated, semantic=self.report.scene)
        comment = read_comment(text, prompt)
        if comment.unmapped and (kept := kept_kinds(text)):
            comment = Comment(changes=dict.fromkeys(kept, "off"))
        if not treated and not comment.changes and read_comment(text, _SOMETHING).changes:
            nothing = "nothing is treated here yet; say restore, or what is not right"
            return Understood(Wish(region=region), remarks=(nothing,))
        place = unknown_part(text, comment, prompt)
        if place and (comment.changes or not comment.unmapped):
            # What is meant for a part must not be done to the whole.
            remark = f"I do not know where that is: {place!r}. I can find: {PLACES}"
            return Understood(Wish(region=region), remarks=(remark,))
        by_rule = comment
        if not place:
            comment = self._with_model(text, by_rule, prompt, asked)
        changes: dict[Kind, Change] = {}
        doses: dict[Kind, float] = {}
        remarks: list[str] = []
        steps = False
        for kind, change in comment.changes.items():
            if change == "off":
                changes[kind] = change
                continue
            direction: Literal["more", "less"] = "less" if change == "less" else "more"
            earlier = _doses(path, kind, region)
            fresh = kind not in treated and not any(dose > 0 for dose in earlier)
            if direction == "less" and kind not in treated:
                remarks.append(_nothing_to_lessen(kind))
                continue
            dose = next_dose(earlier, direction, amount=comment.amount)
            if fresh:
                dose = self._first_dose(kind, comment.amount)
            elif math.isclose(abs(dose), comment.amount * STEP):
                steps = True
            if kind not in treated and self._addition(kind, value_at(kind, dose), whole) is None:
                remarks.append(f"no restorer here treats {kind.value.replace('_', ' ')}")
                continue
            changes[kind], doses[kind] = change, round(dose, 4)
        unread = tuple(piece for piece in comment.unmapped if "edge" not in piece)
        wish = Wish(region=region, changes=changes, doses=doses)
        return Understood(wish, unread, tuple(remarks), steps, comment is not by_rule)

    def _given(
        self, numbers: Mapping[Kind, float], region: Region | None, whole: Treatment
    ) -> Understood:
        """Strengths as the user gives them."""
        treated = strengths(inside(whole, region))
        values = {
            kind: value
            for kind, value in numbers.items()
            if kind in treated or self._addition(kind, value, whole) is not None
        }
        remarks = [
            f"no restorer here treats {kind.value.replace('_', ' ')}"
            for kind in numbers
            if kind not in values
        ]
        return Understood(Wish(region=region, values=values), remarks=tuple(remarks))

    def _with_model(
        self, text: str, by_rule: Comment, prompt: RestorationPrompt, asked: list[Asked]
    ) -> Comment:
        """What the rules read, and what the model reads where they leave something unread."""
        if not by_rule.unmapped or self.seat is None or self.allowance is None:
            return by_rule
        said = self.seat.refine(text, prompt, self.report, self.allowance)
        if said.asked is not None:
            asked.append(said.asked)
        # A model that answers to everything must not bring in what was neither found nor treated, nor named by the user.
        found = {
            f.kind for f in self.report.present() if f.confidence >= self.preset.asked_confidence
        }
        plausible = {
            kind: change
            for kind, change in said.comment.changes.items()
            if kind in prompt.degradations or (change in ("more", "add") and kind in found)
        }
        if said.decided_by != "vlm" or not plausible:
            return by_rule
        # What the rules read they read for certain.
        return Comment(changes={**plausible, **by_rule.changes}, amount=by_rule.amount)

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


def _scene_in(statement: Statement) -> tuple[str, Statement]:
    """What the photo shows by a clause of a statement about the whole of it, and the statement without that clause."""
    if statement.region is not None:
        return "", statement
    clauses = [clause.strip() for clause in re.split(r"[,;.]|\bbut\b", statement.text)]
    found = next(((scene, clause) for clause in clauses if (scene := _scene(clause))), None)
    if found is None:
        return "", statement
    rest = ", ".join(clause for clause in clauses if clause and clause != found[1])
    return found[0], replace(statement, text=rest)


def _scene(text: str) -> str:
    """What the photo shows by these words; "" where they are about what is wrong with it."""
    match = _SHOWS.fullmatch(text)
    if match is None or read_comment(text, _SOMETHING).changes or kept_kinds(text):
        return ""
    asked = plain.read(match["scene"])
    return "" if asked.strengths or asked.denied or asked.kept else match["scene"].strip(" .!")


def _leave(kind: Kind, wish: Wish) -> Callable[[Treatment], Treatment]:
    everything = set(wish.changes) == set(Kind)
    return lambda treatment: without(treatment, None if everything else kind)


def _numbers(text: str) -> dict[Kind, float]:
    """Strengths that the user gives as numbers: "noise sigma 15"."""
    if not re.search(r"\d", text):
        return {}
    reading = plain.read(text)
    return {} if reading.unmapped or reading.denied else dict(reading.strengths)


def _nothing_to_lessen(kind: Kind) -> str:
    if kind is Kind.LOW_LIGHT:
        return "nothing here brightens the photo, so there is nothing to take back; I do not darken photos"
    name = kind.value.replace("_", " ")
    return f"nothing here treats {name}, so there is nothing to take back"
