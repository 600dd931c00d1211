"""Lost pixels: isolated black or white ones, and flat patches or lines laid over the picture.

A lost pixel differs in all three colours from the median of its neighbourhood. A mask is made of connected pixels of
one exact grey tone with a step all around; clipped skies and shadows are flat too, but run out gently.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from conservator.tools.instruments.sample import FloatArray, Readings, Sample

__all__ = ["Losses", "losses_of", "readings"]

_CONTRAST = 40
_STEP = 0.08
_SMALLEST = 12
_LARGEST_SPECK = 24


@dataclass(frozen=True)
class Losses:
    """Shares of the pixels, in [0, 1].

    Attributes:
        pepper: isolated black pixels.
        salt: isolated white pixels.
        flat: pixels in connected patches of one exact grey tone with a step around them.
        step: mean height of those steps, [0, 1]; 0 without patches.
        thin: share of the patches' pixels that a 5x5 opening removes: 1 for scratches, 0 for squares.
        nearly: like `flat`, for patches within 6 of 255 of one tone, as JPEG leaves a mask.
        clipped: pixels at exactly 0 or 255 in all colours.
    """

    pepper: float
    salt: float
    flat: float
    step: float
    thin: float
    nearly: float
    clipped: float


def losses_of(sample: Sample) -> Losses:
    """Count what was lost."""
    flat, step, thin = _flat_patches(sample, 0, 0)
    nearly, _, _ = _flat_patches(sample, 6, 3)
    total = sum(low.size for low in sample.lows)
    ends = sum(
        np.count_nonzero(high < 0.5) + np.count_nonzero(low > 254.5)
        for low, high in zip(sample.lows, sample.highs, strict=True)
    )
    return Losses(
        pepper=_isolated(sample, black=True),
        salt=_isolated(sample, black=False),
        flat=flat,
        step=step,
        thin=thin,
        nearly=nearly,
        clipped=ends / total,
    )


def readings(losses: Losses) -> Readings:
    """`pepper`, `salt`, `flat`, `nearly_flat`, `clipped` as logarithms of shares; `flat_step`, `flat_thin`."""
    return {
        "pepper": float(np.log(losses.pepper + 1e-4)),
        "salt": float(np.log(losses.salt + 1e-4)),
        "flat": float(np.log(losses.flat + 1e-3)),
        "nearly_flat": float(np.log(losses.nearly + 1e-3)),
        "flat_step": losses.step,
        "flat_thin": losses.thin,
        "clipped": float(np.log(losses.clipped + 1e-4)),
    }


def _isolated(sample: Sample, *, black: bool) -> float:
    """Share of pixels at one end of the scale, in small groups, where the neighbourhood's median is far from it."""
    lost = watched = 0
    for plane in sample.highs if black else sample.lows:
        level = np.asarray(cv2.convertScaleAbs(plane if black else 255 - plane))
        middle = cv2.medianBlur(level, 5) if min(level.shape) >= 5 else level
        far = middle > _CONTRAST
        watched += int(np.count_nonzero(far))
        ends = (level <= 1).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(ends, connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < _LARGEST_SPECK
        small[0] = False
        lost += int(np.count_nonzero(small[labels] & far))
    return lost / watched if watched > 256 else 0.0


def _flat_patches(sample: Sample, tolerance: int, gap: int) -> tuple[float, float, float]:
    """Share, step and thinness of patches within `tolerance` of the commonest grey tone of each crop.

    The step is measured `gap` px outside the patch, where JPEG's ringing has mostly ended.
    """
    covered, total, opened = 0, 0, 0.0
    steps: list[float] = []
    for low, high in zip(sample.lows, sample.highs, strict=True):
        total += low.size
        level = np.asarray(cv2.convertScaleAbs(low))
        grey = high - low <= 0.5 + 2 * tolerance
        tones = np.bincount(level[grey], minlength=256)
        if tones.max() < _SMALLEST:
            continue
        tone = int(np.argmax(tones))
        away = np.abs(low - tone)
        patch = _framed(
            grey & (away <= tolerance + 0.4), np.maximum(away, np.abs(high - tone)), gap
        )
        area = int(np.count_nonzero(patch[0]))
        if not area:
            continue
        covered += area
        steps.append(patch[1])
        kernel = np.ones((5, 5), np.uint8)
        opened += float(cv2.morphologyEx(patch[0].astype(np.uint8), cv2.MORPH_OPEN, kernel).sum())
    if not covered:
        return 0.0, 0.0, 0.0
    return covered / total, float(np.mean(steps)), 1 - opened / covered


def _framed(mask: NDArray[np.bool_], away: FloatArray, gap: int) -> tuple[NDArray[np.bool_], float]:
    """The connected groups of `mask` with a step around them, and the mean height of the steps in [0, 1].

    Args:
        mask: (h, w), the pixels of the tone.
        away: (h, w), distance of each pixel from the tone, 0-255.
        gap: px between a group and where its step is measured.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    if count <= 1:
        return np.zeros_like(mask), 0.0
    # Each pixel just outside a group takes that group's label.
    plane = labels.astype(np.float32)
    inner = cv2.dilate(plane, np.ones((2 * gap + 1, 2 * gap + 1), np.uint8)) if gap else plane
    grown = cv2.dilate(inner, np.ones((3, 3), np.uint8)).astype(np.int64)
    ring = (inner == 0) & (grown > 0)
    height = np.minimum(away[ring], 80.0) / 255
    sums = np.bincount(grown[ring], weights=height, minlength=count)
    sizes = np.bincount(grown[ring], minlength=count)
    gentle = np.bincount(grown[ring], weights=height < 0.04, minlength=count)
    steps = sums / np.maximum(sizes, 1)
    kept = (stats[:, cv2.CC_STAT_AREA] >= _SMALLEST) & (steps > _STEP) & (gentle < 0.25 * sizes)
    kept[0] = False
    if not kept.any():
        return np.zeros_like(mask), 0.0
    areas = stats[:, cv2.CC_STAT_AREA][kept]
    return np.asarray(kept[labels], dtype=bool), float((steps[kept] * areas).sum() / areas.sum())
