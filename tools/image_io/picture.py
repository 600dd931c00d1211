"""The carrier: pixels as the restorers want them, beside what is needed to write them back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from conservator.restorers.errors import RestorerError

if TYPE_CHECKING:
    import torch

__all__ = [
    "Depth",
    "FloatArray",
    "JpegInfo",
    "Limits",
    "Mode",
    "Picture",
    "content_hash",
    "from_tensor",
    "standard_tables",
    "to_tensor",
]

FloatArray: TypeAlias = NDArray[np.float32]
Mode = Literal["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"]
Depth = Literal["uint8", "uint16", "float32"]

OVERFLOW_FADE = 0.1
"""How far a restored sample may move from its bound before its overflow is forgotten."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask for before it is refused.

    Attributes:
        max_pixels: width times height, read from the header before anything is decoded.
        max_bytes: size of the file.
    """

    max_pixels: int = 200_000_000
    max_bytes: int = 1 << 30


@lru_cache(maxsize=101)
def standard_tables(quality: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The luma and chroma quantisation tables libjpeg uses at a quality in 1..100, natural order."""
    stream = BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "JPEG", quality=quality)
    stream.seek(0)
    tables = JpegImageFile(stream).quantization
    return tuple(tables[0]), tuple(tables[1])


@dataclass(frozen=True)
class JpegInfo:
    """What a JPEG file says about its own compression.

    Attributes:
        tables: quantisation tables of 64 steps in natural order; luma first, chroma after it.
        subsampling: "4:4:4", "4:2:2", "4:2:0", "grey" or "other".
        grid_valid: True while `pixels` are the decoded ones: then the tables describe them and
            block borders lie at `grid_origin` plus multiples of 8.
        grid_origin: (row, column) in 0..7 of the first block border after turning upright.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: str
    grid_valid: bool = True
    grid_origin: tuple[int, int] = (0, 0)

    @property
    def quality(self) -> int:
        """The libjpeg quality in 1..100 whose luma table lies nearest to this file's."""
        luma = np.asarray(self.tables[0], dtype=np.int64)
        distances = [
            int(np.abs(luma - np.asarray(standard_tables(quality)[0])).sum())
            for quality in range(1, 101)
        ]
        return 1 + int(np.argmin(distances))


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, upright, with the facts of the file it came from.

    The arrays are read-only, so that `pristine` can be trusted; take `to_tensor` or a copy to
    work on them.

    Attributes:
        pixels: (H, W, 3), float32, [0, 1], RGB, sRGB-encoded, upright.
        alpha: (H, W), float32, [0, 1], straight (not premultiplied), or None.
        mode: colour layout of the source; "L" is also 16-bit and float grey.
        depth: sample type of the source.
        format: "JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", or None for arrays.
        icc_profile: embedded profile; `pixels` were converted from it, saving converts back.
        exif: EXIF block without the "Exif" prefix, as it was in the file.
        xmp: XMP packet.
        iptc: IPTC-NAA records (captions and copyright of press photos).
        orientation: EXIF orientation 1..8 the file asked for; `pixels` already obey it.
        jpeg: compression facts when the source is a JPEG.
        dpi: (horizontal, vertical) pixels per inch, upright.
        path: the file it was read from.
        frames: frames or pages in the file; only the first one is carried.
        sha256: of the file's bytes, hex; "" for arrays.
        lossless: False when the source's own coding loses detail (JPEG, lossy WebP, AVIF).
        overflow: (H, W, 3), float32: what clipping to [0, 1] took away from colours outside
            sRGB and from highlights above white; None when nothing was. Saving adds it back where
            the restored sample still lies at the bound.
        white: sample value of a float source that became 1.0.
        pristine: True while `pixels` are the decoded ones; saving in the same format then copies
            the file byte for byte.
    """

    pixels: FloatArray
    alpha: FloatArray | None = None
    mode: Mode = "RGB"
    depth: Depth = "uint8"
    format: str | None = None
    icc_profile: bytes | None = field(default=None, repr=False)
    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    iptc: bytes | None = field(default=None, repr=False)
    orientation: int = 1
    jpeg: JpegInfo | None = None
    dpi: tuple[float, float] | None = None
    path: Path | None = None
    frames: int = 1
    sha256: str = ""
    lossless: bool = True
    overflow: FloatArray | None = None
    white: float = 1.0
    pristine: bool = False

    def __post_init__(self) -> None:
        for array in (self.pixels, self.alpha, self.overflow):
            if array is not None:
                array.flags.writeable = False

    @property
    def height(self) -> int:
        """Rows, upright."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns, upright."""
        return int(self.pixels.shape[1])

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.height * self.width / 1e6

    def with_pixels(self, pixels: ArrayLike) -> Picture:
        """The same picture with other pixels; alpha and overflow are resized along.

        Args:
            pixels: (H', W', 3), any float type, sRGB-encoded RGB; clipped to [0, 1].

        Returns:
            `self` when the pixels are the ones it has.

        Raises:
            RestorerError: another shape, an empty picture, or NaN or infinite samples.
        """
        array = np.asarray(pixels)
        if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise RestorerError(f"restored pixels have shape {array.shape}; need (H, W, 3)")
        if not np.issubdtype(array.dtype, np.floating):
            raise RestorerError(f"restored pixels are {array.dtype}; need floats in [0, 1]")
        if not np.isfinite(array).all():
            raise RestorerError("restored pixels hold NaN or infinity; try another restorer")
        new = np.clip(array, 0.0, 1.0).astype(np.float32, copy=False)
        if np.array_equal(new, self.pixels):
            return self
        new = np.ascontiguousarray(new)
        size = (int(new.shape[1]), int(new.shape[0]))
        return replace(
            self,
            pixels=new,
            alpha=None if self.alpha is None else np.clip(_resized(self.alpha, size), 0.0, 1.0),
            overflow=None if self.overflow is None else _resized(self.overflow, size),
            jpeg=None if self.jpeg is None else replace(self.jpeg, grid_valid=False),
            pristine=False,
        )

    def unclipped(self, rows: slice = slice(None)) -> FloatArray:
        """(h, W, 3) pixels with the overflow added back where they still lie at the bound.

        The overflow fades out over the first `OVERFLOW_FADE` that a restorer moved a sample away
        from its bound, so that a highlight that was treated is not pushed up again.
        """
        pixels = self.pixels[rows]
        if self.overflow is None:
            return pixels
        overflow = self.overflow[rows]
        moved = np.where(overflow > 0, 1.0 - pixels, pixels)
        kept = np.clip(1.0 - moved / OVERFLOW_FADE, 0.0, 1.0)
        return np.asarray(pixels + overflow * kept, dtype=np.float32)


