"""MoFE-IR's language: one question to the guide, and an answer that names kinds.

The paper (arXiv 2605.11444, section 4.1) asks the MLLM "What kinds of degradation in this image?" and takes
the embeddings, so the question alone is the blind prompt. To steer the restoration by hand, the answer is
written behind it: "What kinds of degradation in this image? high gaussian noise (sigma 30.0), low rain (value 5)."

Precision of the round trip: with numbers the parameter's own decimals, without numbers the anchor of the level. A kind
that rounds to "nothing wrong" is left out; an answer without kinds is "none." `semantic` is dropped.
"""

from __future__ import annotations

import re

from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Kind,
    Level,
    level_of,
)
from conservator.restorers.prompts.amounts import rounded, written
from conservator.restorers.prompts.claims import claimed, folded, stated
from conservator.restorers.prompts.lexicon import ascii_marks
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["QUESTION", "parse", "render"]

QUESTION = "What kinds of degradation in this image?"

_NAMES: dict[Kind, str] = {
    Kind.NOISE: "gaussian noise",
    Kind.DEFOCUS_BLUR: "defocus blur",
    Kind.MOTION_BLUR: "motion blur",
    Kind.RAIN: "rain",
    Kind.HAZE: "haze",
    Kind.SNOW: "snow",
    Kind.LOW_LIGHT: "low light",
    Kind.JPEG: "jpeg compression",
    Kind.LOW_RESOLUTION: "low resolution",
    Kind.PEPPER_NOISE: "pepper noise",
    Kind.MASK: "missing areas",
}
_OTHERS = "others"


def render(prompt: RestorationPrompt, *, numbers: bool = True) -> str:
    """Write the question and, unless the prompt is blind, the answer.

    A blind prompt that also names kinds ends in "others".

    Raises:
        PromptError: a strength that is physically impossible.
    """
    parts = []
    for kind, value in prompt.degradations.items():
        level = level_of(kind, value)
        if numbers and rounded(kind, value) != PARAMETERS[kind].identity:
            number = f" ({PARAMETERS[kind].name} {written(kind, value)})"
            parts.append(f"{max(level, Level.LOW).label} {_NAMES[kind]}{number}")
        elif not numbers and level > Level.ABSENT:
            parts.append(f"{level.label} {_NAMES[kind]}")
    if prompt.blind:
        return f"{QUESTION} {', '.join([*parts, _OTHERS])}." if parts else QUESTION
    return f"{QUESTION} {', '.join(parts) or 'none'}."


_ASKED = re.compile(
    r"what kinds? of degradations?(?: (?:is|are))?(?: there)? in (?:this|the) image"
)
_LEVEL = r"(?:(?P<level>very high|high|medium|moderate|low) )?"
_PATTERNS = {
    kind: re.compile(
        rf"{_LEVEL}{'(?:gaussian )?noise' if kind is Kind.NOISE else name}"
        rf"(?: (?:{PARAMETERS[kind].name} )?(?P<number>\d+(?:\.\d+)?|\.\d+))?"
    )
    for kind, name in _NAMES.items()
}


def parse(text: str) -> RestorationPrompt:
    """Read the question, the answer, or both; anything else goes to `unmapped`."""
    strengths: dict[Kind, float] = {}
    unmapped = []
    asked = answered = others = False
    for raw in re.split(r"(?:[;,!?\n]|(?<!\d)\.|\.(?!\d)|\band\b)+", ascii_marks(text), flags=re.I):
        piece = folded(raw)
        if not piece:
            continue
        if _ASKED.fullmatch(piece):
            asked = True
            continue
        answered = True
        if piece in {"none", "no degradation"}:
            continue
        if piece == _OTHERS:
            others = True
            continue
        claim = claimed(piece, _PATTERNS, stated)
        if claim is None:
            unmapped.append(raw.strip())
        else:
            strengths[claim[0]] = claim[1]
    blind = others or (asked and not answered)
    return RestorationPrompt(degradations=strengths, blind=blind, unmapped=tuple(unmapped))
