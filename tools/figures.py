"""Figures of what restorers do, drawn with Pillow: MoFE-IR's experts and routing, SPIRE's answers to the numbers it is given."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conservator.tools.look import overview

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from conservator.restorers.mofe_ir.explain import Experts, Routing
    from conservator.restorers.spire.explain import Strengths

__all__ = ["experts_figure", "heat", "routing_figure", "strengths_figure"]

_PANEL = 240
_PLOT = 420
_MARGIN = 14
_LINE = 18
_COLUMNS = 5
_PAPER, _INK, _QUIET = (250, 249, 246), (40, 40, 40), (200, 198, 192)
_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], float)
"""Black, violet, red, orange, pale yellow: matplotlib's inferno at five places."""


def heat(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Numbers in [0, 1] as colours, (..., 3), dark to light."""
    at = np.clip(values, 0, 1) * (len(_HEAT) - 1)
    places = np.arange(len(_HEAT))
    channels = [np.interp(at, places, _HEAT[:, i]) for i in range(3)]
    coloured: npt.NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return coloured


def experts_figure(found: Experts, title: str = "") -> Image:
    """The degraded and the restored picture, then a map of what each expert changes, all on one scale."""
    from PIL import Image as module
    from PIL import ImageDraw, ImageFont

    maps = found.maps.double().numpy()
    # The brightest pixel of all would leave the rest dark.
    scale = max(float(np.quantile(maps, 0.995)), 1e-6)
    panels = [
        ("degraded", _fitted(found.degraded[0].permute(1, 2, 0).numpy())),
        ("restored", _fitted(found.restored[0].permute(1, 2, 0).numpy())),
    ]
    for i, (weight, one) in enumerate(zip(found.weights, maps, strict=True)):
        coloured = np.asarray(heat(one / scale) / 255, np.float32)
        panels.append((f"expert {i + 1}: weight {weight:.2f}", _fitted(coloured)))
    height = max(panel.height for _, panel in panels)
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    cell = (_PANEL + _MARGIN, _LINE + height + _MARGIN)
    size = (columns * cell[0] + _MARGIN, _MARGIN + 2 * _LINE + rows * cell[1] + _LINE)
    page = module.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=ImageFont.load_default(size=15))
    for i, (label, panel) in enumerate(panels):
        x = _MARGIN + (i % columns) * cell[0]
        y = _MARGIN + 2 * _LINE + (i // columns) * cell[1]
        draw.text((x, y), label, fill=_INK, font=font)
        page.paste(panel, (x, y + _LINE))
    note = f"maps: change when the expert is taken away, black 0 to pale {255 * scale:.2g} of 255"
    draw.text((_MARGIN, size[1] - _MARGIN - _LINE), note, fill=_INK, font=font)
    return page


def routing_figure(found: Routing, groups: Sequence[str]) -> Image:
    """The guide's embeddings and the routing vectors of the same pictures, each along its two main directions.

    Args:
        found: of P pictures.
        groups: a name each, which chooses the colour.
    """
    from PIL import Image as module
    from PIL import ImageDraw, ImageFont

    from conservator.restorers.mofe_ir.explain import projected

    names = list(dict.fromkeys(groups))
    colours = {name: _colour(i, len(names)) for i, name in enumerate(names)}
    legend = -(-len(names) // 4) * _LINE
    size = (2 * _PLOT + 3 * _MARGIN, 2 * _MARGIN + _LINE + _PLOT + _MARGIN + 2 * _LINE + legend)
    page = module.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    plots = (("guide's embeddings (E_Answer)", found.answers), ("routing vectors", found.weights))
    for i, (label, vectors) in enumerate(plots):
        left, top = _MARGIN + i * (_PLOT + _MARGIN), _MARGIN + _LINE
        draw.text((left, _MARGIN), label, fill=_INK, font=font)
        draw.rectangle((left, top, left + _PLOT, top + _PLOT), outline=_QUIET)
        _dots(draw, projected(vectors), [colours[name] for name in groups], left, top)
    y = 2 * _MARGIN + _LINE + _PLOT
    words = (
        f"{len(groups)} pictures; similarities differ by {found.difference:.3f} (Eq. 7), "
        f"correlation {found.correlation:.2f}"
    )
    draw.text((_MARGIN, y), words, fill=_INK, font=font)
    for i, name in enumerate(names):
        x, line = _MARGIN + (i % 4) * (size[0] // 4), y + (1 + i // 4) * _LINE + 6
        draw.ellipse((x, line + 3, x + 9, line + 12), fill=colours[name])
        draw.text((x + 14, line), name[:24], fill=_INK, font=font)
    return page


def strengths_figure(found: Strengths, title: str = "") -> Image:
    """The degraded picture, and behind it one restoration a pair of strengths: deblurring downwards, denoising to the right."""
    from PIL import Image as module
    from PIL import ImageDraw, ImageFont

    cells = [[_fitted(cell.permute(1, 2, 0).numpy()) for cell in row] for row in found.restored]
    first = _fitted(found.degraded[0].permute(1, 2, 0).numpy())
    step = (first.width + _MARGIN, first.height + _LINE + _MARGIN)
    columns, rows = len(found.denoise) + 1, len(found.deblur)
    size = (columns * step[0] + _MARGIN, 3 * _MARGIN + _LINE + rows * step[1])
    page = module.new("RGB", size, _PAPER)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    draw.text((_MARGIN, _MARGIN), title, fill=_INK, font=ImageFont.load_default(size=15))
    top = 2 * _MARGIN + _LINE
    draw.text((_MARGIN, top), "degraded", fill=_INK, font=font)
    page.paste(first, (_MARGIN, top + _LINE))
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            x, y = _MARGIN + (j + 1) * step[0], top + i * step[1]
            label = f"deblur {found.deblur[i]:g}, denoise {found.denoise[j]:g}"
            draw.text((x, y), label, fill=_INK, font=font)
            page.paste(cell, (x, y + _LINE))
    return page


def _dots(
    draw: ImageDraw,
    points: npt.NDArray[np.float64],
    colours: Sequence[tuple[int, int, int]],
    left: int,
    top: int,
) -> None:
    """Points on a square, both axes on one scale."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = max(float((high - low).max()), 1e-9)
    room = _PLOT - 4 * _MARGIN
    for point, colour in zip(points, colours, strict=True):
        x, y = (point - (low + high) / 2) / span * room + _PLOT / 2
        x, y = left + float(x), top + _PLOT - float(y)
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=_PAPER)


def _fitted(image: npt.NDArray[np.float32]) -> Image:
    from PIL import Image as module

    small = overview(np.ascontiguousarray(image, np.float32), _PANEL)
    return module.fromarray(np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8))


def _colour(i: int, count: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(i / max(1, count), 0.75, 0.5 + 0.3 * (i % 2))
    return round(255 * red), round(255 * green), round(255 * blue)
