"""What the classical instruments and the learned estimator say together: stacked generalisation (Wolpert, 1992).

Made by `conservator.tools.instruments.fit_stack`: small perceptrons that correct the calibration's distribution over the levels, kind by kind,
by the readings and by what the estimator saw. Evaluated in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conservator.restorers.degradations.vocabulary import Finding, Kind, value_at
from conservator.restorers.errors import WeightsError
from conservator.tools.instruments.calibration import Levels, calibration
from conservator.tools.instruments.classical import (
    JUST_ABSENT,
    JUST_PRESENT,
    LIKELY,
    confidence_of,
)
from conservator.tools.instruments.readings import Examination

__all__ = ["PRESENT", "READ_JOINTLY", "WEIGHTS", "Stack", "inputs_of", "stack", "stacked_findings"]

WEIGHTS = Path(__file__).with_name("stack.npz")

READ_JOINTLY = (
    Kind.NOISE,
    Kind.DEFOCUS_BLUR,
    Kind.MOTION_BLUR,
    Kind.RAIN,
    Kind.HAZE,
    Kind.SNOW,
    Kind.LOW_LIGHT,
    Kind.LOW_RESOLUTION,
)
"""What is estimated; JPEG, lost pixels and masks are counted."""

PRESENT: dict[Kind, float] = {Kind.LOW_LIGHT: 0.35, Kind.RAIN: 0.35, Kind.HAZE: 0.4}
"""Probability from which a kind counts as present, `LIKELY` where it is not named; chosen on four photos of Kodak and two of McMaster."""

GUESSED = frozenset({Kind.LOW_LIGHT})
"""Kinds whose levels are so hard to tell apart that undoing the draw to the middle would only spread the error."""

_FLOOR = 1e-4
_MOST = 5.0


@dataclass(frozen=True, eq=False)
class Stack:
    """The fitted correction.

    Attributes:
        middle: (i,) mean of each input over the examples.
        spread: (i,) standard deviation.
        share: (members, kinds, 1), what the calibration's logarithms count.
        layers: weights (members, out, in) and biases (members, out) of each layer.
        medians: (kinds, 4), mean level that pictures of the levels 1 to 4 are read as.
    """

    middle: NDArray[np.float32]
    spread: NDArray[np.float32]
    share: NDArray[np.float32]
    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    medians: NDArray[np.float32]

    def levels(self, inputs: NDArray[np.float32]) -> dict[Kind, Levels]:
        """Probabilities of the levels of every kind, of `inputs_of` a picture."""
        prior = inputs[: 5 * len(Kind)].reshape(len(Kind), 5)
        x = np.clip((inputs - self.middle) / self.spread, -_MOST, _MOST)[None, :, None]
        for index, (weight, bias) in enumerate(self.layers):
            x = weight @ x + bias[..., None]
            if index < len(self.layers) - 1:
                x = np.maximum(x, 0)
        logits = (self.share * prior + x.reshape(len(x), len(Kind), 5)).astype(np.float64)
        tables = np.exp(logits - logits.max(axis=-1, keepdims=True))
        tables /= tables.sum(axis=-1, keepdims=True)
        return dict(zip(Kind, tables.mean(axis=0), strict=True))

    def undrawn(self, kind: Kind, level: float) -> float:
        """The level [0, 4] that is usually read as `level`: an estimate of what is hardly seen is drawn towards the middle."""
        medians = self.medians[list(Kind).index(kind)]
        return float(np.interp(level, (0.0, *medians), np.arange(5)))


def inputs_of(examination: Examination, seen: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the stack judges by: the calibration's logarithms (55), the readings, the counted traces, and what the estimator saw.

    Args:
        examination: of the classical instruments.
        seen: (F,) of the learned estimator.
    """
    table = calibration().levels(examination.values)
    prior = np.log(np.clip(np.stack([table[kind] for kind in Kind]), _FLOOR, 1)).ravel()
    values = np.array([examination.values[name] for name in calibration().names])
    read = np.clip(np.sign(values) * np.log1p(np.abs(values)), -20, 20)
    white, traces, losses = examination.white, examination.traces, examination.losses
    counted = np.clip(
        [
            -0.1 if white is None else white / 10,
            traces.surprise / 20,
            traces.fit,
            traces.quality / 50,
            (losses.pepper + losses.salt) * 20,
            losses.flat * 20,
            losses.step * 5,
            losses.crisp,
        ],
        -_MOST,
        _MOST,
    )
    return np.concatenate([prior, read, counted, seen]).astype(np.float32)


def stacked_findings(examination: Examination, seen: NDArray[np.float32]) -> dict[Kind, Finding]:
    """One finding for each of `READ_JOINTLY`, absent kinds included.

    The parameter is the mean over the levels, given that the kind is there.

    Raises:
        WeightsError: the stack's file is missing, damaged, or of another estimator.
    """
    table = stack().levels(inputs_of(examination, seen))
    return {kind: _finding(kind, table[kind]) for kind in READ_JOINTLY}


def _finding(kind: Kind, levels: Levels) -> Finding:
    if 1 - levels[0] >= PRESENT.get(kind, LIKELY):
        level = float(levels[1:] @ np.arange(1, 5) / levels[1:].sum())
        read = level / 4
        severity = read if kind in GUESSED else stack().undrawn(kind, level) / 4
        severity = max(severity, JUST_PRESENT)
    else:
        read = severity = min(float(levels @ np.arange(5)) / 4, JUST_ABSENT)
    return Finding(
        kind=kind,
        value=value_at(kind, severity),
        confidence=confidence_of(levels, read),
        source="instrument",
    )


@lru_cache(maxsize=1)
def stack() -> Stack:
    """The shipped stack.

    Raises:
        WeightsError: the file is missing, damaged, or of another estimator.
    """
    from conservator.restorers.weights import checksum
    from conservator.tools.instruments import estimator

    try:
        with np.load(WEIGHTS) as file:
            arrays = {name: file[name] for name in file.files}
        layers = tuple(
            (arrays[f"weight_{i}"].astype(np.float32), arrays[f"bias_{i}"]) for i in range(2)
        )
        names = ("middle", "spread", "share", "medians")
        middle, spread, share, medians = (arrays[name] for name in names)
        made_for = str(arrays["estimator_sha256"])
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(
            f"the instruments' stack {WEIGHTS} cannot be read ({error}); reinstall conservator"
        ) from error
    if made_for != checksum(estimator.WEIGHTS):
        raise WeightsError(f"{WEIGHTS} was fitted to another estimator; fit it again")
    return Stack(middle, spread, share, layers, medians)
