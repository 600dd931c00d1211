"""How an image is cut into tiles that overlap, and with which weights they are put together again.

The two axes are independent, and along each the weights of all tiles sum to exactly one at every pixel: a ramp is
quantised to multiples of 1/4096 and its counterpart is one minus it, so that products of two weights are exact in
float32 too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Span", "Tile", "cut", "spans"]

_STEPS = 4096


@dataclass(frozen=True)
class Span:
    """One tile along one axis.

    Attributes:
        start: first px in the input.
        length: px in the input, padding included: the last tile may reach over the image's end.
        weights: (length * scale,), float32, [0, 1], one value a px of the output.
    """

    start: int
    length: int
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """One tile: a span along each axis."""

    rows: Span
    columns: Span


def spans(
    size: int,
    *,
    tile: int | None,
    overlap: int,
    multiple: int = 1,
    min_side: int = 1,
    scale: int = 1,
    exact: bool = False,
) -> list[Span]:
    """Cut one axis into equal tiles, as few as the largest tile allows.

    The outer quarters of each overlap only give context; the cosine ramp lies in the middle half. So whatever looks no
    further than a quarter of the overlap gives the same result as without tiles.

    Args:
        size: px of the image along the axis.
        tile: largest tile in px; None for one tile over everything.
        overlap: least px shared by neighbours; cut to half a tile.
        multiple: starts and lengths are multiples of this.
        min_side: least length.
        scale: output px / input px.
        exact: every tile is as large as `tile`, even where smaller ones would do, for networks of one size.
    """
    length = _up(max(size, min_side), multiple)
    if tile is None or length <= max(tile, min_side):
        return [Span(0, length, np.ones(length * scale, np.float32))]
    side = max(tile // multiple * multiple, _up(min_side, multiple), multiple)
    overlap = min(overlap, side // 2)
    count = max(2, -(-(length - overlap) // max(side - overlap, 1)))
    if not exact:
        side = _up(-(-(length + (count - 1) * overlap) // count), multiple)
    stride = _up(-(-(length - side) // (count - 1)), multiple)
    starts = [min(i * stride, length - side) for i in range(count)]
    centres = [(starts[i] + side + starts[i + 1]) / 2 for i in range(count - 1)]
    # A ramp may not reach into the next seam's, or three tiles would share a px.
    room = min((b - a for a, b in pairwise(centres)), default=float(side))
    result = []
    for i, start in enumerate(starts):
        weights = np.ones(side * scale, np.float32)
        if i > 0:
            shared = starts[i - 1] + side - start
            weights *= _ramp(start, side, centres[i - 1], min(shared / 2, room), scale)
        if i < count - 1:
            shared = start + side - starts[i + 1]
            weights *= 1 - _ramp(start, side, centres[i], min(shared / 2, room), scale)
        result.append(Span(start, side, weights))
    return result


def cut(rows: list[Span], columns: list[Span]) -> Iterator[Tile]:
    """The tiles, row by row."""
    for row in rows:
        for column in columns:
            yield Tile(row, column)


def _ramp(start: int, side: int, centre: float, width: float, scale: int) -> NDArray[np.float32]:
    """Rise from 0 to 1 over `width` px around `centre`, both in px of the input."""
    at = start + (np.arange(side * scale) + 0.5) / scale
    position = np.clip((at - centre) / max(width, 1e-6) + 0.5, 0, 1)
    rise = np.round((0.5 - 0.5 * np.cos(np.pi * position)) * _STEPS) / _STEPS
    return rise.astype(np.float32)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
