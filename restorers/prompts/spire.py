"""SPIRE's language: instructions with numbers, "Deblur with sigma 3.0; Denoise with sigma 0.06;".

The paper (arXiv 2312.11595, Table 2) has four instructions, in the order in which the degradations struck, with or
without their number, and "Remove all degradation" for blind restoration. Its noise sigma is of full scale, so 25 of
255 is 0.098. Its blur is Gaussian: the disk of radius r that our vocabulary measures spreads light as far along each
axis (equal second moments, r / 2) as a Gaussian of sigma r / 2, and that sigma is written.

Our extension says the other kinds in the same manner ("Derain with value 75;"), each at its place in the order of
capture. The semantic prompt c_s is separate (`RestorationPrompt.semantic`) and never part of this text.

Precision of the round trip: noise to 0.0005 of full scale (0.13 of 255), defocus radius to 0.01 px, upsampling and the
rest to the decimals of `PARAMETERS`; without numbers the *medium* anchor. Kinds at "nothing wrong" are left out.
"""

from __future__ import annotations

import re

from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, Level, value_of
from conservator.restorers.prompts.amounts import DOMAINS, checked, written
from conservator.restorers.prompts.claims import claimed, folded
from conservator.restorers.prompts.lexicon import ascii_marks
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["BLIND", "instruction", "parse", "render"]

BLIND = "Remove all degradation"

_VERBS: dict[Kind, tuple[str, str]] = {
    Kind.HAZE: ("Dehaze", "with beta {}"),
    Kind.RAIN: ("Derain", "with value {}"),
    Kind.SNOW: ("Desnow", "with coverage {}"),
    Kind.LOW_LIGHT: ("Brighten", "with stops {}"),
    Kind.MOTION_BLUR: ("Deblur motion", "with sigma {}"),
    Kind.DEFOCUS_BLUR: ("Deblur", "with sigma {}"),
    Kind.LOW_RESOLUTION: ("Upsample", "to {}x"),
    Kind.NOISE: ("Denoise", "with sigma {}"),
    Kind.PEPPER_NOISE: ("Depepper", "with fraction {}"),
    Kind.JPEG: ("Dejpeg", "with quality {}"),
    Kind.MASK: ("Inpaint", "with fraction {}"),
}
"""Verb and how its number is said, in the order of capture."""


def instruction(kind: Kind, value: float | None = None) -> str:
    """Write one instruction, "Denoise with sigma 0.06;", or "Denoise;" without a value.

    Args:
        kind: what to undo.
        value: strength in the kind's own unit.

    Raises:
        PromptError: a strength that is physically impossible.
    """
    verb, clause = _VERBS[kind]
    return f"{verb};" if value is None else f"{verb} {clause.format(_number(kind, value))};"


def _number(kind: Kind, value: float) -> str:
    if kind is Kind.NOISE:
        return _short(checked(kind, value) / 255, 3, 2)
    if kind is Kind.DEFOCUS_BLUR:
        return _short(checked(kind, value) / 2, 3, 1)
    return written(kind, value)


def _short(value: float, decimals: int, least: int) -> str:
    """At most `decimals` digits behind the point, at least `least`: 3.0, 1.75, 0.06, 0.098."""
    text = f"{value:.{decimals}f}"
    while text.endswith("0") and len(text) - text.index(".") - 1 > least:
        text = text[:-1]
    return text


def render(prompt: RestorationPrompt, *, numbers: bool = True) -> str:
    """Write a prompt as SPIRE's restoration prompt c_r.

    Args:
        prompt: what to undo.
        numbers: False gives the unnumbered instructions.

    Returns:
        Instructions in the order of capture; `BLIND` at the end of a blind prompt; "" for one that asks for nothing.

    Raises:
        PromptError: a strength that is physically impossible.
    """
    parts = []
    for kind in _VERBS:
        value = prompt.degradations.get(kind)
        if value is None or _read(kind, _number(kind, value)) == PARAMETERS[kind].identity:
            continue
        parts.append(instruction(kind, value if numbers else None))
    if prompt.blind:
        parts.append(BLIND)
    return " ".join(parts)


def _read(kind: Kind, number: str) -> float | None:
    """The number in the kind's own unit; None when it is impossible."""
    value = float(number)
    if kind is Kind.NOISE and value <= 1:
        value = round(value * 255, 6)
    elif kind is Kind.DEFOCUS_BLUR:
        value *= 2
    low, high = DOMAINS[kind]
    return value if low <= value <= high else None


def _strength(kind: Kind, match: re.Match[str]) -> float | None:
    number = match["number"]
    return value_of(kind, Level.MEDIUM) if number is None else _read(kind, number)


_NUMBER = r"(?P<number>\d+(?:\.\d+)?|\.\d+)"
_PATTERNS = {
    kind: re.compile(
        rf"{verb.lower()}(?: (?:(?:with|to|by|of|at) )?(?:{PARAMETERS[kind].name} |sigma )?{_NUMBER} ?x?)?"
    )
    for kind, (verb, _) in _VERBS.items()
}
_BLIND_PATTERN = re.compile(r"remove all (?:the )?degradations?")


def parse(text: str) -> RestorationPrompt:
    """Read instructions back, in any order, case and punctuation; anything else goes to `unmapped`.

    A noise sigma above 1 is taken to be of 255, because full scale ends at 1.
    """
    strengths: dict[Kind, float] = {}
    blind = False
    unmapped = []
    for raw in re.split(r"(?:[;,!\n]|(?<!\d)\.|\.(?!\d))+", ascii_marks(text)):
        piece = folded(raw)
        if not piece:
            continue
        if _BLIND_PATTERN.fullmatch(piece):
            blind = True
            continue
        claim = claimed(piece, _PATTERNS, _strength)
        if claim is None:
            unmapped.append(raw.strip())
        else:
            strengths[claim[0]] = claim[1]
    return RestorationPrompt(degradations=strengths, blind=blind, unmapped=tuple(unmapped))
