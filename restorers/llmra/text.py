"""LLMRA's text encoders: the paper's frozen CLIP tower, and a small one over the prompt language's own words."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from conservator.restorers.errors import BackendMissingError
from conservator.restorers.layers.amounts import ANGLES, angles, number_runs
from conservator.restorers.layers.text import TextTower
from conservator.restorers.llmra.config import LLMRAConfig
from conservator.restorers.prompts.llmra import VOCABULARY, tokenise

__all__ = ["ClipTextEncoder", "SmallTextEncoder", "build_text_encoder"]

PAD, UNKNOWN = 0, 1
ROOM = 512
"""Rows of the embedding; room for words added after the weights were trained."""


@cache
def _word_ids() -> dict[str, int]:
    return {word: i + 2 for i, word in enumerate(VOCABULARY)}


class SmallTextEncoder(nn.Module):
    """Words of the prompt language to (B, tokens, width).

    Each digit also carries the size of the whole number: spelling alone told the tone curve its stops to a tenth at best.
    """

    def __init__(self, tokens: int, width: int, depth: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.tower = TextTower(ROOM, tokens, width, depth, max(1, width // 32))
        self.amount = nn.Linear(ANGLES, width, bias=False)
        nn.init.zeros_(self.amount.weight)

    def ids(self, texts: list[str]) -> Tensor:
        """(B, tokens) word ids; unknown words share one id, longer texts are cut."""
        table = _word_ids()
        rows = torch.zeros(len(texts), self.tokens, dtype=torch.long)
        for row, text in zip(rows, texts, strict=True):
            words = [table.get(word, UNKNOWN) for word in tokenise(text)][: self.tokens]
            row[: len(words)] = torch.tensor(words, dtype=torch.long)
        return rows

    def amounts(self, texts: list[str]) -> Tensor:
        """(B, tokens, angles) of the numbers, zero at words."""
        rows = torch.zeros(len(texts), self.tokens, ANGLES)
        for row, text in zip(rows, texts, strict=True):
            for start, end, number in number_runs(tokenise(text)[: self.tokens]):
                row[start:end] = torch.tensor(angles(number))
        return rows

    def forward(self, texts: list[str]) -> Tensor:
        """Features (B, tokens, width)."""
        device = self.tower.position.device
        return self.tower(self.ids(texts).to(device), self.amount(self.amounts(texts).to(device)))


class ClipTextEncoder(nn.Module):
    """open_clip's ViT-B/32 text tower, frozen: (B, 77, 512), Eq. 1.

    Weights come from `pretrained`, a path or an open_clip tag; None leaves it at random, for shape and size tests.
    """

    def __init__(self, pretrained: str | None = None) -> None:
        super().__init__()
        try:
            import open_clip
        except ImportError as error:
            raise BackendMissingError(
                "LLMRA's paper configuration needs open_clip: pip install open_clip_torch"
            ) from error
        self.model = open_clip.create_model("ViT-B-32", pretrained=pretrained)
        del self.model.visual
        self.tokenizer = open_clip.get_tokenizer("ViT-B-32")
        self.requires_grad_(False)

    def forward(self, texts: list[str]) -> Tensor:
        """Features (B, 77, 512) after the final norm."""
        ids = self.tokenizer(texts).to(self.model.token_embedding.weight.device)
        model = self.model
        x = model.token_embedding(ids) + model.positional_embedding
        x = model.transformer(x, attn_mask=model.attn_mask)
        return model.ln_final(x)


def build_text_encoder(config: LLMRAConfig) -> nn.Module:
    """The encoder that `config.text` names."""
    if config.text == "clip":
        return ClipTextEncoder()
    return SmallTextEncoder(config.tokens, config.text_width, config.text_depth)
