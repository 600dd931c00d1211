"""Plain English: "denoise strongly and remove the light rain", "fix jpeg artifacts (quality 20), leave the grain".

A rule-based reader, so that the same words always mean the same and nothing is guessed: what no rule maps is reported.

- A thing (*noise*, *dark*) or a treatment (*denoise*, *brighter*) is a request, of level *medium* unless a level
  (*slight*, *heavy*, *very*) or a number (*sigma 25*, *2x*, *0.8 stops*) stands with it.
- *No*, *not*, *without*, *leave*, *keep*, *don't touch* deny it, also through lists ("no noise, rain or haze"). The last
  word on a kind counts. Where a negation may or may not reach ("don't denoise and deblur") the words are reported.
- "Blur" alone asks for defocus blur; "leave the blur" denies both blurs. A Gaussian blur's sigma is half the disk's
  radius (equal second moments). A noise sigma below 1 is of full scale, as SPIRE writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.prompts.amounts import DOMAINS
from conservator.restorers.prompts.lexicon import (
    PARAMETER_WORDS,
    UNITS,
    Role,
    Word,
    sentences,
    words,
)

__all__ = ["Reading", "read"]

_MENTIONS = (Role.THING, Role.ACTION)
_POLARITY = (Role.NEGATION, Role.KEEP)
_JOINS = (Role.AND, Role.OR, Role.COMMA, Role.BUT)
_INTENT = (Role.TREAT, Role.IMPROVE, Role.MORE, Role.LESS, Role.PREDICATE, *_POLARITY)
_PREPOSITIONS = {"on", "in", "from", "of", "at", "for", "with"}

_BLIND = re.compile(
    r"(?<!don't )(?<!not )(?<!never )\b(?:"
    r"(?:remove|undo|fix|repair) (?:all|every|any)(?: of)?(?: the)? (?:degradations?|defects?|damage|problems?)"
    r"|(?:fix|restore|repair|improve|enhance|clean up|remove) everything"
    r"|(?:fix|restore|repair|improve|enhance|clean up) "
    r"(?:(?:it|all|(?:(?:the|this|my) )?(?:image|photo|picture|photograph|scan))"
    r"(?=\s*(?:$|[,!?]|and\b|but\b|please\b|for me\b|automatically\b)))"
    r"|make (?:it|the (?:image|photo|picture)) (?:look )?better"
    r"|(?:improve|enhance) (?:the )?(?:(?:image|photo|picture) )?quality"
    r")(?: automatically)?|<restore>",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"(?:please )?(?:do nothing|nothing|no (?:degradations?|changes?)(?: detected| present)?|(?:leave|keep) "
    r"(?:it|everything|the (?:image|photo|picture))(?: (?:alone|unchanged|untouched|as (?:it )?is))?"
    r"|(?:the )?(?:image|photo|picture) is (?:clean|sharp|fine)|none|yes|no)",
    re.IGNORECASE,
)
_LIT = re.compile(r"\b(?:well|evenly|brightly)[ -]lit\b", re.IGNORECASE)
_SCENE = re.compile(
    r"\b(?:photo|picture|image|photograph|shot) (?:of|showing) (?P<scene>[^,?]+)", re.IGNORECASE
)
_QUESTION = re.compile(
    r"(?:is|are|was|were|does|do|did|has|have|what|which|how|why|where)\b.*\?", re.IGNORECASE
)


@dataclass
class Reading:
    """What a text asks for.

    Attributes:
        strengths: requested kinds, in their own unit.
        denied: kinds that the text last said to leave alone or to be absent.
        unmapped: pieces of text that no rule maps.
        kept: pieces that say to leave something alone; a blind prompt cannot say "all except", so it must report them.
    """

    strengths: dict[Kind, float] = field(default_factory=dict)
    denied: set[Kind] = field(default_factory=set)
    blind: bool = False
    semantic: str = ""
    unmapped: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


@dataclass
class _Mention:
    kinds: tuple[Kind, ...]
    wanted: bool
    index: int
    level: Level | None = None
    value: float | None = None


@dataclass
class _Segment:
    """The words between two joins, and what came of them."""

    words: list[Word]
    first: int
    join: Role
    mentions: list[_Mention] = field(default_factory=list)
    group: int = 0
    own_intent: bool = False
    denied_behind: bool = False
    unclear: bool = False

    @property
    def last(self) -> int:
        """Index of the last word."""
        return self.first + len(self.words) - 1

    def has(self, *roles: Role) -> bool:
        return any(word.role in roles for word in self.words)


def read(text: str) -> Reading:
    """Read plain English; never raises, what is not understood is in `unmapped`."""
    reading = Reading()
    for sentence in sentences(text):
        _Sentence(sentence, reading).read()
    return reading


class _Sentence:
    """Reads one sentence into a `Reading`."""

    def __init__(self, text: str, reading: Reading) -> None:
        self.text = text
        self.reading = reading
        self.words: list[Word] = []
        self.segments: list[_Segment] = []
        self.blind = False

    def read(self) -> None:
        """Update the reading."""
        if _NOTHING.fullmatch(self.text.strip(" .?!'\"")):
            return
        if _QUESTION.fullmatch(self.text):
            self.reading.unmapped.append(self.text)
            return
        self._blank(_BLIND, blind=True)
        self._blank(_LIT)
        self._scene()
        self.words = self._sense(words(self.text))
        self._cut()
        group, sign, absence, group_levels = 0, True, False, dict[int, Level]()
        for i, segment in enumerate(self.segments):
            segment.own_intent = segment.has(*_INTENT, Role.ACTION)
            sign, absence = self._start(segment, i, sign, absence)
            if segment.has(*_INTENT):
                group += 1
            segment.group = group
            if not segment.unclear:
                sign, absence = self._mentions(segment, sign, absence)
            level = self._levels(segment)
            if level is not None:
                group_levels.setdefault(group, level)
        self._deny_backwards()
        for segment in self.segments:
            for mention in segment.mentions:
                mention.level = mention.level or group_levels.get(segment.group)
        used = self._numbers()
        self._settle(used)

    def _blank(self, pattern: re.Pattern[str], *, blind: bool = False) -> None:
        for match in list(pattern.finditer(self.text)):
            self.blind |= blind
            self.reading.blind |= blind
            gap = " " * (match.end() - match.start())
            self.text = self.text[: match.start()] + gap + self.text[match.end() :]

    def _scene(self) -> None:
        match = _SCENE.search(self.text)
        if match is None:
            return
        known = (Role.UNKNOWN, Role.FILLER, Role.SOME, Role.AND)
        if any(word.role not in known for word in words(match["scene"])):
            return
        self.reading.semantic = match["scene"].strip(" .")
        gap = " " * (match.end() - match.start())
        self.text = self.text[: match.start()] + gap + self.text[match.end() :]

    @staticmethod
    def _sense(found: list[Word]) -> list[Word]:
        """Decide by the neighbour: "light rain" against "more light", "too dark" against "dark blue"."""
        sensed = []
        for i, word in enumerate(found):
            after = found[i + 1].role if i + 1 < len(found) else None
            before = found[i - 1].role if i > 0 else None
            told = after in _MENTIONS or before in (Role.THING, Role.PREDICATE)
            if word.text == "light" and not told:
                word = Word(Role.PROPERTY, word.text, word.start, word.end, kinds=(Kind.LOW_LIGHT,))
            elif word.text in {"dark", "dim"} and after is Role.UNKNOWN:
                word = Word(Role.UNKNOWN, word.text, word.start, word.end)
            elif word.text.endswith(" want") or word.text == "dont want":
                # "I don't want the noise" asks to remove it, "I don't want it removed" does not.
                rest = [later.role for later in found[i + 1 :] if later.role is not Role.FILLER]
                if rest[:1] == [Role.THING] and Role.TREAT not in rest:
                    word = Word(Role.TREAT, word.text, word.start, word.end)
            sensed.append(word)
        return sensed

    def _cut(self) -> None:
        join, start = Role.BUT, 0
        for i in range(len(self.words) + 1):
            end = i == len(self.words)
            if not end and self.words[i].role not in _JOINS:
                continue
            if (
                start < i < len(self.words)
                and self.words[i].text in {"only", "just"}
                and not any(w.role in (*_MENTIONS, *_POLARITY) for w in self.words[start:i])
            ):
                continue
            if i > start:
                self.segments.append(_Segment(self.words[start:i], start, join))
                join = Role.COMMA
            if not end and (self.words[i].role is not Role.COMMA or i > start):
                join = self.words[i].role
            start = i + 1
        # In "noise, rain or haze" the commas mean "or" as well.
        for here, after in zip(self.segments[-2::-1], self.segments[:0:-1], strict=True):
            if after.join is Role.OR and here.join is Role.COMMA and not here.has(*_INTENT):
                here.join = Role.OR

    def _start(self, segment: _Segment, i: int, sign: bool, absence: bool) -> tuple[bool, bool]:
        """Whether a segment begins as a request, given how the one before ended."""
        if i == 0 or sign or segment.join is Role.BUT:
            return True, False
        if segment.join is Role.OR:
            return False, absence
        if segment.has(*_INTENT):
            return True, False
        if segment.has(Role.ACTION):
            if self.segments[i - 1].has(Role.NEGATION):
                segment.unclear = True
                return False, absence
            return True, False
        if absence and segment.has(Role.LEVEL, Role.VERY, Role.SOME):
            return True, False
        return False, absence

    def _mentions(self, segment: _Segment, sign: bool, absence: bool) -> tuple[bool, bool]:
        """Find the mentions of a segment and the polarity that the next one may inherit."""
        fresh = True
        asked: Role | None = None
        making = segment.words[0].text in {"make", "get", "want"} or " make " in f" {self.text} "
        for j, word in enumerate(segment.words):
            role = word.role
            if role in _POLARITY:
                sign = (not sign) if fresh else False
                absence = role is Role.NEGATION and not segment.has(Role.TREAT, Role.KEEP)
                fresh = True
            elif role in (Role.TREAT, Role.IMPROVE, Role.MORE, Role.LESS):
                if not fresh:
                    sign, fresh = True, True
                asked = role
            elif role is Role.FREE and segment.mentions:
                segment.mentions[-1].wanted = making
                absence = True
            elif role in _MENTIONS or (
                role is Role.PROPERTY and asked in (Role.MORE, Role.IMPROVE)
            ):
                if role is Role.THING and asked is Role.MORE and sign:
                    segment.mentions.clear()
                    segment.unclear = True
                    return True, False
                if not sign and segment.has(Role.KEEP) and segment.has(Role.SOME, Role.LEVEL):
                    segment.mentions.clear()
                    segment.unclear = True
                    return True, False
                segment.mentions.append(_Mention(word.kinds, sign, segment.first + j))
                fresh = False
        behind: bool | None = self._polarity_behind(segment)
        if behind is not None:
            for mention in segment.mentions:
                mention.wanted = behind
            segment.denied_behind = not behind
            return True, False
        if not segment.mentions and not segment.own_intent:
            return sign, absence
        return (segment.mentions[-1].wanted if segment.mentions else True), absence

    @staticmethod
    def _polarity_behind(segment: _Segment) -> bool | None:
        """The polarity in "rain is not visible", "the grain should be kept"; None without one."""
        if not segment.mentions:
            return None
        last = segment.mentions[-1].index - segment.first
        before = segment.words[: segment.mentions[0].index - segment.first]
        tail = segment.words[last + 1 :]
        turns = [word for word in tail if word.role in _POLARITY]
        stray = (Role.UNKNOWN, Role.PROPERTY, Role.MORE)
        if (
            not turns
            or any(word.role in (Role.TREAT, *_POLARITY) for word in before)
            or any(word.role in stray for word in tail)
        ):
            return None
        return len(turns) % 2 == 0

    def _deny_backwards(self) -> None:
        """In "noise and blur should not be touched" the denial reaches back to the noise."""
        listed = False
        for here, before in zip(self.segments[:0:-1], self.segments[-2::-1], strict=True):
            # A comma only lists when an "and" closes the list: "noise, rain and blur should ...".
            listed = here.denied_behind and (
                here.join in (Role.AND, Role.OR) or (listed and here.join is Role.COMMA)
            )
            plain = bool(before.mentions) and before.mentions[-1].index == before.last
            if listed and plain and not before.own_intent:
                before.denied_behind = True
                for mention in before.mentions:
                    mention.wanted = False

    def _levels(self, segment: _Segment) -> Level | None:
        """Give each mention its level; return the level that the whole verb group shares, if any."""
        found: list[tuple[int, Level, bool]] = []
        very = False
        for j, word in enumerate(segment.words):
            after = segment.words[j + 1].role if j + 1 < len(segment.words) else None
            at = segment.first + j
            if word.role is Role.VERY:
                very = True
                if after in _MENTIONS:
                    found.append((at, Level.HIGH, False))
                continue
            if word.role is Role.LEVEL and word.level is not None:
                level = Level.VERY_HIGH if very and word.level is Level.HIGH else word.level
                found.append((at, level, word.text.endswith("ly") or " " in word.text))
            elif word.role is Role.SOME and after is not Role.MORE and word.text != "some":
                found.append((at, Level.LOW, " " in word.text and after is None))
            elif word.role in (Role.MORE, Role.LESS) and after is Role.ACTION and not found:
                found.append((at, Level.HIGH if word.role is Role.MORE else Level.LOW, False))
            very = False
        if not found:
            return None
        only = all(
            word.role in (Role.LEVEL, Role.VERY, Role.SOME, Role.FILLER) for word in segment.words
        )
        if not segment.mentions:
            return found[0][1] if only and segment.first > 0 else None
        ahead = found[0][0] < segment.mentions[0].index
        shared = None
        for at, level, adverb in found if ahead else reversed(found):
            inside = [m for m in segment.mentions if (m.index > at if ahead else m.index < at)]
            if inside:
                chosen = inside[0] if ahead else inside[-1]
                chosen.level = chosen.level if chosen.level is not None else level
            if adverb and (not ahead or segment.has(Role.TREAT, Role.IMPROVE)):
                shared = level
        return shared

    def _numbers(self) -> set[int]:
        """Attach the numbers to mentions; return the indexes of the words used up."""
        mentions = [mention for segment in self.segments for mention in segment.mentions]
        used: set[int] = set()
        for i, word in enumerate(self.words):
            if word.role is not Role.NUMBER:
                continue
            name, span = self._name_of(i)
            near = self._nearest(mentions, i, name)
            if near is None:
                continue
            mention, kind = near
            value = _in_own_unit(kind, name, word.number)
            low, high = DOMAINS[kind]
            if low <= value <= high:
                mention.value = value
                mention.kinds = (kind, *(k for k in mention.kinds if k is not kind))
            else:
                # An impossible strength is no strength: the whole request is handed back.
                mention.kinds = ()
                start = min(mention.index, *span)
                self.reading.unmapped.append(self.text[self.words[start].start : word.end])
            used |= span
        return used

    def _name_of(self, i: int) -> tuple[str, set[int]]:
        """The parameter or unit of the number at `i`, "" without one, and the words they take."""
        roles = [word.role for word in self.words]
        j = i - 1
        while j >= 0 and self.words[j].text in {"of", "is", "=", ":", "about", "at", "to", "level"}:
            j -= 1
        if j >= 0 and roles[j] is Role.PARAMETER:
            return self.words[j].text, set(range(j, i + 1))
        if i + 1 < len(self.words) and roles[i + 1] in (Role.UNIT, Role.PARAMETER):
            return self.words[i + 1].text, {i, i + 1}
        if i > 0 and self.words[i - 1].text == "x":
            return "x", {i - 1, i}
        return "", {i}

    def _nearest(self, mentions: list[_Mention], i: int, name: str) -> tuple[_Mention, Kind] | None:
        """The mention that a number belongs to, and which of its kinds."""
        takes = PARAMETER_WORDS.get(name) or UNITS.get(name)
        before = [m for m in mentions if m.index < i][::-1]
        after = [m for m in mentions if m.index > i]
        if takes is not None:
            for mention in (*before, *after):
                for kind in mention.kinds:
                    if kind in takes:
                        return mention, kind
            return None
        # A bare number belongs to the word just before it, "noise 25", or to nothing.
        if not before:
            return None
        between = self.words[before[0].index + 1 : i]
        quiet = (Role.FILLER, Role.PREDICATE)
        if any(w.role not in quiet or w.text in {"for", "from", "on"} for w in between):
            return None
        return before[0], before[0].kinds[0]

    def _settle(self, used: set[int]) -> None:
        """Move the mentions into the reading and report what is left over."""
        mentioned = False
        for segment in self.segments:
            for mention in segment.mentions:
                self._apply(mention)
            spared = self.blind or segment.has(Role.KEEP, Role.TREAT)
            if spared and any(not m.wanted for m in segment.mentions):
                self.reading.kept.append(self._slice(segment.words))
            self._report(segment, used, mentioned)
            mentioned = mentioned or bool(segment.mentions)

    def _apply(self, mention: _Mention) -> None:
        reading = self.reading
        if not mention.kinds:
            return
        if not mention.wanted:
            for kind in mention.kinds:
                reading.strengths.pop(kind, None)
                reading.denied.add(kind)
            return
        kind = mention.kinds[0]
        if mention.value is not None:
            reading.strengths[kind] = mention.value
        elif mention.level is not None:
            reading.strengths[kind] = value_of(kind, mention.level)
        else:
            reading.strengths.setdefault(kind, value_of(kind, Level.MEDIUM))
        reading.denied.discard(kind)

    def _slice(self, found: list[Word]) -> str:
        return self.text[found[0].start : found[-1].end].strip()

    def _report(self, segment: _Segment, used: set[int], mentioned: bool) -> None:
        """Put the words that nothing used into `unmapped`."""
        indexed = list(enumerate(segment.words, segment.first))
        loose = [
            word
            for i, word in indexed
            if i not in used and word.role not in (Role.FILLER, Role.PREDICATE, Role.BUT)
        ]
        if not loose or all(word.text == "no" for word in segment.words):
            return
        if not segment.mentions:
            strength = (Role.LEVEL, Role.VERY, Role.SOME)
            if segment.unclear or not (mentioned and all(word.role in strength for word in loose)):
                self.reading.unmapped.append(self._slice(segment.words))
            return
        stray = (Role.UNKNOWN, Role.NUMBER)
        soft = (Role.FILLER, *_POLARITY, Role.TREAT, Role.IMPROVE, Role.MORE, Role.LESS)
        run: list[Word] = []
        for i, word in [*indexed, (-1, None)]:
            inside = word is not None and i not in used
            if word is not None and inside and word.role in (*stray, *soft, Role.PARAMETER):
                run.append(word)
                continue
            if any(w.role in stray for w in run):
                while run[-1].role is Role.FILLER:
                    run.pop()
                while run[0].role not in (*stray, *_POLARITY) and run[0].text not in _PREPOSITIONS:
                    run.pop(0)
                self.reading.unmapped.append(self._slice(run))
            run = []


def _in_own_unit(kind: Kind, name: str, number: float) -> float:
    """Convert a number with its parameter's or unit's name to the kind's own unit."""
    if name in {"%", "percent"}:
        return number / 100
    if kind is Kind.NOISE and 0 < number < 1:
        return number * 255
    if kind is Kind.DEFOCUS_BLUR and name == "sigma":
        return number * 2
    return number
