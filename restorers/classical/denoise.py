"""Denoisers for Gaussian noise of a known sigma: non-local means, wavelets, sliding DCT, bilateral.

All but the bilateral filter work in an orthonormal opponent colour space, where a photo's chroma is smooth.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage.restoration import denoise_nl_means
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import (
    OPPONENT,
    Pixels,
    as_pixels,
    between,
    box_mean,
    noise_sigma,
    reflected,
)
from conservator.restorers.classical.tool import ClassicalTool, Shared, pixels_of
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["Bilateral", "NonLocalMeans", "SlidingDct", "Wavelet", "sliding_dct"]

_HAAR_LEVELS = 4


class _Denoiser(ClassicalTool):
    kind = Kind.NOISE

    def estimate(self, image: Tensor) -> float:
        """The noise sigma of 255, measured in the middle 2048 px."""
        height, width = image.shape[-2:]
        top, left = max(0, height - 2048) // 2, max(0, width - 2048) // 2
        middle = image[:, :, top : top + 2048, left : left + 2048]
        return 255 * noise_sigma(pixels_of(middle))


class NonLocalMeans(_Denoiser):
    """scikit-image's fast non-local means, 5x5 patches in a window of 13x13.

    Kodak24 (every fourth, 384 px, noise clipped): 30.3 / 27.8 / 25.0 dB at sigma 15/25/45.
    """

    card = cards.NLM

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Average similar patches; luminance decides what is similar, chroma counts half."""
        # Stronger noise wants a relatively smaller h: measured at the three sigmas.
        decay = between(shared.strength, (15, 25, 45), (0.75, 0.62, 0.52))
        weights = np.array([1, 0.5, 0.5], np.float32)
        opponent = denoise_nl_means(
            pixels @ OPPONENT.T * weights,
            patch_size=5,
            patch_distance=6,
            h=decay * shared.strength / 255,
            fast_mode=True,
            channel_axis=-1,
        )
        return as_pixels(as_pixels(opponent / weights) @ OPPONENT)


class Wavelet(_Denoiser):
    """Undecimated Haar transform of four levels; each coefficient shrinks by its neighbourhood's Wiener gain.

    Kodak24 as above: 31.9 / 28.8 / 25.5 dB.
    """

    card = cards.WAVELET

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Shrink the details of each level and channel."""
        border = 1 << _HAAR_LEVELS
        opponent = reflected(pixels @ OPPONENT.T, border, border, border, border)
        clean = _shrunk(opponent, shared.strength / 255, 1)
        return clean[border:-border, border:-border] @ OPPONENT


def _shrunk(x: Pixels, sigma: float, level: int) -> Pixels:
    """Denoise (h, w, c) whose own noise is of `sigma`; periodic at the border."""
    step = 1 << (level - 1)
    low_rows, high_rows = _haar(x, step, 0)
    low, horizontal = _haar(low_rows, step, 1)
    vertical, diagonal = _haar(high_rows, step, 1)
    # The mean of four samples halves the standard deviation, in every band.
    horizontal, vertical, diagonal = (
        _wiener_gain(band, sigma / 2) for band in (horizontal, vertical, diagonal)
    )
    if level < _HAAR_LEVELS:
        low = _shrunk(low, sigma / 2, level + 1)
    rows_low = _haar_inverse(low, horizontal, step, 1)
    rows_high = _haar_inverse(vertical, diagonal, step, 1)
    return _haar_inverse(rows_low, rows_high, step, 0)


def _haar(x: Pixels, step: int, axis: int) -> tuple[Pixels, Pixels]:
    shifted = np.roll(x, -step, axis)
    return as_pixels((x + shifted) / 2), as_pixels((x - shifted) / 2)


def _haar_inverse(low: Pixels, high: Pixels, step: int, axis: int) -> Pixels:
    """The mean of the two ways to rebuild each sample."""
    return as_pixels((low + high + np.roll(low - high, step, axis)) / 2)


def _wiener_gain(band: Pixels, sigma: float) -> Pixels:
    energy = box_mean(band * band, 7)
    return as_pixels(band * np.maximum(energy - sigma * sigma, 0) / np.maximum(energy, 1e-12))


class SlidingDct(_Denoiser):
    """Hard thresholding of overlapping 8x8 DCT blocks, then a Wiener pass with the first result as pilot.

    Kodak24 as above: 32.5 / 29.5 / 26.0 dB.
    """

    card = cards.DCT

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Two passes."""
        sigma = shared.strength / 255
        return sliding_dct(pixels, sigma, pilot=sliding_dct(pixels, sigma))


