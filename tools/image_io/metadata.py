"""EXIF, XMP and IPTC: kept byte for byte, but for what turning and resizing made untrue.

EXIF is patched in place instead of parsed and written again, because maker notes point to absolute
places in it and break when it is rebuilt.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, NamedTuple

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

__all__ = [
    "DESCRIPTIVE_TAGS",
    "exif_described",
    "exif_directories",
    "exif_from_tiff",
    "exif_orientation",
    "iptc_segment",
    "placeholder",
    "stripped_prefix",
    "upright_exif",
    "upright_xmp",
    "with_directories",
    "xmp_orientation",
]

ORIENTATION: Final = 0x0112
EXIF_POINTER: Final = 0x8769
GPS_POINTER: Final = 0x8825
INTEROP_POINTER: Final = 0xA005
IPTC_RESOURCE: Final = 0x0404

DESCRIPTIVE_TAGS: Final = (
    *(0x010D, 0x010E, 0x010F, 0x0110),  # document name, description, make, model
    *(0x0131, 0x0132, 0x013B, 0x013C),  # software, date, artist, host
    *(0x4746, 0x4749, 0x8298),  # rating, rating percent, copyright
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # Windows title, comment, author, keywords, subject
)
"""Tags of a TIFF's first directory that describe the photo and not how it is stored."""

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>\s*))([1-8])")
_ASCII, _SHORT, _LONG = 2, 3, 4


class _Entry(NamedTuple):
    position: int
    tag: int
    kind: int
    values: int


def stripped_prefix(exif: bytes | None) -> bytes | None:
    """The EXIF block without the prefix some formats put before it; None when empty."""
    if exif is None:
        return None
    return re.sub(rb"^(Exif\x00\x00)+", b"", exif) or None


def exif_orientation(exif: bytes | None) -> int | None:
    """The orientation 1..8, None where the block does not say."""
    if exif is None:
        return None
    try:
        order, first = _header(exif)
        for entry in _entries(exif, order, first):
            if entry.tag == ORIENTATION and entry.kind == _SHORT:
                (value,) = struct.unpack_from(f"{order}H", exif, entry.position + 8)
                return int(value) if 1 <= value <= 8 else None
    except (struct.error, ValueError):
        return None
    return None


def xmp_orientation(xmp: bytes | None) -> int | None:
    """The orientation an XMP packet states."""
    found = _XMP_ORIENTATION.search(xmp) if xmp else None
    return int(found[2]) if found else None


def upright_xmp(xmp: bytes | None) -> bytes | None:
    """The packet with orientation 1; its length stays."""
    return None if xmp is None else _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def upright_exif(exif: bytes | None, *, width: int, height: int) -> bytes | None:
    """The block with orientation 1, the new size, and without the thumbnail.

    The thumbnail shows the unrestored photo, turned as the file was; its directory is unlinked.

    Returns:
        None for a block that cannot be read: it might turn the picture a second time.
    """
    if exif is None:
        return None
    block = bytearray(exif)
    try:
        order, first = _header(exif)
        wanted = {ORIENTATION: 1, 0x0100: width, 0x0101: height}
        end = _patch(block, order, first, wanted)
        struct.pack_into(f"{order}I", block, end, 0)
        for entry in _entries(exif, order, first):
            if entry.tag == EXIF_POINTER and entry.kind == _LONG:
                (offset,) = struct.unpack_from(f"{order}I", exif, entry.position + 8)
                _patch(block, order, offset, {0xA002: width, 0xA003: height})
    except (struct.error, ValueError):
        return None
    return bytes(block)


def _header(exif: bytes) -> tuple[str, int]:
    orders = {b"II*\x00": "<", b"MM\x00*": ">"}
    order = orders.get(exif[:4])
    if order is None:
        raise ValueError("no TIFF header")
    (first,) = struct.unpack_from(f"{order}I", exif, 4)
    return order, int(first)


def _entries(exif: bytes | bytearray, order: str, offset: int) -> Iterator[_Entry]:
    (count,) = struct.unpack_from(f"{order}H", exif, offset)
    for index in range(count):
        position = offset + 2 + 12 * index
        tag, kind, values = struct.unpack_from(f"{order}HHI", exif, position)
        yield _Entry(position, tag, kind, values)


