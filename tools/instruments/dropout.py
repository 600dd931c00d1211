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
_CAP = 80.0
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
        crisp: height of the steps right at the border over that 3 px away: near 1 for what was laid over the
            picture, lower for clipped parts of it, whose borders a lens has softened.
        nearly: like `flat`, for patches within 6 of 255 of one tone, as JPEG leaves a mask.
        clipped: pixels at exactly 0 or 255 in all colours.
    """

    pepper: float
    salt: float
    flat: float
    step: float
    thin: float
    crisp: float
    nearly: float
    clipped: float


def losses_of(sample: Sample) -> Losses:
    """Count what was lost."""
    exact, rough = _flat_patches(sample, 0, 0), _flat_patches(sample, 6, 3)
    total = sum(low.size for low in sample.lows)
    ends = sum(
        np.count_nonzero(high < 0.5) + np.count_nonzero(low > 254.5)
        for low, high in zip(sample.lows, sample.highs, strict=True)
    )
    return Losses(
        pepper=_isolated(sample, black=True),
        salt=_isolated(sample, black=False),
        flat=exact.share,
        step=exact.step,
        thin=exact.thin,
        crisp=exact.crisp,
        nearly=rough.share,
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


@dataclass(frozen=True)
class _Patches:
    """Flat patches of a sample: their share of it, step, thinness and crispness, as in `Losses`."""

    share: float = 0.0
    step: float = 0.0
    thin: float = 0.0
    crisp: float = 0.0


def _flat_patches(sample: Sample, tolerance: int, gap: int) -> _Patches:
    """Patches within `tolerance` of the commonest grey tone of each crop.

    The step is measured `gap` px outside the patch, where JPEG's ringing has mostly ended.
    """
    covered, total, opened = 0, 0, 0.0
    near: list[float] = []
    far: list[float] = []
    for low, high in zip(sample.lows, sample.highs, strict=True):
        total += low.size
        level = np.asarray(cv2.convertScaleAbs(low))
        tones = np.bincount(level[high - low <= 0.5 + 2 * tolerance], minlength=256)
        if tones.max() < _SMALLEST:
            continue
        tone = int(np.argmax(tones))
        away = np.maximum(np.abs(low - tone), np.abs(high - tone))
        patch = _framed(away <= 2 * tolerance + 0.4, away, gap)
        area = int(np.count_nonzero(patch))
        if not area:
            continue
        covered += area
        opened += float(cv2.morphologyEx(patch.astype(np.uint8), cv2.MORPH_OPEN, _square(5)).sum())
        near.append(_height(away, patch, gap))
        far.append(_height(away, patch, gap + 2))
    if not covered:
        return _Patches()
    crisp = sum(near) / max(1e-3, sum(far))
    return _Patches(covered / total, float(np.mean(near)), 1 - opened / covered, crisp)


def _framed(mask: NDArray[np.bool_], away: FloatArray, gap: int) -> NDArray[np.bool_]:
    """The connected groups of `mask` with a step around them.

    Args:
        mask: (h, w), the pixels of the tone.
        away: (h, w), distance of each pixel from the tone, 0-255.
        gap: px between a group and where its step is measured.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    # Each pixel just outside a group takes that group's label.
    inner = cv2.dilate(labels.astype(np.float32), _square(2 * gap + 1))
    grown = cv2.dilate(inner, _square(3)).astype(np.int64)
    ring = (inner == 0) & (grown > 0)
    height = np.minimum(away[ring], _CAP) / 255
    sums = np.bincount(grown[ring], weights=height, minlength=count)
    sizes = np.maximum(np.bincount(grown[ring], minlength=count), 1)
    gentle = np.bincount(grown[ring], weights=height < 0.04, minlength=count)
    kept = stats[:, cv2.CC_STAT_AREA] >= _SMALLEST
    kept &= (sums / sizes > _STEP) & (gentle < 0.25 * sizes)
    kept[0] = False
    return np.asarray(kept[labels], dtype=bool)


def _height(away: FloatArray, patch: NDArray[np.bool_], gap: int) -> float:
    """Mean distance from the tone, in [0, 1], `gap` px outside the patches."""
    inner = cv2.dilate(patch.astype(np.uint8), _square(2 * gap + 1))
    ring = cv2.dilate(inner, _square(3)) > inner
    return float(np.minimum(away[ring], _CAP).mean()) / 255 if ring.any() else 0.0


def _square(side: int) -> NDArray[np.uint8]:
    return np.ones((side, side), np.uint8)
