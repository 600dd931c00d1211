"""Colour: embedded profiles, CMYK and grey to sRGB and back.

Little CMS does the arithmetic, in float32, so that colours outside sRGB survive as values beyond
[0, 1]. A profile that describes sRGB itself (most photos) is not applied, which keeps such
files exact.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conservator.tools.image_io.picture import FloatArray, Picture

__all__ = ["bands", "from_srgb", "is_srgb", "luma", "to_srgb", "writable_profile"]

SAME_COLOUR = 0.5 / 255
"""A profile this close to sRGB everywhere is sRGB: half a step of an 8-bit file."""

KEPT_OVERFLOW = 0.5 / 65535
"""Excess below half a step of a 16-bit file is rounding, not colour."""

BAND_PIXELS = 1 << 20
"""Pixels converted at a time; bounds the temporary arrays to some tens of MB."""

_CHANNELS = {b"GRAY": 1, b"RGB ": 3, b"CMYK": 4}
_NAMES = {1: "gray", 3: "rgb", 4: "cmyk"}

Usability = Literal["ignored", "both ways", "reading only"]


def bands(height: int, width: int) -> Iterator[slice]:
    """Row ranges of about a megapixel."""
    step = max(1, BAND_PIXELS // max(1, width))
    for start in range(0, height, step):
        yield slice(start, min(height, start + step))


def _each_band(convert: Callable[[slice], None], height: int, width: int) -> None:
    """Run over all bands; Little CMS works outside the interpreter lock, so threads pay."""
    rows = list(bands(height, width))
    if len(rows) == 1:
        convert(rows[0])
        return
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(convert, rows):
            pass


def luma(rgb: FloatArray) -> FloatArray:
    """(..., 3) to (...): BT.601 luma, exact where the three channels agree."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.asarray(green + 0.299 * (red - green) + 0.114 * (blue - green), dtype=np.float32)


def to_srgb(
    samples: NDArray[Any], icc: bytes | None, *, scale: float
) -> tuple[FloatArray, FloatArray | None]:
    """Convert decoded samples to the carrier's pixels.

    Args:
        samples: (H, W, C), unsigned integers or float32; C is 1 grey, 3 RGB, 4 CMYK (full ink high).
        icc: embedded profile. One that is broken, fits another number of channels, or is sRGB
            is not applied.
        scale: the sample value that means 1.0.

    Returns:
        (H, W, 3) in [0, 1], and what the clipping took away, or None where that is nothing.
    """
    height, width, channels = samples.shape
    profile = _applicable(icc, channels)
    bounded = profile is None and np.issubdtype(samples.dtype, np.integer)
    pixels = np.empty((height, width, 3), dtype=np.float32)
    overflow = None if bounded else np.zeros((height, width, 3), dtype=np.float32)

    def convert(rows: slice) -> None:
        band = samples[rows].astype(np.float32) / np.float32(scale)
        rgb = _band_to_srgb(band, profile)
        np.clip(rgb, 0.0, 1.0, out=pixels[rows])
        if overflow is not None:
            np.subtract(rgb, pixels[rows], out=overflow[rows])

    _each_band(convert, height, width)
    tolerance = KEPT_OVERFLOW if profile else 0.0
    if overflow is not None and max(overflow.max(), -overflow.min()) <= tolerance:
        overflow = None
    return pixels, overflow


def from_srgb(picture: Picture, channels: int, icc: bytes | None) -> FloatArray:
    """(H, W, C) samples of a picture for a file with this many channels and this profile.

    Values are clipped to [0, 1] only where a profile was applied; a float file keeps its highlights.
    """
    profile = _applicable(icc, channels)
    samples = np.empty((picture.height, picture.width, channels), dtype=np.float32)

    def convert(rows: slice) -> None:
        samples[rows] = _band_from_srgb(picture.unclipped(rows), channels, profile)

    _each_band(convert, picture.height, picture.width)
    return samples


def writable_profile(icc: bytes | None, channels: int) -> bytes | None:
    """The profile to embed in a file of this many channels, None where pixels go out as sRGB.

    A scanner profile that only converts to the connection space cannot be used for writing, and
    a profile for another number of channels would be misread.
    """
    if icc is None:
        return None
    if _usability(icc) == "reading only":
        return None
    declared = _CHANNELS.get(icc[16:20])
    fits = declared == channels or (declared == 3 and channels == 1)
    return icc if fits else None


