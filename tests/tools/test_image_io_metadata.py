"""Metadata: EXIF, XMP, IPTC, resolution and profile go along, but for what became untrue."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, IptcImagePlugin

from conservator.tools.image_io import Picture, decode, encoded, from_array, load
from conservator.tools.image_io.picture import Depth
from made_pictures import chelsea, darker


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return chelsea()


def camera_exif(order: str) -> bytes:
    """EXIF with a maker note that points to itself by absolute offset, and a thumbnail."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(thumbnail, "JPEG")
    shot = thumbnail.getvalue()

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        if kind == 3:
            return struct.pack(f"{order}HHIHH", tag, kind, count, value, 0)
        return struct.pack(f"{order}HHII", tag, kind, count, value)

    artist = "Zoë Müller\x00".encode()
    first, exif, second = 8, 8 + 2 + 12 * 4 + 4, 8 + 2 + 12 * 4 + 4 + 2 + 12 * 4 + 4
    data = second + 2 + 12 * 2 + 4
    places = {"artist": data, "date": data + 32, "note": data + 64, "shot": data + 96}
    block = (b"II*\x00" if order == "<" else b"MM\x00*") + struct.pack(f"{order}I", first)
    block += struct.pack(f"{order}H", 4)
    block += entry(0x0112, 3, 1, 6) + entry(0x013B, 2, len(artist), places["artist"])
    block += entry(0x4746, 3, 1, 5) + entry(0x8769, 4, 1, exif) + struct.pack(f"{order}I", second)
    block += struct.pack(f"{order}H", 4)
    block += entry(0x9003, 2, 20, places["date"]) + entry(0x927C, 7, 8, places["note"])
    block += entry(0xA002, 3, 1, 128) + entry(0xA003, 4, 1, 96) + bytes(4)
    block += struct.pack(f"{order}H", 2) + entry(0x0201, 4, 1, places["shot"])
    block += entry(0x0202, 4, 1, len(shot)) + bytes(4)
    block += artist.ljust(32, b"\x00") + b"2020:02:29 12:34:56\x00".ljust(32, b"\x00")
    block += (b"NOTE" + struct.pack(f"{order}I", places["note"])).ljust(32, b"\x00") + shot
    return block


XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)


@pytest.fixture(params=["<", ">"])
def turned(photo: np.ndarray, tmp_path: Path, request: pytest.FixtureRequest) -> Picture:
    path = tmp_path / "turned.jpg"
    exif = b"Exif\x00\x00" + camera_exif(request.param)
    Image.fromarray(photo).save(path, quality=90, exif=exif, xmp=XMP, dpi=(300, 200))
    return load(path)


def test_jpeg_keeps_exif_but_for_what_became_untrue(turned: Picture) -> None:
    assert turned.exif is not None
    assert turned.orientation == 6
    large = turned.with_pixels(np.kron(turned.pixels, np.ones((4, 4, 1))))
    back = decode(encoded(large, ".jpg"))
    assert back.exif is not None
    order = "<" if turned.exif[:2] == b"II" else ">"
    changed = [at for at in range(len(turned.exif)) if turned.exif[at] != back.exif[at]]
    assert len(back.exif) == len(turned.exif)
    # orientation, link to the thumbnail, width, height
    assert len(changed) <= 2 + 4 + 2 + 4
    parsed = Image.Exif()
    parsed.load(back.exif)
    details = parsed.get_ifd(0x8769)
    assert parsed[0x0112] == 1
    assert (details[0xA002], details[0xA003]) == (large.width, large.height) == (384, 512)
    assert details[0x9003] == "2020:02:29 12:34:56"
    (offset,) = struct.unpack(f"{order}I", details[0x927C][4:])
    assert back.exif[offset : offset + 4] == b"NOTE"
    assert not parsed.get_ifd(1)
    assert "Zoë Müller".encode() in back.exif


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_metadata_reaches_every_format_that_has_it(turned: Picture, suffix: str) -> None:
    back = decode(encoded(darker(turned), suffix))
    assert (back.height, back.width, back.orientation) == (128, 96, 1)
    assert np.abs(back.pixels - darker(turned).pixels).mean() < 0.02
    assert back.xmp == XMP.replace(b'"6"', b'"1"')
    assert back.exif is not None
    parsed = Image.Exif()
    parsed.load(back.exif)
    assert parsed[0x013B].encode("latin-1").decode() == "Zoë Müller"
    assert parsed[0x4746] == 5
    assert parsed.get_ifd(0x8769)[0x9003] == "2020:02:29 12:34:56"
    if suffix != ".webp":
        assert back.dpi == pytest.approx((200, 300), abs=0.1)


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_tiff_metadata_goes_round(turned: Picture, depth: Depth) -> None:
    picture = replace(turned, depth=depth, pristine=False, iptc=b"\x1c\x02\x50\x00\x04Anna")
    once = decode(encoded(picture, ".tif"))
    twice = decode(encoded(once, ".tiff"))
    assert once.depth == depth
    assert (twice.exif, twice.xmp, twice.iptc) == (once.exif, once.xmp, picture.iptc)
    with tifffile.TiffFile(io.BytesIO(encoded(once, ".tif"))) as file:
        assert file.pages.first.tags["ExifTag"].value["DateTimeOriginal"] == "2020:02:29 12:34:56"
    deep = decode(encoded(once, ".png"))
    assert deep.depth == depth
    assert deep.xmp == once.xmp
    assert deep.exif is not None


