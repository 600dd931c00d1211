"""Reading: from a file, bytes, an array or a Pillow image to a `Picture`.

Every size is checked against the header before anything is decoded, and whatever hostile bytes make
a decoder raise becomes one of the typed errors.
"""

from __future__ import annotations

import hashlib
import logging
import math
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile, get_sampling
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from conservator.restorers.errors import (
    ConservatorError,
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    MissingFileError,
    NotAnImageError,
)
from conservator.tools.image_io import metadata, tiff
from conservator.tools.image_io.colour import to_srgb
from conservator.tools.image_io.formats import recognised
from conservator.tools.image_io.picture import Depth, FloatArray, JpegInfo, Limits, Mode, Picture

__all__ = ["decode", "from_array", "from_pil", "load"]

# The plug-ins are called by name: `Image.open` would also try formats nobody asked for, and has a
# pixel limit of its own in a global variable.
_PLUGINS: dict[str, Callable[[BytesIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "TIFF": TiffImageFile,
    "WEBP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "AVIF": AvifImageFile,
}
_SUBSAMPLING = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}
_DECODER_LOCK = Lock()
_TIFF_LOG = logging.getLogger("tifffile")


@dataclass(frozen=True)
class _Samples:
    """Decoded samples: (H, W, C) with `scale` as 1.0 (0: floats, find out), and (H, W) alpha."""

    samples: NDArray[Any]
    alpha: NDArray[Any] | None
    mode: Mode
    scale: float
    upright: bool = False


def load(path: str | PathLike[str], *, limits: Limits | None = None) -> Picture:
    """Read a picture file.

    Raises:
        MissingFileError: no such file, a directory, or not a regular file.
        NotAnImageError: empty, text, or a format that is not read.
        CorruptImageError: a known format that breaks off or does not decode, or NaN samples.
        ImageTooLargeError: more bytes or pixels than `limits`.
        InputError: the file may not be read.
    """
    limits = limits or Limits()
    file = Path(path)
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise MissingFileError(f"{file}: {kind}; pass a picture file")
        _check_bytes(status.st_size, limits, str(file))
        with file.open("rb") as stream:
            data = stream.read(limits.max_bytes + 1)
    except PermissionError as error:
        raise InputError(f"{file}: no permission to read it; change its mode or owner") from error
    except FileNotFoundError as error:
        raise MissingFileError(f"{file}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise MissingFileError(f"{file}: cannot be opened ({_reason(error)})") from error
    _check_bytes(len(data), limits, str(file))
    return replace(_decode(data, str(file), limits), path=file)


def decode(data: bytes, *, limits: Limits | None = None, name: str = "image data") -> Picture:
    """Read a picture from the bytes of a file; `name` stands in messages. Raises as `load`."""
    limits = limits or Limits()
    _check_bytes(len(data), limits, name)
    return _decode(data, name, limits)


def from_pil(image: Image.Image) -> Picture:
    """Carry a Pillow image, turned upright if its EXIF asks for it.

    Raises:
        CorruptImageError: the image is lazy and its file does not decode.
        InputError: an empty image or integer samples beyond 16 bits.
    """
    name = "the given PIL image"
    if 0 in image.size:
        raise InputError(f"{name} is {image.width}x{image.height}; pass at least one pixel")
    with _decoder_errors(name):
        image.load()
        exif = metadata.stripped_prefix(image.info.get("exif"))
        exif = exif or metadata.exif_described(image.getexif())
        facts = _pillow_facts(image, image.format, exif)
        samples = _pillow_samples(image)
    return _assembled(samples, facts, name)


def from_array(array: NDArray[Any]) -> Picture:
    """Carry an array as an 8-bit, 16-bit or float picture.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), sRGB-encoded grey, RGB or RGBA; uint8,
            uint16, or floats. Floats are [0, 1]; see `_float_white` for what lies beyond.

    Raises:
        CorruptImageError: NaN or infinite samples.
        InputError: another shape or type.
    """
    given = np.asarray(array)
    shaped = given[..., None] if given.ndim == 2 else given
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3, 4) or 0 in shaped.shape:
        raise InputError(f"array of shape {given.shape}; pass (H, W), (H, W, 1), (H, W, 3 or 4)")
    scales = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
    if np.issubdtype(shaped.dtype, np.floating):
        shaped = shaped.astype(np.float32)
    elif shaped.dtype not in scales:
        raise InputError(f"array of {given.dtype}; pass uint8, uint16 or floats in [0, 1]")
    modes: dict[int, Mode] = {1: "L", 3: "RGB", 4: "RGBA"}
    mode = modes[shaped.shape[2]]
    alpha = shaped[..., 3] if mode == "RGBA" else None
    samples = _Samples(shaped[..., :3], alpha, mode, scales.get(shaped.dtype, 0.0))
    return _assembled(samples, Picture(np.zeros((1, 1, 3), np.float32)), "the given array")


def _check_bytes(size: int, limits: Limits, name: str) -> None:
    if size > limits.max_bytes:
        raise ImageTooLargeError(
            f"{name}: {size} bytes, above the limit of {limits.max_bytes}; raise Limits.max_bytes"
        )


def _check_pixels(width: int, height: int, limits: Limits, name: str) -> None:
    if width < 1 or height < 1:
        raise CorruptImageError(f"{name}: the header says {width}x{height}; the file is damaged")
    if width * height > limits.max_pixels:
        raise ImageTooLargeError(
            f"{name}: {width}x{height} is {width * height / 1e6:.0f} megapixels, above the limit "
            f"of {limits.max_pixels / 1e6:g}; scale it down or raise Limits.max_pixels"
        )


def _reason(error: BaseException) -> str:
    """The message of a foreign error on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


@contextmanager
def _decoder_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a typed error; keep its warnings and logs to ourselves.

    Pillow reads past the end of truncated files once any library sets LOAD_TRUNCATED_IMAGES, and
    pyiqa does; half a photo must not pass for a whole one.
    """
    try:
        with _DECODER_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tolerant, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
            silent, _TIFF_LOG.disabled = _TIFF_LOG.disabled, True
            try:
                yield
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES, _TIFF_LOG.disabled = tolerant, silent
    except ConservatorError:
        raise
    except MemoryError as error:
        raise ImageTooLargeError(f"{name}: too large for this machine's memory") from error
    except Exception as error:
        # Hostile bytes make decoders raise nearly anything: struct.error, KeyError, ZeroDivision...
        raise CorruptImageError(
            f"{name}: does not decode ({_reason(error)}); copy or export it again"
        ) from error


def _decode(data: bytes, name: str, limits: Limits) -> Picture:
    form = recognised(data, name)
    with _decoder_errors(name):
        facts, samples = (_decode_tiff if form == "TIFF" else _decode_pillow)(
            data, form, name, limits
        )
    digest = hashlib.sha256(data).hexdigest()
    return replace(_assembled(samples, facts, name), sha256=digest, pristine=True)


def _decode_pillow(data: bytes, form: str, name: str, limits: Limits) -> tuple[Picture, _Samples]:
    image = _PLUGINS[form](BytesIO(data))
    _check_pixels(image.width, image.height, limits, name)
    facts = _pillow_facts(image, form, metadata.stripped_prefix(image.info.get("exif")))
    if form == "WEBP":
        facts = replace(facts, lossless=_webp_is_lossless(data))
    if form == "PNG" and data[24] == 16:
        # Pillow reduces 16-bit colour to 8 bits.
        return facts, _deep_png(data, image.size)
    return facts, _pillow_samples(image)


def _decode_tiff(data: bytes, form: str, name: str, limits: Limits) -> tuple[Picture, _Samples]:
    header = tiff.read_header(data)
    if header.raw:
        raise NotAnImageError(f"{name}: a camera raw file; develop it to TIFF or JPEG first")
    _check_pixels(header.width, header.height, limits, name)
    if header.samples > tiff.MAX_SAMPLES:
        raise NotAnImageError(f"{name}: {header.samples} channels; pass grey, RGB or CMYK")
    facts = Picture(
        np.zeros((1, 1, 3), np.float32),
        format=form,
        icc_profile=header.icc_profile,
        exif=None if data[2:4] in (b"+\x00", b"\x00+") else metadata.exif_from_tiff(data),
        xmp=header.xmp,
        iptc=header.iptc,
        dpi=_dpi(header.dpi),
        frames=header.pages,
    )
    if header.plain:
        page = tiff.read_page(data)
        return facts, _Samples(page.samples, page.alpha, page.mode, page.scale)
    # Pillow turns TIFFs upright while it loads them, and no other format.
    return facts, replace(_pillow_samples(TiffImageFile(BytesIO(data))), upright=True)


def _deep_png(data: bytes, size: tuple[int, int]) -> _Samples:
    import imagecodecs

    array = np.asarray(imagecodecs.png_decode(data))
    array = array.reshape(size[1], size[0], -1)
    modes: dict[int, Mode] = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    mode = modes[array.shape[2]]
    if mode in ("LA", "RGBA"):
        return _Samples(array[..., :-1], array[..., -1], mode, 65535)
    return _Samples(array, None, mode, 65535)


def _pillow_facts(image: Image.Image, form: str | None, exif: bytes | None) -> Picture:
    """A picture without pixels that holds what Pillow read beside them."""
    info = image.info
    xmp, icc = info.get("xmp"), info.get("icc_profile")
    photoshop = info.get("photoshop")
    iptc = photoshop.get(metadata.IPTC_RESOURCE) if isinstance(photoshop, dict) else None
    return Picture(
        np.zeros((1, 1, 3), np.float32),
        format=form,
        icc_profile=icc if isinstance(icc, bytes) and icc else None,
        exif=exif,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
        iptc=iptc if isinstance(iptc, bytes) else None,
        jpeg=_jpeg_info(image) if isinstance(image, JpegImageFile) else None,
        dpi=_dpi(info.get("dpi")),
        frames=int(getattr(image, "n_frames", 1)),
        lossless=form not in ("JPEG", "MPO", "AVIF"),
    )


def _jpeg_info(image: JpegImageFile) -> JpegInfo:
    tables = tuple(tuple(int(step) for step in table) for table in image.quantization.values())
    subsampling = "grey" if image.layers == 1 else _SUBSAMPLING.get(get_sampling(image), "other")
    return JpegInfo(tables, subsampling)


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        across, down = (float(number) for number in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    usable = all(math.isfinite(number) and 1 <= number <= 65535 for number in (across, down))
    return (across, down) if usable else None


def _webp_is_lossless(data: bytes) -> bool:
    """Whether the first frame is coded as VP8L."""
    position = 12
    while position + 8 <= len(data):
        kind, size = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        if kind in (b"VP8L", b"VP8 "):
            return kind == b"VP8L"
        # An animation's frame is a chunk of chunks behind 16 bytes of its own.
        position += 24 if kind == b"ANMF" else 8 + size + size % 2
    return False


def _pillow_samples(image: Image.Image) -> _Samples:
    mode = image.mode
    if mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        array = np.asarray(image)
        if array.min() < 0 or array.max() > 65535:
            raise InputError("integer samples beyond 16 bits; convert to 16 bit or float first")
        return _Samples(array.astype(np.uint16)[..., None], None, "L", 65535)
    if mode == "F":
        return _Samples(np.array(image)[..., None], None, "L", 0)
    transparent = mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if mode == "CMYK":
        return _Samples(np.array(image), None, "CMYK", 255)
    if mode in ("1", "L", "LA", "La"):
        array = np.asarray(image.convert("LA" if transparent else "L"))
        if transparent:
            return _Samples(array[..., :1], array[..., 1], "LA", 255)
        return _Samples(array[..., None], None, "1" if mode == "1" else "L", 255)
    palette = mode in ("P", "PA")
    array = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    named: Mode = "P" if palette else "RGBA" if transparent else "RGB"
    return _Samples(array[..., :3], array[..., 3] if transparent else None, named, 255)


def _assembled(decoded: _Samples, facts: Picture, name: str) -> Picture:
    """Turn the samples upright, convert them to sRGB and put them beside their facts."""
    samples, alpha, white = decoded.samples, decoded.alpha, decoded.scale
    depth: Depth = "uint8" if white == 255 else "uint16"
    if white == 0:
        depth, white = "float32", _float_white(samples, alpha, name)
    orientation = metadata.exif_orientation(facts.exif) or metadata.xmp_orientation(facts.xmp) or 1
    turn = 1 if decoded.upright else orientation
    jpeg, dpi = facts.jpeg, facts.dpi
    if jpeg is not None:
        jpeg = replace(jpeg, grid_origin=_grid_origin(samples.shape, orientation))
    if dpi is not None and orientation >= 5:
        dpi = dpi[::-1]
    pixels, overflow = to_srgb(_upright(samples, turn), facts.icc_profile, scale=white)
    return replace(
        facts,
        pixels=pixels,
        alpha=None if alpha is None else _unit(_upright(alpha, turn), depth, white),
        mode=decoded.mode,
        depth=depth,
        orientation=orientation,
        jpeg=jpeg,
        dpi=dpi,
        overflow=overflow,
        white=float(white) if depth == "float32" else 1.0,
    )


def _unit(alpha: NDArray[Any], depth: Depth, white: float) -> FloatArray:
    scale = 1.0 if depth == "float32" else white
    unit: FloatArray = np.clip(alpha.astype(np.float32) / np.float32(scale), 0.0, 1.0)
    return unit


def _float_white(samples: NDArray[Any], alpha: NDArray[Any] | None, name: str) -> float:
    """The float value that means white.

    Normally 1.0, and what lies above is a highlight. A picture with more than half of its samples
    above 1 is on another scale: 0..255, 0..65535, or else up to its maximum.

    Raises:
        CorruptImageError: NaN or infinite samples.
    """
    for array in (samples, alpha):
        if array is not None and not np.isfinite(array).all():
            raise CorruptImageError(f"{name}: holds NaN or infinite samples; replace them first")
    if np.median(samples) <= 1.0:
        return 1.0
    brightest = float(samples.max())
    return next((scale for scale in (255.0, 65535.0) if brightest <= scale), brightest)


def _upright(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Apply EXIF orientation 1..8 to (H, W, ...)."""
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def _grid_origin(stored: tuple[int, ...], orientation: int) -> tuple[int, int]:
    """Where 8x8 blocks begin, upright: on a mirrored axis the last, cut block comes first."""
    down, across = stored[:2] if orientation < 5 else stored[1::-1]
    return (
        down % 8 if orientation in (3, 4, 7, 8) else 0,
        across % 8 if orientation in (2, 3, 6, 7) else 0,
    )
