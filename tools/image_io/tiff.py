"""TIFF beyond what Pillow holds: 16-bit and float samples, and one writer for every kind."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from conservator.tools.image_io.metadata import (
    exif_directories,
    placeholder,
    with_directories,
)
from conservator.tools.image_io.picture import Mode

__all__ = ["Page", "TiffHeader", "encode_tiff", "read_header", "read_page"]

logger = logging.getLogger(__name__)

XMP_TAG: Final = 700
IPTC_TAG: Final = 33723
ICC_TAG: Final = 34675
DNG_VERSION_TAG: Final = 50706
MAX_SAMPLES: Final = 5
"""Four inks and alpha; more is a scientific stack or hostile."""


_COLOURS: Final = {0: 1, 1: 1, 2: 3, 5: 4}
"""Channels by photometric interpretation: white is zero, black is zero, RGB, inks."""

_UNSPECIFIED, _PREMULTIPLIED = (0,), (1,)


@dataclass(frozen=True)
class TiffHeader:
    """What the first directory declares.

    Attributes:
        photometric: what the samples mean, by TIFF's numbers.
        bits: bits per sample.
        samples: samples per pixel.
        pages: directories in the file.
        raw: True for a DNG.
        dpi: (horizontal, vertical) pixels per inch.
    """

    width: int
    height: int
    photometric: int
    bits: int
    samples: int
    pages: int
    raw: bool
    xmp: bytes | None
    iptc: bytes | None
    icc_profile: bytes | None
    dpi: tuple[float, float] | None

    @property
    def plain(self) -> bool:
        """Whether `read_page` is to decode it.

        It must for more than 8 bits, where Pillow loses precision. It may for whole bytes of
        colours, which spares users libtiff's own chatter on stderr about damaged files.
        """
        colours = _COLOURS.get(self.photometric)
        whole = self.bits == 8 and colours is not None and 0 <= self.samples - colours <= 1
        return self.bits > 8 or whole


@dataclass(frozen=True)
class Page:
    """Decoded samples of a page.

    Attributes:
        samples: (H, W, C), uint8, uint16 or float32; C is 1, 3 or 4 (inks).
        alpha: (H, W), same type, straight, or None.
        scale: the sample value that means 1.0; 0 for floats, whose scale is found by looking.
    """

    samples: NDArray[Any]
    alpha: NDArray[Any] | None
    mode: Mode
    scale: int


def read_header(data: bytes) -> TiffHeader:
    """Read the first page's tags; decodes nothing."""
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        return TiffHeader(
            width=int(page.imagewidth),
            height=int(page.imagelength) * int(page.imagedepth),
            photometric=int(page.photometric),
            bits=int(page.bitspersample),
            samples=int(page.samplesperpixel),
            pages=len(file.pages),
            raw=DNG_VERSION_TAG in page.tags,
            xmp=_bytes(page.tags.valueof(XMP_TAG)),
            iptc=_bytes(page.tags.valueof(IPTC_TAG)),
            icc_profile=_bytes(page.tags.valueof(ICC_TAG)),
            dpi=_dpi(page),
        )


