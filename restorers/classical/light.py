"""Low light: a tone curve that gives back the lost stops, and local contrast on top of it.

The tools act on HSV value and scale the three channels alike, so that hue and saturation stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conservator.restorers.classical import cards
from conservator.restorers.classical.filters import Pixels, as_pixels
from conservator.restorers.classical.tool import ClassicalTool, Shared, sample
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["Clahe", "Gamma"]

Curve = Literal["gamma", "shift", "exposure"]

_MID_GREY: Final = 0.45
"""sRGB value at which the vocabulary's stops are measured."""

_CELLS: Final = 8
_BINS: Final = 256


def _curve_of(image: Tensor, stops: float) -> Curve:
    """Tell from the highlights how the light was lost.

    A gamma leaves white white, a shift of the value lowers it by what mid-grey lost, less exposure by about the stops. A
    photo without white is ambiguous, and the shift lies between the others: taking it costs least when it is wrong.
    """
    white = float(np.quantile(sample(image).max(2), 0.999))
    exposed = float(_encoded(_dimming(stops)))
    if 2**-stops - 0.02 < white < exposed + 0.02:
        return "exposure"
    shifted = 1 - _MID_GREY * (1 - 2**-stops)
    return "gamma" if white > (1 + shifted) / 2 else "shift"


def _brightened(pixels: Pixels, stops: float, curve: Curve) -> Pixels:
    if curve == "exposure":
        return _encoded(_linear(pixels) / _dimming(stops))
    value = pixels.max(2)
    if curve == "gamma":
        brighter = value ** np.float32(1 / (1 + stops / np.log2(1 / _MID_GREY)))
    else:
        brighter = value + np.float32(_MID_GREY * (1 - 2**-stops))
    return _with_value(pixels, value, brighter)


def _dimming(stops: float) -> Pixels:
    """Factor on linear light that takes `stops` from encoded mid-grey."""
    return _linear(as_pixels(_MID_GREY * 2**-stops)) / _linear(as_pixels(_MID_GREY))


def _with_value(pixels: Pixels, value: Pixels, wanted: Pixels) -> Pixels:
    return as_pixels(pixels * (np.minimum(wanted, 1) / np.maximum(value, 1e-4))[..., None])


def _linear(x: Pixels) -> Pixels:
    return as_pixels(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4))


def _encoded(x: Pixels) -> Pixels:
    x = np.clip(x, 0, 1)
    return as_pixels(np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055))


class Gamma(ClassicalTool):
    """The inverse of a gamma, of a shift or of less exposure, by the asked stops.

    Kodak24 (every fourth, 384 px) at 0.8 stops: 16.5 to 49.4 dB (gamma), 15.5 to 31.7 (shift), 13.9 to 31.8 (range),
    14.2 to 48.0 (exposure). A photo that never had white gains less: chelsea by 2 dB where its curve is mistaken.

    The choice depends on the stops, so that a little more of them may come out darker. Whoever tunes them asks for one curve:
    the configurations `gamma`, `shift` and `exposure`.
    """

    card = cards.GAMMA
    kind = Kind.LOW_LIGHT

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """Choose the curve, unless the configuration names one."""
        named: dict[str, Curve] = {"gamma": "gamma", "shift": "shift", "exposure": "exposure"}
        curve = named.get(self.configuration) or _curve_of(image, strength)
        return Shared(strength, severity, {"curve": curve, "configuration": curve}, curve)

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Apply the curve."""
        return _brightened(pixels, shared.strength, shared.data)


@dataclass(frozen=True)
class _LocalCurves:
    """Tone curves on a grid of cells over the image, and which part of it is meant.

    Attributes:
        curves: (rows, columns, bins + 1), value out for value in [0, 1].
        size: height and width of the image.
        corner: top and left of the part.
        curve: how the light was lost.
    """

    curves: NDArray[np.float32]
    size: tuple[int, int]
    corner: tuple[int, int]
    curve: Curve


@dataclass(frozen=True)
class _LocalShared(Shared):
    def crop(self, top: int, left: int, height: int, width: int) -> Shared:
        """The same with the part's corner."""
        if self.data is None:
            return self
        data: _LocalCurves = self.data
        part = _LocalCurves(data.curves, data.size, (top, left), data.curve)
        return Shared(self.strength, self.severity, self.facts, part)


class Clahe(ClassicalTool):
    """`Gamma`, then contrast-limited adaptive histogram equalisation at part strength.

    Own CLAHE: OpenCV's clip limit has no effect on 16 bits, and 8 bits would band what a raw converter delivers.
    """

    card = cards.CLAHE
    kind = Kind.LOW_LIGHT

    def measure(self, image: Tensor, strength: float, severity: float) -> Shared:
        """Equalise the histogram of the brightened value in 8x8 cells, clipped at twice the mean."""
        curve = _curve_of(image, strength)
        value = torch.from_numpy(_brightened(sample(image), strength, curve).max(2)).clamp(0, 1)
        curves = np.empty((_CELLS, _CELLS, _BINS + 1), np.float32)
        for i, band in enumerate(torch.tensor_split(value, _CELLS, 0)):
            for j, cell in enumerate(torch.tensor_split(band, _CELLS, 1)):
                curves[i, j] = _equalising_curve(cell if cell.numel() else value)
        data = _LocalCurves(curves, (image.shape[-2], image.shape[-1]), (0, 0), curve)
        return _LocalShared(strength, severity, {"curve": curve}, data)

    def treat(self, pixels: Pixels, shared: Shared) -> Pixels:
        """Brighten, then go part of the way to the equalised value."""
        data: _LocalCurves = shared.data
        bright = np.clip(_brightened(pixels, shared.strength, data.curve), 0, 1)
        value = bright.max(2)
        equalised = _equalised(value, data)
        return _with_value(bright, value, value + 0.5 * shared.severity * (equalised - value))


def _equalising_curve(values: Tensor, clip: float = 2.0) -> NDArray[np.float32]:
    counts = torch.histc(values, _BINS, 0, 1).double().numpy()
    share = counts / max(counts.sum(), 1)
    over = np.maximum(share - clip / _BINS, 0).sum()
    share = np.minimum(share, clip / _BINS) + over / _BINS
    return np.concatenate([[0.0], np.cumsum(share)]).astype(np.float32)


def _equalised(value: Pixels, data: _LocalCurves) -> Pixels:
    """Bilinear between the curves of the four nearest cells, linear between bins."""
    (row, row_next, down), (column, column_next, right) = (
        _between_cells(data.corner[axis], value.shape[axis], data.size[axis]) for axis in (0, 1)
    )
    position = value * _BINS
    bin_ = np.minimum(position.astype(np.int32), _BINS - 1)
    rest = position - bin_
    result = np.zeros_like(value)
    for rows, down_share in ((row, 1 - down), (row_next, down)):
        for columns, right_share in ((column, 1 - right), (column_next, right)):
            at = (rows[:, None], columns[None, :])
            low, high = data.curves[(*at, bin_)], data.curves[(*at, bin_ + 1)]
            result += (low + rest * (high - low)) * down_share[:, None] * right_share[None, :]
    return result


def _between_cells(
    start: int, length: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    centre = (np.arange(start, start + length) + 0.5) / size * _CELLS - 0.5
    first = np.clip(np.floor(centre), 0, _CELLS - 1).astype(np.int64)
    share = np.clip(centre - first, 0, 1).astype(np.float32)
    return first, np.minimum(first + 1, _CELLS - 1), share
