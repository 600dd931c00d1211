"""What a question to a vision-language model came to: a line of the run record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Asked"]


class Asked(BaseModel):
    """One question and its end.

    Attributes:
        question: name of its text under `agent/prompts`.
        about: attempt that it was about, "" for the input.
        status: `answered`; `refused`, wrong twice; `failed`, the model or its server gave an error; `late`, no answer in time;
            `skipped`, a budget or an earlier failure kept it from being asked.
        answer: what was accepted, as JSON data; empty otherwise.
        notes: what went wrong, one line each.
        calls: times the model was called.
        tokens: that it reported.
    """

    model_config = ConfigDict(frozen=True)

    question: str
    about: str = ""
    status: Literal["answered", "refused", "failed", "late", "skipped"]
    answer: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
