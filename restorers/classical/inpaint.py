"""Masks: flat patches of one grey tone are found and filled from their rim (Telea 2004)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import Pixels
from conservator.restorers.classical.tool import ClassicalTool, Shared
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError

__all__ = ["Inpaint", "flat_mask"]

Mask = NDArray[np.bool_]

_LEAST_CONTRAST: Final = 0.08
_LEAST_AREA: Final = 6
_TONES_TRIED: Final = 4


@dataclass(frozen=True)
class _MaskShared(Shared):
    def crop(self, top: int, left: int, height: int, width: int) -> Shared:
        """The same with the part's mask."""
        if self.data is None:
            return self
        part = self.data[top : top + height, left : left + width]
        return Shared(self.strength, self.severity, self.facts, part)


class Inpaint(ClassicalTool):
    """Fills a mask, its own finding or a given one.

    The asked fraction bounds what is covered: patches are taken from the largest down, to twice the fraction.
    Kodak24 (every fourth, 384 px), black blocks on 2/10 %: from 23.8/17.0 to 33.7/27.4 dB.
    """

    card = cards.INPAINT
    kind = Kind.MASK

    def __init__(
        self,
        configuration: str = "compact",
        weights_path: Path | None = None,
        *,
        mask: Mask | None = None,
    ) -> None:
        """Take an explicit mask, (H, W), True where the picture is lost, in place of looking for one."""
        super().__init__(configuration, weights_path)
        self._mask = mask

    def estimate(self, image: Tensor) -> float:
        """The share of the picture that is covered."""
        return float(self._found(image, 1.0).mean())

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """Find the mask."""
        mask = self._found(image, 2 * strength)
        return _MaskShared(strength, severity, {"covered": round(float(mask.mean()), 5)}, mask)

    def _found(self, image: Tensor, most: float) -> Mask:
        if self._mask is None:
            return flat_mask(image, most)
        if self._mask.shape != tuple(image.shape[-2:]):
            raise UsageError(
                f"mask of {self._mask.shape} does not fit an image of {tuple(image.shape[-2:])}; give one of its size"
            )
        return self._mask

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Fill; what is not masked stays bit-identical."""
        mask: Mask = shared.data
        if not mask.any() or mask.all():
            return pixels
        holes = mask.astype(np.uint8)
        # Telea's march on floats works on the scale of bytes: at [0, 1] it rounds to black (OpenCV 5.0).
        channels = [
            cv2.inpaint(np.ascontiguousarray(pixels[..., c]) * 255, holes, 5, cv2.INPAINT_TELEA)
            / 255
            for c in range(3)
        ]
        return np.where(mask[..., None], np.stack(channels, -1), pixels)


def flat_mask(image: Tensor, most: float) -> Mask:
    """Find patches of one exact grey tone that stand out against their rim.

    Args:
        image: (1, 3, H, W), [0, 1].
        most: stop when this share of the picture is covered, largest patches first.

    Returns:
        (H, W), True inside.
    """
    tones = (image[0].amax(0) * 255).round().to(torch.uint8).numpy()
    grey = ((image[0].amax(0) - image[0].amin(0)) < 0.6 / 255).numpy()
    flat = grey & (_equal_neighbours(tones, grey) >= 2)
    # A clipped sky may be more frequent than the mask's tone: the tone with the most area that stands out wins.
    counts = np.bincount(tones[flat], minlength=256)
    frequent = [int(tone) for tone in np.argsort(-counts)[:_TONES_TRIED] if counts[tone] > 0]
    masks = [_standing_out(image, flat & (tones == tone), tone, most) for tone in frequent]
    return max(masks, key=lambda mask: int(mask.sum()), default=flat)


def _standing_out(image: Tensor, patches: Mask, tone: int, most: float) -> Mask:
    """The patches that contrast with their rim, largest first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        patches.astype(np.uint8), connectivity=8
    )
    area = stats[:, cv2.CC_STAT_AREA]
    contrast = _rim_contrast(image, patches, np.asarray(labels, np.int32), count, tone)
    wanted = (contrast > _LEAST_CONTRAST) & (area >= _LEAST_AREA)
    wanted[0] = False
    order = np.argsort(-area * wanted)
    covered = np.cumsum(area[order]) - area[order]
    kept = np.zeros(count, bool)
    kept[order] = wanted[order] & (covered < most * patches.size)
    return np.asarray(kept[labels])


def _equal_neighbours(tones: NDArray[np.uint8], grey: Mask) -> NDArray[np.uint8]:
    """How many of the eight neighbours are grey and have the same tone."""
    padded = np.pad(np.where(grey, tones, 0), 1, mode="edge")
    known = np.pad(grey, 1, constant_values=False)
    height, width = tones.shape
    equal = np.zeros(tones.shape, np.uint8)
    for down in range(3):
        for across in range(3):
            if (down, across) != (1, 1):
                at = (slice(down, down + height), slice(across, across + width))
                equal += known[at] & (padded[at] == tones)
    return equal


def _rim_contrast(
    image: Tensor, patches: Mask, labels: NDArray[np.int32], count: int, tone: int
) -> NDArray[np.float64]:
    """Mean difference between a patch's tone and the pixels around it, one a label.

    A clipped sky or shadow fades into its surroundings; a patch laid over the picture does not.
    """
    element = np.ones((3, 3), np.uint8)
    spread = cv2.dilate(labels.astype(np.float32), element)
    rim = (spread > 0) & ~patches
    around = image[0].numpy()[:, rim]
    difference = np.abs(around - tone / 255).max(0)
    owner = spread[rim].astype(np.int64)
    total = np.bincount(owner, difference, count)
    return total / np.maximum(np.bincount(owner, minlength=count), 1)
