"""SPIRE behind the restorer contract."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from conservator.restorers.errors import WeightsError
from conservator.restorers.prompts import spire as language
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.spire.card import CARD
from conservator.restorers.spire.config import CONFIGS, Sampling
from conservator.restorers.spire.diffusion import Diffusion, LatentPart, checked
from conservator.restorers.training.loop import autocast
from conservator.restorers.weights import PACKAGED, checksum, configured_weights

__all__ = ["SpireRestorer", "build", "instructions"]

_STEPS: Final = {"full": 50}
"""Configurations that are the compact size in more steps."""


def instructions(prompt: RestorationPrompt, *, numbers: bool = True) -> str:
    """c_r: the four instructions of the paper, in its words; kinds that SPIRE does not treat are left out."""
    kept = {kind: value for kind, value in prompt.degradations.items() if kind in CARD.treats}
    return language.render(prompt.model_copy(update={"degradations": kept}), numbers=numbers)


class SpireRestorer:
    """All four modes of the paper by the prompt alone: blind, semantic, task-specific with or without numbers, and all of them.

    Attributes:
        sampling: how a picture is drawn; may be replaced.
        numbers: False leaves the numbers out of c_r.
    """

    card = CARD

    def __init__(
        self,
        configuration: str,
        weights_path: str | Path | None = None,
        base: str | Path | None = None,
        *,
        numbers: bool | None = None,
        sampling: dict[str, Any] | None = None,
    ) -> None:
        """Load the network.

        Args:
            configuration: `compact`, `full` or `paper`.
            weights_path: in place of the packaged ones.
            base: of `paper`: a Stable-Diffusion-class model; None takes `CONSERVATOR_SPIRE_BASE`.
            numbers: False leaves the numbers out of the prompts; None does as the weights were trained.
            sampling: changes to the configuration's `Sampling`.

        Raises:
            UnknownNameError: no such configuration.
            WeightsError: weights missing, corrupted, not fitting, or not trained to the end.
            UsageError: no base, or a sampling that makes no sense.
            BackendMissingError: the base is not on this machine, or diffusers is missing.
        """
        # First: the rest takes longer, and is for nothing when the file is damaged.
        weights = configured_weights(CARD, configuration, weights_path)
        packaged = CARD.configurations[configuration]
        path = Path(weights_path) if weights_path is not None else PACKAGED / str(packaged.weights)
        from conservator.restorers.spire.base import base_named, needs_diffusers, on_base
        from conservator.restorers.spire.network import Spire
        from conservator.restorers.spire.parts import STAGES, read_into, stages_in, switches_in

        needs_diffusers()
        size = "compact" if configuration in _STEPS else configuration
        config = replace(CONFIGS[size], **switches_in(path))
        trained = stages_in(path)
        if "branch" not in trained:
            raise WeightsError(
                f"{path} went through {', '.join(trained) or 'nothing'} only; go on with: conservator train spire "
                f"--stage {STAGES[len(trained)]} --weights {path.name}"
            )
        if configuration == "paper":
            self.model = on_base(config, base_named(base))
        else:
            self.model = Spire(config)
        read_into(self.model, weights)
        self.model.eval().requires_grad_(False)
        self.weights_sha256 = packaged.sha256 if weights_path is None else checksum(path)
        steps = _STEPS.get(configuration, config.sampling.steps)
        chosen = replace(config.sampling, **({"steps": steps} | (sampling or {})))
        if "fidelity" not in trained:
            chosen = replace(chosen, fidelity=0.0)
        self.sampling: Sampling = checked(chosen)
        self.numbers = config.numbers if numbers is None else numbers
        self._half = False

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the network; bfloat16 is autocast, the latents and the schedule stay float32."""
        self.model.to(device=device).to(memory_format=torch.channels_last)
        self._half = dtype == torch.bfloat16

    def render(self, prompt: RestorationPrompt) -> str:
        """c_r, and c_s behind a bar where there is one."""
        asked, shown = self._texts(prompt)
        return f"{asked} | {shown}" if shown else asked

    def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> Diffusion:
        """The diffusion of the whole image, not yet made."""
        asked, shown = self._texts(prompt)
        return Diffusion(self.model, image, asked, shown, self.sampling, seed=seed, half=self._half)

    def restore_tile(self, tile: Tensor, guidance: LatentPart) -> Tensor:
        """Decode one padded tile (1, 3, h, w)."""
        drawn = guidance.drawn
        height, width = (n // self.model.autoencoder.factor for n in tile.shape[-2:])
        with autocast(tile.device, self._half):
            restored = self.model.decode(
                guidance.latent[..., :height, :width],
                tile,
                drawn.restoring,
                drawn.sampling.fidelity,
            )
        return restored.float().clamp(0, 1)

    def _texts(self, prompt: RestorationPrompt) -> tuple[str, str]:
        shown = prompt.semantic.strip() if self.model.config.semantic else ""
        return instructions(prompt, numbers=self.numbers), shown


def build(configuration: str, weights_path: str | Path | None = None) -> SpireRestorer:
    """Make the restorer with its weights.

    Raises:
        WeightsError: weights missing, corrupted, not fitting, or not trained to the end.
        UsageError: `paper` without a base.
        BackendMissingError: the base is not on this machine, or diffusers is missing.
    """
    return SpireRestorer(configuration, weights_path)
