"""Runs the estimator on a photo of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from conservator.restorers.degradations.synthesis import downsample
from conservator.restorers.degradations.vocabulary import PARAMETERS, Finding, Kind, value_at
from conservator.restorers.weights import apply_weights, load_weights
from conservator.tools.instruments.estimator.network import CROP, THUMBNAIL, Estimator, knowledge
from conservator.tools.instruments.learned import LearnedEstimate

__all__ = ["Predictor", "crops_of", "thumbnail_of"]

JUDGED = frozenset(Kind)
"""Kinds it reads well enough to be heard: F1 of presence 0.6 and more on held-out photos, see MODEL_CARD.md."""
PRESENT: dict[Kind, float] = {Kind.LOW_LIGHT: 0.3}
"""Probability from which a kind counts as present, a half where it is not named; see `tools.instruments.classical.PRESENT`."""
CROPS_A_SIDE = 4
"""At most this many crops along each side of a photo."""


def _starts(length: int) -> list[int]:
    """Evenly spread crop origins, multiples of 8 so that a JPEG grid keeps its phase."""
    count = min(CROPS_A_SIDE, -(-length // CROP))
    if count == 1:
        return [0]
    return [round(i * (length - CROP) / (count - 1)) // 8 * 8 for i in range(count)]


def crops_of(image: Tensor) -> Tensor:
    """Native-resolution crops (1, N, 3, h, w) of (1, 3, H, W); sides multiples of 4, at least 16 px by mirroring."""
    h, w = image.shape[-2:]
    side_h, side_w = min(h, CROP) // 4 * 4, min(w, CROP) // 4 * 4
    if min(h, w) < 16:
        rows = torch.arange(max(16, side_h)) % (2 * h)
        columns = torch.arange(max(16, side_w)) % (2 * w)
        rows, columns = (
            torch.minimum(rows, 2 * h - 1 - rows),
            torch.minimum(columns, 2 * w - 1 - columns),
        )
        return image[:, :, rows][..., columns][:, None]
    cut = [
        image[..., top : top + side_h, left : left + side_w]
        for top in _starts(h)
        for left in _starts(w)
    ]
    return torch.stack(cut, dim=1)


def thumbnail_of(image: Tensor) -> Tensor:
    """(1, 3, THUMBNAIL, THUMBNAIL) of (1, 3, H, W), antialiased."""
    size = (THUMBNAIL, THUMBNAIL)
    if image.shape[-2] == image.shape[-1]:
        return downsample(image, image.shape[-1] / THUMBNAIL, "bilinear")
    return torch.nn.functional.interpolate(
        image, size=size, mode="bilinear", antialias=True, align_corners=False
    ).clamp(0, 1)


class Predictor:
    """A loaded estimator."""

    def __init__(self, model: Estimator) -> None:
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @classmethod
    def from_weights(cls, path: Path) -> Predictor:
        """Read safetensors.

        Raises:
            WeightsError: damaged, or of another network.
        """
        model = Estimator()
        apply_weights(model, load_weights(path))
        return cls(model)

    @torch.inference_mode()
    def estimate(self, image: npt.NDArray[np.float32]) -> LearnedEstimate:
        """Judge (H, W, 3), float32, [0, 1], RGB, of any size."""
        x = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]
        return self.estimate_tensor(x)

    @torch.inference_mode()
    def estimate_tensor(self, image: Tensor) -> LearnedEstimate:
        """Judge (1, 3, H, W), [0, 1]."""
        features = self.model.features(crops_of(image), thumbnail_of(image))
        reading = self.model.read(features)
        presence = reading.presence[0].sigmoid().tolist()
        findings = {}
        for i, kind in enumerate(Kind):
            if kind not in JUDGED:
                continue
            present = presence[i] >= PRESENT.get(kind, 0.5)
            # An absent kind is written at its identity, whatever the regression leaves as a rest.
            value = (
                value_at(kind, float(reading.severity[0, i]))
                if present
                else PARAMETERS[kind].identity
            )
            confidence = presence[i] if present else 1 - presence[i]
            findings[kind] = Finding(
                kind=kind, value=value, confidence=confidence, source="instrument"
            )
        return LearnedEstimate(
            findings=findings,
            quality=float(reading.quality[0]),
            seen=knowledge(features, reading)[0].numpy(),
        )
