"""Encoding: the bytes of a file in the source's mode, depth and profile.

Pictures are written upright with orientation 1. Turning the pixels back and keeping the tag would
look the same in a good viewer and lie on its side in the others, and the pixels that were scored
would not be the pixels in the file.

What a format cannot hold falls back, in this way and no other: float and 16-bit samples to
8 bits (float to 16 bits in PNG), inks to sRGB, transparency to white paper, profiles to sRGB.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from conservator.restorers.errors import OutputError, UsageError
from conservator.tools.image_io import metadata
from conservator.tools.image_io.colour import bands, from_srgb, writable_profile
from conservator.tools.image_io.formats import Format, target_format
from conservator.tools.image_io.picture import Depth, Picture, standard_tables
from conservator.tools.image_io.reading import decode
from conservator.tools.image_io.tiff import encode_tiff

__all__ = ["encoded", "quantise"]

logger = logging.getLogger(__name__)

QUALITY = 95
"""Quality of lossy files where the user names none and the source's was not higher."""

PNG_LEVEL = 4
"""Of zlib's nine: photos become as small as at 6 (within 2 %), in half the time."""

SEGMENT_BYTES = 65000
"""What one JPEG segment holds, less the identifiers that go with it."""


@dataclass(frozen=True)
class _Plan:
    """Samples ready for an encoder.

    Attributes:
        samples: (H, W, C), C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA or inks, 5 inks + alpha.
    """

    samples: NDArray[Any]
    inks: bool
    alpha: bool
    palette: bool
    bilevel: bool
    icc_profile: bytes | None
    exif: bytes | None
    xmp: bytes | None
    source: Picture


def encoded(picture: Picture, suffix: str, *, quality: int | None = None) -> bytes:
    """The bytes that `save` would write under a name with this suffix.

    A picture whose pixels are still the decoded ones gives the bytes of its file, if that lies
    where it was and the format is the same: no generation is lost where nothing was restored.

    JPEG: 4:4:4, and each quantisation step is the finer one of the source's and quality 95's, so
    that neither the source's detail nor the restored one is lost; with `quality`, that quality,
    and 4:2:0 below 90. WebP: lossless unless the source's coding was lossy or `quality` is given.

    Args:
        picture: what to encode.
        suffix: ".png", ".jpg", ...; see `formats.WRITABLE`.
        quality: 1..100 for JPEG and WebP; others ignore it.

    Raises:
        UnknownNameError: a suffix that is not written.
        UsageError: a quality outside 1..100.
        OutputError: a side longer than the format allows, or an encoder failed.
    """
    form = target_format(suffix)
    if quality is not None and not 1 <= quality <= 100:
        raise UsageError(f"quality {quality}; pass 1 to 100")
    if max(picture.height, picture.width) > form.max_side:
        raise OutputError(
            f"{picture.width}x{picture.height} is too large for {form.name} "
            f"(at most {form.max_side}); save as .png or .tif"
        )
    if quality is None:
        original = _original_bytes(picture, form)
        if original is not None:
            return original
    plan = _planned(picture, form)
    try:
        if form.name == "TIFF":
            return _tiff(plan)
        if form.name == "PNG":
            return _png(plan)
        if form.name == "JPEG":
            return _jpeg(plan, quality)
        return _webp(plan, quality) if form.name == "WEBP" else _bmp(plan)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise OutputError(f"cannot encode {form.name}: {reason}; save as .png or .tif") from error


def quantise(picture: Picture, suffix: str, *, quality: int | None = None) -> Picture:
    """The picture as it reads back from the bytes `save` would write; scorers look at this one."""
    coded = decode(encoded(picture, suffix, quality=quality))
    return replace(coded, path=picture.path, pristine=False)


def _original_bytes(picture: Picture, form: Format) -> bytes | None:
    if not picture.pristine or picture.path is None or picture.format != form.name:
        return None
    try:
        data = picture.path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == picture.sha256 else None


