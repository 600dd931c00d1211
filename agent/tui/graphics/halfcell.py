"""Pictures out of half blocks: each cell shows two pixels, one as its foreground and one as its background."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["halfcell_strips"]

_BLOCK = "\N{UPPER HALF BLOCK}"


def halfcell_strips(picture: Image) -> list[Strip]:
    """One strip for every two rows of pixels.

    Args:
        picture: RGB, an even number of rows.
    """
    width, height = picture.size
    data = picture.tobytes()
    stride = 3 * width
    strips = []
    for top in range(0, height - 1, 2):
        upper = data[top * stride : (top + 1) * stride]
        lower = data[(top + 1) * stride : (top + 2) * stride]
        segments: list[Segment] = []
        run, last = 0, b""
        for x in range(0, stride, 3):
            pair = upper[x : x + 3] + lower[x : x + 3]
            if pair != last and run:
                segments.append(Segment(_BLOCK * run, _style(last)))
                run = 0
            last = pair
            run += 1
        if run:
            segments.append(Segment(_BLOCK * run, _style(last)))
        strips.append(Strip(segments, width))
    return strips


@lru_cache(maxsize=65536)
def _style(pair: bytes) -> Style:
    """Foreground from the first three bytes, background from the others."""
    upper, lower = (ColorTriplet(*pair[start : start + 3]) for start in (0, 3))
    return Style(color=Color.from_triplet(upper), bgcolor=Color.from_triplet(lower))
