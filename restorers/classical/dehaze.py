"""Haze: the dark channel prior with a fast guided filter (He, Sun and Tang 2009; He and Sun 2015)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import Pixels, as_pixels, between, box_mean
from conservator.restorers.classical.tool import ClassicalTool, Shared, pixels_of
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind

__all__ = ["DarkChannel"]

_WORKING_SIDE: Final = 640
_PATCH: Final = 15
_RADIUS: Final = 40
_CALM_FROM, _CALM_AT = 2.0, 5.0
"""Amplification from which the photo is calmed first, and at which wholly."""
_CALM_LUMA, _CALM_CHROMA = 10, 40
"""Radii, px."""
_CALM_STEP: Final = 0.006
"""Steps of brightness below it are smoothed, of colour below three times as much."""
_DARKEST: Final = 0.6
"""Least mean of the clear photo, as a share of the hazy one's, as far as `_LEAST_EXPONENT` brings it there."""
_LEAST_EXPONENT: Final = 0.85


@dataclass(frozen=True)
class _Haze:
    """Airlight and transmission of an image, and which part of it is meant.

    Attributes:
        airlight: (3,).
        slope: (h, w) at working size; transmission = slope * grey + offset at full size.
        offset: (h, w) at working size.
        floor: least transmission.
        exponent: 1, or less where the clear photo would be too dark.
        size: height and width of the image.
        corner: top and left of the part.
    """

    airlight: Pixels
    slope: Pixels
    offset: Pixels
    floor: float
    exponent: float
    size: tuple[int, int]
    corner: tuple[int, int]


@dataclass(frozen=True)
class _HazeShared(Shared):
    def crop(self, top: int, left: int, height: int, width: int) -> Shared:
        """The same with the part's corner."""
        if self.data is None:
            return self
        data: _Haze = self.data
        part = replace(data, corner=(top, left))
        return Shared(self.strength, self.severity, self.facts, part)


class DarkChannel(ClassicalTool):
    """I = J t + A (1 - t), with A from the haziest pixels and t from the dark channel (He 2009, Eq. 1, 5, 12, 22).

    The asked beta is the optical depth of the farthest point: it bounds t from below by exp(-beta), and a thinner haze
    is trusted less to be all of the dark channel (omega).

    Where the haze is thick the photo is smoothed between its edges before it is amplified, which the paper does not do: the patchwork that compression leaves
    in a sky is not shown. On synthetic haze of beta 1.8, with JPEG of 75 and without, that gains 0.1 dB; on SOTS nothing. Nor does the paper brighten what
    became darker than three fifths of the hazy photo: that gains 0.4 dB at beta 1.8, 0.04 dB on SOTS, and keeps day from becoming night. It is bounded, since dark
    scenes (three of 24 training crops) lose by it.

    Measured: SOTS indoor (25 pairs) 11.9 to 20.6 dB asked for beta 1.2; synthetic haze of beta 0.4/0.6/1.2/1.8 on Kodak24
    (every fourth, 384 px) from 25.3/20.0/13.5/8.2 to 30.3/28.0/22.9/18.5.
    """

    card = cards.DEHAZE
    kind = Kind.HAZE

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """Airlight and transmission, once, at working size; the guided filter carries it to full size."""
        height, width = image.shape[-2:]
        shrink = max(1.0, max(height, width) / _WORKING_SIDE)
        size = (max(1, round(height / shrink)), max(1, round(width / shrink)))
        small = pixels_of(F.adaptive_avg_pool2d(image, size) if shrink > 1 else image)
        airlight = _airlight(small)
        anchors = PARAMETERS[Kind.HAZE].anchors
        omega = between(strength, anchors, (0.5, 0.68, 0.74, 0.88, 0.95))
        depth = strength * between(strength, anchors, (0.5, 0.5, 0.55, 0.95, 1.3))
        transmission = 1 - omega * np.clip(_dark_channel(small / airlight), 0, 1)
        slope, offset = _guided_coefficients(small.mean(2), transmission, _RADIUS, 1e-3)
        floor = max(0.1, float(np.exp(-depth)))
        data = _Haze(airlight, slope, offset, floor, 1.0, size, (0, 0))
        exponent = _exponent(float(small.mean()), float(_clear(small, data).clip(0, 1).mean()))
        data = replace(data, exponent=exponent, size=(height, width))
        facts = {"airlight": [round(float(a), 3) for a in airlight], "exponent": round(exponent, 3)}
        return _HazeShared(strength, severity, facts, data)

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Invert Koschmieder's law."""
        haze: _Haze = shared.data
        clear = _clear(pixels, haze)
        return clear if haze.exponent == 1 else as_pixels(clear.clip(0, 1) ** haze.exponent)