def _planned(picture: Picture, form: Format) -> _Plan:
    """Choose layout, depth and profile, and convert and quantise the samples."""
    inks = picture.mode == "CMYK" and form.cmyk
    grey = picture.mode in ("1", "L", "LA")
    channels = 4 if inks else 1 if grey else 3
    icc = writable_profile(picture.icc_profile, channels) if form.profile else None
    if grey and not form.grey and icc is not None and icc[16:20] == b"GRAY":
        icc = None
    if picture.mode == "CMYK" and not inks:
        icc = None
    alpha = picture.alpha if form.alpha else None
    if picture.alpha is not None and alpha is None:
        picture = _on_white(picture)
    depth = _depth(picture.depth, form)
    samples = _quantised(from_srgb(picture, channels, icc), depth, picture.white)
    if alpha is not None:
        layer = _quantised(alpha[..., None], depth, 1.0)
        samples = np.concatenate([samples, layer], axis=2)
    return _Plan(
        samples=samples,
        inks=inks,
        alpha=alpha is not None,
        palette=picture.mode == "P",
        bilevel=picture.mode == "1" and bool(np.isin(samples, (0, 255)).all()),
        icc_profile=icc,
        exif=metadata.upright_exif(picture.exif, width=picture.width, height=picture.height),
        xmp=metadata.upright_xmp(picture.xmp),
        source=picture,
    )


def _depth(depth: Depth, form: Format) -> Depth:
    if depth == "float32" and form.floats:
        return "float32"
    return "uint16" if depth != "uint8" and form.deep else "uint8"


def _quantised(samples: NDArray[np.float32], depth: Depth, white: float) -> NDArray[Any]:
    """(H, W, C) with 1.0 as white to the file's sample type, rounded to nearest."""
    if depth == "float32":
        return samples * np.float32(white)
    scale, kind = (255, np.uint8) if depth == "uint8" else (65535, np.uint16)
    result = np.empty(samples.shape, dtype=kind)
    for rows in bands(*samples.shape[:2]):
        result[rows] = np.rint(np.clip(samples[rows], 0.0, 1.0) * np.float32(scale))
    return result


def _on_white(picture: Picture) -> Picture:
    if picture.alpha is None:
        return picture
    share = picture.alpha[..., None]
    overflow = None if picture.overflow is None else picture.overflow * share
    return replace(
        picture, pixels=1.0 + (picture.pixels - 1.0) * share, alpha=None, overflow=overflow
    )


def _image(samples: NDArray[np.uint8], mode: str) -> Image.Image:
    return Image.frombytes(mode, (samples.shape[1], samples.shape[0]), samples.tobytes())


def _eight_bit(plan: _Plan) -> Image.Image:
    """The samples as a Pillow image; palette and bilevel again where nothing is lost by it."""
    if plan.bilevel and not plan.alpha:
        return _image(plan.samples[..., 0], "L").convert("1", dither=Image.Dither.NONE)
    indexed = _indexed(plan.samples) if plan.palette else None
    if indexed is not None:
        indices, colours = indexed
        image = _image(indices, "P")
        image.putpalette(colours[:, :3].tobytes(), "RGB")
        if plan.alpha:
            image.info["transparency"] = colours[:, 3].tobytes()
        return image
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "CMYK" if plan.inks else "RGBA"}
    return _image(plan.samples, modes[plan.samples.shape[2]])


