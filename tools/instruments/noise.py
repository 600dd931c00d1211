"""Noise: standard deviations that the picture's own content does not explain.

Everything is measured where the picture is calm. Calm is judged on a blurred copy, so that the choice does not favour
places where the noise happens to be small. Three measures fail differently: the smallest principal components of small
patches are free of structure (Chen, Zhu and Heng 2015, doi:10.1109/ICCV.2015.62) and exact for white noise, but vanish
once JPEG or blur has touched it; the diagonal wavelet details (Donoho and Johnstone 1994, doi:10.1093/biomet/81.3.425)
see the finest scale only; the deviation of calm blocks keeps what was left at coarser scales, and counts faint texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from conservator.tools.instruments.sample import FloatArray, Readings, Sample

__all__ = ["LUMA_OF_WHITE", "patch_sigma", "readings", "white_sigma"]

PATCH = 6
BLOCK = 8
MAX_PATCHES = 8_000
_MIDDLE = 60.0
_CLIPPED_SHARE = 0.0012
"""What clipping still takes from each unit of sigma in middle tones; measured on photos of 8 bits."""
LUMA_OF_WHITE = 0.668
"""Deviation of luma under independent noise of deviation 1 in each colour."""


@dataclass(frozen=True, eq=False)
class _Field:
    """A plane of one crop with its calm map: mean gradient of a blurred copy around each pixel."""

    plane: FloatArray
    calm: FloatArray
    luma: FloatArray


def readings(sample: Sample) -> Readings:
    """Logarithms of standard deviations of 255, `log(sigma + 0.5)`.

    `noise_patch`, `noise_patch_chroma`: by patches, of luma and of the colour differences. `noise_fine`: by diagonal
    details. `noise_flat_1|2|4` and `noise_flat_chroma`: in the calmest blocks, after averaging 1x1, 2x2, 4x4 pixels
    (equal for white noise). `noise_flat_dark`, `noise_flat_bright`: in the calm blocks of the lower and upper tones.

    A grey photo's noise is the same in all colours; its readings are scaled to those of equal noise in a colour photo.
    """
    lumas = [_field(luma, luma) for luma in sample.lumas]
    chromas = [
        _field(_chroma(crop), luma) for crop, luma in zip(sample.crops, sample.lumas, strict=True)
    ]
    flat, dark, bright = _flat_sigma(lumas)
    values = {
        "noise_patch": patch_sigma(lumas),
        "noise_patch_chroma": patch_sigma(chromas),
        "noise_fine": _fine_sigma(lumas),
        "noise_flat_chroma": _flat_sigma(chromas)[0],
        "noise_flat_1": flat,
        "noise_flat_dark": dark,
        "noise_flat_bright": bright,
    }
    for factor in (2, 4):
        smaller = [_averaged(luma, factor) for luma in sample.lumas]
        values[f"noise_flat_{factor}"] = _flat_sigma(
            [_field(plane * factor, plane) for plane in smaller]
        )[0]
    if all((high - low).max() < 0.5 for low, high in zip(sample.lows, sample.highs, strict=True)):
        values["noise_patch_chroma"] = values["noise_patch"]
        values["noise_flat_chroma"] = values["noise_flat_1"]
        for name in values:
            values[name] *= 1.0 if name.endswith("chroma") else LUMA_OF_WHITE
    return {name: float(np.log(value + 0.5)) for name, value in values.items()}


def patch_sigma(fields: Sequence[_Field]) -> float:
    """Standard deviation of white noise by the eigenvalues of calm patches.

    The eigenvalues are cut from above until their mean lies at their median: what remains is noise (Chen et al.,
    Alg. 1).
    """
    stacks, calms = [], []
    for field in fields:
        if min(field.plane.shape) < 2 * PATCH:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(field.plane, (PATCH, PATCH))[::3, ::3]
        h, w = windows.shape[:2]
        calm = field.calm[PATCH // 2 :: 3, PATCH // 2 :: 3][:h, :w]
        stacks.append(windows.reshape(-1, PATCH * PATCH))
        calms.append(calm.ravel())
    if not stacks:
        return 0.0
    calm = np.concatenate(calms)
    chosen = np.flatnonzero(calm <= np.percentile(calm, 30))
    if len(chosen) < 4 * PATCH * PATCH:
        return 0.0
    chosen = chosen[:: max(1, len(chosen) // MAX_PATCHES)]
    patches = np.concatenate(stacks)[chosen]
    centred = patches - patches.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred / len(centred))
    for count in range(len(values), 1, -1):
        if values[:count].mean() <= np.median(values[:count]):
            return float(np.sqrt(max(0.0, values[:count].mean())))
    return float(np.sqrt(max(0.0, values[0])))


def white_sigma(sample: Sample) -> float | None:
    """Sigma of 255 of noise that is white and independent in the colours; None when the noise is not of that sort.

    Such noise has 0.668 of its deviation in luma and all of it in the scaled colour difference. Middle tones are
    preferred, because clipping takes a part of the noise away where a colour is near its end.
    """
    lumas: list[_Field] = []
    chromas: list[_Field] = []
    for crop, luma, low, high in zip(
        sample.crops, sample.lumas, sample.lows, sample.highs, strict=True
    ):
        near_black = np.maximum(_MIDDLE - cv2.blur(low, (9, 9)), 0)
        near_white = np.maximum(cv2.blur(high, (9, 9)) - (255 - _MIDDLE), 0)
        price = np.asarray(0.5 * (near_black + near_white), np.float32)
        for fields, plane in ((lumas, luma), (chromas, _chroma(crop))):
            field = _field(plane, luma)
            fields.append(_Field(plane, field.calm + price, luma))
    in_luma, in_colour = patch_sigma(lumas), patch_sigma(chromas)
    if in_colour < 2.5 or in_luma < 0.85 * LUMA_OF_WHITE * in_colour:
        return None
    if in_luma > 1.25 * LUMA_OF_WHITE * in_colour:
        # Texture may hide the noise in luma; then the colour difference must show that it is white.
        halves = [_averaged(field.plane, 2) * 2 for field in chromas]
        coarse = _flat_sigma([_field(plane, plane + 128) for plane in halves])[0]
        if not 0.85 < coarse / in_colour < 1.2:
            return None
    return in_colour * (1 + _CLIPPED_SHARE * in_colour)


def _field(plane: FloatArray, luma: FloatArray) -> _Field:
    """Judge the calm; clipped places, where noise is cut off, count as restless."""
    smooth = cv2.GaussianBlur(plane, (0, 0), 2.0, borderType=cv2.BORDER_REPLICATE)
    slope = cv2.magnitude(
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8),
    )
    clipped = cv2.inRange(luma, 1.5, 253.5) == 0
    slope = np.where(clipped, np.float32(255), slope)
    return _Field(plane, np.asarray(cv2.blur(slope, (BLOCK, BLOCK)), np.float32), luma)


def _fine_sigma(fields: Sequence[_Field]) -> float:
    """Median absolute diagonal Haar detail over 0.6745, where it is calm."""
    details, calms = [], []
    for field in fields:
        h, w = field.plane.shape[0] // 2 * 2, field.plane.shape[1] // 2 * 2
        x = field.plane[:h, :w]
        details.append(
            np.abs(x[::2, ::2] - x[1::2, ::2] - x[::2, 1::2] + x[1::2, 1::2]).ravel() / 2
        )
        calms.append(field.calm[:h:2, :w:2].ravel())
    detail, calm = np.concatenate(details), np.concatenate(calms)
    if not detail.size:
        return 0.0
    return float(np.median(detail[calm <= np.percentile(calm, 30)]) / 0.6745)


def _flat_sigma(fields: Sequence[_Field]) -> tuple[float, float, float]:
    """Deviation from a plane in the calmest sixth of the blocks: of all tones, of the darker, of the brighter half."""
    stacks, calms, tones = [], [], []
    for field in fields:
        h, w = field.plane.shape[0] // BLOCK, field.plane.shape[1] // BLOCK
        if not h or not w:
            continue
        cut = field.plane[: BLOCK * h, : BLOCK * w].reshape(h, BLOCK, w, BLOCK).swapaxes(1, 2)
        stacks.append(cut.reshape(-1, BLOCK * BLOCK))
        middle = slice(BLOCK // 2, None, BLOCK)
        calms.append(field.calm[middle, middle][:h, :w].ravel())
        tones.append(field.luma[middle, middle][:h, :w].ravel())
    if not stacks:
        return 0.0, 0.0, 0.0
    blocks, calm, tone = np.concatenate(stacks), np.concatenate(calms), np.concatenate(tones)
    order = np.argsort(calm, kind="stable")
    half = np.median(tone)
    sides = (order, order[tone[order] <= half], order[tone[order] >= half])
    all_, dark, bright = (_deviation(blocks[side[: max(4, len(side) // 6)]]) for side in sides)
    return all_, dark, bright


def _deviation(blocks: FloatArray) -> float:
    """Median over (n, 64) blocks of the deviation around their best plane, 61 degrees of freedom."""
    if not len(blocks):
        return 0.0
    ramp = (np.arange(BLOCK, dtype=np.float32) - 3.5) / np.sqrt(42.0 * BLOCK)
    across, down = np.tile(ramp, BLOCK), np.repeat(ramp, BLOCK)
    centred = blocks - blocks.mean(axis=1, keepdims=True)
    explained = (centred @ across) ** 2 + (centred @ down) ** 2
    power = ((centred**2).sum(axis=1) - explained) / 61
    return float(np.sqrt(max(0.0, float(np.median(power)))))


def _chroma(crop: FloatArray) -> FloatArray:
    """Green against the mean of red and blue, scaled so that equal noise in the channels keeps its deviation."""
    difference = crop[..., 1] - (crop[..., 0] + crop[..., 2]) / 2
    return np.asarray(difference * np.float32(255 / np.sqrt(1.5)), dtype=np.float32)


def _averaged(luma: FloatArray, factor: int) -> FloatArray:
    h, w = luma.shape[0] // factor, luma.shape[1] // factor
    if not h or not w:
        return luma
    cut = luma[: h * factor, : w * factor]
    return np.asarray(cv2.resize(cut, (w, h), interpolation=cv2.INTER_AREA), dtype=np.float32)
