"""Plain English cut at its joins: the pieces of a sentence, and what each of them mentions."""

from __future__ import annotations

from dataclasses import dataclass, field

from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.prompts.lexicon import Role, Word

__all__ = ["INTENT", "MENTIONS", "POLARITY", "Mention", "Segment", "cut", "sensed"]

MENTIONS = (Role.THING, Role.ACTION)
POLARITY = (Role.NEGATION, Role.KEEP)
INTENT = (Role.TREAT, Role.IMPROVE, Role.MORE, Role.LESS, Role.PREDICATE, *POLARITY)
_JOINS = (Role.AND, Role.OR, Role.COMMA, Role.BUT)


@dataclass
class Mention:
    """A thing or a treatment that a sentence names, at the index of its word; wanted, or denied."""

    kinds: tuple[Kind, ...]
    wanted: bool
    index: int
    level: Level | None = None
    value: float | None = None


@dataclass
class Segment:
    """The words between two joins, and what came of them."""

    words: list[Word]
    first: int
    join: Role
    mentions: list[Mention] = field(default_factory=list)
    group: int = 0
    own_intent: bool = False
    denied_behind: bool = False
    unclear: bool = False

    @property
    def last(self) -> int:
        """Index of the last word."""
        return self.first + len(self.words) - 1

    def has(self, *roles: Role) -> bool:
        """Whether one of its words does one of these."""
        return any(word.role in roles for word in self.words)


def sensed(found: list[Word]) -> list[Word]:
    """Decide by the neighbour: "light rain" against "more light", "too dark" against "dark blue"."""
    told_apart = []
    for i, word in enumerate(found):
        after = found[i + 1].role if i + 1 < len(found) else None
        before = found[i - 1].role if i > 0 else None
        told = after in MENTIONS or before in (Role.THING, Role.PREDICATE)
        if word.text == "light" and not told:
            word = Word(Role.PROPERTY, word.text, word.start, word.end, kinds=(Kind.LOW_LIGHT,))
        elif word.text in {"dark", "dim"} and after is Role.UNKNOWN:
            word = Word(Role.UNKNOWN, word.text, word.start, word.end)
        elif word.text.endswith(" want") or word.text == "dont want":
            # "I don't want the noise" asks to remove it, "I don't want it removed" does not.
            rest = [later.role for later in found[i + 1 :] if later.role is not Role.FILLER]
            if rest[:1] == [Role.THING] and Role.TREAT not in rest:
                word = Word(Role.TREAT, word.text, word.start, word.end)
        told_apart.append(word)
    return told_apart


def cut(words: list[Word]) -> list[Segment]:
    """The pieces between the joins of a sentence, in order."""
    segments: list[Segment] = []
    join, start = Role.BUT, 0
    for i in range(len(words) + 1):
        end = i == len(words)
        if not end and words[i].role not in _JOINS:
            continue
        if (
            start < i < len(words)
            and words[i].text in {"only", "just"}
            and not any(w.role in (*MENTIONS, *POLARITY) for w in words[start:i])
        ):
            continue
        if i > start:
            segments.append(Segment(words[start:i], start, join))
            join = Role.COMMA
        if not end and (words[i].role is not Role.COMMA or i > start):
            join = words[i].role
        start = i + 1
    # In "noise, rain or haze" the commas mean "or" as well.
    for here, after in zip(segments[-2::-1], segments[:0:-1], strict=True):
        if after.join is Role.OR and here.join is Role.COMMA and not here.has(*INTENT):
            here.join = Role.OR
    return segments
