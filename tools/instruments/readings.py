"""All readings of a sample in one place: what the calibration turns into parameters."""

from __future__ import annotations

from dataclasses import dataclass

from conservator.tools.instruments import (
    compression,
    dropout,
    edges,
    noise,
    spectrum,
    streaks,
    tone,
)
from conservator.tools.instruments.compression import Traces
from conservator.tools.instruments.dropout import Losses
from conservator.tools.instruments.sample import Readings, Sample

__all__ = ["Examination", "examine"]


@dataclass(frozen=True)
class Examination:
    """A sample read by every instrument.

    Attributes:
        values: reading -> number, in a fixed order.
        traces: what JPEG left behind.
        losses: pixels lost to pepper, salt and masks.
        white: sigma of 255 of white noise, independent in the colours; None for other noise.
    """

    values: Readings
    traces: Traces
    losses: Losses
    white: float | None


def examine(sample: Sample) -> Examination:
    """Read a sample; about 0.15 s on one core, whatever the photo's size."""
    traces = compression.traces_of(sample)
    losses = dropout.losses_of(sample)
    values = (
        compression.readings(traces)
        | dropout.readings(losses)
        | noise.readings(sample)
        | edges.readings(sample)
        | spectrum.readings(sample)
        | tone.readings(sample)
        | streaks.readings(sample)
    )
    return Examination(values, traces, losses, noise.white_sigma(sample))
