"""JPEG's losses on the device where the pictures are, in batches; libjpeg needs the CPU and one picture after the other.

Colour conversion, 4:2:0 chroma, the standard's tables scaled as libjpeg does, DCT, quantisation, and back; the entropy coding, which loses
nothing, is left out. The mean difference from libjpeg is about half a level of 255 (it computes in integers).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["dct_jpeg"]

# ITU-T T.81, Annex K.
_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_TO_YCC = (
    (0.299, 0.587, 0.114),
    (-0.168735892, -0.331264108, 0.5),
    (0.5, -0.418687589, -0.081312411),
)
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


def dct_jpeg(x: Tensor, quality: Sequence[float] | Tensor) -> Tensor:
    """Compress and decompress (B, 3, H, W), [0, 1], at a libjpeg quality 1..100 each; the result lies at the 256 values of uint8."""
    with torch.autocast(x.device.type, enabled=False):
        return _compressed(x, quality)


def _compressed(x: Tensor, quality: Sequence[float] | Tensor) -> Tensor:
    height, width = x.shape[-2:]
    levels = (x.float().clamp(0, 1) * 255).round()
    ycc = torch.einsum("ij,bjhw->bihw", x.new_tensor(_TO_YCC, dtype=torch.float32), levels)
    ycc = ycc - ycc.new_tensor([128.0, 0, 0]).view(1, 3, 1, 1)
    # Samples are bytes: libjpeg rounds luma and chroma before its DCT.
    padded = F.pad(ycc.round(), (0, -width % 16, 0, -height % 16), mode="replicate")
    scale = _scales(quality, x.device)
    luma = _quantised(padded[:, :1], _LUMA, scale)
    chroma = _quantised(F.avg_pool2d(padded[:, 1:], 2).round(), _CHROMA, scale)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    both = torch.cat([luma + 128, chroma], dim=1)[..., :height, :width]
    rgb = torch.einsum("ij,bjhw->bihw", both.new_tensor(_TO_RGB), both)
    return rgb.round().clamp(0, 255) / 255


def _scales(quality: Sequence[float] | Tensor, device: torch.device) -> Tensor:
    """Percentages of the standard tables as libjpeg has them, (B, 1, 1, 1, 1, 1)."""
    q = torch.as_tensor(quality, dtype=torch.float32, device=device).round().clamp(1, 100)
    return torch.where(q < 50, (5000 / q).floor(), 200 - 2 * q).view(-1, 1, 1, 1, 1, 1)


def _quantised(planes: Tensor, table: tuple[tuple[int, ...], ...], scale: Tensor) -> Tensor:
    """(B, C, H, W), sides multiples of 8, through DCT, rounding and back."""
    b, c, h, w = planes.shape
    steps = planes.new_tensor(table) * scale
    steps = ((steps + 50) / 100).floor().clamp(1, 255)  # (B, 1, 1, 1, 8, 8)
    basis = _basis(planes.device)
    blocks = planes.view(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    spectrum = basis @ blocks @ basis.T
    spectrum = (spectrum / steps).round() * steps
    back = basis.T @ spectrum @ basis
    return back.transpose(3, 4).reshape(b, c, h, w).round().clamp(-128, 127)


def _basis(device: torch.device) -> Tensor:
    """The orthonormal DCT-II of length 8."""
    rows = [
        [
            math.sqrt((1 if k == 0 else 2) / 8) * math.cos(math.pi * (2 * n + 1) * k / 16)
            for n in range(8)
        ]
        for k in range(8)
    ]
    return torch.tensor(rows, device=device)
