"""Systems that look and tell: no picture, only what they believe is wrong.

`instruments` are the agent's own; `vlm` is a vision-language model by itself, which sees the pictures of `agent.vlm.questions` and no readings;
`instruments+vlm` is what the agent's inspect node makes of both. An answer of the model's that does not hold, twice, counts as seeing
nothing by itself, and leaves the instruments' report in the joint system: as in a run.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from conservator.evals.sample import Answer, Sample
from conservator.policies.condition import SILENCE
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Finding,
    Kind,
)
from conservator.restorers.errors import BackendMissingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.language_models import BaseChatModel

    from conservator.agent.vlm.asked import Asked
    from conservator.agent.vlm.seat import Seat

__all__ = ["Perceiver", "checked_spec", "eight_bit", "instruments_report", "opened_vlm"]


def eight_bit(image: Any) -> Any:
    """(H, W, 3), float32, [0, 1] as uint8."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def instruments_report(sample: Sample) -> ConditionReport:
    """What the agent's instruments say: of the file where there is one, its quantisation tables are evidence."""
    from conservator.agent.api import inspect

    return inspect(sample.path if not sample.spec.recipe else eight_bit(sample.degraded), vlm=None)


def checked_spec(spec: str) -> str:
    """A model's specification, known to be one.

    Raises:
        UnknownNameError: no model is called that.
    """
    from conservator.agent.vlm import opening

    return opening.checked_spec(spec)


def opened_vlm(spec: str) -> BaseChatModel:
    """The model of a specification: `auto`, `embedded`, `local`, `served`, or a server's URL.

    Raises:
        BackendMissingError: it is not there.
        UsageError: the specification, or the settings behind `auto`, ask for none.
    """
    from conservator.agent.settings import load_settings
    from conservator.agent.vlm.opening import open_vlm

    model = open_vlm(spec, load_settings())
    if model is None:
        raise UsageError(
            f"model={spec}: there is no vision-language model to measure; give model=embedded or a server's URL"
        )
    return model


class Perceiver:
    """A vision-language model as a system.

    Args:
        model: opens the model; called once.
        alone: without the instruments.
    """

    def __init__(self, model: Callable[[], BaseChatModel], *, alone: bool) -> None:
        """Open nothing yet."""
        self._model, self._alone = model, alone

    @cached_property
    def _opened(self) -> BaseChatModel:
        return self._model()

    def _seat(self) -> Seat:
        """A new one for each sample: one that failed for an earlier sample would not be asked."""
        from conservator.agent.vlm.seat import Seat

        return Seat(self._opened)

    def warm(self) -> None:
        """Open the model and let it look at something.

        Raises:
            BackendMissingError: there is no model, or it does not answer.
        """
        from conservator.agent.vlm.exchange import Allowance

        noise = np.random.default_rng(0).random((96, 96, 3)).astype(np.float32)
        asked = self._seat().describe(ConditionReport(), noise, Allowance(seconds=600)).asked
        _refuse_broken(asked)

    def answer(self, sample: Sample, *, seed: int, seconds: float) -> Answer:
        """The report on one sample.

        Raises:
            BackendMissingError: the model is late or does not answer; a wrong answer is no error.
        """
        from conservator.agent.vlm.exchange import Allowance

        report = ConditionReport() if self._alone else instruments_report(sample)
        seat = self._seat()
        said = seat.describe(
            report, sample.degraded, Allowance(seconds=0.9 * seconds), alone=self._alone
        )
        _refuse_broken(said.asked)
        return Answer(
            image=None,
            report=_complete(said.report),
            vlm_calls=said.asked.calls,
            tokens=said.asked.tokens,
            details={
                "model": seat.name,
                "status": said.asked.status,
                "answer": dict(said.asked.answer),
                "notes": list(said.asked.notes),
                "vlm_seconds": said.asked.seconds,
            },
        )


def _complete(report: ConditionReport) -> ConditionReport:
    """The report with every kind in it: what was not named was denied, so that a clean picture is judged too."""
    findings = [
        report.finding(kind)
        or Finding(kind=kind, value=PARAMETERS[kind].identity, confidence=1 - SILENCE, source="vlm")
        for kind in Kind
    ]
    return report.model_copy(update={"findings": tuple(findings)})


def _refuse_broken(asked: Asked) -> None:
    if asked.status in ("failed", "late", "skipped"):
        why = "; ".join(asked.notes) or "it failed before"
        raise BackendMissingError(f"no answer from the vision-language model: {why}")
