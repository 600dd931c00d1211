"""Which format some bytes or a file name mean, and what each format can hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from conservator.restorers.errors import NotAnImageError, UnknownNameError

__all__ = ["READABLE", "WRITABLE", "Format", "recognised", "target_format"]


@dataclass(frozen=True)
class Format:
    """What a format we write can hold.

    Attributes:
        name: as Pillow calls it.
        alpha: a transparency channel.
        deep: 16-bit samples.
        floats: float32 samples.
        grey: a single channel, so also a grey profile.
        cmyk: four inks.
        profile: an embedded ICC profile.
        max_side: longest side in px.
    """

    name: str
    alpha: bool = True
    deep: bool = False
    floats: bool = False
    grey: bool = True
    cmyk: bool = False
    profile: bool = True
    max_side: int = 1 << 30


_JPEG = Format("JPEG", alpha=False, cmyk=True, max_side=65500)
_PNG = Format("PNG", deep=True)
_TIFF = Format("TIFF", deep=True, floats=True, cmyk=True)
_WEBP = Format("WEBP", grey=False, max_side=16383)
_BMP = Format("BMP", alpha=False, profile=False, max_side=32767)

WRITABLE = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".png": _PNG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".webp": _WEBP,
    ".bmp": _BMP,
}
"""Formats by file name suffix, in lower case."""

READABLE = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF")

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)
_FOREIGN = (
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"v/1\x01", "OpenEXR"),
    (b"FUJIFILMCCD-RAW", "a camera raw file"),
)
_RAW_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *(
            "3fr",
            "arw",
            "cr2",
            "cr3",
            "crw",
            "dcr",
            "dng",
            "erf",
            "fff",
            "iiq",
            "kdc",
            "mef",
            "mos",
        ),
        *(
            "mrw",
            "nef",
            "nrw",
            "orf",
            "pef",
            "raf",
            "raw",
            "rw2",
            "rwl",
            "sr2",
            "srf",
            "srw",
            "x3f",
        ),
    )
)


def recognised(data: bytes, name: str) -> str:
    """The format of a file's bytes, one of `READABLE`.

    Args:
        data: the bytes, at least the first 512 of them.
        name: the file's name, for camera raw suffixes and for the message.

    Raises:
        NotAnImageError: empty, text, or a format that is not read; the message says which.
    """
    if not data:
        raise NotAnImageError(f"{name}: the file is empty; copy it again from its source")
    if PurePath(name).suffix.lower() in _RAW_SUFFIXES or data[8:10] == b"CR":
        # Most raw files are TIFFs whose first picture is a thumbnail: reading that would be worse
        # than reading nothing.
        raise NotAnImageError(f"{name}: a camera raw file; develop it to TIFF or JPEG first")
    if _is_text(data[:512]):
        raise NotAnImageError(f"{name}: a text file, not a picture; pass {_readable()}")
    for signature, found in _SIGNATURES:
        if data.startswith(signature):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        if data[8:12] in (b"avif", b"avis"):
            return "AVIF"
        raise NotAnImageError(f"{name}: HEIC or a video; export it as JPEG, PNG or TIFF first")
    for signature, foreign in _FOREIGN:
        if data.startswith(signature):
            raise NotAnImageError(f"{name}: {foreign}; export it as JPEG, PNG or TIFF first")
    raise NotAnImageError(f"{name}: not a picture in a known format; pass {_readable()}")


def target_format(suffix: str) -> Format:
    """The format to write for a suffix such as ".png", in any case.

    Raises:
        UnknownNameError: a suffix that is not written.
    """
    found = WRITABLE.get(suffix.lower())
    if found is None:
        raise UnknownNameError("output suffix", suffix, tuple(WRITABLE))
    return found


def _readable() -> str:
    return ", ".join(READABLE[:-1]) + f" or {READABLE[-1]}"


def _is_text(head: bytes) -> bool:
    """Whether all of it is printable UTF-8; picture files start with control bytes."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The cut at 512 bytes may split the last character.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text)
