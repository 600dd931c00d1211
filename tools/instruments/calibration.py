"""From readings to parameters: a small fitted map that gives each kind a distribution over the five levels.

Made by `conservator.tools.instruments.calibrate`: an ensemble of small perceptrons, evaluated in numpy.
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
    """The fitted map.

    Attributes:
        names: readings, in the order of the columns.
        middle: (r,) mean of each reading over the examples.
        spread: (r,) standard deviation.
        layers: weights (members, out, in) and biases (members, out) of each layer.
    """

    names: tuple[str, ...]
    middle: NDArray[np.float32]
    spread: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]

    def levels(self, values: Readings) -> dict[Kind, Levels]:
        """Probabilities of the levels of every kind."""
        row = np.array([values[name] for name in self.names], np.float32)
        x = np.clip((row - self.middle) / self.spread, -5, 5)[None, :, None]
        for index, (weight, bias) in enumerate(self.layers):
            x = weight @ x + bias[..., None]
            if index < len(self.layers) - 1:
                x = np.maximum(x, 0)
        logits = x.reshape(len(x), len(Kind), 5).astype(np.float64)
        tables = np.exp(logits - logits.max(axis=-1, keepdims=True))
        tables /= tables.sum(axis=-1, keepdims=True)
        return dict(zip(Kind, tables.mean(axis=0), strict=True))


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
