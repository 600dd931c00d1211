"""Which part of a large picture a metric looks at.

Up to `PIXEL_LIMIT` a metric sees the whole picture. Above it, six native-resolution crops stand for the picture:
their cost is bounded, and resizing instead would hide noise, JPEG blocks and fine rain. The places depend on the size
alone, so a picture before and after treatment is judged on the same crops.
"""

from __future__ import annotations

__all__ = ["CROP_SIDE", "PIXEL_LIMIT", "Box", "crops_of", "rows_of"]

PIXEL_LIMIT = 1_250_000
CROP_SIDE = 448

Box = tuple[int, int, int, int]
"""Top, left, height, width."""


def crops_of(height: int, width: int) -> tuple[Box, ...]:
    """The crops that stand for a picture, in reading order; one box of everything up to the limit."""
    if height * width <= PIXEL_LIMIT:
        return ((0, 0, height, width),)
    rows, columns = (2, 3) if width >= height else (3, 2)
    if min(height, width) < 2 * CROP_SIDE:
        rows, columns = (1, 6) if width >= height else (6, 1)
    return tuple(
        (top, left, min(CROP_SIDE, height), min(CROP_SIDE, width))
        for top in _starts(height, rows)
        for left in _starts(width, columns)
    )


def rows_of(height: int, width: int) -> tuple[Box, ...]:
    """Bands of full rows that tile the whole picture, each of at most the pixel limit."""
    step = max(1, PIXEL_LIMIT // width)
    return tuple((top, 0, min(step, height - top), width) for top in range(0, height, step))


def _starts(length: int, count: int) -> tuple[int, ...]:
    """Left ends of `count` crops, each in the middle of its share; on multiples of 16, PIQE's block."""
    side = min(CROP_SIDE, length)
    centres = ((2 * i + 1) * length / (2 * count) for i in range(count))
    return tuple(min(max(0, round((c - side / 2) / 16) * 16), length - side) for c in centres)
