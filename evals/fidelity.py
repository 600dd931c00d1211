"""PSNR and SSIM against a clean reference, as the restoration papers compute them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage import metrics

__all__ = ["Fidelity", "fidelity", "psnr", "sized_as"]

# Typed nowhere: a name of type Any keeps a strict checker from refusing the call.
_SSIM: Any = metrics.structural_similarity

Image = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Fidelity:
    """PSNR in dB over RGB (100 when equal) and SSIM on luma (BT.601, 11x11 Gaussian window of sigma 1.5)."""

    psnr: float
    ssim: float


def fidelity(image: Image, reference: Image) -> Fidelity:
    """Compare two (H, W, 3) images in [0, 1] after rounding to 8 bits, as saved files are."""
    a, b = (np.round(np.clip(x, 0, 1) * 255) / 255 for x in (image, reference))
    luma = np.array([0.299, 0.587, 0.114])
    ssim = _SSIM(
        a @ luma,
        b @ luma,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return Fidelity(psnr(image, reference), float(ssim))


def psnr(image: Image, reference: Image) -> float:
    """PSNR in dB over RGB of two images of one size, rounded to 8 bits; 100 when equal, and at most."""
    a, b = (np.round(np.clip(x, 0, 1) * 255).astype(np.float64) for x in (image, reference))
    error = float(np.mean((a - b) ** 2))
    return 100.0 if error == 0 else min(100.0, 10 * math.log10(255**2 / error))


def sized_as(image: Image, reference: Image) -> Image:
    """`image` at the size of `reference`, by bicubic interpolation where they differ (BENCHMARK.md, mio16)."""
    if image.shape == reference.shape:
        return image
    import torch

    from conservator.restorers.degradations.synthesis import upsample

    x = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]
    y = upsample(x, (reference.shape[0], reference.shape[1]))[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(y)
