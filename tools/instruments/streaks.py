"""Rain and snow: bright lines and bright blobs that have no dark counterparts.

The eigenvalues of the Hessian tell lines (one large) from blobs (two), the sign tells bright from dark (Frangi et al.
1998, doi:10.1007/BFb0056195). Natural photos hold about as many dark ones as bright ones in every direction; rain adds
bright lines near the vertical, snow bright blobs. Both are grey, so the smallest of the three colours is measured: it
keeps what was added and loses coloured texture.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from conservator.tools.instruments.sample import FloatArray, Readings, Sample

__all__ = ["readings"]

_SCALES = (1.2, 2.4, 5.0)
_ANGLES = 24
_STEEP = np.minimum(np.arange(_ANGLES), _ANGLES - np.arange(_ANGLES)) <= 5
"""Directions within 41 degrees of the vertical, as rain falls."""
_SWEEP = 18
_REACH = 15
_SWEPT = 400


def readings(sample: Sample) -> Readings:
    """Per scale N in 1..3, natural logarithms of mean responses of 255.

    `line_N_bright|dark`: lines of either sign. `line_N_tail`: 99.5th over 90th percentile of bright responses.
    `line_N_peak`: votes for the strongest of 24 directions over the median one; `line_N_tilt`: its angle from the
    vertical over 90 degrees. `line_N_steep`, `line_N_steep_dark`: strongest steep direction over the mean of the flat
    ones, of bright and of dark lines; `line_N_skew`, `line_N_skew_flat`: bright over dark votes in steep and flat
    directions. `blob_N_bright|dark`, `blob_N_tail`: blobs.

    `vote_W_...`: agreement of gradient directions in windows of W px; names as for lines, `near` and `far` the peak over
    its neighbours 7.5 and 22.5 degrees away.

    Long lines, 30 px, at half resolution, over 18 angles: `sweep_peak`: energy at the strongest angle over the median
    one's; `sweep_skew`: bright over dark energy there; `sweep_tail`, `sweep_tilt`; `sweep_near`: energy 10 degrees off;
    `sweep_cross`: across; `sweep_level`: energy; `sweep_steep`, `sweep_level_steep`, `sweep_skew_steep`: the same for
    angles within 40 degrees of the vertical against the rest.
    """
    values: Readings = {}
    planes = list(sample.lows)
    for index, scale in enumerate(_SCALES, 1):
        shrink = 1 if scale < 4 else 2
        parts = [_responses(plane, scale, shrink) for plane in planes if min(plane.shape) >= 24]
        if not parts:
            parts = [_responses(np.zeros((32, 32), np.float32), scale, shrink)]
        lines, blobs, angles = (np.concatenate(part) for part in zip(*parts, strict=True))
        values |= _line_readings(index, lines, angles)
        values |= {
            f"blob_{index}_bright": _log(np.maximum(blobs, 0).mean()),
            f"blob_{index}_dark": _log(np.maximum(-blobs, 0).mean()),
            f"blob_{index}_tail": _tail(np.maximum(blobs, 0)),
        }
    large = [plane for plane in planes if min(plane.shape) >= 48]
    return values | _votes(large, 7) | _votes(large, 17) | _sweep(large)


@lru_cache(maxsize=1)
def _needles() -> tuple[FloatArray, ...]:
    """Thin lines of 15 px through the centre, every 10 degrees from the vertical, summing to 1."""
    place = np.arange(_REACH) - _REACH // 2
    y, x = place[:, None], place[None, :]
    needles = []
    for index in range(_SWEEP):
        angle = np.pi * index / _SWEEP
        across = np.abs(-y * np.sin(angle) + x * np.cos(angle))
        along = np.abs(y * np.cos(angle) + x * np.sin(angle))
        needle = np.clip(1 - across, 0, 1) * (along <= _REACH / 2)
        needles.append(np.asarray(needle / needle.sum(), np.float32))
    return tuple(needles)


def _sweep(planes: list[FloatArray]) -> Readings:
    energy, bright, dark, tail = (np.zeros(_SWEEP) for _ in range(4))
    for plane in planes:
        top, left = (max(0, (side - _SWEPT) // 2) for side in plane.shape)
        part = plane[top : top + _SWEPT, left : left + _SWEPT]
        half = cv2.resize(part, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        detail = half - cv2.GaussianBlur(half, (0, 0), 2.0, borderType=cv2.BORDER_REPLICATE)
        # Edges of things outshine streaks; a bound keeps them from deciding.
        bound = 3 * float(np.abs(detail).mean()) + 1e-3
        detail = np.clip(detail, -bound, bound)
        for index, needle in enumerate(_needles()):
            response = np.asarray(cv2.filter2D(detail, -1, needle))[8:-8, 8:-8]
            up = np.maximum(response, 0)
            energy[index] += float((response**2).mean()) / bound**2
            bright[index] += float((up**3).mean()) / bound**3
            dark[index] += float((np.maximum(-response, 0) ** 3).mean()) / bound**3
            tail[index] += float((up > 0.5 * bound).mean())
    count = max(1, len(planes))
    energy, bright, dark, tail = (v / count + 1e-5 for v in (energy, bright, dark, tail))
    peak = int(np.argmax(bright / np.median(bright) * energy))
    steep = np.minimum(np.arange(_SWEEP), _SWEEP - np.arange(_SWEEP)) <= 4
    around = (energy[(peak + 1) % _SWEEP] + energy[peak - 1]) / 2
    return {
        "sweep_level": float(np.log(energy.mean())),
        "sweep_peak": float(np.log(energy[peak] / np.median(energy))),
        "sweep_skew": float(np.log(bright[peak] / dark[peak])),
        "sweep_tail": float(np.log(tail[peak] / np.median(tail))),
        "sweep_tilt": min(peak, _SWEEP - peak) * 2 / _SWEEP,
        "sweep_near": float(np.log(energy[peak] / around)),
        "sweep_cross": float(np.log(energy[peak] / energy[(peak + _SWEEP // 2) % _SWEEP])),
        "sweep_steep": float(np.log(energy[steep].max() / energy[~steep].mean())),
        "sweep_level_steep": float(np.log(bright[steep].max() / bright[~steep].mean())),
        "sweep_skew_steep": float(np.log(bright[steep].max() / dark[steep].max())),
        "sweep_skew_flat": float(np.log(bright[~steep].mean() / dark[~steep].mean())),
    }


def _responses(
    plane: FloatArray, scale: float, shrink: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Signed line and blob strength and the direction along the line, flat; bright is positive."""
    if shrink > 1:
        plane = np.asarray(
            cv2.resize(plane, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        )
        scale /= shrink
    smooth = cv2.GaussianBlur(plane, (0, 0), scale, borderType=cv2.BORDER_REPLICATE)
    xx = smooth[1:-1, 2:] - 2 * smooth[1:-1, 1:-1] + smooth[1:-1, :-2]
    yy = smooth[2:, 1:-1] - 2 * smooth[1:-1, 1:-1] + smooth[:-2, 1:-1]
    xy = (smooth[2:, 2:] - smooth[2:, :-2] - smooth[:-2, 2:] + smooth[:-2, :-2]) / 4
    half = (xx + yy) / 2
    swing = np.asarray(cv2.magnitude((xx - yy) / 2, xy))
    # The eigenvalues are half - swing and half + swing; the larger one in size carries the sign.
    strong = np.abs(half) + swing
    weak = np.abs(half) - swing
    sign = np.where(half < 0, np.float32(scale**2), np.float32(-(scale**2)))
    line = sign * np.maximum(strong - 2 * np.abs(weak), 0)
    blob = sign * np.maximum(weak, 0)
    # Across the line lies the strong eigenvector; 0 means a vertical line.
    across = np.asarray(cv2.phase(xx - yy, 2 * xy)) / 2 + np.where(
        half < 0, np.float32(np.pi / 2), 0
    )
    planes = (line, blob, across)
    lines, blobs, angles = (np.asarray(plane, np.float32).ravel() for plane in planes)
    return lines, blobs, angles


def _line_readings(index: int, lines: FloatArray, angles: FloatArray) -> Readings:
    bright, dark = np.maximum(lines, 0), np.maximum(-lines, 0)
    bins = (angles * np.float32(_ANGLES / np.pi) + np.float32(0.5)).astype(np.int64) % _ANGLES
    # Every line casts about one vote, however strong: streaks are many and faint, contours few and bright.
    even = np.float32(np.abs(lines).mean() + 0.1)
    votes = lines / (np.abs(lines) + even)
    up = np.bincount(bins, weights=np.maximum(votes, 0), minlength=_ANGLES) / len(lines) + 1e-4
    down = np.bincount(bins, weights=np.maximum(-votes, 0), minlength=_ANGLES) / len(lines) + 1e-4
    peak = int(np.argmax(up))
    return {
        f"line_{index}_bright": _log(bright.mean()),
        f"line_{index}_dark": _log(dark.mean()),
        f"line_{index}_peak": float(np.log(up[peak] / np.median(up))),
        f"line_{index}_tilt": min(peak, _ANGLES - peak) * 2 / _ANGLES,
        f"line_{index}_tail": _tail(bright),
        f"line_{index}_steep": float(np.log(up[_STEEP].max() / up[~_STEEP].mean())),
        f"line_{index}_steep_dark": float(np.log(down[_STEEP].max() / down[~_STEEP].mean())),
        f"line_{index}_skew": float(np.log(up[_STEEP].sum() / down[_STEEP].sum())),
        f"line_{index}_skew_flat": float(np.log(up[~_STEEP].sum() / down[~_STEEP].sum())),
    }


def _votes(planes: list[FloatArray], window: int) -> Readings:
    """How far the directions of faint gradients agree over the photo; every place has about one vote."""
    tally = np.zeros(_ANGLES)
    for plane in planes:
        smooth = cv2.GaussianBlur(plane, (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
        x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
        y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
        size = cv2.magnitude(x, y)
        share = 1 / (size + np.float32(0.7 * np.median(size) + 0.3))
        x, y = x * share, y * share
        box = (window, window)
        spread, mixed = cv2.blur(x * x - y * y, box), 2 * cv2.blur(x * y, box)
        agreed = cv2.magnitude(spread, mixed).ravel()
        angle = cv2.phase(spread, mixed).ravel() * np.float32(_ANGLES / (2 * np.pi))
        bins = (angle + np.float32(0.5)).astype(np.int64) % _ANGLES
        tally += np.bincount(bins, weights=agreed, minlength=_ANGLES) / len(agreed)
    tally = tally / max(1, len(planes)) + 1e-4
    peak = int(np.argmax(tally))
    beside = (tally[(peak + 1) % _ANGLES] + tally[peak - 1]) / 2
    beyond = (tally[(peak + 3) % _ANGLES] + tally[peak - 3]) / 2
    return {
        f"vote_{window}_level": float(np.log(tally.mean())),
        f"vote_{window}_peak": float(np.log(tally[peak] / np.median(tally))),
        f"vote_{window}_near": float(np.log(tally[peak] / beside)),
        f"vote_{window}_far": float(np.log(tally[peak] / beyond)),
        f"vote_{window}_tilt": min(peak, _ANGLES - peak) * 2 / _ANGLES,
        f"vote_{window}_steep": float(np.log(tally[_STEEP].max() / tally[~_STEEP].mean())),
        f"vote_{window}_steep_peak": float(np.log(tally[_STEEP].max() / np.median(tally[_STEEP]))),
        f"vote_{window}_flat_peak": float(np.log(tally[~_STEEP].max() / np.median(tally[~_STEEP]))),
    }


def _log(value: float) -> float:
    return float(np.log(value + 0.01))


def _tail(values: FloatArray) -> float:
    high, low = np.percentile(values[::3], (99.5, 90))
    return float(np.log((high + 0.2) / (low + 0.2)))
