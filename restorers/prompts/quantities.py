"""How much plain English asks for: levels ("slight", "very heavy") and numbers ("sigma 25"), each with its mention."""

from __future__ import annotations

from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.prompts.amounts import DOMAINS
from conservator.restorers.prompts.lexicon import PARAMETER_WORDS, UNITS, Role, Word
from conservator.restorers.prompts.segments import MENTIONS, Mention, Segment

__all__ = ["give_levels", "give_numbers"]


def give_levels(segments: list[Segment]) -> None:
    """Give each mention its own level, or the one that its verb group shares."""
    shared: dict[int, Level] = {}
    for segment in segments:
        level = _levels(segment)
        if level is not None:
            shared.setdefault(segment.group, level)
    for segment in segments:
        for mention in segment.mentions:
            mention.level = mention.level or shared.get(segment.group)


def _levels(segment: Segment) -> Level | None:
    """Give each mention its level; return the level that the whole verb group shares, if any."""
    found: list[tuple[int, Level, bool]] = []
    very = False
    for j, word in enumerate(segment.words):
        after = segment.words[j + 1].role if j + 1 < len(segment.words) else None
        at = segment.first + j
        if word.role is Role.VERY:
            very = True
            if after in MENTIONS:
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


def give_numbers(
    words: list[Word], segments: list[Segment], text: str
) -> tuple[set[int], list[str]]:
    """Attach the numbers to mentions.

    Returns:
        The indexes of the words used up, and the pieces of text that ask for what is impossible.
    """
    mentions = [mention for segment in segments for mention in segment.mentions]
    used: set[int] = set()
    impossible: list[str] = []
    for i, word in enumerate(words):
        if word.role is not Role.NUMBER:
            continue
        name, span = _name_of(words, i)
        near = _nearest(words, mentions, i, name)
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
            impossible.append(text[words[start].start : word.end])
        used |= span
    return used, impossible


def _name_of(words: list[Word], i: int) -> tuple[str, set[int]]:
    """The parameter or unit of the number at `i`, "" without one, and the words they take."""
    roles = [word.role for word in words]
    j = i - 1
    while j >= 0 and words[j].text in {"of", "is", "=", ":", "about", "at", "to", "level"}:
        j -= 1
    if j >= 0 and roles[j] is Role.PARAMETER:
        return words[j].text, set(range(j, i + 1))
    if i + 1 < len(words) and roles[i + 1] in (Role.UNIT, Role.PARAMETER):
        return words[i + 1].text, {i, i + 1}
    if i > 0 and words[i - 1].text == "x":
        return "x", {i - 1, i}
    return "", {i}


def _nearest(
    words: list[Word], mentions: list[Mention], i: int, name: str
) -> tuple[Mention, Kind] | None:
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
    if not before or not before[0].kinds:
        return None
    between = words[before[0].index + 1 : i]
    quiet = (Role.FILLER, Role.PREDICATE)
    if any(w.role not in quiet or w.text in {"for", "from", "on"} for w in between):
        return None
    return before[0], before[0].kinds[0]


def _in_own_unit(kind: Kind, name: str, number: float) -> float:
    """Convert a number with its parameter's or unit's name to the kind's own unit."""
    if name in {"%", "percent"}:
        return number / 100
    if kind is Kind.NOISE and 0 < number < 1:
        return number * 255
    if kind is Kind.DEFOCUS_BLUR and name == "sigma":
        return number * 2
    return number
