"""What a recipe draws: explicit steps that replay without any further chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from conservator.restorers.degradations.vocabulary import Kind, severity_of
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["Draws", "Plan", "Step"]


class Step(BaseModel):
    """One operation with every number it needs.

    Attributes:
        operator: a name in `operators.OPERATORS`.
        parameters: the operator's arguments.
        seed: of the step's own random fields (noise, streaks, flakes, depth).
        kind: what the step means in the vocabulary, None for a step that means nothing by itself.
        value: how much of it, in the kind's own unit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    operator: str
    parameters: Mapping[str, int | float | str] = Field(default_factory=dict)
    seed: int = 0
    kind: Kind | None = None
    value: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a pipeline returns to `Recipe.draw`.

    Attributes:
        steps: in the order in which they strike.
        every_step_8bit: clip and round to uint8 behind every step; otherwise only behind the last.
        prompt: the pipeline's own restoration prompt, "" when it has none.
        blind: the pipeline is meant for blind restoration, its steps name nothing.
    """

    steps: tuple[Step, ...]
    every_step_8bit: bool = True
    prompt: str = ""
    blind: bool = False


class Draws(BaseModel):
    """One drawn recipe; stored beside the picture it makes, it replays that picture bit for bit.

    Attributes:
        version: of this file format.
        recipe: as `str(recipe)`.
        height: of the picture it was drawn for.
        width: of the picture it was drawn for.
        prompt: the pipeline's own restoration prompt (SPIRE, LM4LV), "" when it has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    recipe: str
    seed: int
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    steps: tuple[Step, ...]
    every_step_8bit: bool = True
    prompt: str = ""
    blind: bool = False

    def truth(self) -> RestorationPrompt:
        """The prompt that asks to undo exactly what was done; of a kind that struck twice, the worse."""
        strengths: dict[Kind, float] = {}
        for step in self.steps:
            if step.kind is None or step.value is None or self.blind:
                continue
            before = strengths.get(step.kind)
            if before is None or severity_of(step.kind, step.value) > severity_of(
                step.kind, before
            ):
                strengths[step.kind] = step.value
        return RestorationPrompt(degradations=strengths, blind=self.blind)
