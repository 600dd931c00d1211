"""What a user wants kept as it is: "the grain", "the bokeh", "the colours", "it dark".

What an instrument calls damage may be what a photo lives on. A kind that is kept is not treated, no prompt names it, and a candidate that
takes it off all the same, as a denoiser of JPEG blocks takes off grain, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict

from conservator.policies.comments import read_comment
from conservator.policies.places import read_statements
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.lexicon import ascii_marks
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["INTENTS", "Intent", "kept_kinds", "read_intent"]

INTENTS: Final = (
    "the grain, the bokeh or blur, the colours, the mood or it dark, the fog, the rain, the snow, "
    "the JPEG blocks, the pixelated look, the dots, the scratches"
)
"""What is understood, for people."""


class Intent(BaseModel):
    """Something to keep.

    Attributes:
        words: as the user said it, without "keep": `the grain`.
        kinds: left alone; none of them may fall.
        colours: the colour guard holds without the allowances of what is treated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: str
    kinds: tuple[Kind, ...] = ()
    colours: bool = False

    def __str__(self) -> str:
        """As written in a list of intents."""
        return self.words


_LEAD: Final = re.compile(r"^(?:please )?(?:keep|preserve|leave|retain|spare) ")
_TRAIL: Final = re.compile(r"(?: (?:as (?:it|they) (?:is|are)|alone|untouched|unchanged|please))+$")
_PIECES: Final = re.compile(r",| and | & |\+")
_CONTRARY: Final = re.compile(
    r"^(?:out|away|off|down)\b|\b(?:more|less|no|not|without)\b|\b(?:low|lower|down|away|off|minimal|small)$"
)
"""Words that turn a wish round: "keep the noise low" asks for less of it."""
_COLOURS: Final = re.compile(
    r"(?:[\w-]+ )?(?:colou?rs?|hues?|tints?|tones?|toning|white balance|(?:colou?r )?(?:cast|palette|grading)|saturation|sepia)"
)
_DARKNESS: Final = re.compile(
    r"(?:[\w-]+ ){0,2}(?:mood|atmosphere|light(?:ing)?|brightness|exposure|night|silhouettes?|low[- ]?key|moody)"
)
_BARE: Final = re.compile(r"\b(?:the|its|it|this|that|all|film|original|natural|whole)\b")
_BLURS: Final = (Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR)
_NOTHING: Final = RestorationPrompt()


def read_intent(text: str) -> Intent:
    """Read what is to be kept.

    Args:
        text: "the grain", "keep it dark", "the bokeh and the colours".

    Raises:
        PromptError: some of it names nothing that can be kept; says what is understood.
    """
    words = " ".join(text.split())
    plain = _LEAD.sub("", ascii_marks(words).lower().rstrip(".! "))
    kinds: list[Kind] = []
    colours = False
    for piece in filter(None, (part.strip() for part in _PIECES.split(_TRAIL.sub("", plain)))):
        bare = " ".join(_BARE.sub(" ", piece).split())
        contrary = _CONTRARY.search(piece)
        if _COLOURS.fullmatch(bare) and not contrary:
            colours = True
            continue
        found = () if contrary else _kinds(piece, bare)
        if not found:
            raise _unread(text, piece)
        kinds += found
    if not kinds and not colours:
        raise PromptError(f"nothing to keep in {text!r}; say {INTENTS}")
    ordered = tuple(kind for kind in Kind if kind in kinds)
    return Intent(words=_LEAD.sub("", words), kinds=ordered, colours=colours)


def kept_kinds(sentence: str) -> tuple[Kind, ...]:
    """The kinds that a sentence beginning with "keep" asks to leave alone; empty for any other, and where some of it cannot be read."""
    if _LEAD.match(ascii_marks(" ".join(sentence.split())).lower()) is None:
        return ()
    try:
        return read_intent(sentence).kinds
    except PromptError:
        return ()


def _kinds(piece: str, bare: str) -> Sequence[Kind]:
    if _DARKNESS.fullmatch(bare):
        return (Kind.LOW_LIGHT,)
    said = read_comment(f"keep {piece}", _NOTHING)
    if said.unmapped:
        return ()
    kinds = [kind for kind, change in said.changes.items() if change == "off"]
    # Whoever undoes one blur sharpens what the other one has left soft.
    return _BLURS if set(kinds) & set(_BLURS) else kinds


def _unread(text: str, piece: str) -> PromptError:
    try:
        (statement,) = read_statements(piece, width=1000, height=1000)
    except (PromptError, ValueError):
        statement = None
    if statement is not None and statement.region is not None:
        return PromptError(f"keep {text!r}: {piece!r} is a place; protect it instead")
    return PromptError(f"keep {text!r}: cannot read {piece!r}; say {INTENTS}")
