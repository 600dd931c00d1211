"""The texts of the questions to a vision-language model, one file each, and the hash that a run records of them all."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

__all__ = ["prompt_names", "prompt_text", "prompts_sha256"]

_FOLDER = Path(__file__).parent


def prompt_names() -> tuple[str, ...]:
    """The questions that have a text."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.txt")))


@cache
def prompt_text(name: str) -> str:
    """A question's text, without the line's end."""
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()


def prompts_sha256() -> str:
    """One hash over the names and texts of all questions: two runs with the same hash were asked in the same words."""
    digest = hashlib.sha256()
    for name in prompt_names():
        digest.update(f"{name}\0{prompt_text(name)}\0".encode())
    return digest.hexdigest()
