"""JPEG: quality from quantisation tables, or from the traces that quantisation left in the pixels.

A decoded JPEG's 8x8 DCT coefficients still crowd around multiples of the steps they were quantised with (Fan and de
Queiroz 2003, doi:10.1109/TIP.2002.807361). For every libjpeg quality, the steps of its luma table are held against the
coefficients: `cos(2 pi c / step)` averages near 1 on coefficients of that step and near 0 on any others. Where noise,
blur or a changed grid has washed the steps out, the contrast of gradients across block borders remains.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from conservator.tools.instruments.sample import FloatArray, Readings, Sample

__all__ = ["Traces", "luma_table", "quality_of_tables", "readings", "traces_of"]

_ANNEX_K = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.int64,
)
_FREQUENCIES = tuple((u, v) for u in range(6) for v in range(6) if 0 < u + v <= 6)
_REACH = 512
_MAX_STEP = 256
_SURE = 12.0


@lru_cache(maxsize=101)
def luma_table(quality: int) -> NDArray[np.int64]:
    """The luma table (8, 8) that libjpeg scales to a quality in 1..100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_ANNEX_K * scale + 50) // 100, 1, 255)


def quality_of_tables(tables: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Quality of a file from its quantisation tables, and how sure that is.

    Args:
        tables: 64 steps each in natural order, luma first.

    Returns:
        (quality in 1..100, confidence): confidence 1 for libjpeg's own tables; for others the quality whose luma
        table lies nearest in relative terms, with a confidence that falls with the distance.
    """
    own = np.log(np.maximum(np.asarray(tables[0], dtype=np.float64).reshape(8, 8), 1))
    gaps = [float(np.abs(own - np.log(luma_table(q))).mean()) for q in range(1, 101)]
    best = int(np.argmin(gaps))
    return float(best + 1), float(np.exp(-gaps[best]))


@dataclass(frozen=True)
class Traces:
    """What compression left in the pixels.

    Attributes:
        quality: libjpeg quality whose steps fit best; 100 when none fits.
        fit: mean of cos(2 pi c / step) over the coefficients that were not quantised to zero, in [-1, 1].
        surprise: standard deviations by which `fit` exceeds what unquantised coefficients give.
        blockiness: gradient across block borders over that inside blocks, 1 without blocks.
        corner: row and column in 0..7 of the first block border.
    """

    quality: float
    fit: float
    surprise: float
    blockiness: float
    corner: tuple[int, int]


def traces_of(sample: Sample) -> Traces:
    """Find the block grid and the quantisation steps."""
    rows, columns = _border_profile(sample, 0), _border_profile(sample, 1)
    corner = (int(np.argmax(rows)), int(np.argmax(columns)))
    blockiness = float((_peak_ratio(rows) + _peak_ratio(columns)) / 2)
    candidates = {(0, 0), corner}
    found = [(*_best_quality(_coefficients(sample, c)), c) for c in sorted(candidates)]
    quality, fit, surprise, corner = max(found, key=lambda item: item[2])
    return Traces(quality, fit, surprise, blockiness, corner)


def readings(traces: Traces) -> Readings:
    """`jpeg_quality`, `jpeg_fit`, `jpeg_surprise` (log), `jpeg_blockiness` (log)."""
    return {
        "jpeg_quality": traces.quality,
        "jpeg_fit": traces.fit,
        "jpeg_surprise": float(np.log1p(max(0.0, traces.surprise))),
        "jpeg_blockiness": float(np.log(traces.blockiness)),
    }


def _border_profile(sample: Sample, axis: int) -> FloatArray:
    """Mean jump between neighbouring lines, beyond what their neighbours predict, by position modulo 8."""
    sums, counts = np.zeros(8), np.full(8, 1e-9)
    for luma, corner in zip(sample.lumas, sample.corners, strict=True):
        lines = luma if axis == 0 else luma.T
        if len(lines) < 16:
            continue
        step = np.diff(lines, axis=0)
        excess = np.abs(step[1:-1] - (step[:-2] + step[2:]) / 2)
        jump = np.minimum(excess, 40).mean(axis=1)
        places = (np.arange(len(jump)) + 2 + corner[axis]) % 8
        np.add.at(sums, places, jump)
        np.add.at(counts, places, 1)
    return np.asarray(sums / counts, dtype=np.float32)


def _peak_ratio(profile: FloatArray) -> float:
    rest = np.delete(profile, int(np.argmax(profile)))
    return float((profile.max() + 0.05) / (np.median(rest) + 0.05))


def _coefficients(sample: Sample, corner: tuple[int, int]) -> FloatArray:
    """DCT coefficients (blocks, 8, 8) of the blocks on a grid; at most 8192 blocks."""
    stacks = []
    for luma, (top, left) in zip(sample.lumas, sample.corners, strict=True):
        y, x = (corner[0] - top) % 8, (corner[1] - left) % 8
        h, w = (luma.shape[0] - y) // 8, (luma.shape[1] - x) // 8
        part = luma[y : y + 8 * h, x : x + 8 * w]
        stacks.append(part.reshape(h, 8, w, 8).swapaxes(1, 2).reshape(-1, 8, 8))
    blocks = np.concatenate(stacks)
    # Clipped blocks carry coefficients that were never on the steps.
    blocks = blocks[(blocks.min(axis=(1, 2)) > 1) & (blocks.max(axis=(1, 2)) < 254)]
    blocks = blocks[:: max(1, len(blocks) // 8192)]
    return np.asarray(dctn(blocks - 128, axes=(1, 2), norm="ortho"), dtype=np.float32)


@lru_cache(maxsize=1)
def _waves() -> tuple[FloatArray, FloatArray]:
    """cos(2 pi c / step) on half-unit bins of c and integer steps, and which bins count: both (bins, steps).

    Only what rounds to a non-zero multiple of a step tells it from another.
    """
    bins = np.arange(2 * _REACH)[:, None]
    steps = np.arange(1, _MAX_STEP + 1)
    kept = (bins >= steps).astype(np.float32)
    return (np.cos(np.pi * (bins + 0.5) / steps) * kept).astype(np.float32), kept


@lru_cache(maxsize=128)
def _places(quality: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of a quality's steps in the tables of `_best_quality`; steps below 3 cannot be told."""
    table = luma_table(quality)
    chosen = [(i, table[u, v] - 1) for i, (u, v) in enumerate(_FREQUENCIES) if table[u, v] >= 3]
    pairs = np.array(chosen, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _best_quality(coefficients: FloatArray) -> tuple[float, float, float]:
    """Quality, fit and surprise of the table that fits best."""
    if len(coefficients) < 16:
        return 100.0, 0.0, 0.0
    histograms = np.zeros((len(_FREQUENCIES), 2 * _REACH), np.float32)
    for i, (u, v) in enumerate(_FREQUENCIES):
        magnitude = np.minimum(np.abs(coefficients[:, u, v]) * 2, 2 * _REACH - 1).astype(np.int64)
        histograms[i] = np.bincount(magnitude, minlength=2 * _REACH)
    waves, kept = _waves()
    sums, counts = histograms @ waves, histograms @ kept
    fits = [(quality, *_fit_of(quality, sums, counts)) for quality in range(2, 99)]
    quality, fit, surprise = max(fits, key=lambda item: item[2])
    # A photo compressed twice fits both tables; the coarser one did the damage.
    for coarser, its_fit, its_surprise in fits:
        if coarser < quality and its_fit > 0.6 * fit and its_surprise > max(_SURE, 0.5 * surprise):
            near = [item for item in fits if abs(item[0] - coarser) <= 5]
            quality, fit, surprise = max(near, key=lambda item: item[2])
            break
    return float(quality), fit, surprise


def _fit_of(quality: int, sums: FloatArray, counts: FloatArray) -> tuple[float, float]:
    """Fit and surprise of one quality's table, over the steps that can be told apart."""
    places = _places(quality)
    count = float(counts[places].sum())
    if count < 8:
        return 0.0, 0.0
    fit = float(sums[places].sum()) / count
    return fit, fit * math.sqrt(2 * count)
