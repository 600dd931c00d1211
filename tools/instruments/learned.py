"""The seat of the learned estimator: a small network that reads a photo's condition and quality.

The network lives in the package `conservator.tools.instruments.estimator`, which must offer::

    def missing() -> str: ...  # "" when the weights are there, else one line saying what is not
    def load() -> LearnedEstimator: ...

Until that package is installed everything here says "not there", and the classical instruments work alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from conservator.restorers.degradations.vocabulary import Finding, Kind

__all__ = ["LearnedEstimate", "LearnedEstimator", "estimator_missing", "learned_estimate"]

SEAT = "conservator.tools.instruments.estimator"


@dataclass(frozen=True)
class LearnedEstimate:
    """What the network reads off one photo.

    Attributes:
        findings: kind -> finding, source "instrument"; kinds the network does not judge are left out.
        quality: overall quality in [0, 1], None when it does not judge it.
        seen: (F,) what it saw, for those who learn from it; None when it does not tell.
    """

    findings: Mapping[Kind, Finding] = field(default_factory=dict)
    quality: float | None = None
    seen: npt.NDArray[np.float32] | None = None


class LearnedEstimator(Protocol):
    """A loaded network; it chooses its own crops."""

    def estimate(self, image: npt.NDArray[np.float32]) -> LearnedEstimate:
        """Judge (H, W, 3), float32, [0, 1], RGB, of any size."""
        ...


_LOADED: list[LearnedEstimator] = []
_LOADING = threading.Lock()


def _seat() -> Any:
    """The estimator's package, None when it is not installed."""
    return importlib.import_module(SEAT) if importlib.util.find_spec(SEAT) else None


def estimator_missing() -> str:
    """Why the learned estimator cannot run, in one line; "" when it can."""
    seat = _seat()
    return (
        "the learned estimator is not part of this build" if seat is None else str(seat.missing())
    )


def learned_estimate(image: npt.NDArray[np.float32]) -> LearnedEstimate | None:
    """What the network reads off (H, W, 3), float32, [0, 1]; None when there is no network.

    Raises:
        WeightsError: its weights are there but damaged.
    """
    if estimator_missing():
        return None
    with _LOADING:
        if not _LOADED:
            _LOADED.append(_seat().load())
    return _LOADED[0].estimate(image)