def _exponent(before: float, after: float) -> float:
    """By which the clear photo is brightened, of the means of the hazy one and of it."""
    if not 0 < after < _DARKEST * before:
        return 1.0
    return max(_LEAST_EXPONENT, float(np.log(_DARKEST * before) / np.log(after)))


def _clear(pixels: Pixels, haze: _Haze) -> Pixels:
    slope, offset = (_enlarged(x, haze, pixels.shape[:2]) for x in (haze.slope, haze.offset))
    transmission = np.clip(slope * pixels.mean(2) + offset, haze.floor, 1)[..., None]
    calm = _calm(pixels, 1 / transmission)
    return as_pixels((calm - haze.airlight) / transmission + haze.airlight)


def _dark_channel(x: Pixels) -> Pixels:
    element = np.ones((_PATCH, _PATCH), np.uint8)
    return np.asarray(cv2.erode(np.ascontiguousarray(x.min(2)), element), np.float32)


def _airlight(x: Pixels) -> Pixels:
    """Mean colour of the thousandth of the pixels with the brightest dark channel, (3,)."""
    dark = _dark_channel(x).ravel()
    most = max(1, dark.size // 1000)
    haziest = np.argpartition(dark, -most)[-most:]
    return as_pixels(np.maximum(x.reshape(-1, 3)[haziest].mean(0), 0.3))


def _guided_coefficients(
    guide: Pixels, x: Pixels, radius: int, ridge: float
) -> tuple[Pixels, Pixels]:
    """Slope and offset of the guided filter (He and Sun 2015, Eq. 2, 3, 8); what varies less than `ridge` in the guide is smoothed."""
    side = 2 * min(radius, max(1, (min(guide.shape) - 1) // 2)) + 1
    mean_guide, mean_x = box_mean(guide, side), box_mean(x, side)
    variance = box_mean(guide * guide, side) - mean_guide * mean_guide
    slope = as_pixels((box_mean(guide * x, side) - mean_guide * mean_x) / (variance + ridge))
    return box_mean(slope, side), box_mean(mean_x - slope * mean_guide, side)


def _calm(pixels: Pixels, amplified: Pixels) -> Pixels:
    """The photo smoothed between its edges where it is to be amplified much.

    Compression keeps a sky in steps of 1 or 2 of 255 over squares of 8 px, colour over 16 and more; unseen in haze, ten times amplified they are a
    patchwork.

    Args:
        pixels: (H, W, 3).
        amplified: by how much, (H, W, 1).
    """
    share = np.clip((amplified - _CALM_FROM) / (_CALM_AT - _CALM_FROM), 0, 1)
    if not share.any():
        return pixels
    grey = pixels.mean(2)
    luma = _guided(grey, grey, _CALM_LUMA, _CALM_STEP)
    colour = pixels - grey[..., None]
    smooth = np.stack(
        [_guided(grey, c, _CALM_CHROMA, 3 * _CALM_STEP) for c in np.moveaxis(colour, 2, 0)], axis=2
    )
    return as_pixels(pixels + share * (luma[..., None] + smooth - pixels))


def _guided(guide: Pixels, x: Pixels, radius: int, step: float) -> Pixels:
    """Steps of the guide below `step` are smoothed, at full size."""
    slope, offset = _guided_coefficients(guide, x, radius, step**2)
    return as_pixels(slope * guide + offset)


def _enlarged(x: Pixels, haze: _Haze, shape: tuple[int, ...]) -> Pixels:
    """The part's (h, w) of a map at working size, bilinear."""
    across, down = x.shape[1] / haze.size[1], x.shape[0] / haze.size[0]
    top, left = haze.corner
    to_map = np.array(
        [[across, 0, (left + 0.5) * across - 0.5], [0, down, (top + 0.5) * down - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    enlarged = cv2.warpAffine(
        x, to_map, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(enlarged, np.float32)
