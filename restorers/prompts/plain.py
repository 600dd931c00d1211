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
from conservator.restorers.prompts.lexicon import Role, Word, sentences, words
from conservator.restorers.prompts.polarity import find_mentions
from conservator.restorers.prompts.quantities import give_levels, give_numbers
from conservator.restorers.prompts.segments import POLARITY, Mention, Segment, cut, sensed

__all__ = ["Reading", "read"]

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
        self.segments: list[Segment] = []
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
        found = sensed(words(self.text))
        self.segments = cut(found)
        find_mentions(self.segments, self.text)
        give_levels(self.segments)
        used, impossible = give_numbers(found, self.segments, self.text)
        self.reading.unmapped += impossible
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

    def _apply(self, mention: Mention) -> None:
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

    def _report(self, segment: Segment, used: set[int], mentioned: bool) -> None:
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
        soft = (Role.FILLER, *POLARITY, Role.TREAT, Role.IMPROVE, Role.MORE, Role.LESS)
        run: list[Word] = []
        for i, word in [*indexed, (-1, None)]:
            inside = word is not None and i not in used
            if word is not None and inside and word.role in (*stray, *soft, Role.PARAMETER):
                run.append(word)
                continue
            if any(w.role in stray for w in run):
                while run[-1].role is Role.FILLER:
                    run.pop()
                while run[0].role not in (*stray, *POLARITY) and run[0].text not in _PREPOSITIONS:
                    run.pop(0)
                self.reading.unmapped.append(self._slice(run))
            run = []