def _indexed(samples: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """(H, W) indices and (N, C) colours, None when there are more than 256 colours."""
    height, width, channels = samples.shape
    packed = np.zeros((height, width, 4), dtype=np.uint8)
    packed[..., :channels] = samples
    found, inverse = np.unique(packed.view(np.uint32).ravel(), return_inverse=True)
    if len(found) > 256:
        return None
    colours = found.view(np.uint8).reshape(-1, 4)[:, :channels]
    return inverse.reshape(height, width).astype(np.uint8), np.ascontiguousarray(colours)


def _png(plan: _Plan) -> bytes:
    options: dict[str, Any] = {
        "icc_profile": plan.icc_profile,
        "exif": plan.exif or b"",
        "compress_level": PNG_LEVEL,
    }
    if plan.xmp:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", plan.xmp.decode("utf-8", "replace"))
    if plan.source.dpi:
        options["dpi"] = plan.source.dpi
    stream = BytesIO()
    if plan.samples.dtype == np.uint8:
        _eight_bit(plan).save(stream, "PNG", **options)
        return stream.getvalue()
    import imagecodecs

    # Pillow writes no 16-bit colour; it writes the chunks beside the pixels into a tiny file.
    Image.new("L", (1, 1)).save(stream, "PNG", **options)
    beside = [
        chunk
        for kind, chunk in _chunks(stream.getvalue())
        if kind not in (b"IHDR", b"IDAT", b"IEND")
    ]
    samples = plan.samples[..., 0] if plan.samples.shape[2] == 1 else plan.samples
    deep = bytes(imagecodecs.png_encode(np.ascontiguousarray(samples), level=PNG_LEVEL))
    return deep[:33] + b"".join(beside) + deep[33:]


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, whole chunk) pairs of a PNG file."""
    chunks, position = [], 8
    while position < len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4], "big")
        chunks.append((png[position + 4 : position + 8], png[position:end]))
        position = end
    return chunks


def _jpeg(plan: _Plan, quality: int | None) -> bytes:
    options: dict[str, Any] = {"icc_profile": plan.icc_profile}
    for name, block in (("exif", plan.exif), ("xmp", plan.xmp)):
        if block and len(block) > SEGMENT_BYTES:
            logger.warning("%s of %d bytes does not fit into JPEG", name.upper(), len(block))
        elif block:
            options[name] = b"Exif\x00\x00" + block if name == "exif" else block
    if plan.source.iptc:
        options["extra"] = metadata.iptc_segment(plan.source.iptc)
    if plan.source.dpi:
        options["dpi"] = plan.source.dpi
    if quality is None:
        options |= {"qtables": _fine_tables(plan), "subsampling": "4:4:4"}
    else:
        options |= {"quality": quality, "subsampling": "4:4:4" if quality >= 90 else "4:2:0"}
    modes = {1: "L", 3: "RGB", 4: "CMYK"}
    stream = BytesIO()
    _image(plan.samples, modes[plan.samples.shape[2]]).save(stream, "JPEG", **options)
    return stream.getvalue()


def _fine_tables(plan: _Plan) -> list[list[int]]:
    """Luma and chroma tables, each step the finest of quality 95's and the source's."""
    luma, chroma = (np.asarray(table) for table in standard_tables(QUALITY))
    jpeg = plan.source.jpeg
    if jpeg is not None:
        luma = np.minimum(luma, jpeg.tables[0])
        chroma = np.minimum(chroma, np.min(jpeg.tables[1:] or jpeg.tables[:1], axis=0))
    tables = [luma, chroma] if plan.samples.shape[2] == 3 else [luma]
    return [np.maximum(table, 1).tolist() for table in tables]


def _webp(plan: _Plan, quality: int | None) -> bytes:
    lossless = quality is None and plan.source.lossless
    channels = plan.samples.shape[2]
    samples = plan.samples
    if channels < 3:
        samples = np.concatenate([np.repeat(samples[..., :1], 3, axis=2), samples[..., 1:]], axis=2)
    options: dict[str, Any] = {
        "lossless": lossless,
        "quality": 80 if lossless else quality or QUALITY,
        "exact": True,
        "icc_profile": plan.icc_profile or b"",
        "exif": plan.exif or b"",
        "xmp": plan.xmp or b"",
    }
    stream = BytesIO()
    _image(samples, "RGBA" if plan.alpha else "RGB").save(stream, "WEBP", **options)
    return stream.getvalue()


def _bmp(plan: _Plan) -> bytes:
    stream = BytesIO()
    _eight_bit(plan).save(stream, "BMP", **({"dpi": plan.source.dpi} if plan.source.dpi else {}))
    return stream.getvalue()


def _tiff(plan: _Plan) -> bytes:
    samples, palette = plan.samples, None
    if plan.bilevel and not plan.alpha:
        samples = samples[..., 0] > 0
    elif plan.palette and not plan.alpha and samples.dtype == np.uint8:
        indexed = _indexed(samples)
        if indexed is not None:
            samples = indexed[0]
            palette = np.zeros((256, 3), dtype=np.uint8)
            palette[: len(indexed[1])] = indexed[1]
    return encode_tiff(
        samples,
        inks=plan.inks,
        alpha=plan.alpha,
        palette=palette,
        icc_profile=plan.icc_profile,
        exif=plan.exif,
        xmp=plan.xmp,
        iptc=plan.source.iptc,
        dpi=plan.source.dpi,
    )
