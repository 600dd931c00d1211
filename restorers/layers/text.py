"""A small text tower of CLIP's form: causal transformer over tokens, every token's feature kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["AttentionBlock", "CrossAttention", "TextTower"]


class CrossAttention(nn.Module):
    """Multi-head attention from one sequence to another.

    Args:
        width: of the queries and the result.
        context_width: of keys and values; `width` unless given.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        context_width = width if context_width is None else context_width
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context_width, 2 * width)
        self.project = nn.Linear(width, width)

    def forward(
        self, x: Tensor, context: Tensor, *, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """(B, N, width) attends to (B, M, context_width), where `mask` (B, M) is True; result (B, N, width)."""
        b, n, width = x.shape
        q = self.query(x).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = self.key_value(context).view(b, -1, 2, self.heads, width // self.heads).unbind(2)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        seen = None if mask is None else mask[:, None, None]
        if causal or k.shape[2] > 256:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, is_causal=causal)
        else:
            # Few keys, many queries: plain products train twice as fast on a CPU as its flash kernel.
            scores = (q @ k.transpose(-2, -1)) * (q.shape[-1] ** -0.5)
            if seen is not None:
                scores = scores.masked_fill(~seen, float("-inf"))
            y = scores.softmax(-1, dtype=torch.float32).to(v.dtype) @ v
        return self.project(y.transpose(1, 2).reshape(b, n, width))


class AttentionBlock(nn.Module):
    """Pre-norm transformer block: self-attention, or cross attention when a context is given, then an MLP."""

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads, context_width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, context: Tensor | None = None, *, causal: bool = False) -> Tensor:
        """(B, N, width) to the same."""
        y = self.norm1(x)
        x = x + self.attention(y, y if context is None else context, causal=causal)
        return x + self.mlp(self.norm2(x))


class TextTower(nn.Module):
    """Token ids (B, T) to features (B, T, width)."""

    def __init__(self, vocabulary: int, tokens: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.01)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, ids: Tensor, added: Tensor | None = None) -> Tensor:
        """Encode (B, T) ids, T at most the number of positions; `added` (B, T, width) goes on top of their embedding."""
        x = self.embedding(ids) + self.position[: ids.shape[1]]
        if added is not None:
            x = x + added
        for block in self.blocks:
            x = block(x, causal=True)
        return self.norm(x)