def _patch(block: bytearray, order: str, offset: int, wanted: dict[int, int]) -> int:
    """Set single integers of a directory; returns where its link to the next one lies."""
    (count,) = struct.unpack_from(f"{order}H", block, offset)
    for entry in _entries(block, order, offset):
        value = wanted.get(entry.tag)
        if value is None or entry.values != 1:
            continue
        if entry.kind == _SHORT and value < 1 << 16:
            struct.pack_into(f"{order}HH", block, entry.position + 8, value, 0)
        elif entry.kind == _LONG:
            struct.pack_into(f"{order}I", block, entry.position + 8, value)
    return int(offset + 2 + 12 * count)


def exif_from_tiff(data: bytes) -> bytes | None:
    """An EXIF block with the descriptive, EXIF and GPS tags of a TIFF file (not BigTIFF)."""
    source = Image.Exif()
    source.load_from_fp(BytesIO(data))
    return exif_described(source)


def exif_described(source: Image.Exif) -> bytes | None:
    """An EXIF block with the tags that describe a photo, without those that describe a TIFF."""
    first = {tag: source[tag] for tag in (*DESCRIPTIVE_TAGS, ORIENTATION) if tag in source}
    directories = _subdirectories(source)
    if not first and not directories:
        return None
    first |= dict.fromkeys((placeholder(pointer) for pointer in directories), 0)
    block = b"II*\x00" + struct.pack("<I", 8) + _directory(first, group=None, offset=8)
    return with_directories(block, directories)


def exif_directories(exif: bytes) -> tuple[dict[int, Any], dict[int, dict[int, Any]]]:
    """The descriptive tags, and the sub-directories by the tag that points to them."""
    source = Image.Exif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of each damaged tag it skips
        source.load(exif)
        descriptive = {tag: source[tag] for tag in DESCRIPTIVE_TAGS if tag in source}
        return descriptive, _subdirectories(source)


def _subdirectories(source: Image.Exif) -> dict[int, dict[int, Any]]:
    directories: dict[int, dict[int, Any]] = {}
    for pointer in (EXIF_POINTER, GPS_POINTER):
        values = dict(source.get_ifd(pointer)) if pointer in source else {}
        if INTEROP_POINTER in values:
            values[INTEROP_POINTER] = dict(source.get_ifd(ExifTags.IFD.Interop))
        if values:
            directories[pointer] = values
    return directories


def placeholder(pointer: int) -> int:
    """The tag under which a pointer waits for `with_directories`; tifffile refuses the real one."""
    return pointer - 1


def with_directories(block: bytes, directories: dict[int, dict[int, Any]]) -> bytes:
    """Append sub-directories to a little-endian TIFF or EXIF block.

    Its first directory holds a LONG under the `placeholder` of each pointer.
    """
    result = bytearray(block)
    _, first = _header(block)
    places = {entry.tag: entry.position for entry in _entries(block, "<", first)}
    for pointer, values in directories.items():
        result.extend(b"\x00" * (len(result) % 2))
        offset = len(result)
        result.extend(_directory(values, group=pointer, offset=offset))
        position = places[placeholder(pointer)]
        struct.pack_into("<HHII", result, position, pointer, _LONG, 1, offset)
    return bytes(result)


def _directory(values: dict[int, Any], *, group: int | None, offset: int) -> bytes:
    """A little-endian directory as it lies at `offset`."""
    directory = ImageFileDirectory_v2(prefix=b"II", group=group)
    for tag, value in values.items():
        if isinstance(value, str):
            # Pillow reads text as Latin-1 but writes ASCII; bytes keep names in UTF-8 whole.
            directory.tagtype[tag] = _ASCII
            value = value.encode("latin-1", "replace")
        elif tag == placeholder(EXIF_POINTER) or tag == placeholder(GPS_POINTER):
            directory.tagtype[tag] = _LONG
        directory[tag] = value
    return directory.tobytes(offset)


def iptc_segment(iptc: bytes) -> bytes:
    """IPTC records as the JPEG segment that holds them; b"" when they are too long for one."""
    padding = b"\x00" * (len(iptc) % 2)
    resource = b"8BIM" + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + padding
    payload = b"Photoshop 3.0\x00" + resource
    if len(payload) > 65533:
        return b""
    return b"\xff\xed" + struct.pack(">H", len(payload) + 2) + payload
