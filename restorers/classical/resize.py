"""Lost resolution: sharpening at the same size, and Lanczos enlargement."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.deblur import deconvolved, regularisation, textured_crop
from conservator.restorers.classical.filters import Pixels, as_pixels, gaussian, noise_sigma
from conservator.restorers.classical.tool import ClassicalTool, Shared
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind

__all__ = ["Resize", "UpscaleX2", "UpscaleX4"]


class Resize(ClassicalTool):
    """Deconvolution of the blur that shrinking and enlarging by the asked factor leaves.

    Kodak24 (every fourth, 384 px): factor 1.5/2/3/4 from 29.9/27.0/24.5/23.3 to 31.1/27.8/24.9/23.6 dB.
    """

    card = cards.RESIZE
    kind = Kind.LOW_RESOLUTION

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """The kernel, and lambda from the noise."""
        strength = min(strength, 8.0)
        smooth = regularisation(0.006 * strength**1.8, noise_sigma(textured_crop(image)))
        return Shared(strength, severity, {}, (_down_up_kernel(strength), smooth))

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Deconvolve."""
        kernel, smooth = shared.data
        return deconvolved(pixels, kernel, smooth)


def _down_up_kernel(factor: float) -> Pixels:
    """The mean blur of a bicubic down and up by `factor`, (k, k)."""
    fine, half = 8, int(np.ceil(4 * factor)) + 2
    at = np.arange(-half * fine, half * fine + 1) / fine / factor
    profile = np.convolve(_cubic(at, -0.5), _cubic(at, -0.75), "same")[::fine]
    kernel = np.outer(profile, profile)
    return as_pixels(kernel / kernel.sum())


def _cubic(x: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


class _Upscale(ClassicalTool):
    kind = Kind.LOW_RESOLUTION

    def estimate(self, image: Tensor) -> float:
        """Blind, it only enlarges."""
        return PARAMETERS[self.kind].identity

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Lanczos, then an unsharp mask that grows with the severity asked for."""
        height, width, scale = *pixels.shape[:2], self.card.scale
        larger = cv2.resize(
            pixels, (width * scale, height * scale), interpolation=cv2.INTER_LANCZOS4
        )
        large = np.asarray(larger, np.float32)
        return large + np.float32(0.4 * shared.severity) * (large - gaussian(large, 0.6 * scale))

    def restore_tile(self, tile: Tensor, guidance: Shared) -> Tensor:
        """Enlarge whatever the strength: the size must follow the card."""
        always = Shared(guidance.strength, max(guidance.severity, 1e-6), guidance.facts)
        return super().restore_tile(tile, always)


class UpscaleX2(_Upscale):
    """Twice the size."""

    card = cards.UPSCALE_X2


class UpscaleX4(_Upscale):
    """Four times the size."""

    card = cards.UPSCALE_X4
