"""Parts of a photo that a user names and nobody here can find: "the car is too dark" must not brighten the whole photo."""

from __future__ import annotations

import re
from typing import Final

from conservator.policies.comments import Comment, read_comment
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["unknown_part"]

_NAMED: Final = re.compile(
    # "The texture of the skin" and "the photo of the dog" tell more of what is meant, and no place.
    r"(?<!\bof )\b(?:the|this|that|these|those|his|her|my|our|their|its) (?=(?P<words>[\w'-]+(?: [\w'-]+){0,3}))"
)
_WHOLE: Final = frozenset(
    [
        "photo",
        "photos",
        "picture",
        "pictures",
        "image",
        "images",
        "photograph",
        "shot",
        "scan",
        "frame",
        "result",
        "results",
        "version",
        "output",
        "restoration",
        "treatment",
        "processing",
        "effect",
        "effects",
        "change",
        "changes",
        "whole",
        "overall",
        "everything",
        "all",
        "rest",
        "thing",
        "one",
        "other",
        "first",
        "last",
        "way",
        "moment",
        "end",
        "edge",
        "edges",
        "border",
        "borders",
        "colour",
        "colours",
        "color",
        "colors",
        "tone",
        "tones",
        "exposure",
        "light",
        "lighting",
        "brightness",
        "contrast",
        "sharpness",
        "detail",
        "details",
        "texture",
        "textures",
        "quality",
        "strength",
        "amount",
        "original",
        "input",
        "beginning",
        "start",
        "place",
        "film",
        "look",
        "bit",
        "highlights",
        "time",
        "step",
        "turn",
        "level",
        "background's",
        "atmosphere",
        "mood",
    ]
)
"""Nouns that stand for the photo as a whole, or for no place in it."""
_BEFORE_A_NOUN: Final = frozenset(
    [
        "heavy",
        "strong",
        "slight",
        "light",
        "dark",
        "bright",
        "soft",
        "blurry",
        "blurred",
        "noisy",
        "unsharp",
        "whole",
        "entire",
        "same",
        "very",
        "most",
        "right",
        "real",
        "old",
        "new",
        "first",
        "other",
        "too",
        "so",
        "much",
        "more",
        "less",
        "some",
        "all",
        "general",
        "overall",
        "excessive",
        "extreme",
        "visible",
        "ugly",
        "annoying",
        "horrible",
        "awful",
        "terrible",
        "bad",
        "good",
        "nice",
        "washed",
        "out",
        "burnt",
        "blown",
        "over",
        "under",
        "salt",
        "pepper",
        "and",
        "dead",
        "missing",
        "torn",
        "damaged",
        "fine",
        "low",
        "high",
        "motion",
        "movement",
        "camera",
        "digital",
        "colour",
        "color",
        "chroma",
        "iso",
        "sensor",
        "jpeg",
        "compression",
        "pixel",
        "pixelated",
        "black",
        "white",
        "small",
        "little",
        "big",
        "remaining",
        "last",
        "film",
        "image",
    ]
)
_NO_NOUN: Final = frozenset(
    [
        "is",
        "was",
        "are",
        "were",
        "be",
        "been",
        "looks",
        "look",
        "seems",
        "has",
        "have",
        "had",
        "makes",
        "should",
        "needs",
        "need",
        "would",
        "can",
        "could",
        "will",
        "and",
        "but",
        "please",
        "now",
        "not",
        "isn't",
        "wasn't",
        "might",
        "may",
        "must",
        "much",
        "too",
        "so",
        "way",
    ]
)
"""After "this" or "that" alone."""


def unknown_part(text: str, comment: Comment, prompt: RestorationPrompt) -> str:
    """The first part of the photo that a text names, places that can be found having been taken out of it; "" without one.

    A part is a noun with an article or a possessive that stands neither for the photo nor for what is wrong with it.

    Args:
        text: a statement of the user's.
        comment: the same, read by rule; it reports some parts itself.
        prompt: the treatment that it is about.
    """
    for match in _NAMED.finditer(text):
        words = match["words"].split()
        before = next((i for i, w in enumerate(words) if w not in _BEFORE_A_NOUN), None)
        if before is None or words[before] in _NO_NOUN or words[before] in _WHOLE:
            continue
        phrase = " ".join(words[: before + 1])
        if any(read_comment(noun, prompt).changes for noun in (words[before], phrase)):
            continue
        return phrase
    # "on face", without an article.
    reported = [p for p in comment.unmapped if re.match(r"(?:on|in|around|at|over|for)\b", p)]
    return next((part for part in reported if part.split()[-1] not in _WHOLE), "")
