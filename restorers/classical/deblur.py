"""Deconvolution: defocus by a disk, straight motion whose direction is found by trying, and lost resolution.

All three are the regularised inverse x = F^-1[ conj(K) Y / (|K|^2 + lambda |G|^2) ], with G the two gradient filters and
lambda grown with the noise measured in the image.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import (
    Pixels,
    as_pixels,
    gaussian,
    noise_sigma,
    reflected,
)
from conservator.restorers.classical.tool import ClassicalTool, Shared, pixels_of
from conservator.restorers.degradations.vocabulary import Kind

__all__ = [
    "Defocus",
    "Motion",
    "deconvolved",
    "disk_kernel",
    "motion_kernel",
    "regularisation",
    "textured_crop",
]

_PROBE: Final = 320
_STEP_DEG: Final = 5


def deconvolved(pixels: Pixels, kernel: Pixels, strength: float) -> Pixels:
    """Undo a known blur.

    Args:
        pixels: (h, w, 3) or (h, w).
        kernel: (k, k), odd, sums to one.
        strength: lambda; larger is smoother.
    """
    border = max(32, kernel.shape[0])
    height, width = pixels.shape[:2]
    padded = _framed(pixels, border)
    size = padded.shape[:2]
    inverse = _inverse(kernel, size, strength)
    if pixels.ndim == 3:
        inverse = inverse[..., None]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * inverse
    sharp = np.fft.irfft2(spectrum, s=size, axes=(0, 1))
    return as_pixels(sharp[border : border + height, border : border + width])


def _framed(x: Pixels, border: int) -> Pixels:
    """Mirror at the border, up to a multiple of 32: transforms of such lengths are much faster than of primes."""
    down, across = (border + -(side + 2 * border) % 32 for side in x.shape[:2])
    return reflected(x, border, down, border, across)


def _inverse(kernel: Pixels, size: tuple[int, int], strength: float) -> NDArray[np.complex64]:
    transfer = _transfer(kernel, size)
    power = np.abs(transfer) ** 2 + np.float32(strength) * _roughness(size)
    return np.asarray(transfer.conj() / power, np.complex64)


def _transfer(kernel: Pixels, size: tuple[int, int]) -> NDArray[np.complex64]:
    centred = np.zeros(size, np.float32)
    centred[: kernel.shape[0], : kernel.shape[1]] = kernel
    half = (-(kernel.shape[0] // 2), -(kernel.shape[1] // 2))
    return np.fft.rfft2(np.roll(centred, half, (0, 1))).astype(np.complex64)


def _roughness(size: tuple[int, int]) -> Pixels:
    """|G|^2 of the two first differences."""
    rows = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(size[0]))
    columns = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(size[1]))
    return as_pixels(rows[:, None] + columns[None, :])


def regularisation(base: float, sigma: float) -> float:
    """Lambda for a blur that alone wants `base`, in noise of `sigma` of full scale.

    80 sigma^2 was measured: at sigma 2 of 255 the best lambda is 0.004-0.01 for radii 2 to 6.
    """
    return base + 80 * sigma * sigma


def textured_crop(image: Tensor, side: int = _PROBE) -> Pixels:
    """The square of a 5x5 grid with the most gradient energy, (side, side, 3), from (1, 3, H, W)."""
    height, width = image.shape[-2:]
    tops = np.linspace(0, max(0, height - side), 5).astype(int)
    lefts = np.linspace(0, max(0, width - side), 5).astype(int)
    crops = [
        pixels_of(image[:, :, top : top + side, left : left + side])
        for top in sorted(set(tops.tolist()))
        for left in sorted(set(lefts.tolist()))
    ]
    return max(crops, key=_gradient_energy)


def _gradient_energy(x: Pixels) -> float:
    # Capped: one hard edge of the frame must not win over texture.
    down, across = np.abs(np.diff(x, axis=0)), np.abs(np.diff(x, axis=1))
    return float(np.minimum(down, 0.1).sum() + np.minimum(across, 0.1).sum())


def disk_kernel(radius: float) -> Pixels:
    """The blur of a lens out of focus: a disk with a rim softened by half a px."""
    lower = int(np.floor(radius))
    kernel = _disk(lower, int(np.ceil(radius)) + 2)
    rest = radius - lower
    if rest > 0:
        kernel = (1 - rest) * kernel + rest * _disk(lower + 1, int(np.ceil(radius)) + 2)
    kernel = gaussian(kernel, 0.5)
    return as_pixels(kernel / kernel.sum())


def _disk(radius: int, half: int) -> Pixels:
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = (np.hypot(y, x) <= radius).astype(np.float32)
    return as_pixels(disk / disk.sum())


class Defocus(ClassicalTool):
    """Deconvolution of a disk of the asked radius.

    Kodak24 (every fourth, 384 px), 8 bits, no noise: radius 2/3/4/6 from 25.4/23.4/22.5/21.4 to 31.6/28.6/26.7/24.0 dB.
    """

    card = cards.DEBLUR
    kind = Kind.DEFOCUS_BLUR

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """The kernel, and lambda from the noise."""
        strength = min(strength, 16.0)
        smooth = regularisation(0.0005 * strength**1.4, noise_sigma(textured_crop(image)))
        facts = {"regularisation": round(smooth, 5)}
        return Shared(strength, severity, facts, (disk_kernel(strength), smooth))

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Deconvolve."""
        kernel, smooth = shared.data
        return deconvolved(pixels, kernel, smooth)


