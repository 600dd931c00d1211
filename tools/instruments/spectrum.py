"""Resolution and direction of detail: how power falls with frequency, and what interpolation left behind.

A photo enlarged by a factor f has little power above 1 / (2 f) cycles a pixel, and its second differences repeat with
period f (Gallagher 2005, doi:10.1109/CRV.2005.33). Motion starves the frequencies along its angle, rain feeds those
across its streaks.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft2

from conservator.tools.instruments.sample import FloatArray, Readings, Sample

__all__ = ["readings"]

TILE = 64
_EDGES = np.array([0.02, 0.04, 0.06, 0.085, 0.11, 0.14, 0.17, 0.21, 0.25, 0.3, 0.36, 0.42, 0.5])
_ANGLES = 8
_LANES = ((0.06, 0.14), (0.14, 0.25), (0.25, 0.45))
_PERIODS = (2, 3, 4)


def readings(sample: Sample) -> Readings:
    """Logarithms of power.

    `band_00..11`: mean power of radial bands from 0.02 to 0.5 cycles a pixel, of the textured tiles.
    `band_corner`: beyond 0.5, on the diagonals. `band_slope`, `band_bend`: line and parabola through the bands.
    `lane_N_...`: power of eight directions in three ranges of frequency: strongest over median, median over weakest, the
    two axes over the mean, the horizontal frequencies over the mean. `period_2|3|4`, `period_8`, `period_other`, `period_where`: peaks in the spectrum of the second
    differences, the last one the frequency of the strongest other peak.
    """
    power = _power(sample)
    bands, corner, lanes = _regions()
    levels = np.array([np.log(power[mask].mean() + 1e-2) for mask in bands])
    values = {f"band_{i:02d}": float(level) for i, level in enumerate(levels)}
    values["band_corner"] = float(np.log(power[corner].mean() + 1e-2))
    curve = np.polyfit(np.log((_EDGES[1:] + _EDGES[:-1]) / 2), levels, 2)
    values["band_bend"], values["band_slope"] = float(curve[0]), float(curve[1])
    for index, lane in enumerate(lanes, 1):
        directions = np.array([np.log(power[mask].mean() + 1e-2) for mask in lane])
        directions -= directions.mean()
        middle = float(np.median(directions))
        values[f"lane_{index}_peak"] = float(directions.max()) - middle
        values[f"lane_{index}_dip"] = middle - float(directions.min())
        values[f"lane_{index}_axes"] = float(directions[[0, _ANGLES // 2]].mean())
        values[f"lane_{index}_level"] = float(directions[0])
    return values | _periodicity(sample)


@lru_cache(maxsize=1)
def _regions() -> tuple[list[NDArray[np.bool_]], NDArray[np.bool_], list[list[NDArray[np.bool_]]]]:
    y = np.fft.fftfreq(TILE)[:, None]
    x = np.fft.rfftfreq(TILE)[None, :]
    radius, angle = np.hypot(x, y), np.arctan2(y, x) % np.pi
    # The axes carry tile borders and JPEG blocks.
    inside = radius > 0
    bands = [inside & (radius >= a) & (radius < b) for a, b in pairwise(_EDGES)]
    sector = ((angle + np.pi / (2 * _ANGLES)) % np.pi / np.pi * _ANGLES).astype(np.int64)
    lanes = [
        [(radius >= low) & (radius < high) & (sector == a) for a in range(_ANGLES)]
        for low, high in _LANES
    ]
    return bands, radius >= 0.5, lanes


def _power(sample: Sample) -> FloatArray:
    """Mean power spectrum (64, 33) of the more textured half of the tiles."""
    window = np.hanning(TILE).astype(np.float32)
    window = window[:, None] * window
    window /= np.sqrt((window**2).sum())
    tiles = []
    for luma in sample.lumas:
        plane = luma
        if min(plane.shape) < TILE:
            room = [(0, max(0, TILE - side)) for side in plane.shape]
            plane = np.pad(plane, room, mode="symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(plane, (TILE, TILE))[::48, ::48]
        tiles.append(windows.reshape(-1, TILE, TILE))
    stack = np.concatenate(tiles)
    stack = stack[:: max(1, len(stack) // 128)]
    stack = stack - stack.mean(axis=(1, 2), keepdims=True)
    deviation = stack.std(axis=(1, 2))
    stack = stack[deviation >= np.median(deviation)]
    spectra = np.abs(rfft2(stack * window)) ** 2
    return np.asarray(spectra.mean(axis=0), dtype=np.float32)


def _periodicity(sample: Sample) -> Readings:
    """Peaks of the spectrum of mean absolute second differences, over the median, averaged over both axes."""
    spectra = []
    for luma in sample.lumas:
        for plane in (luma, luma.T):
            if plane.shape[1] < 128 or plane.shape[0] < 16:
                continue
            bend = np.abs(plane[:, 2:] - 2 * plane[:, 1:-1] + plane[:, :-2])
            line = np.log(np.minimum(bend, 30).mean(axis=0) + 0.05)
            line = line - np.convolve(np.pad(line, 8, mode="edge"), np.ones(17) / 17, "valid")
            spectrum = np.abs(np.fft.rfft(line * np.hanning(len(line)), 1024)) / np.sqrt(len(line))
            spectra.append(spectrum)
    if not spectra:
        return {
            **{f"period_{p}": 0.0 for p in (*_PERIODS, 8)},
            "period_other": 0.0,
            "period_where": 0.0,
        }
    spectrum = np.mean(spectra, axis=0)
    floor = float(np.median(spectrum)) + 1e-4
    spectrum = np.log(spectrum / floor + 1e-3)
    values = {f"period_{p}": _near(spectrum, 1024 // p if p != 3 else 341) for p in _PERIODS}
    values["period_8"] = max(_near(spectrum, 128), _near(spectrum, 384))
    free = spectrum.copy()
    free[:200] = -9
    for multiple in range(128, 513, 128):
        free[max(0, multiple - 6) : multiple + 7] = -9
    place = int(np.argmax(free))
    return values | {"period_other": float(free[place]), "period_where": place / 1024}


def _near(spectrum: NDArray[np.float64], place: int) -> float:
    return float(spectrum[max(0, place - 2) : place + 3].max())
