"""`measure` and `inspect_picture`: what the instruments say about a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind
from conservator.restorers.errors import UsageError
from conservator.tools.instruments.classical import classical_findings, jpeg_from_tables
from conservator.tools.instruments.fusion import SMALL_PX, fused
from conservator.tools.instruments.learned import LearnedEstimate, learned_estimate
from conservator.tools.instruments.readings import examine
from conservator.tools.instruments.sample import FloatArray, sample_of
from conservator.tools.instruments.stacking import stacked_findings

if TYPE_CHECKING:
    from conservator.tools.image_io.picture import Picture

__all__ = ["inspect_picture", "measure"]

SMALLEST = 24


def measure(
    image: FloatArray, *, jpeg_tables: Sequence[Sequence[int]] | None = None
) -> tuple[Finding, ...]:
    """Measure every kind of the vocabulary.

    Photos above 0.42 megapixels are judged on six crops at native resolution and a thumbnail; the cost on one core is
    about 0.2 s whatever the size.

    Args:
        image: (H, W, 3), float32, [0, 1], RGB, sRGB-encoded.
        jpeg_tables: the file's quantisation tables, 64 steps each in natural order, luma first; only where `image` is
            the file's own decoded grid.

    Returns:
        One finding a kind, absent ones included; only what the file says where a side is below 24 px.

    Raises:
        UsageError: not such an array, or values that are not finite.
    """
    return _judge(image, jpeg_tables)[0]


def inspect_picture(picture: Picture) -> ConditionReport:
    """The condition of a picture from the carrier, quantisation tables included.

    Raises:
        WeightsError: the calibration or the learned estimator's weights are damaged.
    """
    jpeg = picture.jpeg
    tables = jpeg.tables if jpeg is not None and jpeg.grid_valid else None
    findings, learned = _judge(picture.pixels, tables)
    return ConditionReport(findings=findings, quality=None if learned is None else learned.quality)


def _judge(
    image: FloatArray, tables: Sequence[Sequence[int]] | None
) -> tuple[tuple[Finding, ...], LearnedEstimate | None]:
    sample = sample_of(image)
    if not all(np.isfinite(crop).all() for crop in sample.crops):
        raise UsageError("a photo to measure must hold finite values only; this one has nan or inf")
    if min(sample.size) < SMALLEST:
        absent = Finding(kind=Kind.JPEG, value=100, confidence=0, source="instrument")
        return ((jpeg_from_tables(tables, absent),) if tables else ()), None
    examination = examine(sample)
    classical = classical_findings(examination)
    if tables:
        classical[Kind.JPEG] = jpeg_from_tables(tables, classical[Kind.JPEG])
    learned = learned_estimate(image)
    if learned is None:
        return fused(classical, {}), None
    small = min(sample.size) < SMALL_PX
    joint = {} if small or learned.seen is None else stacked_findings(examination, learned.seen)
    return fused(classical, learned.findings, joint, small=small), learned
