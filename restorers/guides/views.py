"""Where to look: native-resolution crops picked where each kind of degradation tells most.

Resizing a photo hides noise, JPEG blocks and fine rain, so whoever judges one (a person, a vision-language model, a guide)
gets a small overview for the scene and a few crops at native resolution for the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["COMPACT", "FULL", "Crop", "Pixels", "Views", "crops", "overview", "seen"]

Pixels = npt.NDArray[np.float32]
"""(H, W, 3), float32, [0, 1], RGB (sRGB-encoded)."""

_CELL = 16
_ANALYSED_SIDE = 1600


@dataclass(frozen=True)
class Views:
    """Which pictures of a photo a guide sees.

    Attributes:
        overview_side: longest side of the whole photo, px.
        crop_side: side of the crops at native resolution, px.
        crops: how many of them at most.
    """

    overview_side: int
    crop_side: int
    crops: int


COMPACT = Views(overview_side=128, crop_side=128, crops=4)
"""For the embedded model, which takes views of one attention window."""
FULL = Views(overview_side=768, crop_side=224, crops=4)
"""For models of billions of parameters."""


@dataclass(frozen=True)
class Crop:
    """A square of a photo, in its own pixels.

    Attributes:
        reason: what it shows best: `smooth`, `edges`, `dark`, `bright` or `centre`.
        side: asked side; `width` and `height` are smaller on a photo smaller than that.
    """

    top: int
    left: int
    side: int
    width: int
    height: int
    reason: str

    def of(self, image: Pixels) -> Pixels:
        """The pixels, as a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def overview(image: Pixels, side: int = 512) -> Pixels:
    """The whole photo with a long side of at most `side` px, area-averaged."""
    import cv2

    factor = side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)


def crops(image: Pixels, count: int = 4, side: int = 224) -> tuple[Crop, ...]:
    """Up to `count` crops that hardly overlap: smooth (noise, blocks), edges (blur, ringing), dark, bright (haze).

    Args:
        image: (H, W, 3), float32, [0, 1], RGB.
        count: crops wanted; fewer come back when the photo is too small for that many.
        side: side in px.
    """
    height, width = image.shape[:2]
    if min(height, width) <= side:
        crop = _at((height - side) // 2, (width - side) // 2, side, height, width, "centre")
        return (crop,) if count > 0 else ()
    wishes = _wishes(image, side)
    chosen: list[Crop] = []
    for reason, (merit, step) in wishes.items():
        if len(chosen) >= count:
            break
        order = np.argsort(merit, axis=None)[::-1]
        for flat in order[:400]:
            row, column = np.unravel_index(int(flat), merit.shape)
            crop = _at(int(row) * step, int(column) * step, side, height, width, reason)
            if all(_overlap(crop, other) < 0.2 for other in chosen):
                chosen.append(crop)
                break
    return tuple(chosen)


def seen(image: Pixels, views: Views) -> list[npt.NDArray[np.uint8]]:
    """The overview, then the crops, each (h, w, 3) with the 256 values of files."""
    places = crops(image, views.crops, views.crop_side)
    parts = [overview(image, views.overview_side), *(place.of(image) for place in places)]
    return [np.rint(np.clip(part, 0, 1) * 255).astype(np.uint8) for part in parts]


def _wishes(image: Pixels, side: int) -> dict[str, tuple[npt.NDArray[np.float32], int]]:
    """For each reason a map of merit over window positions, and its step in px."""
    import cv2

    height, width = image.shape[:2]
    cell = _CELL * max(1, round(max(height, width) / _ANALYSED_SIDE))
    rows, columns = height // cell, width // cell
    luma = image[: rows * cell, : columns * cell] @ np.array([0.299, 0.587, 0.114], np.float32)
    tiles = luma.reshape(rows, cell, columns, cell)
    mean = tiles.mean(axis=(1, 3))
    deviation = tiles.std(axis=(1, 3))
    window = max(1, side // cell)

    def over(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        summed = cv2.boxFilter(
            np.ascontiguousarray(x, np.float32), -1, (window, window), anchor=(0, 0)
        )
        return np.asarray(summed, np.float32)[: rows - window + 1, : columns - window + 1]

    light = over(mean)
    contrast = over(deviation)
    # Clipped areas show no noise; the middle greys do.
    exposed = over(((mean > 0.08) & (mean < 0.92)).astype(np.float32))
    return {
        "smooth": (exposed - 8 * contrast, cell),
        "edges": (contrast, cell),
        "dark": (-light, cell),
        "bright": (light - contrast, cell),
    }


def _at(top: int, left: int, side: int, height: int, width: int, reason: str) -> Crop:
    top = max(0, min(top, height - side))
    left = max(0, min(left, width - side))
    return Crop(top, left, side, min(side, width), min(side, height), reason)


def _overlap(a: Crop, b: Crop) -> float:
    down = min(a.top + a.height, b.top + b.height) - max(a.top, b.top)
    across = min(a.left + a.width, b.left + b.width) - max(a.left, b.left)
    return max(0, down) * max(0, across) / (a.width * a.height)
