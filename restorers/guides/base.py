"""What a guide gives to a restorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["Guide", "GuideEmbeddings"]


@dataclass(frozen=True)
class GuideEmbeddings:
    """Embeddings of a question about pictures, B of them.

    Attributes:
        image: E_Image (B, T, D), of the image tokens; pooled to T = 1 in the paper.
        joint: E_Joint (B, T, D), of all tokens.
        answer: E_Answer (B, D), of the token from which the answer begins.
    """

    image: Tensor
    joint: Tensor
    answer: Tensor


class Guide(Protocol):
    """A vision-language model that is asked and not listened to: its hidden states are what counts."""

    width: int
    """D of the embeddings."""

    def embed(self, image: Tensor, question: str) -> GuideEmbeddings:
        """Embed a question about each of (B, 3, H, W), [0, 1]."""
        ...
