"""Losses shared by the restorers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fourier_l1", "reconstruction_loss"]


def fourier_l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the real FFT's parts, orthonormal, so that its scale is the pixels' own."""
    difference = torch.fft.rfft2(output - target, norm="ortho")
    return torch.view_as_real(difference).abs().mean()


def reconstruction_loss(output: Tensor, target: Tensor, fourier: float = 0.05) -> Tensor:
    """L1 in RGB plus a light Fourier L1 (MoFE-IR, Eq. 7, with a smaller weight)."""
    loss = (output - target).abs().mean()
    return loss + fourier * fourier_l1(output, target) if fourier else loss
