"""LM4LV behind the restorer contract."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from conservator.restorers.errors import WeightsError
from conservator.restorers.lm4lv.card import CARD
from conservator.restorers.lm4lv.config import CONFIGS
from conservator.restorers.lm4lv.language import MODELS, LanguageModel, fingerprint
from conservator.restorers.lm4lv.network import LM4LV, task_numbers
from conservator.restorers.prompts import lm4lv as style
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.tiling import cut, spans
from conservator.restorers.training.loop import autocast
from conservator.restorers.weights import (
    PACKAGED,
    apply_weights,
    checksum,
    configured_weights,
    metadata_of,
)

__all__ = ["KEEPS_DETAIL", "ORDER", "LM4LVRestorer", "build"]

ORDER: Final[tuple[str, ...]] = ("demask", "depepper", "denoise", "derain", "deblur")
"""Several tasks run last damage first."""

KEEPS_DETAIL: Final = frozenset({"demask", "derain", "deblur"})
"""Tasks whose damage is not in the finest detail, so that `residual` may give it back."""

_SIZES: Final = {"residual": "compact", "mae-r": "compact"}
_VARIABLE: Final = "CONSERVATOR_LLM"
"""Environment variable with another place of the language model: a directory, or a hub id in the local cache."""
_OVERLAP: Final = 32
_AT_ONCE: Final = 36
"""Tiles that are generated side by side; more gain little on a CPU and take memory."""
_CHANGED: Final = 0.04
"""Mean change by the language model, of the full scale, at which the input's own detail has faded to 1/e."""


