"""Blur: how wide the sharpest edges are, and whether they are wider in one direction.

An ideal edge under a Gaussian of deviation `s`, seen through Gaussian derivatives of scales `a` and `b`, has gradients
in the ratio sqrt((s^2 + b^2) / (s^2 + a^2)) (Zhuo and Sim 2011, doi:10.1016/j.patcog.2011.03.009), so the ratio tells
`s`. A disk of radius r acts like s = r / 2. Motion along an angle widens only the edges that it crosses:
s^2(phi) = s0^2 + m^2 cos^2(phi - angle), which a fit over the edges' directions takes apart.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from conservator.tools.instruments.sample import FloatArray, Readings, Sample

__all__ = ["readings"]

_SCALES = ((0.8, 1.6), (1.6, 3.2))
_BINS = 12
_MAX_VARIANCE = 60.0


def readings(sample: Sample) -> Readings:
    """For the fine and the coarse pair of scales (1, 2), deviations in px.

    `edge_N_p10|p25|p50`: percentiles of `s` over the strong edges. `edge_N_even`, `edge_N_along`: the fit's s0 and m;
    `edge_N_contrast`: widest over narrowest direction. `edge_share`: share of pixels that are strong edges.
    `edge_crisp_N`: ratio of gradients at the very strongest edges.
    """
    values: Readings = {}
    for index, (fine, coarse) in enumerate(_SCALES, 1):
        variances, angles, weights, pixels = _edges(sample, fine, coarse)
        values["edge_share"] = float(np.log(len(variances) / pixels + 1e-4))
        values |= {f"edge_{index}_{k}": v for k, v in _widths(variances).items()}
        values |= {f"edge_{index}_{k}": v for k, v in _directions(variances, angles).items()}
        values[f"edge_crisp_{index}"] = _crispness(variances, weights)
    return values


def _edges(
    sample: Sample, fine: float, coarse: float
) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    """Variance of blur, gradient angle and gradient of every strong edge pixel, and the pixels looked at."""
    variances, angles, weights, pixels = [], [], [], 0
    for luma in sample.lumas:
        pixels += luma.size
        if min(luma.shape) < 16:
            continue
        sharp_x, sharp_y = _gradient(luma, fine)
        soft_x, soft_y = _gradient(luma, coarse)
        soft = np.hypot(soft_x, soft_y)
        strong = soft > max(3.0, float(np.percentile(soft, 90)))
        strong &= _ridge(soft, soft_x, soft_y)
        strong[:8], strong[-8:], strong[:, :8], strong[:, -8:] = False, False, False, False
        x, y, size = soft_x[strong], soft_y[strong], soft[strong]
        along = (sharp_x[strong] * x + sharp_y[strong] * y) / np.maximum(size, 1e-6)
        ratio = np.clip(along / np.maximum(size, 1e-6), 1.001, coarse / fine) ** 2
        variance = (coarse**2 - ratio * fine**2) / (ratio - 1)
        variances.append(np.clip(variance, 0, _MAX_VARIANCE))
        angles.append(np.arctan2(y, x) % np.pi)
        weights.append(size)
    if not variances:
        empty = np.empty(0, np.float32)
        return empty, empty, empty, max(1, pixels)
    return np.concatenate(variances), np.concatenate(angles), np.concatenate(weights), pixels


def _gradient(luma: FloatArray, scale: float) -> tuple[FloatArray, FloatArray]:
    blurred = cv2.GaussianBlur(luma, (0, 0), scale, borderType=cv2.BORDER_REPLICATE)
    smooth = np.asarray(blurred, np.float32)
    x = np.zeros_like(smooth)
    y = np.zeros_like(smooth)
    x[:, 1:-1] = (smooth[:, 2:] - smooth[:, :-2]) / 2
    y[1:-1] = (smooth[2:] - smooth[:-2]) / 2
    return np.asarray(x), np.asarray(y)


def _ridge(size: FloatArray, x: FloatArray, y: FloatArray) -> NDArray[np.bool_]:
    """Where the gradient is largest across its own direction, to the nearest of four."""
    flat = np.abs(x) > 2.414 * np.abs(y)
    steep = np.abs(y) > 2.414 * np.abs(x)
    rising = x * y > 0
    best = np.zeros(size.shape, bool)
    inner = size[1:-1, 1:-1]
    for chosen, (dy, dx) in (
        (flat, (0, 1)),
        (steep, (1, 0)),
        (~flat & ~steep & rising, (1, 1)),
        (~flat & ~steep & ~rising, (1, -1)),
    ):
        h, w = size.shape
        ahead = size[1 + dy : h - 1 + dy, 1 + dx : w - 1 + dx]
        behind = size[1 - dy : h - 1 - dy, 1 - dx : w - 1 - dx]
        best[1:-1, 1:-1] |= chosen[1:-1, 1:-1] & (inner >= ahead) & (inner > behind)
    return best


def _widths(variances: FloatArray) -> Readings:
    if len(variances) < 20:
        return {"p10": 0.0, "p25": 0.0, "p50": 0.0}
    low, quarter, middle = np.sqrt(np.percentile(variances, [10, 25, 50]))
    return {"p10": float(low), "p25": float(quarter), "p50": float(middle)}


def _directions(variances: FloatArray, angles: FloatArray) -> Readings:
    """Split blur into an even part and a part along one direction."""
    bins = np.minimum((angles / np.pi * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    rows = [i for i in range(_BINS) if counts[i] >= 15]
    if len(rows) < 4:
        return {"even": 0.0, "along": 0.0, "contrast": 0.0}
    low = np.array([np.percentile(variances[bins == i], 25) for i in rows])
    weight = np.sqrt(np.minimum(counts[rows], 200.0))
    centres = (np.array(rows) + 0.5) * np.pi / _BINS
    terms = np.stack([np.ones_like(centres), np.cos(2 * centres), np.sin(2 * centres)], axis=1)
    solution = np.linalg.lstsq(terms * weight[:, None], low * weight, rcond=None)[0]
    swing = float(np.hypot(solution[1], solution[2]))
    even = float(np.sqrt(max(0.0, solution[0] - swing)))
    contrast = float(np.log((low.max() + 0.3) / (low.min() + 0.3)))
    return {"even": even, "along": float(np.sqrt(2 * swing)), "contrast": contrast}


def _crispness(variances: FloatArray, weights: FloatArray) -> float:
    if len(variances) < 20:
        return 0.0
    strongest = weights >= np.percentile(weights, 90)
    return float(np.sqrt(np.percentile(variances[strongest], 25)))