def test_gps_and_interoperability_survive_tiff(photo: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x829A: 0.01, 0xA005: {1: "R98"}}
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    path = tmp_path / "gps.jpg"
    Image.fromarray(photo).save(path, exif=exif)
    back = decode(encoded(decode(encoded(load(path), ".tif")), ".png"))
    assert back.exif is not None
    parsed = Image.Exif()
    parsed.load(back.exif)
    assert parsed.get_ifd(0x8825) == {1: "N", 2: (52.0, 31.0, 12.0)}
    assert parsed.get_ifd(0x8769)[0x829A] == pytest.approx(0.01)
    assert parsed.get_ifd(0xA005) == {1: "R98"}


def test_iptc_captions_are_kept(photo: np.ndarray, tmp_path: Path) -> None:
    record = b"\x1c\x02\x78\x00\x0bCaption one"
    resource_block = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(record)) + record
    payload = b"Photoshop 3.0\x00" + resource_block
    segment = b"\xff\xed" + struct.pack(">H", len(payload) + 2) + payload
    path = tmp_path / "press.jpg"
    Image.fromarray(photo).save(path, extra=segment)
    picture = load(path)
    assert picture.iptc == record
    with Image.open(io.BytesIO(encoded(darker(picture), ".jpg"))) as image:
        assert IptcImagePlugin.getiptcinfo(image) == {(2, 120): b"Caption one"}
    assert decode(encoded(picture, ".tif")).iptc == record


def test_oversized_metadata_does_not_stop_the_save(photo: np.ndarray) -> None:
    block = camera_exif("<") + bytes(70_000)
    picture = replace(from_array(photo), exif=block, xmp=XMP + b" " * 70_000, iptc=bytes(70_000))
    back = decode(encoded(picture, ".jpg"))
    assert (back.exif, back.xmp, back.iptc) == (None, None, None)
    assert decode(encoded(picture, ".png")).exif is not None


@pytest.mark.parametrize(
    "exif",
    [
        b"junk",
        b"II*\x00\xff\xff\xff\x7f",
        camera_exif("<")[:40],
        b"MM\x00*\x00\x00\x00\x08\x00\x05",
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_broken_exif_is_left_out(photo: np.ndarray, exif: bytes, suffix: str) -> None:
    picture = replace(from_array(photo), exif=exif)
    assert decode(encoded(picture, suffix)).orientation == 1


def test_deep_png_carries_the_chunks(photo: np.ndarray, turned: Picture) -> None:
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    picture = replace(turned, depth="uint16", icc_profile=profile, pristine=False)
    data = encoded(picture, ".png")
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.info["icc_profile"] == profile
        assert image.getexif()[0x0112] == 1
    back = decode(data)
    assert (back.depth, back.icc_profile) == ("uint16", profile)
    assert np.abs(back.pixels - picture.pixels).max() < 1e-3


def test_encoding_is_repeatable(turned: Picture) -> None:
    for suffix in (".png", ".jpg", ".webp", ".tif", ".bmp"):
        assert encoded(darker(turned), suffix) == encoded(darker(turned), suffix)
