"""One claim of a restorer's own language: a kind with its strength, as LLMRA, MoFE-IR and SPIRE each write it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.prompts.amounts import DOMAINS

__all__ = ["claimed", "folded", "stated"]


def folded(text: str) -> str:
    """Lower case, words and points only, single spaces."""
    return " ".join(re.sub(r"[^\w.\s]|_", " ", text.lower()).split())


def claimed(
    piece: str,
    patterns: Mapping[Kind, re.Pattern[str]],
    strength: Callable[[Kind, re.Match[str]], float | None],
) -> tuple[Kind, float] | None:
    """The kind and strength that a piece of text claims; None where no pattern maps it, or `strength` finds none."""
    for kind, pattern in patterns.items():
        match = pattern.fullmatch(piece)
        if match is not None:
            value = strength(kind, match)
            return None if value is None else (kind, value)
    return None


def stated(kind: Kind, match: re.Match[str]) -> float | None:
    """The strength in the groups `number` and `level`, *medium* without both; None for an impossible number."""
    number = match["number"]
    if number is None:
        return value_of(kind, Level.parse(match["level"] or "medium"))
    low, high = DOMAINS[kind]
    return float(number) if low <= float(number) <= high else None
