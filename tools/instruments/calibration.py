"""From readings to parameters: a small fitted map that gives each kind a distribution over the five levels.

Made by `conservator.tools.instruments.calibrate`; two layers, evaluated in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import WeightsError
from conservator.tools.instruments.sample import Readings

__all__ = ["WEIGHTS", "Calibration", "Levels", "calibration"]

WEIGHTS = Path(__file__).with_name("calibration.npz")

Levels: TypeAlias = NDArray[np.float64]
"""(5,) probabilities of absent, low, medium, high, very high; a severity between two anchors is shared by both."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The fitted map."""

    names: tuple[str, ...]
    middle: NDArray[np.float32]
    spread: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    def levels(self, values: Readings) -> dict[Kind, Levels]:
        """Probabilities of the levels of every kind."""
        x = np.array([values[name] for name in self.names], np.float32)
        x = np.clip((x - self.middle) / self.spread, -5, 5)
        for index, (weight, bias) in enumerate(self.layers):
            x = weight @ x + bias
            if index < len(self.layers) - 1:
                x = np.maximum(x, 0)
        table = np.exp((x - x.max()).reshape(len(Kind), 5).astype(np.float64))
        table /= table.sum(axis=1, keepdims=True)
        return dict(zip(Kind, table, strict=True))


@lru_cache(maxsize=1)
def calibration() -> Calibration:
    """The shipped calibration.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        with np.load(WEIGHTS) as file:
            arrays = {name: file[name] for name in file.files}
        layers = tuple(
            (arrays[f"weight_{i}"].astype(np.float32), arrays[f"bias_{i}"]) for i in range(3)
        )
        return Calibration(
            tuple(map(str, arrays["names"])), arrays["middle"], arrays["spread"], layers
        )
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"the instruments' calibration {WEIGHTS} cannot be read ({error}); reinstall conservator"
        ) from error
