"""What all classical tools have in common: a `TileRestorer` that works on numpy arrays, on the CPU."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from conservator.restorers.card import RestorerCard
from conservator.restorers.classical.filters import Pixels
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Kind,
    severity_of,
)
from conservator.restorers.errors import PromptError, WeightsError
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["ClassicalTool", "Shared", "pixels_of", "sample"]


@dataclass(frozen=True)
class Shared:
    """What the tiles of one image share.

    Attributes:
        strength: in the unit of the tool's kind.
        severity: the same on the ladder, [0, 1]; 0 leaves the image bit-identical.
        facts: for `Restored.details`.
        data: whatever else the tool measured.
    """

    strength: float
    severity: float
    facts: dict[str, Any] = field(default_factory=dict)
    data: Any = None


class ClassicalTool(ABC):
    """Base of the classical tools; a tool defines `card`, `kind` and `treat`, and what it needs of the rest."""

    card: RestorerCard
    kind: ClassVar[Kind]

    def __init__(self, configuration: str = "compact", weights_path: Path | None = None) -> None:
        """The arguments are those of every restorer's build; a classical tool has no weights, and few can work in several ways.

        Raises:
            WeightsError: weights are given.
        """
        if weights_path is not None:
            raise WeightsError(f"{self.card.name} takes no weights; leave {weights_path} out")
        self.configuration = configuration

    def render(self, prompt: RestorationPrompt) -> str:
        """`noise: sigma=25`; a blind prompt gives `noise: sigma=estimated`."""
        parameter = PARAMETERS[self.kind]
        value = prompt.degradations.get(self.kind)
        shown = "estimated" if value is None else f"{value:.{parameter.decimals}f}"
        return f"{self.kind}: {parameter.name}={shown}"

    def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> Shared:
        """Take the strength from the prompt, or from the image when the prompt is blind, and measure the image."""
        asked = prompt.degradations.get(self.kind)
        strength = self.estimate(image) if asked is None else asked
        severity = severity_of(self.kind, strength)
        shared = self.measure(image, strength, severity) if severity > 0 else Shared(strength, 0.0)
        shared.facts["strength"] = round(strength, 4)
        shared.facts["strength_estimated"] = asked is None
        return shared

    def estimate(self, image: Tensor) -> float:
        """The strength for a blind prompt, from (1, 3, H, W).

        Raises:
            PromptError: this tool cannot tell.
        """
        parameter = PARAMETERS[self.kind]
        example = f"{self.kind} with {parameter.name} {parameter.anchors[2]:g}"
        raise PromptError(
            f"{self.card.name} needs to be told how strong to treat, as in: {example}"
        )

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """Compute on the whole image (1, 3, H, W) what every tile needs."""
        return Shared(strength, severity)

    def restore_tile(self, tile: Tensor, guidance: Shared) -> Tensor:
        """Treat one tile; severity 0 returns it as it is."""
        if guidance.severity <= 0:
            return tile
        treated = np.clip(self.treat(pixels_of(tile), guidance), 0, 1).astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(treated.transpose(2, 0, 1)))[None]

    @abstractmethod
    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Treat (h, w, 3), [0, 1]; the result is clipped by the caller."""

    def to(self, device: torch.device, dtype: torch.dtype) -> None:  # noqa: B027 - a real no-op
        """Nothing moves: the card says `cpu_only`."""


def pixels_of(tile: Tensor) -> Pixels:
    """(1, 3, h, w) to (h, w, 3)."""
    return np.ascontiguousarray(tile[0].permute(1, 2, 0).cpu().numpy())


def sample(image: Tensor, most: int = 1 << 20) -> Pixels:
    """Every n-th pixel of (1, 3, H, W) along both axes, at most about `most` of them: (h, w, 3)."""
    height, width = image.shape[-2:]
    step = max(1, int(np.ceil(np.sqrt(height * width / most))))
    return pixels_of(image[:, :, ::step, ::step])
