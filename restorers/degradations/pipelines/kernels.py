"""Real-ESRGAN's blur kernels (arXiv 2107.10833, section 3.2; shapes of Liu et al. 2020)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["blur_kernel", "filtered", "sinc_kernel"]


def _grid(side: int) -> tuple[Tensor, Tensor]:
    offsets = torch.arange(side, dtype=torch.float64) - side // 2
    return offsets[None, :].expand(side, side), offsets[:, None].expand(side, side)


def blur_kernel(
    shape: str, side: int, sigma_x: float, sigma_y: float, rotation_rad: float, power: float
) -> Tensor:
    """A normalised kernel (side, side), float32.

    Args:
        shape: `plateau_*` falls as 1 / (1 + q^power), any other as exp(-q^power / 2), q being the squared Mahalanobis
            distance; a power of 1 makes the Gaussian.
        side: odd, px.
        sigma_x: extent along the rotated first axis, px.
        sigma_y: extent across it, px.
        rotation_rad: of the first axis.
        power: beta in the paper.
    """
    x, y = _grid(side)
    cosine, sine = math.cos(rotation_rad), math.sin(rotation_rad)
    along, across = x * cosine + y * sine, y * cosine - x * sine
    distance = (along / sigma_x) ** 2 + (across / sigma_y) ** 2
    if shape.startswith("plateau"):
        kernel = 1 / (distance**power + 1)
    else:
        kernel = torch.exp(-0.5 * distance**power)
    return (kernel / kernel.sum()).float()


def sinc_kernel(side: int, cutoff_rad: float) -> Tensor:
    """The circular low-pass filter (equation 6) that leaves ringing, normalised, (side, side), float32."""
    x, y = _grid(side)
    radius = (x**2 + y**2).sqrt()
    kernel: Tensor = cutoff_rad * torch.special.bessel_j1(cutoff_rad * radius)
    kernel = kernel / (2 * math.pi * radius.clamp(min=1e-9))
    kernel[side // 2, side // 2] = cutoff_rad**2 / (4 * math.pi)
    return (kernel / kernel.sum()).float()


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter (B, C, H, W) by (side, side); the edges mirror, or replicate where the picture is too small to mirror."""
    half = kernel.shape[-1] // 2
    mode = "reflect" if min(x.shape[-2:]) > half else "replicate"
    padded = F.pad(x, (half,) * 4, mode=mode)
    channels = x.shape[1]
    weight = kernel.to(x).expand(channels, 1, *kernel.shape)
    out: Tensor = F.conv2d(padded, weight, groups=channels)
    return out.clamp(0, 1)
