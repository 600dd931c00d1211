"""A tone curve of the whole picture, told by text and histograms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ToneCurve"]


class ToneCurve(nn.Module):
    """One tone curve for the whole picture, from Z and its histograms, applied before the U-Net.

    Not in the paper: darkness and haze are mostly a few numbers a picture. Told the exposure in the sentence, a curve finds
    them at once; a U-Net has to find them again at every pixel. It starts as the identity. Knots lie at squares, denser in the dark.
    """

    KNOTS = 16
    SEEN = 256
    """The histograms count at most about this many pixels a side, spread evenly."""

    def __init__(self, context: int) -> None:
        super().__init__()
        # Which of Z's tokens count; zero is their mean.
        self.query = nn.Parameter(torch.zeros(context))
        self.norm = nn.LayerNorm(context)
        self.hidden = nn.Sequential(
            nn.Linear(context + 4 * self.KNOTS, 2 * context),
            nn.GELU(),
            nn.Linear(2 * context, 2 * context),
            nn.GELU(),
        )
        self.output = nn.Linear(2 * context, 4 * self.KNOTS)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def _positions(self, planes: Tensor) -> Tensor:
        """Where values [0, 1] lie between the knots, [0, KNOTS - 1]."""
        return planes.clamp(0, 1).sqrt() * (self.KNOTS - 1)

    def forward(self, image: Tensor, z: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) and (B, T, D) to the heights at the knots (B, 4, KNOTS): log gain by HSV value, offset a channel.

        `mask` (B, T) is False where `z` is padding.
        """
        with torch.autocast(image.device.type, enabled=False):
            step_h, step_w = (max(1, n // self.SEEN) for n in image.shape[-2:])
            seen = image[..., ::step_h, ::step_w].float()
            planes = torch.cat([seen.amax(1, keepdim=True), seen], dim=1)
            at = self._positions(planes).flatten(2)
            knots = torch.arange(self.KNOTS, device=image.device, dtype=at.dtype)
            counts = torch.stack([(1 - (at - k).abs()).clamp(min=0).mean(-1) for k in knots], -1)
            z = z.float()
            scores = z @ self.query
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            share = scores.softmax(dim=1)
            said = self.norm((share[..., None] * z).sum(dim=1))
            hidden = self.hidden(torch.cat([said, counts.sqrt().flatten(1)], dim=1))
            heights: Tensor = self.output(hidden)
            return heights.view(-1, 4, self.KNOTS)

    def apply_to(self, image: Tensor, heights: Tensor) -> Tensor:
        """Toned (B, 3, H, W) by the heights of `forward`, not clipped."""
        with torch.autocast(image.device.type, enabled=False):
            image, heights = image.float(), heights.float()
            b, _, h, w = image.shape
            planes = torch.cat([image.amax(1, keepdim=True), image], dim=1)
            at = self._positions(planes).flatten(2)
            left = at.floor().clamp(max=self.KNOTS - 2)
            share = at - left
            index = left.long()
            low, high = heights.gather(2, index), heights.gather(2, index + 1)
            curve = (low + share * (high - low)).view(b, 4, h, w)
            return image * curve[:, :1].exp() + curve[:, 1:]