def _resized(plane: FloatArray, size: tuple[int, int]) -> FloatArray:
    """(H, W) or (H, W, C) at another (width, height), bicubic."""
    if plane.shape[1::-1] == size:
        return plane
    if plane.ndim == 3:
        return np.stack([_resized(plane[..., c], size) for c in range(plane.shape[2])], axis=-1)
    resized = Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BICUBIC)
    return np.array(resized, dtype=np.float32)


def to_tensor(picture: Picture) -> torch.Tensor:
    """A copy of the pixels as (1, 3, H, W), float32, [0, 1], on the CPU."""
    import torch

    planes = np.array(picture.pixels.transpose(2, 0, 1), dtype=np.float32, order="C", copy=True)
    return torch.from_numpy(planes)[None]


def from_tensor(tensor: torch.Tensor) -> FloatArray:
    """(1, 3, H, W) or (3, H, W) on any device and in any float type to (H, W, 3), float32, [0, 1].

    Raises:
        RestorerError: more than one image, or not three channels.
    """
    planes = tensor.detach()
    if planes.ndim == 4 and planes.shape[0] == 1:
        planes = planes[0]
    if planes.ndim != 3 or planes.shape[0] != 3:
        raise RestorerError(f"restored tensor has shape {tuple(tensor.shape)}; need (1, 3, H, W)")
    pixels = planes.float().clamp(0.0, 1.0).permute(1, 2, 0).contiguous().cpu().numpy()
    return np.array(pixels, dtype=np.float32)


def content_hash(pixels: NDArray[Any]) -> str:
    """Hex sha256 of an array's type, shape and values: the id of an artifact."""
    array = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(f"{array.dtype.str}{pixels.shape}".encode())
    digest.update(array.data)
    return digest.hexdigest()
