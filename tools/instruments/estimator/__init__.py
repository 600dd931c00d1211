"""The learned instrument: one small network that reads every kind of degradation, and overall quality."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conservator.tools.instruments.estimator.predictor import Predictor

__all__ = ["WEIGHTS", "load", "missing"]

WEIGHTS = Path(__file__).parent / "weights" / "estimator.safetensors"


def missing() -> str:
    """Why the estimator cannot run, "" when it can."""
    return "" if WEIGHTS.is_file() else f"its weights are missing: {WEIGHTS.name}"


def load() -> Predictor:
    """The network with its shipped weights.

    Raises:
        WeightsError: the file is damaged.
    """
    from conservator.tools.instruments.estimator.predictor import Predictor

    return Predictor.from_weights(WEIGHTS)