def _bytes(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8") or None
    return bytes(value) or None if isinstance(value, bytes | bytearray) else None


def _dpi(page: Any) -> tuple[float, float] | None:
    unit = {2: 1.0, 3: 2.54}.get(int(page.tags.valueof(296) or 2))
    pair = page.tags.valueof(282), page.tags.valueof(283)
    if unit is None or None in pair:
        return None
    (across, across_by), (down, down_by) = pair
    if not across or not across_by or not down or not down_by:
        return None
    return unit * across / across_by, unit * down / down_by


def read_page(data: bytes) -> Page:
    """Decode the first page.

    An extra channel that does not say that it is alpha (a saved selection, say) is left out.

    Raises:
        ValueError: a colour layout or sample type that is not supported.
    """
    import tifffile

    with tifffile.TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        photometric = int(page.photometric)
        colours = _COLOURS.get(photometric)
        samples = int(page.samplesperpixel)
        if colours is None or samples not in (colours, colours + 1):
            raise ValueError(f"photometric {photometric} with {samples} samples is not supported")
        _check_complete(page, len(data))
        array = np.asarray(page.asarray(maxworkers=1))
        axes, bits = str(page.axes), int(page.bitspersample)
        size = int(page.imagelength), int(page.imagewidth)
        extra = tuple(int(one) for one in page.extrasamples)
    if axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    elif axes not in ("YX", "YXS"):
        raise ValueError(f"axes {axes} are not supported")
    if array.shape[:2] != size:
        raise ValueError(f"decoded to {array.shape} instead of {size}")
    array = array.reshape(*size, samples)
    floating = np.issubdtype(array.dtype, np.floating)
    if floating:
        array = array.astype(np.float32)
    elif array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{array.dtype} samples are not supported; convert to 16 bit or float")
    scale = 0 if floating else (1 << bits) - 1
    if photometric == 0:
        array = (scale or 1) - array
    alpha = array[..., colours] if samples > colours and extra != _UNSPECIFIED else None
    samples_only = array[..., :colours]
    if alpha is not None and extra == _PREMULTIPLIED:
        samples_only = _straight(samples_only, alpha, scale)
    mode: Mode = "CMYK" if colours == 4 else "RGB" if colours == 3 else "L"
    if alpha is not None and mode != "CMYK":
        mode = "RGBA" if mode == "RGB" else "LA"
    return Page(samples_only, alpha, mode, scale)


def _check_complete(page: Any, file_bytes: int) -> None:
    """Refuse missing strips: tifffile fills them with black, and decodes without a word."""
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if len(parts) < int(np.prod(page.chunked)):
        raise ValueError(f"{len(parts)} strips instead of {int(np.prod(page.chunked))}")
    if any(count < 1 or offset + count > file_bytes for offset, count in parts):
        raise ValueError("strips lie beyond the end of the file")


def _straight(samples: NDArray[Any], alpha: NDArray[Any], scale: int) -> NDArray[Any]:
    """Undo premultiplication; what lies under alpha 0 stays as it is."""
    share = alpha[..., None].astype(np.float64) / (scale or 1)
    straight = samples / np.where(share > 0, share, 1.0)
    if scale:
        straight = np.rint(np.clip(straight, 0, scale))
    return straight.astype(samples.dtype)


def encode_tiff(
    samples: NDArray[Any],
    *,
    inks: bool,
    alpha: bool,
    palette: NDArray[np.uint8] | None,
    icc_profile: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    iptc: bytes | None,
    dpi: tuple[float, float] | None,
) -> bytes:
    """Encode one page, deflate-compressed, which every reader since 2002 opens.

    Args:
        samples: (H, W, C) uint8, uint16 or float32, or (H, W) bool or palette indices.
        inks: C counts four inks.
        alpha: the last channel is straight alpha.
        palette: (256, 3) colours of the indices.
        icc_profile: profile to embed.
        exif: EXIF block; its descriptive tags, EXIF and GPS directories are written.
        xmp: XMP packet.
        iptc: IPTC-NAA records.
        dpi: (horizontal, vertical) pixels per inch.
    """
    import tifffile

    colours = 1 if samples.ndim == 2 else samples.shape[2] - alpha
    photometric = "separated" if inks else "rgb" if colours == 3 else "minisblack"
    descriptive, directories = _exif(exif)
    extra: list[tuple[int, int, int, Any, bool]] = [
        (tag, *typed, True) for tag, typed in descriptive.items()
    ]
    for tag, kind, block in ((XMP_TAG, 1, xmp), (IPTC_TAG, 7, iptc)):
        if block:
            extra.append((tag, kind, len(block), block, True))
    extra.extend((placeholder(pointer), 4, 1, 0, True) for pointer in directories)
    stream = BytesIO()
    tifffile.imwrite(
        stream,
        samples[..., 0] if samples.ndim == 3 and samples.shape[2] == 1 else samples,
        byteorder="<",
        photometric="palette" if palette is not None else photometric,
        planarconfig="contig" if samples.ndim == 3 and samples.shape[2] > 1 else None,
        extrasamples=["unassalpha"] if alpha else None,
        colormap=None if palette is None else palette.T.astype(np.uint16) * 257,
        compression="zlib",
        predictor=bool(samples.dtype in (np.uint8, np.uint16) and palette is None),
        iccprofile=icc_profile,
        resolution=dpi,
        resolutionunit="INCH" if dpi else None,
        software=False,
        metadata=None,
        extratags=sorted(extra),
        maxworkers=1,
    )
    return with_directories(stream.getvalue(), directories)


def _exif(
    exif: bytes | None,
) -> tuple[dict[int, tuple[int, int, Any]], dict[int, dict[int, Any]]]:
    """The descriptive tags as TIFF type, count and value, and the sub-directories."""
    if exif is None:
        return {}, {}
    try:
        descriptive, directories = exif_directories(exif)
        return {tag: _typed(value) for tag, value in descriptive.items()}, directories
    except Exception as error:
        # Hostile blocks make the parser raise nearly anything, and the photo matters more.
        logger.warning("EXIF does not parse and is left out: %s", error)
        return {}, {}


def _typed(value: Any) -> tuple[int, int, Any]:
    """TIFF type, count and value; Pillow reads text as Latin-1, which gives the bytes back."""
    if isinstance(value, str):
        text = value.encode("latin-1", "replace") + b"\x00"
        return 2, len(text), text
    if isinstance(value, bytes):
        return 1, len(value), value
    return 3, 1, int(value)
