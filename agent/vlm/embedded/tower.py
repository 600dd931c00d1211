"""The vision tower while it trains alone: whole batches of square views, and heads that are thrown away afterwards.

The shipped model runs transformers' own tower. That one takes pictures of any size, window by window; here every view is one window, so a
batch goes through each layer at once, which is several times faster and gives the same numbers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["CONTRAST", "SIDE", "Sight", "filters", "patches_of", "tower_features"]

SIDE = 128
"""Side of a view, px: one attention window."""
CONTRAST = 1.0
"""Added to the pixels by the image processor: with no bias anywhere before the first norm, this is what strength is compared with."""

_FINE_GAIN = 16.0
_PRIOR = (-2.0, 2.0, 0.0, 0.0, 0.0, 0.0)
"""First biases of a head: a kind is seldom there. Without them the tower's first lesson is a large constant."""


def patches_of(views: Tensor, patch: int = 16, merge: int = 2) -> Tensor:
    """Cut (N, 3, S, S), [0, 1], into (N, tokens, 3 * patch * patch), in the processor's order and scale."""
    n, c, h, w = views.shape
    step = patch * merge
    x = (views + CONTRAST).reshape(n, c, h // step, merge, patch, w // step, merge, patch)
    return x.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(n, -1, c * patch * patch)


def filters(count: int, patch: int = 16) -> Tensor:
    """(count, 3, patch, patch) first filters: coarse cosines, fine cosines, steps across the block grid of JPEG, colour.

    Noise, blocks and blur live in detail that an average would lose; so detail is there from the first step, amplified
    until faint noise and the picture's own light are of one size.
    """
    place = torch.arange(patch, dtype=torch.float32)
    waves = torch.cos(math.pi * (place + 0.5) * place[:, None] / patch)
    waves /= waves.norm(dim=1, keepdim=True)
    luma = _colour(0.299, 0.587, 0.114)
    chroma = (_colour(0.5, -0.42, -0.08), _colour(-0.17, -0.33, 0.5))
    order = sorted(((u, v) for u in range(patch) for v in range(patch)), key=lambda p: (sum(p), p))

    def wave(u: int, v: int, colour: Tensor) -> Tensor:
        gain = _FINE_GAIN * min(1.0, ((u + v) / patch) ** 1.2)
        shape: Tensor = gain * waves[u][:, None] * waves[v] * colour
        return shape

    level = torch.full((patch, patch), 1 / (patch**2 * (0.5 + CONTRAST)))
    bank = [level * c for c in (luma / luma.sum(), *(4 * c for c in chroma), _colour(1, 0, 0))]
    bank += [wave(u, v, luma) for u, v in order[1:49]]
    bank += [2 * wave(u, v, c) for u, v in order[1:6] for c in chroma]
    half = patch // 2
    for first in range(0, patch, 4):
        step = torch.zeros(patch, patch)
        step[first : first + 4, half - 1], step[first : first + 4, half] = -1, 1
        for version in (step, step.T, step.roll(half // 2, 1), step.T.roll(half // 2, 0)):
            bank.append(version * luma * 4)
    fine = [p for p in order if max(p) >= half]
    left = count - len(bank)
    for i in range(left):
        # A share of the fine ones looks at one colour: sensors' noise differs in the three, texture hardly does.
        bank.append(wave(*fine[(i * len(fine)) // left], luma if i % 3 else chroma[(i // 3) % 2]))
    return torch.stack(bank[:count])


def _colour(*weights: float) -> Tensor:
    return torch.tensor(weights).view(3, 1, 1)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


def tower_features(visual: Any, views: Tensor) -> Tensor:
    """What transformers' tower makes of (N, 3, SIDE, SIDE), [0, 1]: (N, tokens, text width)."""
    config = visual.config
    patch, merge = config.patch_size, config.spatial_merge_size
    x = patches_of(views, patch, merge)
    weight = visual.patch_embed.proj.weight.sum(2).flatten(1)
    x = F.linear(x, weight)
    n, tokens, width = x.shape
    heads = config.num_heads
    cos, sin = _rotary(visual, views.shape[-1] // patch, merge)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    for block in visual.blocks:
        qkv = block.attn.qkv(_normed(block.norm1, x)).view(n, tokens, 3, heads, width // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        # In 64 tokens the plain product is several times faster backwards than the fused attention of CPUs.
        scores = _rotated(q, cos, sin) @ _rotated(k, cos, sin).transpose(-1, -2)
        mixed = (scores * (width // heads) ** -0.5).softmax(-1).to(v.dtype) @ v
        x = x + block.attn.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        y, mlp = _normed(block.norm2, x), block.mlp
        x = x + mlp.down_proj(F.silu(mlp.gate_proj(y)) * mlp.up_proj(y))
    merger = visual.merger
    x = _normed(merger.ln_q, x).reshape(n, tokens // merge**2, width * merge**2)
    features: Tensor = merger.mlp(x)
    return features


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    weight = norm.weight
    assert isinstance(weight, Tensor)
    size = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6)
    return x * size.to(x.dtype) * weight.to(x.dtype)


def _rotary(visual: Any, side: int, merge: int) -> tuple[Tensor, Tensor]:
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl

    qwen: Any = modeling_qwen2_5_vl
    places = qwen.get_vision_position_ids(torch.tensor([[1, side, side]]), merge)
    device = visual.patch_embed.proj.weight.device
    cos, sin = visual.rotary_pos_emb(torch.zeros(1, device=device), places.to(device))
    return cos, sin


class Sight(nn.Module):
    """The tower with heads for every kind: presence logits and logits of the five levels, for crops and for overviews."""

    def __init__(self, visual: nn.Module, width: int) -> None:
        super().__init__()
        self.visual = visual
        kinds = len(Kind)
        # Normed over pictures: what all of them share would drown what tells them apart.
        self.near, self.far = nn.BatchNorm1d(width), nn.BatchNorm1d(width)
        self.crop_head = nn.Linear(width, kinds * 6)
        self.overview_head = nn.Linear(width, kinds * 6)
        self.whole_head = nn.Linear(2 * width, kinds * 6)
        for head in (self.crop_head, self.overview_head, self.whole_head):
            nn.init.normal_(head.weight, 0, 0.02)
            with torch.no_grad():
                head.bias.view(kinds, 6)[:] = torch.tensor(_PRIOR)
        self.features = tower_features

    def compile_tower(self) -> None:
        """Fuse the small operations between the products: half the time of a step, for a minute at the start."""
        self.features = torch.compile(tower_features, dynamic=False)

    def whole(self, features: Tensor) -> Tensor:
        """Read one picture's features (views, tokens, width), its overview first: (kinds, 6)."""
        pooled = features.float().mean(1)
        both = torch.cat([self.near(pooled[1:]).mean(0), self.far(pooled[:1])[0]])
        read: Tensor = self.whole_head(both)
        return read.view(len(Kind), 6)

    def forward(self, crops: Tensor, overviews: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read (B, N, 3, S, S) crops and (B, 3, S, S) overviews.

        Returns:
            Of each crop (B, N, kinds, 6), of each overview (B, kinds, 6), of both together (B, kinds, 6): presence, then levels.
        """
        b, n = crops.shape[:2]
        seen = self.features(self.visual, torch.cat([crops.flatten(0, 1), overviews]))
        pooled = seen.float().mean(1)
        near, far = self.near(pooled[: b * n]), self.far(pooled[b * n :])
        both = torch.cat([near.view(b, n, -1).mean(1), far], dim=1)
        shape = (len(Kind), 6)
        return (
            self.crop_head(near).view(b, n, *shape),
            self.overview_head(far).view(b, *shape),
            self.whole_head(both).view(b, *shape),
        )
