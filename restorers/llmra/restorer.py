"""LLMRA behind the restorer contract."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from conservator.restorers.llmra.card import CARD
from conservator.restorers.llmra.config import CONFIGS
from conservator.restorers.llmra.network import LLMRA
from conservator.restorers.prompts.llmra import render
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.training.loop import autocast
from conservator.restorers.weights import apply_weights, checksum, configured_weights

__all__ = ["LLMRARestorer", "build"]

VIEW = 256
"""Side of the native-resolution views that CEM sees of a large photo, px."""
VIEWS_A_SIDE = 3


@dataclass
class LLMRAGuidance:
    """What all tiles share: context Z (1, T, D) and tone curve (1, 4, KNOTS) of the whole picture."""

    context: Tensor
    curve: Tensor | None


class LLMRARestorer:
    """`<refine>` on a prompt that names kinds; `<restore>`, with CEM, when the prompt is blind as well.

    A prompt that is only blind ("Remove all degradation.") runs without CEM on that one sentence, as trained.
    """

    card = CARD

    def __init__(self, configuration: str, weights_path: str | Path | None = None) -> None:
        # First: building takes longer, and is for nothing when the file is damaged.
        weights = configured_weights(CARD, configuration, weights_path)
        self.model = LLMRA(CONFIGS[configuration]).eval().requires_grad_(False)
        apply_weights(self.model, weights)
        self.weights_sha256 = (
            checksum(Path(weights_path))
            if weights_path is not None
            else CARD.configurations[configuration].sha256
        )
        self._half = False

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the network; `channels_last` because its convolutions run faster that way.

        bfloat16 is autocast: weights and the image itself stay float32, only the residual is rounded.
        """
        self.model.to(device=device).to(memory_format=torch.channels_last)
        self._half = dtype == torch.bfloat16

    def render(self, prompt: RestorationPrompt) -> str:
        """The LLMRA sentences."""
        enhanced = prompt.blind and bool(prompt.degradations)
        plain = prompt.model_copy(update={"blind": False}) if enhanced else prompt
        return render(plain)

    def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> LLMRAGuidance:
        """Encode the prompt; under `<restore>` let CEM correct it by views of the whole image."""
        text = [self.render(prompt)]
        device = next(self.model.ct.parameters()).device
        cem = self.model.cem
        if cem is None or not (prompt.blind and prompt.degradations):
            context = self.model.context(text)
            return LLMRAGuidance(context, self.model.network.curve(image.to(device), context))
        views = [cem.image_tokens(view.to(device)) for view in _views(image, cem.fold)]
        context = self.model.context(text, tokens=torch.cat(views, dim=1))
        return LLMRAGuidance(context, self.model.network.curve(image.to(device), context))

    def restore_tile(self, tile: Tensor, guidance: LLMRAGuidance) -> Tensor:
        """Restore one padded tile (1, 3, h, w)."""
        with autocast(tile.device, self._half):
            restored = self.model.network(tile, guidance.context, guidance.curve)
        return restored.float().clamp(0, 1)


def _views(image: Tensor, fold: int) -> list[Tensor]:
    """Native-resolution views spread over (1, 3, H, W); their sides are multiples of `fold`."""
    h, w = image.shape[-2:]
    side_h, side_w = max(fold, min(h, VIEW) // fold * fold), max(fold, min(w, VIEW) // fold * fold)
    if h < fold or w < fold:
        image = torch.nn.functional.interpolate(image, size=(max(h, fold), max(w, fold)))
        h, w = image.shape[-2:]

    def starts(length: int, side: int) -> list[int]:
        count = min(VIEWS_A_SIDE, -(-length // side))
        return (
            [0] if count == 1 else [round(i * (length - side) / (count - 1)) for i in range(count)]
        )

    return [
        image[..., top : top + side_h, left : left + side_w]
        for top in starts(h, side_h)
        for left in starts(w, side_w)
    ]


def build(configuration: str, weights_path: str | Path | None = None) -> LLMRARestorer:
    """Make the restorer with its weights.

    Raises:
        WeightsError: weights missing, corrupted or not fitting.
    """
    return LLMRARestorer(configuration, weights_path)
