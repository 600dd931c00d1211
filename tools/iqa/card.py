"""What is known about a metric before it runs, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

__all__ = ["Availability", "MetricCard", "Scores", "Skip", "SkipReason"]


@dataclass(frozen=True)
class MetricCard:
    """The data sheet of a quality metric.

    Attributes:
        name: as used on the command line, `ms_ssim`.
        title: one line for people.
        direction: `higher` or `lower` values mean better quality.
        low: smallest score it gives, None where there is no bound.
        high: largest score it gives, None where there is no bound.
        needs_reference: True for full-reference metrics.
        needs_weights: names of the files it needs and that are not shipped, under the torch hub folder or
            the Hugging Face cache; empty for metrics that run offline as installed.
        min_side: smallest side in px it accepts.
        whole: True when it always sees every pixel; False when pictures above the pixel limit are scored on
            native-resolution crops (see `regions.py`).
        licence: SPDX id of code and weights together.
        commercial_use: False where a licence forbids it.
        seconds: at 512x512 on one CPU core, measured; 0 when unknown.
        source: paper.
    """

    name: str
    title: str
    direction: Literal["higher", "lower"]
    low: float | None = None
    high: float | None = None
    needs_reference: bool = False
    needs_weights: tuple[str, ...] = ()
    min_side: int = 1
    whole: bool = False
    licence: str = "PolyForm-Noncommercial-1.0.0 AND LicenseRef-S-Lab-1.0"
    commercial_use: bool = False
    seconds: float = 0.0
    source: str = ""

    @property
    def higher_is_better(self) -> bool:
        """True when a larger score means better quality."""
        return self.direction == "higher"


@dataclass(frozen=True)
class Availability:
    """Whether a metric can run here, now, offline.

    Attributes:
        name: the metric.
        ready: True when it can.
        why: "" when ready, else what is missing and what to do.
    """

    name: str
    ready: bool
    why: str = ""


class SkipReason(StrEnum):
    """Why a metric gave no number."""

    WEIGHTS = "weights"
    TOO_SMALL = "too_small"
    NOT_A_NUMBER = "not_a_number"
    FAILED = "failed"


@dataclass(frozen=True)
class Skip:
    """A metric that gave no number.

    Attributes:
        name: the metric.
        reason: the kind of obstacle.
        why: one line with the value and the remedy.
    """

    name: str
    reason: SkipReason
    why: str


class Scores(dict[str, float]):
    """Metric name -> score; what gave no number is in `skipped`.

    Attributes:
        skipped: metric name -> why it is not among the scores.
        crops: how many native-resolution crops stood for the picture in the metrics that do not see the
            whole of a large one; 0 when every metric saw every pixel.
    """

    def __init__(
        self, values: dict[str, float], skipped: dict[str, Skip] | None = None, crops: int = 0
    ) -> None:
        """Keep the scores and what became of the rest."""
        super().__init__(values)
        self.skipped: dict[str, Skip] = dict(skipped or {})
        self.crops = crops
