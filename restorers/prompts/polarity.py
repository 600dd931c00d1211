"""What plain English asks for and what it denies: the polarity of each mention, and how far it reaches."""

from __future__ import annotations

from conservator.restorers.prompts.lexicon import Role
from conservator.restorers.prompts.segments import INTENT, MENTIONS, POLARITY, Mention, Segment

__all__ = ["find_mentions"]


def find_mentions(segments: list[Segment], text: str) -> None:
    """Fill in the mentions of a sentence's pieces, wanted or not, and the verb group that each piece belongs to."""
    group, sign, absence = 0, True, False
    for i, segment in enumerate(segments):
        segment.own_intent = segment.has(*INTENT, Role.ACTION)
        sign, absence = _start(segments, i, sign, absence)
        if segment.has(*INTENT):
            group += 1
        segment.group = group
        if not segment.unclear:
            sign, absence = _mentions(segment, text, sign, absence)
    _deny_backwards(segments)


def _start(segments: list[Segment], i: int, sign: bool, absence: bool) -> tuple[bool, bool]:
    """Whether a segment begins as a request, given how the one before ended."""
    segment = segments[i]
    if i == 0 or sign or segment.join is Role.BUT:
        return True, False
    if segment.join is Role.OR:
        return False, absence
    if segment.has(*INTENT):
        return True, False
    if segment.has(Role.ACTION):
        if segments[i - 1].has(Role.NEGATION):
            segment.unclear = True
            return False, absence
        return True, False
    if absence and segment.has(Role.LEVEL, Role.VERY, Role.SOME):
        return True, False
    return False, absence


def _mentions(segment: Segment, text: str, sign: bool, absence: bool) -> tuple[bool, bool]:
    """Find the mentions of a segment and the polarity that the next one may inherit."""
    fresh = True
    asked: Role | None = None
    making = segment.words[0].text in {"make", "get", "want"} or " make " in f" {text} "
    for j, word in enumerate(segment.words):
        role = word.role
        if role in POLARITY:
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
        elif role in MENTIONS or (role is Role.PROPERTY and asked in (Role.MORE, Role.IMPROVE)):
            if role is Role.THING and asked is Role.MORE and sign:
                segment.mentions.clear()
                segment.unclear = True
                return True, False
            if not sign and segment.has(Role.KEEP) and segment.has(Role.SOME, Role.LEVEL):
                segment.mentions.clear()
                segment.unclear = True
                return True, False
            segment.mentions.append(Mention(word.kinds, sign, segment.first + j))
            fresh = False
    behind: bool | None = _polarity_behind(segment)
    if behind is not None:
        for mention in segment.mentions:
            mention.wanted = behind
        segment.denied_behind = not behind
        return True, False
    if not segment.mentions and not segment.own_intent:
        return sign, absence
    return (segment.mentions[-1].wanted if segment.mentions else True), absence


def _polarity_behind(segment: Segment) -> bool | None:
    """The polarity in "rain is not visible", "the grain should be kept"; None without one."""
    if not segment.mentions:
        return None
    last = segment.mentions[-1].index - segment.first
    before = segment.words[: segment.mentions[0].index - segment.first]
    tail = segment.words[last + 1 :]
    turns = [word for word in tail if word.role in POLARITY]
    stray = (Role.UNKNOWN, Role.PROPERTY, Role.MORE)
    if (
        not turns
        or any(word.role in (Role.TREAT, *POLARITY) for word in before)
        or any(word.role in stray for word in tail)
    ):
        return None
    return len(turns) % 2 == 0


def _deny_backwards(segments: list[Segment]) -> None:
    """In "noise and blur should not be touched" the denial reaches back to the noise."""
    listed = False
    for here, before in zip(segments[:0:-1], segments[-2::-1], strict=True):
        # A comma only lists when an "and" closes the list: "noise, rain and blur should ...".
        listed = here.denied_behind and (
            here.join in (Role.AND, Role.OR) or (listed and here.join is Role.COMMA)
        )
        plain = bool(before.mentions) and before.mentions[-1].index == before.last
        if listed and plain and not before.own_intent:
            before.denied_behind = True
            for mention in before.mentions:
                mention.wanted = False
