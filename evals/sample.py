"""A sample: one picture of one row, first as a specification, then as pixels, and what a system answers to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from conservator.restorers.degradations.recipe import Draws
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["Answer", "AnswerRecord", "Cost", "Image", "Request", "Sample", "SampleSpec", "Status"]

Image = npt.NDArray[np.float32]
"""(H, W, 3), float32, [0, 1], RGB."""

Status = Literal["done", "limit", "failed"]


class SampleSpec(BaseModel):
    """What a sample is made of; serialisable, so that a worker or a later session makes the same pixels.

    Attributes:
        sample_id: unique in a run and stable between runs: `row/file`, with a running number where both repeat.
        row: the task's row.
        group: of that row.
        picture: what is degraded by `recipe`, or what the systems get when there is none.
        reference: the clean picture of a pair, `picture` itself when it is clean and stays so; "" when a recipe degrades
            `picture`, or nobody knows.
        recipe: "" for pairs and real photos.
        enlarge: bring a picture that the recipe made smaller back to its size.
        crop: only the centre, so many px a side, of the clean picture, before anything else; 0 is the whole.
        seed: of the recipe's draws: made of the run's seed, the row and the file name, so that adding a file changes no other.
        truth: kind -> parameter for pairs and real photos.
        digest: sha256 of the bytes of `picture` and `reference`; "" when a file could not be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_id: str
    row: str
    group: str = ""
    picture: str
    reference: str = ""
    recipe: str = ""
    enlarge: bool = False
    crop: int = 0
    seed: int = 0
    truth: Mapping[str, float] = {}
    digest: str = ""


class Request(BaseModel):
    """What a worker is asked, one JSON line.

    Attributes:
        spec: of the sample.
        digests: system -> digest of the answer that is owed.
        seconds: limit of an answer; what was spent when it is a stand-in.
        stand_in: why nothing is run and the untouched input is scored in the systems' names; "" otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: SampleSpec
    digests: Mapping[str, str]
    seconds: float
    stand_in: str = ""


@dataclass(frozen=True)
class Sample:
    """A sample in memory.

    Attributes:
        spec: what it is made of.
        degraded: what a system gets.
        clean: what it should look like, None when nobody knows.
        truth: what is wrong with it, as a prompt; empty for a clean picture, None when nobody knows.
        path: a file with the same pixels, for systems that read files: the original one, or a lossless copy.
        draws: of the recipe, None when there is none.
    """

    spec: SampleSpec
    degraded: Image = field(repr=False)
    clean: Image | None = field(repr=False)
    truth: RestorationPrompt | None
    path: Path
    draws: Draws | None = None


@dataclass(frozen=True)
class Answer:
    """What a system made of a sample.

    Attributes:
        image: the restored picture; None for a system that only reports.
        report: what it believes is wrong, None for a system that does not say.
        tools: restorer calls.
        vlm_calls: questions to a vision-language model.
        tokens: of those, both directions.
        details: anything worth keeping in the record, as JSON data (steps, outcome, prompt).
    """

    image: Image | None = field(repr=False)
    report: ConditionReport | None = None
    tools: int = 0
    vlm_calls: int = 0
    tokens: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class Cost(BaseModel):
    """What an answer cost.

    Attributes:
        seconds: wall time; loading weights is not in it (the first answer of a process warms up separately).
        cpu_seconds: of all threads of the worker.
        peak_mb: peak resident memory of the worker process so far, MB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    tools: int = 0
    vlm_calls: int = 0
    tokens: int = 0


class AnswerRecord(BaseModel):
    """One line of `samples.jsonl`: one system's answer to one sample, scored.

    Attributes:
        sample_id: of the sample; with `system` the key of the line.
        system: as written in the run's configuration.
        row: of the task.
        group: of the row.
        status: `limit` ran out of time: then `scores` are those of the best it had, or of the untouched input.
            `failed` has no scores.
        reason: why, for anything but `done`.
        digest: of everything the answer depends on; a line whose digest differs is owed again.
        scores: metric -> value; flat.
        findings: for perception: kind -> {"true": parameter or null, "said": parameter or null, "confidence": 0..1}.
        cost: time, memory, calls.
        image: the answer, relative to the run folder; "" when none was kept.
        details: of the answer.
        draws: of the recipe, to make the sample again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_id: str
    system: str
    row: str
    group: str = ""
    status: Status = "done"
    reason: str = ""
    digest: str = ""
    scores: Mapping[str, float] = {}
    findings: Mapping[str, Mapping[str, float | None]] = {}
    cost: Cost = Cost()
    image: str = ""
    details: Mapping[str, Any] = {}
    draws: Draws | None = None

    @classmethod
    def failed(cls, spec: SampleSpec, system: str, reason: str, digest: str) -> AnswerRecord:
        """The record of an answer that is not there."""
        return cls(
            sample_id=spec.sample_id,
            system=system,
            row=spec.row,
            group=spec.group,
            status="failed",
            reason=" ".join(reason.split()),
            digest=digest,
        )

    @property
    def key(self) -> tuple[str, str]:
        """What makes the line unique."""
        return self.sample_id, self.system
