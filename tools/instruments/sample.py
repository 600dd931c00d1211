"""What the instruments look at: native-resolution crops and a thumbnail, so that cost does not grow with the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from conservator.restorers.errors import UsageError

__all__ = ["CROP_SIDE", "FloatArray", "Readings", "Sample", "luma_of", "sample_of"]

FloatArray: TypeAlias = NDArray[np.float32]
Readings: TypeAlias = dict[str, float]
"""Named numbers read off a sample; every module of this package documents its own."""

PIXEL_LIMIT = 420_000
CROP_SIDE = 240
THUMBNAIL_SIDE = 192


@dataclass(frozen=True, eq=False)
class Sample:
    """The parts of a photo that are measured.

    Attributes:
        crops: (h, w, 3), float32, [0, 1], RGB, at native resolution.
        corners: top and left of each crop in the photo, multiples of 8.
        lumas: (h, w), float32, 0-255, JFIF luma of each crop.
        lows: (h, w), float32, 0-255, smallest of the three colours.
        highs: (h, w), float32, 0-255, largest of the three colours.
        thumbnail: (h, w, 3), float32, [0, 1], the whole photo averaged down to at most 192 px a side.
        size: height and width of the photo.
    """

    crops: tuple[FloatArray, ...]
    corners: tuple[tuple[int, int], ...]
    lumas: tuple[FloatArray, ...]
    lows: tuple[FloatArray, ...]
    highs: tuple[FloatArray, ...]
    thumbnail: FloatArray
    size: tuple[int, int]


def luma_of(image: FloatArray) -> FloatArray:
    """JFIF luma, (h, w), 0-255, of (h, w, 3) in [0, 1]; unrounded."""
    weights = np.array([0.299, 0.587, 0.114], np.float32) * 255
    return np.asarray(image @ weights, dtype=np.float32)


def sample_of(image: FloatArray) -> Sample:
    """Choose what to measure: the whole photo up to 0.42 megapixels, else six crops spread over it.

    Args:
        image: (H, W, 3), float32, [0, 1], RGB.

    Raises:
        UsageError: not such an array.
    """
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UsageError(f"a photo to measure must be an (H, W, 3) array, not {image.shape}")
    if not np.issubdtype(image.dtype, np.floating):
        raise UsageError(f"a photo to measure must be float in [0, 1], not {image.dtype}")
    height, width = image.shape[:2]
    corners = [(0, 0)]
    h, w = height, width
    if height * width > PIXEL_LIMIT:
        h, w = min(CROP_SIDE, height), min(CROP_SIDE, width)
        rows, columns = (2, 3) if width >= height else (3, 2)
        if min(height, width) < 2 * CROP_SIDE:
            rows, columns = (1, 6) if width >= height else (6, 1)
        corners = [(y, x) for y in _starts(height, rows) for x in _starts(width, columns)]
    crops = tuple(
        np.ascontiguousarray(image[y : y + h, x : x + w], dtype=np.float32) for y, x in corners
    )
    # One pixel in every few is enough for a mean over a thumbnail's pixel.
    stride = max(1, max(height, width) // (4 * THUMBNAIL_SIDE))
    sparse = np.ascontiguousarray(image[::stride, ::stride], dtype=np.float32)
    scale = min(1.0, THUMBNAIL_SIDE / max(sparse.shape[:2]))
    small = (max(1, round(sparse.shape[1] * scale)), max(1, round(sparse.shape[0] * scale)))
    thumbnail = cv2.resize(sparse, small, interpolation=cv2.INTER_AREA)
    channels = [cv2.split(crop * np.float32(255)) for crop in crops]
    return Sample(
        crops=crops,
        corners=tuple(corners),
        lumas=tuple(map(luma_of, crops)),
        lows=tuple(np.asarray(cv2.min(cv2.min(r, g), b)) for r, g, b in channels),
        highs=tuple(np.asarray(cv2.max(cv2.max(r, g), b)) for r, g, b in channels),
        thumbnail=np.asarray(thumbnail),
        size=(height, width),
    )


def _starts(length: int, count: int) -> list[int]:
    """Starts of `count` crops in the middle of equal shares, on the 8-px grid of JPEG."""
    side = min(CROP_SIDE, length)
    centres = ((2 * i + 1) * length / (2 * count) for i in range(count))
    return [int(min(max(0.0, c - side / 2), length - side)) // 8 * 8 for c in centres]
