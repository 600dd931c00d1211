"""SPIRE's text encoders: the base's frozen CLIP tower, and a small one that reads any word by its letters and numbers by their size."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from conservator.restorers.layers.amounts import ANGLES, angles, number_runs
from conservator.restorers.layers.text import AttentionBlock
from conservator.restorers.prompts.spire import BLIND

__all__ = ["ClipText", "Said", "SmallText", "TextIds", "tokenise"]

_TOKEN = re.compile(r"\d|[^\W\d_]+|[^\w\s]")
_PAD, _START = 0, 1
_WRITTEN = f"deblur upsample denoise dejpeg with sigma to x quality {BLIND.lower()} a an the photo of . ; , - ' 0 1 2 3 4 5 6 7 8 9"
_BUCKETS = 1024
_FEATURES = 12
"""Rows of the embedding that a word is the mean of, at most."""


def tokenise(text: str) -> list[str]:
    """Lower-case words, single digits and single marks: "3.0" is "3", ".", "0", as CLIP reads it."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


@cache
def _known() -> dict[str, int]:
    return {word: 2 + i for i, word in enumerate(dict.fromkeys(_WRITTEN.split()))}


def _rows(word: str) -> list[int]:
    """A row of its own for a word of the prompt language; else the whole word's and its letter groups' (fastText's way)."""
    known = _known()
    if word in known:
        return [known[word]]
    spelled = f"<{word}>"
    groups = [spelled, *(spelled[i : i + n] for n in (4, 3) for i in range(len(spelled) - n + 1))]
    first = 2 + len(known)
    rows = [first + zlib.crc32(group.encode()) % _BUCKETS for group in groups]
    return list(dict.fromkeys(rows))[:_FEATURES]


@dataclass(frozen=True, eq=False)
class TextIds:
    """Texts as numbers, B of them.

    Attributes:
        ids: (B, T, F), rows of the embedding a token; 0 is none.
        amounts: (B, T, A), angles of the numbers, zero at words; A = 0 for an encoder that does not read them.
    """

    ids: Tensor
    amounts: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device) -> TextIds:
        """On a device."""
        return TextIds(self.ids.to(device), self.amounts.to(device))


@dataclass(frozen=True, eq=False)
class Said:
    """Encoded texts.

    Attributes:
        tokens: (B, T, D).
        pooled: (B, D), their mean; None from an encoder that is used without.
    """

    tokens: Tensor
    pooled: Tensor | None = None

    def repeated(self, count: int) -> Said:
        """One text for `count` samples."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Said(self.tokens.expand(count, -1, -1), pooled)

    @classmethod
    def together(cls, several: Sequence[Said]) -> Said:
        """One batch of several."""
        pooled = [one.pooled for one in several if one.pooled is not None]
        return cls(
            torch.cat([one.tokens for one in several]), torch.cat(pooled) if pooled else None
        )


class SmallText(nn.Module):
    """Causal transformer over hashed letters (B, T, F) to features (B, T, width) and their mean."""

    def __init__(self, tokens: int, width: int, depth: int) -> None:
        super().__init__()
        self.length = tokens
        self.embedding = nn.Embedding(2 + len(_known()) + _BUCKETS, width, padding_idx=_PAD)
        self.position = nn.Parameter(torch.randn(tokens, width) * 0.01)
        self.amount = nn.Linear(ANGLES, width, bias=False)
        self.blocks = nn.ModuleList(
            AttentionBlock(width, max(1, width // 32)) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embedding.weight[1:], std=0.02)
        nn.init.zeros_(self.embedding.weight[_PAD])
        nn.init.normal_(self.amount.weight, std=0.01)

    def tokens(self, texts: Sequence[str]) -> TextIds:
        """Texts as numbers, on the CPU; longer ones are cut."""
        ids = torch.zeros(len(texts), self.length, _FEATURES, dtype=torch.int32)
        amounts = torch.zeros(len(texts), self.length, ANGLES)
        for i, text in enumerate(texts):
            words = tokenise(text)[: self.length - 1]
            ids[i, 0, 0] = _START
            for place, word in enumerate(words, 1):
                rows = _rows(word)
                ids[i, place, : len(rows)] = torch.tensor(rows, dtype=torch.int32)
            for start, end, number in number_runs(words):
                amounts[i, start + 1 : end + 1] = torch.tensor(angles(number))
        return TextIds(ids, amounts)

    def forward(self, given: TextIds) -> Said:
        """Encode B texts."""
        used = (given.ids != _PAD).sum(-1, keepdim=True)
        x = self.embedding(given.ids.long()).sum(-2) / used.clamp(min=1)
        x = x + self.amount(given.amounts.float()) + self.position
        for block in self.blocks:
            x = block(x, causal=True)
        x = self.norm(x)
        spoken = (used > 0).to(x.dtype)
        return Said(x, (x * spoken).sum(1) / spoken.sum(1))


class ClipText(nn.Module):
    """The base's CLIP text tower, frozen: (B, T, width) after its final norm.

    Args:
        model: transformers' `CLIPTextModel`.
        tokenizer: its tokenizer; None for shape and size tests, where texts stay unread.
    """

    def __init__(self, model: nn.Module, tokenizer: Any | None) -> None:
        super().__init__()
        self.model: Any = model.requires_grad_(False)
        self._tokenizer = tokenizer

    def tokens(self, texts: Sequence[str]) -> TextIds:
        """Texts as numbers, on the CPU; longer ones are cut."""
        assert self._tokenizer is not None
        ids = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.model.config.max_position_embeddings,
            return_tensors="pt",
        ).input_ids
        return TextIds(ids[..., None].to(torch.int32), torch.zeros(*ids.shape, 0))

    def forward(self, given: TextIds) -> Said:
        """Encode B texts."""
        return Said(self.model(given.ids[..., 0].long()).last_hidden_state)