def sliding_dct(
    pixels: Pixels, sigma: float, *, pilot: Pixels | None = None, threshold: float = 2.7
) -> Pixels:
    """Shrink all 8x8 DCT blocks at every second position along both axes and average what overlaps.

    Args:
        pixels: (h, w, 3), [0, 1].
        sigma: noise, of full scale.
        pilot: a first estimate, which turns the hard threshold into a Wiener gain.
        threshold: in sigmas.
    """
    n, step = 8, 2
    height, width = pixels.shape[:2]
    down, across = -height % n + n, -width % n + n
    noisy = reflected(pixels @ OPPONENT.T, n, down, n, across)
    guide = None if pilot is None else reflected(pilot @ OPPONENT.T, n, down, n, across)
    inner = (noisy.shape[0] - n, noisy.shape[1] - n)
    basis = _dct_basis(n)
    total, weight = np.zeros_like(noisy), np.zeros_like(noisy)
    for top in range(0, n, step):
        for left in range(0, n, step):
            at = (slice(top, top + inner[0]), slice(left, left + inner[1]))
            spectrum = basis @ _blocks(noisy[at], n) @ basis.T
            if guide is None:
                gain = (np.abs(spectrum) > threshold * sigma).astype(np.float32)
            else:
                power = (basis @ _blocks(guide[at], n) @ basis.T) ** 2
                gain = as_pixels(power / (power + sigma * sigma))
            gain[..., 0, 0] = 1
            # Sparse blocks carry less noise and count more.
            share = 1 / (gain * gain).sum((-1, -2), keepdims=True)
            total[at] += _unblocked(basis.T @ (spectrum * gain) @ basis * share)
            weight[at] += _unblocked(np.broadcast_to(share, spectrum.shape))
    clean = total / np.maximum(weight, 1e-6)
    return as_pixels(clean[n : n + height, n : n + width] @ OPPONENT)


def _dct_basis(n: int) -> Pixels:
    k, i = np.arange(n)[:, None], np.arange(n)[None, :]
    basis = np.sqrt(2 / n) * np.cos(np.pi * (2 * i + 1) * k / (2 * n))
    basis[0] /= np.sqrt(2)
    return as_pixels(basis)


def _blocks(x: Pixels, n: int) -> Pixels:
    """(h, w, c) to (h / n, w / n, c, n, n)."""
    h, w, c = x.shape
    return x.reshape(h // n, n, w // n, n, c).transpose(0, 2, 4, 1, 3)


def _unblocked(blocks: Pixels) -> Pixels:
    """(h / n, w / n, c, n, n) to (h, w, c)."""
    rows, columns, c, n, _ = blocks.shape
    return blocks.transpose(0, 3, 1, 4, 2).reshape(rows * n, columns * n, c)


class Bilateral(_Denoiser):
    """OpenCV's bilateral filter on floats.

    Kodak24 as above: 30.7 / 27.5 / 24.1 dB.
    """

    card = cards.BILATERAL

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Range about four sigmas: OpenCV sums the differences of the three channels."""
        return np.asarray(
            cv2.bilateralFilter(pixels, 0, 4.0 * shared.strength / 255, 3), np.float32
        )
