"""Pepper and salt: single lost pixels are found and rebuilt from their neighbours, all others stay as they are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import Pixels, box_mean, gaussian
from conservator.restorers.classical.tool import ClassicalTool, Shared, pixels_of
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["Median"]

_BAND = 1024


class Median(ClassicalTool):
    """Impulse detection, then biharmonic filling.

    The asked fraction bounds how many pixels are treated: at most 1.25 times as many, those that stand out most.
    Kodak24 (every fourth, 384 px): 1/3/7/15 % pepper from 26.6/21.8/18.2/14.9 to 45.5/41.8/38.6/35.1 dB.
    """

    card = cards.MEDIAN
    kind = Kind.PEPPER_NOISE

    def estimate(self, image: Tensor) -> float:
        """The share of pixels that stand out."""
        return len(_contrasts(image)) / (image.shape[-2] * image.shape[-1])

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """The contrast from which on a pixel is treated."""
        found = _contrasts(image)
        most = round(1.25 * strength * image.shape[-2] * image.shape[-1])
        least = 0.0
        if 0 < most < len(found):
            least = float(np.partition(found, -most)[-most])
        return Shared(strength, severity, {"impulses": min(len(found), most)}, least)

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Fill what stands out enough."""
        contrast = _impulses(pixels)
        lost = (contrast > 0) & (contrast >= shared.data)
        return _filled(pixels, lost) if lost.any() else pixels


def _contrasts(image: Tensor) -> Pixels:
    """Contrast of every impulse in (1, 3, H, W), in bands to bound memory."""
    found = []
    for top in range(0, image.shape[-2], _BAND):
        first = max(0, top - 8)
        contrast = _impulses(pixels_of(image[:, :, first : top + _BAND + 8]))
        contrast = contrast[top - first : top - first + _BAND]
        found.append(contrast[contrast > 0])
    return np.concatenate(found)


def _impulses(pixels: Pixels) -> Pixels:
    """(h, w): how far a lone black or white pixel is from its 5x5 neighbours, 0 elsewhere."""
    brightest, darkest = pixels.max(2), pixels.min(2)
    black = _standing_out(brightest, brightest <= 1.5 / 255, 0.6, 0.03)
    white = _standing_out(1 - darkest, darkest >= 253.5 / 255, 0.4, 0.1)
    return np.maximum(black, white)


def _standing_out(level: Pixels, extreme: NDArray[np.bool_], crowd: float, least: float) -> Pixels:
    """Mean level of the neighbours that are not extreme, where the pixel is and few of its neighbours are."""
    others = (~extreme).astype(np.float32)
    share = box_mean(others, 5)
    around = box_mean(level * others, 5) / np.maximum(share, 1e-6)
    lone = extreme & (1 - share < crowd) & (around > least)
    return np.where(lone, around, np.float32(0))


def _filled(pixels: Pixels, lost: NDArray[np.bool_]) -> Pixels:
    """Normalised Gaussian means first, then relaxation to a biharmonic surface."""
    known = (~lost).astype(np.float32)
    hole = lost[..., None]
    fill = pixels
    for sigma in (2.4, 0.8):
        weight = gaussian(known, sigma)[..., None]
        mean = gaussian(pixels * known[..., None], sigma) / np.maximum(weight, 1e-6)
        fill = np.where(hole & (weight > 0.02), mean, fill)
    stencil = np.array([[-1, 4, -1], [4, 0, 4], [-1, 4, -1]], np.float32) / 12
    for _ in range(20):
        smooth = np.asarray(cv2.filter2D(fill, -1, stencil, borderType=cv2.BORDER_REFLECT))
        fill = np.where(hole, smooth, pixels)
    return fill