def is_srgb(icc: bytes | None) -> bool:
    """Whether samples beside this profile go in and out as they are: none, sRGB's own, or a broken one."""
    return icc is None or _usability(icc) == "ignored"


def _applicable(icc: bytes | None, channels: int) -> bytes | None:
    """The profile when it is to be applied to samples of this many channels."""
    if icc is None or _usability(icc) == "ignored":
        return None
    declared = _CHANNELS[icc[16:20]]
    # Grey files with an RGB profile are common; viewers read them as R = G = B.
    return icc if declared == channels or (declared == 3 and channels == 1) else None


def _band_to_srgb(band: FloatArray, profile: bytes | None) -> FloatArray:
    channels = band.shape[2]
    if profile is None:
        if channels == 4:
            return (1.0 - band[..., :3]) * (1.0 - band[..., 3:])
        return np.repeat(band, 3, axis=2) if channels == 1 else band
    if _CHANNELS[profile[16:20]] == 3 and channels == 1:
        band = np.repeat(band, 3, axis=2)
    return _transform(band, profile, _srgb_profile())


def _band_from_srgb(rgb: FloatArray, channels: int, profile: bytes | None) -> FloatArray:
    if profile is None:
        if channels == 4:
            return _naive_cmyk(np.clip(rgb, 0.0, 1.0))
        return luma(rgb)[..., None] if channels == 1 else rgb
    if _CHANNELS[profile[16:20]] == 3 and channels == 1:
        return luma(np.clip(_transform(rgb, _srgb_profile(), profile), 0.0, 1.0))[..., None]
    return np.clip(_transform(rgb, _srgb_profile(), profile), 0.0, 1.0)


def _naive_cmyk(rgb: FloatArray) -> FloatArray:
    """Full grey component replacement: the inverse of R = (1 - C)(1 - K)."""
    lightest = rgb.max(axis=2, keepdims=True)
    ink = 1.0 - rgb / np.maximum(lightest, np.float32(1e-6))
    return np.concatenate([np.where(lightest > 0, ink, 0.0), 1.0 - lightest], axis=2)


def _transform(band: FloatArray, profile: bytes, target: bytes) -> FloatArray:
    """(h, W, C) to (h, W, C'), relative colorimetric with black point compensation."""
    import imagecodecs

    source_channels, channels = _CHANNELS[profile[16:20]], _CHANNELS[target[16:20]]
    data: NDArray[Any] = band
    if source_channels == 4:
        # Little CMS measures float inks in percent; 16-bit inks need no such care.
        data = np.rint(np.clip(band, 0.0, 1.0) * 65535).astype(np.uint16)
    elif source_channels == 1:
        data = band[..., 0]
    result = imagecodecs.cms_transform(
        np.ascontiguousarray(data),
        profile,
        target,
        colorspace=_NAMES[source_channels],
        outcolorspace=_NAMES[channels],
        outdtype=np.uint16 if channels == 4 else np.float32,
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION,
    )
    if channels == 4:
        return result.astype(np.float32) / np.float32(65535)
    converted = np.asarray(result, dtype=np.float32)
    # A degenerate profile divides by zero; black is the least harmful reading.
    return np.nan_to_num(converted, copy=False).reshape(*band.shape[:2], channels)


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))


@lru_cache(maxsize=32)
def _usability(icc: bytes) -> Usability:
    """Try a profile on a few colours."""
    channels = _CHANNELS.get(icc[16:20])
    if channels is None:
        return "ignored"
    steps = np.linspace(0.0, 1.0, 9, dtype=np.float32)
    probe = np.stack(np.meshgrid(*[steps] * channels, indexing="ij"), axis=-1)
    probe = probe.reshape(1, -1, channels)
    try:
        rgb = _transform(probe, icc, _srgb_profile())
    except (RuntimeError, ValueError):
        return "ignored"
    if channels < 4 and np.abs(rgb - probe).max() < SAME_COLOUR:
        return "ignored"
    try:
        _transform(rgb, _srgb_profile(), icc)
    except (RuntimeError, ValueError):
        return "reading only"
    return "both ways"
