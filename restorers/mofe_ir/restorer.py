"""MoFE-IR behind the restorer contract."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from conservator.restorers.addresses import is_url
from conservator.restorers.errors import WeightsError
from conservator.restorers.guides.base import Guide, GuideEmbeddings
from conservator.restorers.guides.qwen import SHIPPED, QwenGuide, fingerprint
from conservator.restorers.guides.served import ServedGuide
from conservator.restorers.mofe_ir.card import CARD
from conservator.restorers.mofe_ir.config import CONFIGS
from conservator.restorers.mofe_ir.network import MoFEIR
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.prompts.mofe import render
from conservator.restorers.training.loop import autocast
from conservator.restorers.weights import (
    PACKAGED,
    apply_weights,
    checksum,
    configured_weights,
    metadata_of,
)

__all__ = ["GUIDES", "MoFEGuidance", "MoFEIRRestorer", "build", "guide_of"]

GUIDES: Final[dict[str, str | Path]] = {
    "compact": SHIPPED,
    "paper": "Qwen/Qwen2.5-VL-3B-Instruct",
}
"""Configuration -> the guide it was made for."""

_VARIABLE: Final = "CONSERVATOR_GUIDE"
"""Environment variable with another guide: a directory, a hub id, or the address of a server that serves the configuration's own."""


@dataclass
class MoFEGuidance:
    """What all tiles share.

    Attributes:
        embeddings: of the whole picture (B = 1).
        weights: S (1, N), of the experts.
        curve: tone curve (1, 4, KNOTS) of the whole picture; None without one.
    """

    embeddings: GuideEmbeddings
    weights: Tensor
    curve: Tensor | None

    @property
    def facts(self) -> dict[str, Any]:
        """The routing, for `Restored.details`."""
        return {"routing": [round(float(w), 3) for w in self.weights[0]]}


class MoFEIRRestorer:
    """Undoes what its guide sees; a prompt that names kinds is written behind the question as the answer."""

    card = CARD

    def __init__(
        self,
        configuration: str,
        weights_path: str | Path | None = None,
        guide: Guide | None = None,
    ) -> None:
        """Load the network and its guide.

        Args:
            configuration: `compact` or `paper`.
            weights_path: in place of the packaged ones.
            guide: a loaded one, in place of the one that belongs to the configuration.

        Raises:
            UnknownNameError: no such configuration.
            WeightsError: weights missing, corrupted, not fitting, or trained with another guide.
            BackendMissingError: the guide is not on this machine.
        """
        weights = configured_weights(CARD, configuration, weights_path)
        packaged = CARD.configurations[configuration]
        path = Path(weights_path) if weights_path is not None else PACKAGED / str(packaged.weights)
        self.guide = guide if guide is not None else guide_of(configuration, path)
        self.model = MoFEIR(CONFIGS[configuration]).eval().requires_grad_(False)
        apply_weights(self.model, weights)
        if self.guide.width != self.model.config.guide_width:
            raise WeightsError(
                f"the guide is {self.guide.width} wide, {configuration!r} takes {self.model.config.guide_width}; "
                "give the guide that the weights were trained with"
            )
        self.weights_sha256 = packaged.sha256 if weights_path is None else checksum(path)
        self._device = torch.device("cpu")
        self._half = False

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move network and guide; bfloat16 is autocast, and the guide's precision is its own."""
        self.model.to(device=device).to(memory_format=torch.channels_last)
        if isinstance(self.guide, QwenGuide):
            self.guide.to(device)
        self._device, self._half = device, dtype == torch.bfloat16

    def render(self, prompt: RestorationPrompt) -> str:
        """The question, and unless the prompt is only blind, the answer."""
        return render(prompt)

    def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> MoFEGuidance:
        """Let the guide look at the whole image once."""
        return self.guidance(image, self.guide.embed(image, self.render(prompt)))

    def guidance(self, image: Tensor, embeddings: GuideEmbeddings) -> MoFEGuidance:
        """What tiles of (1, 3, H, W) need, from embeddings of it or, to see what they matter, of another picture."""
        embeddings = embeddings.to(self._device)
        curve = self.model.curve(image.to(self._device), embeddings)
        return MoFEGuidance(embeddings, self.model.route(embeddings.answer), curve)

    def restore_tile(self, tile: Tensor, guidance: MoFEGuidance) -> Tensor:
        """Restore one padded tile (1, 3, h, w)."""
        with autocast(tile.device, self._half):
            restored = self.model(tile, guidance.embeddings, guidance.curve, guidance.weights)
        return restored.float().clamp(0, 1)


def guide_of(configuration: str, weights: Path) -> QwenGuide | ServedGuide:
    """The guide that belongs to weights: `CONSERVATOR_GUIDE`, or the configuration's own.

    Raises:
        WeightsError: it is missing or damaged, or not the one that the weights were trained with.
        BackendMissingError: a hub's model that is not on this machine, or a server that does not answer.
    """
    chosen = os.environ.get(_VARIABLE) or GUIDES[configuration]
    if is_url(str(chosen)):
        return ServedGuide(str(chosen), GUIDES[configuration])
    wanted = metadata_of(weights).get("guide_sha256", "")
    found = fingerprint(chosen)
    if wanted and found and wanted != found:
        raise WeightsError(
            f"{weights.name} was trained with guide {wanted[:12]}..., this one is {found[:12]}...; "
            f"give the right one in {_VARIABLE}"
        )
    return QwenGuide(chosen)


def build(configuration: str, weights_path: str | Path | None = None) -> MoFEIRRestorer:
    """Make the restorer with its weights and its guide.

    Raises:
        WeightsError: weights or guide missing, corrupted or not fitting.
        BackendMissingError: the guide is not on this machine.
    """
    return MoFEIRRestorer(configuration, weights_path)