class LM4LVRestorer:
    """Restores tile by tile: encode, let the language model answer task by task, decode."""

    card = CARD

    def __init__(
        self,
        configuration: str,
        weights_path: str | Path | None = None,
        language: LanguageModel | None = None,
    ) -> None:
        """Load the network and its language model.

        Args:
            configuration: `compact`, `residual`, `mae-r` or `paper`.
            weights_path: in place of the packaged ones.
            language: a loaded one, in place of the one that belongs to the configuration.

        Raises:
            UnknownNameError: no such configuration.
            WeightsError: weights missing, corrupted, not fitting, or trained with another language model.
            BackendMissingError: the language model is not on this machine.
        """
        weights = configured_weights(CARD, configuration, weights_path)
        packaged = CARD.configurations[configuration]
        path = Path(weights_path) if weights_path is not None else PACKAGED / str(packaged.weights)
        self.configuration = configuration
        size = _SIZES.get(configuration, configuration)
        facts = metadata_of(path)
        config = replace(CONFIGS[size], **_switches(facts, path))
        if configuration == "mae-r":
            config = replace(config, body="none")
            weights = {n: t for n, t in weights.items() if n.startswith("mae.")}
        elif language is None and config.speaks:
            language = _language(size, facts, path, random=config.body == "random")
        self.network = LM4LV(config, language).eval().requires_grad_(False)
        if configuration == "mae-r":
            apply_weights(self.network.mae, {n.removeprefix("mae."): t for n, t in weights.items()})
        else:
            apply_weights(self.network, weights)
        self.weights_sha256 = packaged.sha256 if weights_path is None else checksum(path)
        self._half = False

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move both; the language model is converted, the rest computes in bfloat16 by autocast.

        Not so where the tokens are loud: in a stream of bfloat16 they would drown what the language model adds to them.
        """
        self.network.to(device)
        if self.network.language is not None:
            quiet = self.network.config.loudness == 1
            self.network.language.to(device, dtype if quiet else torch.float32)
        self._half = dtype == torch.bfloat16

    def render(self, prompt: RestorationPrompt) -> str:
        """The task tokens."""
        return style.render(prompt)

    def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> tuple[str, ...]:
        """The tasks in the order in which they run."""
        asked = style.tasks(prompt)
        return tuple(task for task in ORDER if task in asked)

    def restore_tile(self, tile: Tensor, guidance: Sequence[str]) -> Tensor:
        """Restore one padded tile (1, 3, h, w), as many of the autoencoder's own tiles as it takes."""
        return self.restored(tile, guidance)

    def restored(self, picture: Tensor, tasks: Sequence[str]) -> Tensor:
        """Restore (1, 3, H, W) by tasks, one after the other; probes are taken too. Smaller pictures than a tile are padded."""
        side = self.network.config.mae.side
        height, width = picture.shape[-2:]
        rows, columns = (
            spans(n, tile=side, overlap=_OVERLAP, min_side=side, exact=True)
            for n in (height, width)
        )
        places = list(cut(rows, columns))
        room = (rows[-1].start + side - height, columns[-1].start + side - width)
        padded = F.pad(picture, (0, room[1], 0, room[0]), mode="replicate")
        output = torch.zeros_like(padded)
        for first in range(0, len(places), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            own = [
                padded[
                    ...,
                    t.rows.start : t.rows.start + side,
                    t.columns.start : t.columns.start + side,
                ]
                for t in some
            ]
            made = self._tiles(torch.cat(own), tasks)
            for tile, restored in zip(some, made, strict=True):
                down, across = (
                    torch.from_numpy(span.weights).to(picture.device)
                    for span in (tile.rows, tile.columns)
                )
                top, left = tile.rows.start, tile.columns.start
                window = output[0, :, top : top + side, left : left + side]
                window.addcmul_(restored, down[:, None] * across)
        return output[..., :height, :width].clamp(0, 1)

    def _tiles(self, degraded: Tensor, tasks: Sequence[str]) -> Tensor:
        """Restore (B, 3, side, side), float32."""
        network, device = self.network, degraded.device
        alone = self.configuration == "mae-r"
        with autocast(device, self._half):
            tokens = given = network.mae.encoder(degraded).float()
            for task in () if alone else tasks:
                numbers = task_numbers([task] * len(degraded)).to(device)
                tokens = network(tokens, numbers).float()
            restored = network.mae.decoder(tokens).float()
            if self.configuration != "residual" or not set(tasks) <= KEEPS_DETAIL:
                return restored
            plain = network.mae.decoder(given).float()
        return restored + _untouched(restored, plain) * (degraded - plain)


def _untouched(restored: Tensor, plain: Tensor) -> Tensor:
    """Where the language model left the picture as it was: (B, 1, H, W), 1 there, near 0 where it changed it."""
    change = F.avg_pool2d((restored - plain).abs().mean(1, keepdim=True), 9, 1, padding=4)
    return torch.exp(-((change / _CHANGED) ** 2))


def _switches(facts: dict[str, str], path: Path) -> dict[str, Any]:
    """The changes to its configuration that a file was trained with."""
    try:
        found: dict[str, Any] = json.loads(facts.get("switches", "{}"))
    except ValueError as error:
        raise WeightsError(
            f"{path} does not say how it was trained: {error}; train again"
        ) from error
    return found


def _language(size: str, facts: dict[str, str], path: Path, *, random: bool) -> LanguageModel:
    """The language model that belongs to weights: `CONSERVATOR_LLM`, or the configuration's own."""
    chosen = os.environ.get(_VARIABLE) or MODELS[size]
    wanted, found = facts.get("llm_sha256", ""), fingerprint(chosen)
    if wanted and found and wanted != found:
        raise WeightsError(
            f"{path.name} was trained with language model {wanted[:12]}..., this one is {found[:12]}...; "
            f"give the right one in {_VARIABLE}"
        )
    dtype = torch.bfloat16 if size == "paper" else None
    return LanguageModel.load(chosen, dtype=dtype, random=random, seed=int(facts.get("seed", "0")))


def build(configuration: str, weights_path: str | Path | None = None) -> LM4LVRestorer:
    """Make the restorer with its weights and its language model.

    Raises:
        WeightsError: weights or language model missing, corrupted or not fitting.
        BackendMissingError: the language model is not on this machine.
    """
    return LM4LVRestorer(configuration, weights_path)
