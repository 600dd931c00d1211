"""What a vision-language model may answer: pydantic schemas, checked before anything acts on them.

The schemas are what structured output is constrained to; what a JSON schema cannot say (a kind's own range, each kind once) is checked
here. An answer holds nothing but kinds, levels, numbers and short texts, so no answer can name a file or a command.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from conservator.policies.refinement import Change
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level, level_of, value_of
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts import llmra, mofe
from conservator.restorers.prompts.amounts import checked
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = [
    "Change",
    "ChangedKind",
    "ConditionAnswer",
    "Harm",
    "RefineAnswer",
    "SeenDegradation",
    "VerdictAnswer",
    "plain_text",
    "sentences_answer",
]


class Harm(StrEnum):
    """What a treatment can break."""

    SMOOTHED = "smoothed"
    HALOS = "halos"
    COLOUR = "colour"
    BRIGHTNESS = "brightness"
    ARTEFACTS = "artefacts"
    CONTENT = "content"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def plain_text(text: str) -> str:
    """Text of a model's for people and for later questions: one line, nothing a terminal or a chat template would act on."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.replace("<|", "<").replace("|>", ">").split())


class SeenDegradation(_Answer):
    """One degradation, as a vision-language model reports it.

    Attributes:
        value: the parameter in the kind's own unit (noise sigma of 255, jpeg quality, ...).
        confidence: probability that the kind is present at about this level.
    """

    kind: Kind
    level: Literal["low", "medium", "high", "very high"]
    value: float
    confidence: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _possible(self) -> SeenDegradation:
        try:
            checked(self.kind, self.value)
        except PromptError as error:
            raise ValueError(str(error)) from error
        return self

    def finding(self) -> Finding:
        """As a line of a condition report; where level and value disagree the level counts, at its anchor."""
        level = Level.parse(self.level)
        agrees = level_of(self.kind, self.value) is level
        value = self.value if agrees else value_of(self.kind, level)
        return Finding(kind=self.kind, value=value, confidence=self.confidence, source="vlm")


class ConditionAnswer(_Answer):
    """What the photo shows, and its degradations: only those that are there, each kind once; what is said twice alike is heard once."""

    scene: str = Field(max_length=120)
    degradations: list[SeenDegradation] = Field(max_length=len(Kind))

    @field_validator("degradations")
    @classmethod
    def _once(cls, value: list[SeenDegradation]) -> list[SeenDegradation]:
        said: dict[tuple[Kind, str], SeenDegradation] = {}
        for seen in value:
            said.setdefault((seen.kind, seen.level), seen)
        _each_once([kind for kind, _ in said])
        return list(said.values())

    _plain_scene = field_validator("scene")(plain_text)

    def findings(self) -> tuple[Finding, ...]:
        """The degradations as findings, in the order of `Kind`."""
        return tuple(
            seen.finding() for kind in Kind for seen in self.degradations if seen.kind is kind
        )


class VerdictAnswer(_Answer):
    """Which of two pictures is better, what is left to treat, and what the treatment broke."""

    better: Literal["after", "before", "same"]
    remaining: list[Kind] = Field(max_length=len(Kind))
    harm: list[Harm] = Field(max_length=len(Harm))
    reason: str = Field(max_length=160)

    _plain_reason = field_validator("reason")(plain_text)


class ChangedKind(_Answer):
    """One change to a prompt."""

    kind: Kind
    change: Change


class RefineAnswer(_Answer):
    """A user's sentence as changes to the prompt; empty when it asks for none."""

    changes: list[ChangedKind] = Field(max_length=len(Kind))

    @field_validator("changes")
    @classmethod
    def _once(cls, value: list[ChangedKind]) -> list[ChangedKind]:
        _each_once([changed.kind for changed in value])
        return value


def sentences_answer(text: str) -> RestorationPrompt:
    """Read an answer in LLMRA's or MoFE-IR's language.

    Raises:
        PromptError: nothing in it is of either language.
    """
    for reader in (llmra.parse, mofe.parse):
        prompt = reader(text)
        if not prompt.unmapped and text.strip():
            return prompt
    prompt = llmra.parse(text)
    if prompt.degradations:
        return prompt
    raise PromptError(f"no condition in {text[:80]!r}; say for example 'No rain streaks detected.'")


def _each_once(kinds: list[Kind]) -> None:
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(f"{kind.value} is named more than once; name each kind once")
