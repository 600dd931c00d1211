"""A result beside its input: the guards that bound how far a treatment may go, and the before/after sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from conservator.restorers.errors import OutputError, UsageError
from conservator.tools.look import Crop, Pixels, overview

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Guards", "compare", "png", "sheet"]

_STRUCTURE_SIDE = 128
_LEAST_STRUCTURE_SIDE = 40
_LOWPASS_SIDE = 48
_WINDOW = 5
_STRIP_ROWS = 512


class Guards(BaseModel):
    """How far a result lies from its input.

    Attributes:
        structure: agreement of local structure at a long side of at most 128 px, [0, 1]; blind to fine noise and, because
            each window is normalised, to brightness and contrast. 1 for the same scene.
        colour: mean shift of chromaticity r/(r+g+b), g/(r+g+b) in linear light, weighted by brightness, [0, 1];
            blind to exposure.
        lowpass: mean absolute difference at a long side of 48 px, sRGB-encoded, [0, 1]; sees what a viewer sees from
            afar, exposure included.
        residual: RMS difference at full resolution, of 255.
        ssim: structural similarity of luma over every pixel at full resolution, at most 1; None where nobody asked for it.
    """

    model_config = ConfigDict(frozen=True)

    structure: float
    colour: float
    lowpass: float
    residual: float
    ssim: float | None = None

    @property
    def fidelity(self) -> float:
        """Another word for `structure`, as targets use it."""
        return self.structure

    def as_numbers(self) -> dict[str, float]:
        """The quantities by name, as far as they were measured."""
        return {
            name: float(value) for name, value in self.model_dump().items() if value is not None
        }


def compare(before: Pixels, after: Pixels, *, ssim: bool = False) -> Guards:
    """Measure how far `after` lies from `before`.

    Args:
        before: (H, W, 3), float32, [0, 1], RGB (sRGB-encoded).
        after: the same scene, at the same size or at a multiple of it.
        ssim: measure SSIM as well; it takes 0.2 s a megapixel.

    Raises:
        UsageError: an aspect ratio that differs by more than a pixel's rounding.
    """
    _check_same_shape(before, after)
    side = max(before.shape[:2])
    # Reduced at least fourfold where there is room: noise of sigma 45 then hardly counts as structure.
    grid = min(side, _STRUCTURE_SIDE, max(_LEAST_STRUCTURE_SIDE, side // 4))
    a, b = (_reduced(x, before.shape, grid) for x in (before, after))
    return Guards(
        structure=_structure(_luma(a), _luma(b)),
        colour=_colour(a, b),
        lowpass=float(
            np.abs(_shrunk(a, _LOWPASS_SIDE) - _shrunk(b, _LOWPASS_SIDE)).mean(dtype=np.float64)
        ),
        residual=_residual(before, after),
        ssim=_ssim(before, after) if ssim else None,
    )


def _check_same_shape(before: Pixels, after: Pixels) -> None:
    (h, w), (height, width) = before.shape[:2], after.shape[:2]
    if abs(height / h - width / w) > 1.5 / min(h, w) * max(1.0, height / h):
        raise UsageError(
            f"a result of {width}x{height} does not show the whole input of {w}x{h}; keep the aspect ratio"
        )


def _reduced(image: Pixels, shape: tuple[int, ...], side: int) -> Pixels:
    """The image on the grid that `shape` has at a long side of `side`."""
    height, width = shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return _resized(image, size)


def _shrunk(image: Pixels, side: int) -> Pixels:
    return _reduced(image, image.shape, min(side, max(image.shape[:2])))


def _resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = size[0] <= image.shape[1]
    return cv2.resize(
        image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    ).astype(np.float32, copy=False)


def _luma(image: Pixels) -> npt.NDArray[np.float32]:
    return (image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)).astype(np.float32)


def _structure(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """The structure term of SSIM (covariance over the product of deviations), weighted by the input's contrast."""
    import cv2

    def mean(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(
            cv2.blur(x, (_WINDOW, _WINDOW), borderType=cv2.BORDER_REFLECT), dtype=np.float32
        )

    mean_a, mean_b = mean(a), mean(b)
    variance_a = np.maximum(mean(a * a) - mean_a**2, 0)
    variance_b = np.maximum(mean(b * b) - mean_b**2, 0)
    covariance = mean(a * b) - mean_a * mean_b
    # The constant stands for one grey level: windows with less contrast than that carry no structure to lose.
    floor = np.float32((1 / 255) ** 2)
    agreement = (covariance + floor) / (np.sqrt(variance_a * variance_b) + floor)
    weight = np.sqrt(variance_a) + np.float32(1e-4)
    value = float((agreement * weight).sum(dtype=np.float64) / weight.sum(dtype=np.float64))
    return min(1.0, max(0.0, value))


def _colour(a: Pixels, b: Pixels) -> float:
    def linear(x: Pixels) -> Pixels:
        x = _shrunk(x, _LOWPASS_SIDE)
        return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)

    first, second = linear(a), linear(b)
    # Half a percent of full scale keeps black pixels, whose hue is noise, from counting.
    shares = [x / (x.sum(axis=2, keepdims=True) + 0.005) for x in (first, second)]
    weight = np.minimum(first.sum(axis=2), second.sum(axis=2)) + 1e-4
    shift = np.abs(shares[0] - shares[1]).sum(axis=2) / 2
    return float((shift * weight).sum(dtype=np.float64) / weight.sum(dtype=np.float64))


