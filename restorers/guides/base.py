"""What a guide gives to a restorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Guide", "GuideEmbeddings"]


@dataclass(frozen=True)
class GuideEmbeddings:
    """Embeddings of a question about pictures, B of them.

    Attributes:
        image: E_Image (B, V, D), of the image tokens; pooled to one token a view (the paper pools to V = 1).
        joint: E_Joint (B, T, D), of the views and the words.
        answer: E_Answer (B, D), of the token from which the answer begins.
        mask: (B, T) bool, False where `joint` is padding; None where nothing is.
    """

    image: Tensor
    joint: Tensor
    answer: Tensor
    mask: Tensor | None = None

    def to(self, device: torch.device) -> GuideEmbeddings:
        """The same on another device."""
        mask = None if self.mask is None else self.mask.to(device)
        return GuideEmbeddings(
            self.image.to(device), self.joint.to(device), self.answer.to(device), mask
        )

    def pooled(self) -> Tensor:
        """Mean of `joint` over what is no padding, (B, D)."""
        if self.mask is None:
            return self.joint.mean(dim=1)
        weights = self.mask.to(self.joint.dtype)[..., None]
        return (self.joint * weights).sum(dim=1) / weights.sum(dim=1)

    @classmethod
    def stacked(cls, parts: Sequence[GuideEmbeddings]) -> GuideEmbeddings:
        """Single samples (B = 1, unpadded, of the same number of views) as one batch; shorter texts are padded."""
        longest = max(part.joint.shape[1] for part in parts)
        joint = torch.cat(
            [F.pad(part.joint, (0, 0, 0, longest - part.joint.shape[1])) for part in parts]
        )
        lengths = torch.tensor([part.joint.shape[1] for part in parts], device=joint.device)
        mask = torch.arange(longest, device=joint.device) < lengths[:, None]
        return cls(
            torch.cat([part.image for part in parts]),
            joint,
            torch.cat([part.answer for part in parts]),
            None if bool(mask.all()) else mask,
        )


class Guide(Protocol):
    """A vision-language model that is asked and not listened to: its hidden states are what counts."""

    width: int
    """D of the embeddings."""

    def embed(self, image: Tensor, text: str) -> GuideEmbeddings:
        """Embed a question, and the answer where one is written behind it, about each of (B, 3, H, W), [0, 1]."""
        ...
