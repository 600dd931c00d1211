"""How SPIRE answers to the numbers in its prompt: one picture under a grid of strengths (the paper's figure 10)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError
from conservator.restorers.prompts.spire import instruction
from conservator.restorers.spire.diffusion import drawn
from conservator.restorers.spire.restorer import SpireRestorer

__all__ = ["DEBLUR", "DENOISE", "Strengths", "strengths"]

DENOISE = (0.0, 0.03, 0.06, 0.12, 0.24)
"""Of full scale."""
DEBLUR = (0.0, 1.0, 2.0, 3.0)
"""Sigma, px."""
_SIDE = 240
_AT_ONCE = 5


@dataclass(frozen=True, eq=False)
class Strengths:
    """The middle of a picture, restored as strongly as each pair of numbers asks.

    Attributes:
        degraded: (1, 3, H, W), [0, 1].
        restored: (rows, columns, 3, H, W): deblurring from top to bottom, denoising from left to right.
        prompts: the first and the last.
    """

    degraded: Tensor
    restored: Tensor
    denoise: tuple[float, ...]
    deblur: tuple[float, ...]
    prompts: tuple[str, str]


@torch.inference_mode()
def strengths(
    restorer: SpireRestorer,
    image: Tensor,
    *,
    denoise: tuple[float, ...] = DENOISE,
    deblur: tuple[float, ...] = DEBLUR,
    seed: int = 0,
) -> Strengths:
    """Restore the middle of (1, 3, H, W), [0, 1], once a cell, without a semantic prompt and out of the same noise.

    Raises:
        UsageError: the picture is smaller than the network takes.
    """
    model = restorer.model
    multiple = max(model.multiple, 16)
    height, width = (min(n, _SIDE) // multiple * multiple for n in image.shape[-2:])
    if min(height, width) < 2 * multiple:
        raise UsageError(
            f"a picture of {image.shape[-1]}x{image.shape[-2]} px is too small to explain; give one of at least "
            f"{2 * multiple} px a side"
        )
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    device = next(model.prior.unet.parameters()).device
    part = image[..., top : top + height, left : left + width].to(device)
    texts = [
        f"{instruction(Kind.DEFOCUS_BLUR, 2 * blur)} {instruction(Kind.NOISE, 255 * noise)}"
        for blur in deblur
        for noise in denoise
    ]
    factor = model.autoencoder.factor
    generator = torch.Generator().manual_seed(seed)
    shape = (1, model.config.latent_channels, height // factor, width // factor)
    field = torch.randn(shape, generator=generator).to(device)
    cells = []
    for start in range(0, len(texts), _AT_ONCE):
        asked = model.restoring(texts[start : start + _AT_ONCE])
        count = len(asked.tokens)
        same = part.expand(count, -1, -1, -1)
        shown = model.showing([""] * count)
        z = drawn(model, same, asked, shown, restorer.sampling, field.expand(count, -1, -1, -1))
        cells.append(model.decode(z, same, asked, restorer.sampling.fidelity).float().cpu())
    restored = torch.cat(cells).clamp(0, 1).view(len(deblur), len(denoise), 3, height, width)
    return Strengths(part.cpu(), restored, denoise, deblur, (texts[0], texts[-1]))
