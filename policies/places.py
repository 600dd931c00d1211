"""Where in a photo a user means: "on the left half", "the sky", "top right corner", "in the box 10,20,300,200", "everywhere but the face".

In a sentence the words of a place are taken out, so that what is left reads as a comment on the whole photo. A place by itself is what a run
protects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from conservator.restorers.errors import PromptError
from conservator.tools.regions import Found, Region

__all__ = ["PLACES", "Statement", "read_place", "read_statements"]

PLACES: Final = (
    "left, right, top or bottom half or third, top left corner, centre, sky, face, text, shadows, highlights, "
    "box LEFT,TOP,WIDTH,HEIGHT in px or %"
)
"""What can be named, for people."""


@dataclass(frozen=True)
class Statement:
    """A part of what a user says, about one place.

    Attributes:
        region: the place; None for the whole photo.
        text: the words without those of the place.
    """

    region: Region | None
    text: str


_BEFORE: Final = (
    r"(?:\b(?P<but>everywhere (?:but|except)|everything (?:but|except)|all (?:but|except)|except(?: for)?|outside(?: of)?|but not|not)\b )?"
    r"(?:\b(?P<at>on|in|at|to|over|for|of|within|around|inside)\b )?(?:\b(?:the|a|an|its|his|her|my|our|their|this|that)\b )?"
)
_PART: Final = r"(?:[- ]?(?:hand|most))?(?: (?P<part>half|side|part|third|quarter|corner|area|region|edge|section|of (?:the|this) (?:photo|picture|image)))"
_NUMBER: Final = r"(-?\d+(?:\.\d+)?) ?(%|px)?"
_BETWEEN: Final = r"(?: ?, ?| )"
_BOX: Final = rf"(?:box|rectangle|rect|region|area|crop)(?: (?:at|of|from))? ?[\[({{:=]? ?{_BETWEEN.join([_NUMBER] * 4)} ?[\])}}]?"
_CORNER: Final = r"(?P<vertical>top|upper|bottom|lower)[- ](?P<horizontal>left|right)(?:[- ]hand)?(?: (?:corner|quarter|part|side|area|third))?"
_HALF: Final = rf"(?P<half>left|right|top|upper|bottom|lower){_PART}"
# "the noise left", "lower the noise" and "on top of that" name no place.
_BARE: Final = (
    r"(?P<bare>top|bottom)\b(?! of (?:that|it|this)\b)(?: of (?:the|this) (?:photo|picture|image))?"
)
_SIDE: Final = r"\b(?:(?P<at>on|at|in|to) (?:the )?|the )(?P<side>left|right)(?=$| (?:is|looks|seems|remains|stays|and|or|of the photo)\b| ?[,.;:!?])"
_CENTRE: Final = r"(?P<centre>cent(?:re|er)|middle|central)(?: (?:part|area|third))?(?: of (?:the|this) (?:photo|picture|image))?"
_FOUND: Final[Mapping[str, Found]] = {
    r"skies|sky": "sky",
    r"faces?": "faces",
    r"text|writing|lettering": "text",
    r"shadows?(?: areas?| parts?)?|(?:dark(?:er|est)?) (?:areas|parts|regions|corners)": "shadows",
    r"(?:bright(?:er|est)?|light) (?:areas|parts|regions|spots)": "highlights",
}
_HIGHLIGHTS: Final = r"\b(?P<at>in|on) (?:the )?highlights?"
"""With a preposition only: "the highlights are blown out" is about the whole treatment."""
_SPLIT: Final = re.compile(
    r"[.;!?\n]+(?:\s|$)|,? (?<!everywhere )(?<!everything )(?<!\ball )\bbut (?!not\b)|,? \b(?:though|however|while)\b|,? \band (?:then )?(?=keep|leave|preserve)"
)
_REST: Final = re.compile(
    r"\b(?:(?:in|on|for) )?(?:the (?:rest|remainder)|everything else|elsewhere)\b"
)
"""After a place: all but that."""
_LISTED: Final = re.compile(r", | \band (?:then )?\b")


def read_statements(sentence: str, *, width: int, height: int) -> tuple[Statement, ...]:
    """Cut a sentence into statements about one place each.

    A place counts for its whole statement, however many things it asks for; two places in one statement part it at its "and"s.

    Args:
        sentence: the user's words.
        width: of the photo in px, for boxes.
        height: the same.

    Raises:
        PromptError: a box that is empty or outside the photo, or several places in one breath.
    """
    text = " ".join(sentence.lower().split())
    found: list[Statement] = []
    for piece in _SPLIT.split(text):
        if not piece.strip():
            continue
        rest, places = _places(piece, width, height)
        last = next((s.region for s in reversed(found) if s.region is not None), None)
        if not places and last is not None and _REST.search(rest):
            places = [_outside(last)]
            rest = " ".join(_REST.sub(" ", rest).split())
        if len(places) < 2 and not (places and _REST.search(rest)):
            found.append(Statement(places[0] if places else None, rest))
            continue
        before = Statement(None, "")
        for part in _LISTED.split(piece):
            rest, named = _places(part, width, height)
            if before.region is not None and _REST.search(rest):
                named = [_outside(before.region)]
                rest = " ".join(_REST.sub(" ", rest).split())
            if len(named) > 1:
                names = " and ".join(place.name for place in named)
                raise PromptError(f"{names} in one breath; say it for one place after the other")
            # "brighter in the sky and on the left": the same wish for another place.
            text_here = rest if re.search(r"\w", rest) else before.text
            before = Statement(named[0] if named else before.region, text_here)
            found.append(before)
    return tuple(found)


def read_place(text: str, *, width: int, height: int) -> Region:
    """One place by itself: `face`, `text`, `x,y,w,h` in px of the upright photo or in %, or a place in words.

    A box in px belongs to photos of this size; one in % fits any.

    Args:
        text: as the user gave it.
        width: of the photo in px.
        height: the same.

    Raises:
        PromptError: no place, or a box that is empty or leaves the photo.
    """
    words = " ".join(text.lower().split())
    if re.match(r"[\[(]?-?\d", words):
        return _exact_box(words.strip("[]()"), width, height)
    try:
        statements = read_statements(words, width=width, height=height)
    except PromptError as error:
        raise PromptError(f"place {text!r}: {error}") from None
    if len(statements) == 1:
        (statement,) = statements
        if statement.region is not None and not re.search(r"\w", statement.text):
            return statement.region
    raise PromptError(
        f"place {text!r} is none that can be found; give face, text, x,y,w,h in px or %, or in words: {PLACES}"
    )


def _exact_box(text: str, width: int, height: int) -> Region:
    """`x,y,w,h`, not cut to the photo: numbers that leave it are a slip."""
    example = "give x,y,w,h, for example 120,80,200,240 or 10%,20%,30%,30%"
    numbers = [
        re.fullmatch(r"(-?\d+(?:\.\d+)?) ?(%|px)?", part.strip())
        for part in re.split(r"\s*,\s*|\s+(?=[-\d])", text)
    ]
    given = [(float(match[1]), match[2] or "px") for match in numbers if match]
    if len(numbers) != 4 or len(given) != 4:
        raise PromptError(f"box {text!r} does not parse; {example}")
    left, top, across, down = (
        number / (100 if unit == "%" else side)
        for (number, unit), side in zip(given, (width, height, width, height), strict=True)
    )
    if across <= 0 or down <= 0:
        raise PromptError(f"box {text!r} is empty; {example}")
    if left < 0 or top < 0 or left + across > 1 + 1e-9 or top + down > 1 + 1e-9:
        raise PromptError(f"box {text!r} leaves the photo, which is {width}x{height} px; {example}")
    in_px = any(unit == "px" for _, unit in given)
    name = ",".join(f"{number:g}{'%' if unit == '%' else ''}" for number, unit in given)
    size = (width, height) if in_px else None
    return Region(name=f"the box {name}", box=(left, top, across, down), size=size)


def _places(text: str, width: int, height: int) -> tuple[str, list[Region]]:
    """The places of a text, and the text without them."""
    places: list[Region] = []

    def take(pattern: str, made: Callable[[re.Match[str]], Region], lead: str = _BEFORE) -> None:
        nonlocal text
        while match := re.search(rf"{lead}\b(?:{pattern})", text):
            region = made(match)
            if match.groupdict().get("but"):
                region = _outside(region)
            if region not in places:
                places.append(region)
            text = " ".join(f"{text[: match.start()]} {text[match.end() :]}".split())

    take(_BOX, lambda m: _box(m, width, height))
    take(_CORNER, _corner)
    take(_HALF, _half)
    take(_SIDE, lambda m: _part(m["side"], "half"), "")
    take(_BARE, lambda m: _part(m["bare"], "half"))
    take(_CENTRE, lambda m: Region(name="the centre", box=(0.25, 0.25, 0.5, 0.5)))
    take(_HIGHLIGHTS, lambda m: Region(name="the highlights", found="highlights"), "")
    for pattern, what in _FOUND.items():
        name = "the face" if what == "faces" else f"the {what}"
        take(rf"(?:{pattern})\b", partial(_found, Region(name=name, found=what)))
    return text, places


def _outside(region: Region) -> Region:
    name = f"everything but {region.name}"
    return region.model_copy(update={"outside": not region.outside, "name": name})


def _found(region: Region, match: re.Match[str]) -> Region:
    return region


def _half(match: re.Match[str]) -> Region:
    part = match["part"]
    size = part if part in ("third", "quarter") else "half"
    return _part(match["half"], size)


def _part(side: str, size: str) -> Region:
    side = {"upper": "top", "lower": "bottom"}.get(side, side)
    share = {"half": 1 / 2, "third": 1 / 3, "quarter": 1 / 4}[size]
    boxes = {
        "left": (0.0, 0.0, share, 1.0),
        "right": (1 - share, 0.0, share, 1.0),
        "top": (0.0, 0.0, 1.0, share),
        "bottom": (0.0, 1 - share, 1.0, share),
    }
    return Region(name=f"the {side} {size}", box=boxes[side])


def _corner(match: re.Match[str]) -> Region:
    vertical = "top" if match["vertical"] in ("top", "upper") else "bottom"
    left = 0.0 if match["horizontal"] == "left" else 0.5
    top = 0.0 if vertical == "top" else 0.5
    return Region(name=f"the {vertical} {match['horizontal']} quarter", box=(left, top, 0.5, 0.5))


def _box(match: re.Match[str], width: int, height: int) -> Region:
    """A box in px or percent, cut to the photo."""
    groups = match.groups()
    # The groups of the words before come first.
    values = groups[-8:]
    numbers = []
    for (number, unit), side in zip(
        zip(values[::2], values[1::2], strict=True), (width, height, width, height), strict=True
    ):
        numbers.append(float(number) / (100 if unit == "%" else side))
    left, top = max(0.0, numbers[0]), max(0.0, numbers[1])
    right, bottom = min(1.0, numbers[0] + numbers[2]), min(1.0, numbers[1] + numbers[3])
    if right <= left or bottom <= top:
        raise PromptError(
            f"{match.group().strip()!r} is empty or outside the photo, which is {width}x{height} px; "
            "give LEFT,TOP,WIDTH,HEIGHT"
        )
    corners = ",".join(f"{v}{u or ''}" for v, u in zip(values[::2], values[1::2], strict=True))
    return Region(name=f"the box {corners}", box=(left, top, right - left, bottom - top))
