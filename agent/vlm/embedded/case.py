"""What conversations are about: a degraded picture with its truth, a treatment that really happened, and a question with its answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from conservator.agent.vlm.questions import COMPACT_VIEWS, Question
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    Level,
    level_of,
)
from conservator.restorers.prompts.amounts import rounded

if TYPE_CHECKING:
    from conservator.tools.look import Pixels

__all__ = [
    "BLANK",
    "UNKNOWN",
    "VIEWS",
    "Case",
    "Dialogue",
    "Pair",
    "bounded",
    "compact",
    "scene_of",
]

VIEWS: Final = COMPACT_VIEWS
"""The pictures that the embedded model is trained on."""

UNKNOWN: Final = 0.8
"""Confidence written where nothing was measured; training puts what the tower says in its place."""

BLANK: Final = np.zeros((32, 32, 3), np.float32)
"""Stands for the pictures of the question before: coding them again takes time."""


@dataclass(frozen=True, eq=False)
class Case:
    """A degraded picture, what is wrong with it, and what was measured.

    Attributes:
        pixels: (H, W, 3), float32, [0, 1].
        clean: the same before.
        present: kind -> parameter.
        report: of a real inspection; None where there was none.
    """

    pixels: Pixels
    clean: Pixels
    present: Mapping[Kind, float]
    report: ConditionReport | None = None

    def truth(self) -> tuple[Finding, ...]:
        """What is wrong, in the order of `Kind`; what is too faint for a level is nothing."""
        return tuple(
            Finding(
                kind=kind,
                value=self.present[kind],
                confidence=self._confidence(kind),
                source="vlm",
            )
            for kind in Kind
            if kind in self.present and level_of(kind, self.present[kind]) > Level.ABSENT
        )

    def _confidence(self, kind: Kind) -> float:
        """What the inspection says for the kind."""
        measured = None if self.report is None else self.report.finding(kind)
        if measured is None:
            return UNKNOWN
        seen = measured.level > Level.ABSENT
        return bounded(measured.confidence if seen else 1 - measured.confidence)


def bounded(confidence: float) -> float:
    """With two decimals, and never quite sure."""
    return round(min(max(confidence, 0.3), 0.99), 2)


@dataclass(frozen=True, eq=False)
class Pair:
    """A treatment that really happened: the pictures before and after it, and the clean one."""

    before: Pixels
    after: Pixels
    clean: Pixels
    treated: Mapping[Kind, float]
    present: Mapping[Kind, float]
    found: tuple[Finding, ...]
    left: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class Dialogue:
    """A question and what the model shall write."""

    question: Question
    answer: str


def condition_answer(scene: str, findings: Iterable[Finding]) -> str:
    """Findings as the answer to the question for the condition."""
    named = [
        {
            "kind": f.kind.value,
            "level": f.level.label,
            "value": rounded(f.kind, f.value),
            "confidence": f.confidence,
        }
        for f in findings
    ]
    return compact({"scene": scene, "degradations": named})


def scene_of(clean: Pixels) -> str:
    """A few words that a small model can know: light, colour, detail."""
    luma = clean @ np.array([0.299, 0.587, 0.114], np.float32)
    colour = float((clean.max(axis=2) - clean.min(axis=2)).mean())
    detail = float(np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean())
    light = float(luma.mean())
    words = ["a dark" if light < 0.3 else "a bright" if light > 0.62 else "a"]
    if colour < 0.03:
        words.append("black-and-white")
    elif colour > 0.25:
        words.append("colourful")
    words.append("photo")
    if detail > 0.1:
        words.append("with much detail")
    elif detail < 0.03:
        words.append("with smooth areas")
    return " ".join(words)


def compact(value: object) -> str:
    """Without blanks, as the grammars of both the server and the process have it."""
    return json.dumps(value, separators=(",", ":"))