def motion_kernel(sigma: float, angle_deg: float, direction: int) -> Pixels:
    """A one-sided Gaussian of extent `sigma` px along a line, as mio16 draws it.

    Args:
        sigma: extent, px.
        angle_deg: of the motion from the horizontal.
        direction: 1 or -1, the way along the line.
    """
    reach = 2 * int(min(15, max(3, round(5 * (sigma - 1)))))
    half = reach + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    steps = np.arange(reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma * sigma))
    rows = half - direction * steps * np.sin(np.radians(angle_deg))
    columns = half - direction * steps * np.cos(np.radians(angle_deg))
    low_rows, low_columns = np.floor(rows).astype(int), np.floor(columns).astype(int)
    for down in (0, 1):
        for across in (0, 1):
            share = np.abs(1 - down - (rows - low_rows)) * np.abs(
                1 - across - (columns - low_columns)
            )
            np.add.at(kernel, (low_rows + down, low_columns + across), weights * share)
    return as_pixels(kernel / kernel.sum())


class Motion(ClassicalTool):
    """Deconvolution of a straight motion of the asked extent.

    The angle and its sense are those whose result has the least gradient magnitude (power 0.8): a wrong kernel rings.
    Kodak24 (every fourth, 384 px), 8 bits, no noise: sigma 2/3/5/8 from 24.5/22.8/21.1/19.9 to 31.0/30.8/27.3/27.7 dB.
    """

    card = cards.MOTION
    kind = Kind.MOTION_BLUR

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """Find the direction on the most textured crop."""
        strength = min(max(strength, 0.5), 20.0)
        probe = textured_crop(image)
        sigma = noise_sigma(probe)
        smooth = regularisation(0.003, sigma)
        angle, direction = _motion_direction(probe.mean(2), strength, regularisation(0.006, sigma))
        facts = {"angle_deg": angle, "direction": direction, "regularisation": round(smooth, 5)}
        kernel = motion_kernel(strength, angle, direction)
        return Shared(strength, severity, facts, (kernel, smooth))

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Deconvolve."""
        kernel, smooth = shared.data
        return deconvolved(pixels, kernel, smooth)


def _motion_direction(grey: Pixels, sigma: float, smooth: float) -> tuple[int, int]:
    """Angle and sense: every 10 degrees both ways, then the neighbours of the best."""
    border = 64
    padded = _framed(grey, border)
    size = (padded.shape[0], padded.shape[1])
    spectrum = np.fft.rfft2(padded)
    edge = border + min(8, min(grey.shape) // 4)
    inside = (
        slice(edge, 2 * border + grey.shape[0] - edge),
        slice(edge, 2 * border + grey.shape[1] - edge),
    )

    @cache
    def ringing(angle: int, way: int) -> float:
        inverse = _inverse(motion_kernel(sigma, angle, way), size, smooth)
        sharp = np.fft.irfft2(spectrum * inverse, s=size)[inside]
        down, across = np.abs(np.diff(sharp, axis=0)), np.abs(np.diff(sharp, axis=1))
        return float((down**0.8).sum() + (across**0.8).sum())

    tried = [(angle, way) for angle in range(-90, 90, 2 * _STEP_DEG) for way in (1, -1)]
    angle, way = min(tried, key=lambda candidate: ringing(*candidate))
    return min(
        ((angle + turn, way) for turn in (-_STEP_DEG, 0, _STEP_DEG)),
        key=lambda candidate: ringing(*candidate),
    )
