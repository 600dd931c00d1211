"""Runs the gain network on a pair of pictures of any size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from conservator.restorers.errors import UsageError, WeightsError
from conservator.restorers.weights import apply_weights, checksum, load_weights, metadata_of
from conservator.tools.gain import Gain
from conservator.tools.gain.network import GainNetwork, Look, differences
from conservator.tools.instruments import estimator
from conservator.tools.instruments.estimator.network import Estimator
from conservator.tools.instruments.estimator.predictor import crops_of, thumbnail_of

if TYPE_CHECKING:
    from conservator.tools.look import Pixels

__all__ = ["GainPredictor"]


class GainPredictor:
    """A loaded network with the estimator that looks for it."""

    def __init__(self, model: GainNetwork, eyes: Estimator) -> None:
        self.model = model.eval().requires_grad_(False)
        self.eyes = eyes

    @classmethod
    def from_weights(cls, path: Path) -> GainPredictor:
        """Read safetensors.

        Raises:
            WeightsError: missing, damaged, of another network, or trained with another estimator.
        """
        tensors = load_weights(path)
        middle = tensors.get("middle")
        if middle is None:
            raise WeightsError(f"{path} is of another network; install again")
        if metadata_of(path).get("estimator_sha256") != checksum(estimator.WEIGHTS):
            raise WeightsError(f"{path} was trained with another estimator; train gain again")
        model = GainNetwork(len(middle))
        apply_weights(model, tensors)
        return cls(model, estimator.load().model)

    @torch.inference_mode()
    def estimate(self, before: Pixels, after: Pixels) -> Gain:
        """Compare two pictures (H, W, 3), float32, [0, 1].

        Raises:
            UsageError: shapes that differ.
        """
        if before.shape != after.shape:
            raise UsageError(
                f"a gain is estimated at the input's size: {before.shape} against {after.shape}"
            )
        reading = self.model(differences(self.eyes, _look(before), _look(after)))
        psnr, spread, ssim = (
            round(float(x), 4) for x in (reading.psnr, reading.spread, reading.ssim)
        )
        return Gain(psnr=psnr, spread=spread, ssim=ssim)


def _look(pixels: Pixels) -> Look:
    image = torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1)[None]
    return Look(crops_of(image), thumbnail_of(image))