def _residual(before: Pixels, after: Pixels) -> float:
    """RMS in strips, so that a large photo needs no third full-size array."""
    if before.shape != after.shape:
        after = _resized(after, (before.shape[1], before.shape[0]))
    total = 0.0
    for top in range(0, before.shape[0], _STRIP_ROWS):
        difference = after[top : top + _STRIP_ROWS] - before[top : top + _STRIP_ROWS]
        total += float(np.einsum("ijk,ijk->", difference, difference, dtype=np.float64))
    return 255 * math.sqrt(total / before.size)


def _ssim(before: Pixels, after: Pixels) -> float:
    """Mean SSIM of luma (Wang et al. 2004: Gaussian window of 11 px, sigma 1.5) in strips, so that a large photo needs little memory."""
    import cv2

    if before.shape != after.shape:
        after = _resized(after, (before.shape[1], before.shape[0]))
    height, width = before.shape[:2]
    # Windows that leave the picture do not count; a picture smaller than one is mirrored at its borders.
    edge = 5 if min(height, width) > 10 else 0
    c1, c2 = np.float32(0.01**2), np.float32(0.03**2)

    def mean(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(
            cv2.GaussianBlur(x, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT), dtype=np.float32
        )

    total, count = 0.0, 0
    for top in range(edge, height - edge, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, height - edge)
        first, last = max(0, top - 5), min(height, bottom + 5)
        a, b = _luma(before[first:last]), _luma(after[first:last])
        mean_a, mean_b = mean(a), mean(b)
        variance = (mean(a * a) - mean_a**2) + (mean(b * b) - mean_b**2)
        covariance = mean(a * b) - mean_a * mean_b
        likeness = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
            (mean_a**2 + mean_b**2 + c1) * (variance + c2)
        )
        inner = likeness[top - first : bottom - first, edge : width - edge]
        total, count = total + float(inner.sum(dtype=np.float64)), count + inner.size
    return min(1.0, total / count)


_MARGIN = 12
_LINE = 16
_PANEL = 400
_PAPER = (250, 249, 246)
_INK = (40, 40, 40)


def sheet(
    before: Pixels,
    after: Pixels,
    *,
    crops: Sequence[Crop] = (),
    title: str = "",
    lines: Sequence[str] = (),
) -> Image:
    """Draw a before/after sheet: both overviews, native-resolution crops in pairs, and the findings as text.

    Args:
        before: (H, W, 3), float32, [0, 1], RGB.
        after: the result, at the same size or a multiple of it.
        crops: places of `before`, shown at native resolution from both pictures; `look.crops` picks them.
        title: the headline.
        lines: text under the pictures, one line each.
    """
    from PIL import Image as image_module
    from PIL import ImageDraw, ImageFont

    scale = after.shape[1] / before.shape[1]
    panels = [_bitmap(overview(x, _PANEL)) for x in (before, after)]
    panel_height = max(panel.height for panel in panels)
    pairs = [
        (_cut(before, c, 1.0), _cut(after, c, scale), f"{c.reason} at {c.left},{c.top}")
        for c in crops
    ]
    columns = 2 * _PANEL + 3 * _MARGIN
    rows = math.ceil(len(pairs) / 2)
    crop_height = max((max(a.height, b.height) for a, b, _ in pairs), default=0)
    height = (
        _MARGIN + (_LINE + 8 if title else 0) + _LINE + panel_height + _MARGIN
        + rows * (_LINE + crop_height + _MARGIN) + len(lines) * _LINE + _MARGIN
    )  # fmt: skip
    page = image_module.new("RGB", (columns, height), _PAPER)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=13)
    y = _MARGIN
    if title:
        draw.text((_MARGIN, y), title, fill=_INK, font=ImageFont.load_default(size=16))
        y += _LINE + 8
    for i, (panel, label) in enumerate(zip(panels, ("before", "after"), strict=True)):
        x = _MARGIN + i * (_PANEL + _MARGIN)
        draw.text((x, y), label, fill=_INK, font=font)
        page.paste(panel, (x, y + _LINE))
    y += _LINE + panel_height + _MARGIN
    half = _PANEL // 2 - 2
    for i, (old, new, label) in enumerate(pairs):
        x = _MARGIN + (i % 2) * (_PANEL + _MARGIN)
        draw.text((x, y), label, fill=_INK, font=font)
        for j, piece in enumerate((old, new)):
            shown = piece.crop((0, 0, min(half, piece.width), piece.height))
            page.paste(shown, (x + j * (half + 4), y + _LINE))
        if i % 2 or i == len(pairs) - 1:
            y += _LINE + crop_height + _MARGIN
    for line in lines:
        draw.text((_MARGIN, y), line, fill=_INK, font=font)
        y += _LINE
    return page


def png(page: Image) -> bytes:
    """A sheet as PNG, fast rather than small: half the time of Pillow's fastest setting at the same size."""
    import cv2

    options = [
        cv2.IMWRITE_PNG_COMPRESSION,
        1,
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_RLE,
    ]
    done, data = cv2.imencode(".png", np.asarray(page)[..., ::-1], options)
    if not done:
        raise OutputError(f"cannot encode a sheet of {page.width}x{page.height}")
    return bytes(data)


def _cut(image: Pixels, crop: Crop, scale: float) -> Image:
    top, left, side = (round(value * scale) for value in (crop.top, crop.left, crop.side))
    piece = _bitmap(image[top : top + side, left : left + side])
    return piece if scale == 1.0 else piece.resize((crop.width, crop.height))


def _bitmap(image: Pixels) -> Image:
    from PIL import Image as image_module

    quantised: npt.NDArray[Any] = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return image_module.fromarray(quantised)
