"""Any restoration checkpoint that spandrel can load, behind the restorer interface.

spandrel (MIT) is optional. Files are safetensors, or `.pth` through spandrel's restricted unpickler; TorchScript is
refused, since loading it may run code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from conservator.restorers.card import RestorerCard
from conservator.restorers.community.card import CARD
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import BackendMissingError, WeightsError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.weights import checksum

__all__ = ["Checkpoint", "build"]

_ENDINGS: Final = (".safetensors", ".pth")


class Checkpoint:
    """A `TileRestorer` over a spandrel model. It takes no prompt: what it removes lies in its weights.

    Attributes:
        card: of this checkpoint: scale, size limits and what it may be asked for.
        weights_sha256: of the file.
    """

    def __init__(self, path: Path) -> None:
        """Load a file.

        Raises:
            BackendMissingError: spandrel is not installed.
            WeightsError: not a file spandrel can load safely, or not a model from RGB to RGB.
        """
        self._model = _loaded(path)
        self.weights_sha256 = checksum(path)
        self.card = _card_of(self._model, path)
        self._dtype = torch.float32

    def render(self, prompt: RestorationPrompt) -> str:
        """Nothing: it cannot be told."""
        return ""

    def prepare(self, image: Tensor, prompt: RestorationPrompt, *, seed: int) -> None:
        """Nothing is shared between tiles."""

    def restore_tile(self, tile: Tensor, guidance: None) -> Tensor:
        """Run the model on (1, 3, h, w)."""
        restored: Tensor = self._model(tile.to(self._dtype))
        return restored

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move; a model that does not support bfloat16 stays in float32."""
        half = dtype == torch.bfloat16 and self._model.supports_bfloat16
        self._dtype = torch.bfloat16 if half else torch.float32
        self._model.to(device, self._dtype)


def build(configuration: str, weights_path: Path | None) -> Checkpoint:
    """Load the user's checkpoint.

    Raises:
        WeightsError: no path is given, or the file does not load.
        BackendMissingError: spandrel is not installed.
    """
    if weights_path is None:
        raise WeightsError(
            "community needs a checkpoint; give the path of a .safetensors or .pth file"
        )
    return Checkpoint(weights_path)


def _loaded(path: Path) -> Any:
    if path.suffix.lower() not in _ENDINGS:
        raise WeightsError(f"{path} is neither .safetensors nor .pth; convert it to safetensors")
    try:
        import spandrel
    except ImportError:
        raise BackendMissingError(
            "community checkpoints need spandrel; install it with: pip install spandrel"
        ) from None
    try:
        model = spandrel.ModelLoader("cpu").load_from_file(path)
    except Exception as error:
        # spandrel and the readers below it raise without a common base.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"spandrel cannot load {path}: {reason}; see its list of architectures"
        ) from error
    shape = (model.purpose, model.input_channels, model.output_channels)
    if shape[0] not in ("SR", "Restoration") or shape[1:] != (3, 3):
        raise WeightsError(
            f"{path} is a {shape[0]} model from {shape[1]} to {shape[2]} channels; give one that restores RGB"
        )
    return model.eval()


def _card_of(model: Any, path: Path) -> RestorerCard:
    whole = model.tiling.name != "SUPPORTED"
    return CARD.model_copy(
        update={
            "title": f"{model.architecture.name} from {path.name}",
            "treats": tuple(Kind) if model.purpose == "Restoration" else (Kind.LOW_RESOLUTION,),
            "scale": model.scale,
            "multiple": model.size_requirements.multiple_of,
            "min_side": max(1, model.size_requirements.minimum),
            "tile": None if whole else CARD.tile,
        }
    )
