"""What an inspection with a vision-language model asks a restorer to undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conservator.agent.vlm.answers import sentences_answer
from conservator.agent.vlm.exchange import Allowance
from conservator.agent.vlm.seat import Seat
from conservator.restorers.degradations.vocabulary import ConditionReport, Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.instruments.measuring import measure
from conservator.tools.instruments.prompt import prompt_from

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from torch import Tensor

    from conservator.restorers.llmra.pool import Inspector
    from conservator.tools.look import Pixels

__all__ = ["inspector_of", "said_alone", "seen_together"]

_ALLOWED = Allowance(seconds=60)


def seen_together(
    model: BaseChatModel, report: ConditionReport, pixels: Pixels
) -> RestorationPrompt:
    """What the instruments' `report` on (H, W, 3), [0, 1], and the model say together, as far as it is certain: the agent's own way."""
    # A new seat each time: one that failed for an earlier picture would not ask about this one.
    return prompt_from(Seat(model).describe(report, pixels, _ALLOWED).report.findings)


def said_alone(model: BaseChatModel, pixels: Pixels) -> RestorationPrompt:
    """The model's own answer to LLMRA's three questions about (H, W, 3), [0, 1], no readings shown; empty when it does not read."""
    text, _ = Seat(model).sentences(pixels, _ALLOWED)
    return sentences_answer(text) if text else RestorationPrompt()


def inspector_of(model: BaseChatModel) -> Inspector:
    """For LLMRA's second training stage: of every two pictures one is named by both together, the other by the model alone."""

    def named(pixels: Pixels, *, alone: bool) -> RestorationPrompt:
        if alone:
            return said_alone(model, pixels)
        return seen_together(model, ConditionReport(findings=measure(pixels)), pixels)

    def inspect(batch: Tensor) -> list[dict[Kind, float]]:
        bytes8 = (batch.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        pictures = [(picture / np.float32(255)).astype(np.float32, order="C") for picture in bytes8]
        return [
            dict(named(pixels, alone=i % 2 == 1).degradations) for i, pixels in enumerate(pictures)
        ]

    return inspect
