"""Rain and snow, removed by morphology: both are brighter than what they cover, and colourless."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.deblur import textured_crop
from conservator.restorers.classical.filters import (
    Pixels,
    as_pixels,
    between,
    box_mean,
    closing,
    dilated,
    disk_element,
    gaussian,
    line_element,
    opening,
)
from conservator.restorers.classical.tool import ClassicalTool, Shared
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["Rain", "Snow"]

_LADDER = (0.0, 0.25, 0.5, 0.75, 1.0)
_WIDTH, _LENGTH, _WINDOW = 7, 9, 61


class Rain(ClassicalTool):
    """Subtracts the bright, thin, long part of the darkest channel.

    Where dark streaks of the same kind are as common as bright ones, it is texture and stays; denser rain trusts this
    less. Kodak24 (every third, 384 px): value 5/60/85 from 27.8/27.3/25.4 to 31.8/28.6/27.3 dB; the 11 SIRR pairs from 22.1 to 22.4 dB.
    """

    card = cards.RAIN
    kind = Kind.RAIN

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """The direction in which the bright details hold together best."""
        darkest = textured_crop(image, 384).min(2)
        details = _details(darkest, 0)
        angle = max(range(-45, 46, 5), key=lambda deg: float((_along(details, deg) ** 2).mean()))
        return Shared(strength, severity, {"angle_deg": angle}, angle)

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Subtract the streaks."""
        angle: int = shared.data
        darkest = pixels.min(2)
        along, across = line_element(_LENGTH, angle), line_element(_WIDTH, angle + 90)
        bright = opening(darkest - opening(darkest, across), along)
        dark = opening(closing(darkest, across) - darkest, along)
        doubt = between(shared.severity, _LADDER, (1.0, 1.0, 0.65, 0.45, 0.35))
        trust = 1 - doubt * box_mean(dark, _WINDOW) / (box_mean(bright, _WINDOW) + 1e-4)
        amount = min(1.0, shared.severity * 4)
        return as_pixels(pixels - (amount * bright * np.clip(trust, 0, 1))[..., None])


def _details(x: Pixels, angle_deg: float) -> Pixels:
    """What is brighter than its surroundings and narrow across `angle_deg`."""
    return x - opening(x, line_element(_WIDTH, angle_deg + 90))


def _along(x: Pixels, angle_deg: float, length: int = 21) -> Pixels:
    """Mean along a line through each pixel, angle from the vertical."""
    element = line_element(length, angle_deg).astype(np.float32)
    return as_pixels(cv2.filter2D(x, -1, element / element.sum()))


class Snow(ClassicalTool):
    """Takes near-white spots for flakes, un-blends their edges and fills their cores.

    Flakes are told from bright details by their whiteness and by comparing with dark spots nearby; at very high coverage
    the comparison counts for nothing. Mean of three photos of scikit-image and six of Kodak24, flakes of radius 1.2/2/3:
    coverage 0.02/0.05/0.1/0.2 from 24.5/20.3/17.3/14.2 to 26.1/23.7/21.8/19.6 dB.
    """

    card = cards.SNOW
    kind = Kind.SNOW

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Invert I = J (1 - a) + a with a from the white top-hat of the darkest channel."""
        element = disk_element(11 if shared.severity < 0.6 else 13)
        doubt = between(shared.severity, _LADDER, (0.4, 0.4, 0.3, 0.25, 0.0))
        darkest = pixels.min(2)
        ground = opening(darkest, element)
        bright, dark = darkest - ground, closing(darkest, element) - darkest
        trust = 1 - doubt * box_mean(dark, _WINDOW) / (box_mean(bright, _WINDOW) + 1e-3)
        alpha = bright / np.maximum(1 - ground, 0.1)
        near = dilated(((darkest > 0.75) & (alpha > 0.5)).astype(np.float32), element)
        alpha = alpha * np.clip((alpha - 0.05) / 0.1, 0, 1) * np.clip(trust, 0, 1)
        alpha = np.clip(alpha * gaussian(near, 1.0), 0, 0.97) * min(1.0, shared.severity * 4)
        alpha = alpha[..., None]
        clear = np.clip((pixels - alpha) / (1 - alpha), 0, 1)
        # Hardly anything shows through a flake's core; without the guards above the cores are mostly details.
        core = np.clip((alpha - 0.35) / 0.3, 0, 1) * min(1.0, (1 - shared.severity) * 4)
        channels = [opening(np.ascontiguousarray(pixels[..., c]), element) for c in range(3)]
        return as_pixels(clear * (1 - core) + gaussian(np.stack(channels, -1), 2.0) * core)
