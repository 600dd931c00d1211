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
        image_mask: (B, V) bool, False where `image` is padding; None where nothing is.
        joint_mask: (B, T) bool, the same for `joint`.
    """

    image: Tensor
    joint: Tensor
    answer: Tensor
    image_mask: Tensor | None = None
    joint_mask: Tensor | None = None

    def to(self, device: torch.device) -> GuideEmbeddings:
        """The same on another device."""
        return GuideEmbeddings(
            self.image.to(device),
            self.joint.to(device),
            self.answer.to(device),
            None if self.image_mask is None else self.image_mask.to(device),
            None if self.joint_mask is None else self.joint_mask.to(device),
        )

    def sample(self, row: int) -> GuideEmbeddings:
        """One sample by itself (B = 1), without padding."""
        image, joint = (
            tokens[row : row + 1, : None if mask is None else int(mask[row].sum())]
            for tokens, mask in ((self.image, self.image_mask), (self.joint, self.joint_mask))
        )
        return GuideEmbeddings(image, joint, self.answer[row : row + 1])

    @classmethod
    def stacked(cls, parts: Sequence[GuideEmbeddings]) -> GuideEmbeddings:
        """Single samples (B = 1, without padding) as one batch; what is shorter is padded behind."""
        image, image_mask = _padded([part.image for part in parts])
        joint, joint_mask = _padded([part.joint for part in parts])
        answer = torch.cat([part.answer for part in parts])
        return cls(image, joint, answer, image_mask, joint_mask)


def _padded(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """(1, T, D) each to (B, T, D) of the longest, and which tokens are real, None for all."""
    lengths = torch.tensor([part.shape[1] for part in parts], device=parts[0].device)
    longest = int(lengths.max())
    stacked = torch.cat([F.pad(part, (0, 0, 0, longest - part.shape[1])) for part in parts])
    mask = torch.arange(longest, device=stacked.device) < lengths[:, None]
    return stacked, None if bool(mask.all()) else mask


class Guide(Protocol):
    """A vision-language model that is asked and not listened to: its hidden states are what counts."""

    width: int
    """D of the embeddings."""

    def embed(self, image: Tensor, text: str) -> GuideEmbeddings:
        """Embed a question, and the answer where one is written behind it, about each of (B, 3, H, W), [0, 1]."""
        ...
