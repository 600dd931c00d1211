"""The contract between restorers, the runner and the agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol, runtime_checkable

import torch

from conservator.restorers.card import RestorerCard
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = [
    "Guidance",
    "OnProgress",
    "RecordedGuidance",
    "Restored",
    "Restorer",
    "SpatialGuidance",
    "StagedGuidance",
    "TileRestorer",
]

OnProgress = Callable[[int, int], None]
"""Called with (tiles done, tiles in all); the pieces of a `StagedGuidance` count as tiles."""

Guidance = Any
"""Whatever a restorer computes once on the whole image and every tile then shares."""


@runtime_checkable
class SpatialGuidance(Protocol):
    """Guidance that differs from place to place; each tile then gets its own part of it."""

    def crop(self, top: int, left: int, height: int, width: int) -> Guidance:
        """The part under a tile, in px of the input; always inside the image, padding excluded."""
        ...


@runtime_checkable
class RecordedGuidance(Protocol):
    """Guidance with JSON-serialisable facts worth keeping in `Restored.details`."""

    @property
    def facts(self) -> dict[str, Any]:
        """What was measured on this image, `{"sigma": 24.1}`."""
        ...


@runtime_checkable
class StagedGuidance(Protocol):
    """Guidance that takes long to make; the runner makes it before the first tile, and can be watched and cancelled between its pieces."""

    @property
    def pieces(self) -> int:
        """How many pieces `make` has."""
        ...

    def make(self) -> Iterator[None]:
        """Do one piece at each step."""
        ...


@dataclass(frozen=True)
class Restored:
    """A restored image with what is needed to repeat it.

    Attributes:
        image: (1, 3, H * scale, W * scale), float32, [0, 1], RGB (sRGB-encoded), on the CPU.
        rendered_prompt: the text or numbers the restorer really saw.
        details: JSON-serialisable facts: device, dtype, tiles, weights sha256, fall-backs taken.
    """

    image: torch.Tensor
    restorer: str
    prompt: RestorationPrompt
    rendered_prompt: str
    seed: int
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


class Restorer(Protocol):
    """What the agent calls."""

    card: RestorerCard

    def restore(
        self,
        image: torch.Tensor,
        prompt: RestorationPrompt,
        *,
        seed: int = 0,
        on_progress: OnProgress | None = None,
        cancel: Event | None = None,
    ) -> Restored:
        """Restore (1, 3, H, W), float32, [0, 1], RGB.

        Raises:
            CancelledError: `cancel` was set between two tiles.
            PromptError: the prompt asks for nothing this restorer treats.
            RestorerError: anything else that went wrong inside.
        """
        ...


class TileRestorer(Protocol):
    """What a restorer implements; `runner.py` turns it into a `Restorer`.

    One with weights should also have an attribute `weights_sha256`, which goes into `Restored.details`.
    """

    card: RestorerCard

    def render(self, prompt: RestorationPrompt) -> str:
        """The prompt in this restorer's own language."""
        ...

    def prepare(self, image: torch.Tensor, prompt: RestorationPrompt, *, seed: int) -> Guidance:
        """Compute the guidance on the whole image (1, 3, H, W)."""
        ...

    def restore_tile(self, tile: torch.Tensor, guidance: Guidance) -> torch.Tensor:
        """Restore one padded tile (1, 3, h, w) to (1, 3, h * scale, w * scale), both in [0, 1].

        The tile comes in float32 on the device of `to`; it must not be
        written to. The result may have either precision.
        """
        ...

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move to a device and precision."""
        ...
