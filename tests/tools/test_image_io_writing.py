"""Writing: the same kind of file comes out, completely or not at all, and never over the input."""

import io
import os
import re
import resource
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import skimage.data
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin

from conservator.restorers.errors import (
    OutputError,
    RestorerError,
    UnknownNameError,
    UsageError,
)
from conservator.tools.image_io import (
    Picture,
    decode,
    default_output,
    encoded,
    from_array,
    from_pil,
    load,
    quantise,
    save,
    write_atomically,
)
from conservator.tools.image_io.formats import WRITABLE
from conservator.tools.image_io.picture import Depth, standard_tables

LOSSLESS = [".png", ".tif", ".bmp", ".webp"]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[50:146, 100:228])  # type: ignore[no-untyped-call]


@pytest.fixture
def source(photo: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, quality=85)
    return path


def darker(picture: Picture) -> Picture:
    return picture.with_pixels(picture.pixels * 0.75)


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


# ── what comes out ────────────────────────────────────────────────────────────


@settings(max_examples=150, deadline=None)
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA"]),
    suffix=st.sampled_from(LOSSLESS),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 1000),
)
def test_eight_bit_round_trip_is_lossless(
    mode: str, suffix: str, size: tuple[int, int], seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 4), dtype=np.uint8)
    image = Image.fromarray(noise).convert("RGB") if mode == "P" else Image.fromarray(noise)
    image = image.convert(mode)
    picture = from_pil(image)
    back = decode(encoded(picture, suffix))
    if picture.alpha is not None and suffix == ".bmp":
        paper = 1 + (picture.pixels - 1) * picture.alpha[..., None]
        assert np.abs(back.pixels - paper).max() < 0.51 / 255
        return
    assert np.array_equal(back.pixels, picture.pixels)
    assert (back.alpha is None) == (picture.alpha is None)
    if picture.alpha is not None:
        assert back.alpha is not None
        assert np.array_equal(back.alpha, picture.alpha)
    if suffix != ".webp":
        assert back.mode == mode


@settings(max_examples=100, deadline=None)
@given(
    depth=st.sampled_from(["uint16", "float32"]),
    channels=st.sampled_from([1, 3, 4]),
    suffix=st.sampled_from([".png", ".tif"]),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 1000),
)
def test_deep_round_trip_is_lossless(
    depth: str, channels: int, suffix: str, size: tuple[int, int], seed: int
) -> None:
    array = np.random.default_rng(seed).random((*size, channels))
    array = (array * 65535).astype(np.uint16) if depth == "uint16" else array.astype(np.float32)
    picture = from_array(array)
    back = decode(encoded(picture, suffix))
    exact = depth == "uint16" or suffix == ".tif"
    assert back.depth == (depth if exact else "uint16")
    assert back.mode == picture.mode
    assert np.abs(back.pixels - picture.pixels).max() <= (0 if exact else 0.51 / 65535)
    if picture.alpha is not None:
        assert back.alpha is not None
        assert np.abs(back.alpha - picture.alpha).max() <= (0 if exact else 0.51 / 65535)


@pytest.mark.parametrize("suffix", sorted(WRITABLE))
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_goes_into_every_format(photo: np.ndarray, mode: str, suffix: str) -> None:
    picture = from_pil(Image.fromarray(photo).convert(mode))
    back = quantise(picture, suffix)
    assert (back.height, back.width) == (picture.height, picture.width)
    error = np.abs(back.pixels - picture.pixels).mean()
    # JPEG at quality 95 rings around the hard edges of a bilevel or dithered picture.
    limit = 0.03 if suffix in (".jpg", ".jpeg", ".jpe", ".jfif") else 1.1 / 255
    assert error < limit


def test_what_is_scored_is_what_is_saved(source: Path, tmp_path: Path) -> None:
    picture = darker(load(source))
    for suffix in sorted(WRITABLE):
        out = save(picture, tmp_path / f"out{suffix}")
        assert out.read_bytes() == encoded(picture, suffix)
        assert np.array_equal(load(out).pixels, quantise(picture, suffix).pixels)
        assert not quantise(picture, suffix).pristine


def test_an_untouched_picture_is_copied_byte_for_byte(source: Path, tmp_path: Path) -> None:
    picture = load(source)
    assert save(picture, tmp_path / "copy.jpg").read_bytes() == source.read_bytes()
    same = picture.with_pixels(picture.pixels.astype(np.float64))
    assert same is picture
    assert encoded(picture, ".JPEG") == source.read_bytes()
    assert encoded(darker(picture), ".jpg") != source.read_bytes()
    assert encoded(picture, ".jpg", quality=85)[:2] == b"\xff\xd8"
    assert decode(encoded(picture, ".png")).format == "PNG"
    before = picture.pixels
    Image.new("RGB", (5, 5)).save(source)
    assert np.abs(decode(encoded(picture, ".jpg")).pixels - before).mean() < 0.02


def test_grey_stays_grey_though_the_restorer_tinted_it(photo: np.ndarray) -> None:
    picture = from_array(photo[..., 0])
    tinted = picture.pixels.copy()
    tinted[..., 0] = np.minimum(tinted[..., 0] + 0.02, 1)
    for suffix in (".png", ".jpg", ".tif", ".bmp"):
        back = quantise(picture.with_pixels(tinted), suffix)
        assert back.mode == "L"
        assert np.abs(back.pixels - picture.pixels).mean() < 0.02


def test_palette_is_kept_only_while_it_is_lossless(photo: np.ndarray) -> None:
    picture = from_pil(Image.fromarray(photo).quantize(64))
    for suffix in (".png", ".tif", ".bmp"):
        with Image.open(io.BytesIO(encoded(picture, suffix))) as image:
            assert image.mode == "P"
        restored = picture.with_pixels(photo / 255)
        back = quantise(restored, suffix)
        assert back.mode == "RGB"
        assert np.abs(back.pixels - restored.pixels).max() < 0.51 / 255


def test_bilevel_is_kept_only_while_it_is_bilevel() -> None:
    picture = from_pil(Image.new("1", (9, 5), 1))
    grey = picture.with_pixels(picture.pixels * 0.5)
    for suffix in (".png", ".tif", ".bmp"):
        assert quantise(picture, suffix).mode == "1"
        assert quantise(grey, suffix).mode == "L"


def test_transparency_goes_on_white_paper_where_there_is_none() -> None:
    array = np.zeros((2, 2, 4), np.uint8)
    array[0, 0] = (255, 0, 0, 255)
    for suffix in (".bmp", ".jpg"):
        back = quantise(from_array(np.kron(array, np.ones((8, 8, 1), np.uint8))), suffix)
        assert back.alpha is None
        assert np.abs(back.pixels[:8, :8] - (1, 0, 0)).max() < 0.02
        assert np.abs(back.pixels[8:, 8:] - 1).max() < 0.02


def test_floats_keep_their_scale_and_highlights() -> None:
    array = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32) * 3
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, photometric="rgb")
    picture = decode(stream.getvalue())
    stored = tifffile.imread(io.BytesIO(encoded(picture, ".tif")))
    assert stored.dtype == np.float32
    assert np.allclose(stored, array, rtol=1e-6)


def test_larger_pixels_take_the_alpha_along() -> None:
    array = np.zeros((8, 6, 4), np.uint8)
    array[:, :3, 3] = 255
    picture = from_array(array).with_pixels(np.zeros((32, 24, 3)))
    assert picture.alpha is not None
    assert picture.alpha.shape == (32, 24)
    assert picture.alpha[:, :8].min() > 0.99
    assert picture.alpha[:, 16:].max() < 0.01
    assert quantise(picture, ".png").alpha is not None


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4)),
        np.zeros((4, 4, 4)),
        np.zeros((0, 4, 3)),
        np.zeros((4, 4, 3), np.uint8),
        np.full((4, 4, 3), np.nan),
    ],
)
def test_pixels_that_no_restorer_should_return(pixels: np.ndarray) -> None:
    with pytest.raises(RestorerError, match="restored pixels"):
        from_array(np.zeros((4, 4, 3))).with_pixels(pixels)


def test_pixels_beyond_the_range_are_clipped() -> None:
    picture = from_array(np.full((2, 2, 3), 0.5)).with_pixels(np.array([[[-1.0, 0.5, 2.0]]]))
    assert picture.pixels.tolist() == [[[0.0, 0.5, 1.0]]]


# ── JPEG and WebP quality ─────────────────────────────────────────────────────


@pytest.mark.parametrize("quality", [20, 85, 95, 98, 100])
def test_jpeg_is_never_quantised_more_coarsely(photo: np.ndarray, quality: int) -> None:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "JPEG", quality=quality)
    before = decode(stream.getvalue())
    after = quantise(darker(before), ".jpg")
    assert before.jpeg is not None
    assert after.jpeg is not None
    assert after.jpeg.subsampling == "4:4:4"
    for new, old, fine in zip(
        after.jpeg.tables, before.jpeg.tables, standard_tables(95), strict=True
    ):
        assert new == tuple(np.minimum(old, fine))
    error = after.pixels - darker(before).pixels
    assert 10 * np.log10(1 / np.mean(error**2)) > 40


def test_jpeg_quality_can_be_named(photo: np.ndarray) -> None:
    picture = from_array(photo)
    for quality, subsampling in ((50, "4:2:0"), (92, "4:4:4")):
        jpeg = quantise(picture, ".jpg", quality=quality).jpeg
        assert jpeg is not None
        assert (jpeg.quality, jpeg.subsampling) == (quality, subsampling)
    for quality in (0, 101, -5):
        with pytest.raises(UsageError, match=str(quality)):
            encoded(picture, ".jpg", quality=quality)


def test_noise_at_the_highest_quality_still_encodes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    picture = from_array(noise)
    assert np.abs(quantise(picture, ".jpg", quality=100).pixels - picture.pixels).mean() < 1 / 255


def test_webp_follows_the_coding_of_its_source(photo: np.ndarray) -> None:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "WEBP", quality=80)
    lossy = decode(stream.getvalue())
    assert not quantise(darker(lossy), ".webp").lossless
    assert quantise(from_array(photo), ".webp").lossless
    assert not quantise(from_array(photo), ".webp", quality=90).lossless


def test_the_grid_is_invalid_once_pixels_change(source: Path) -> None:
    picture = load(source)
    assert picture.jpeg is not None
    assert picture.jpeg.grid_valid
    changed = darker(picture).jpeg
    assert changed is not None
    assert not changed.grid_valid


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16384), (".jpg", 65501), (".bmp", 32768)])
def test_sides_a_format_cannot_hold(suffix: str, side: int) -> None:
    with pytest.raises(OutputError, match="too large"):
        encoded(from_array(np.zeros((1, side), np.uint8)), suffix)


# ── metadata ──────────────────────────────────────────────────────────────────


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


# ── putting it in place ───────────────────────────────────────────────────────


def test_the_input_is_never_overwritten_unless_asked(source: Path) -> None:
    before = source.read_bytes()
    picture = darker(load(source))
    link = source.with_name("link.jpg")
    link.symlink_to(source)
    for target in (source, link, source.parent / "." / "photo.jpg"):
        with pytest.raises(OutputError, match="is the input"):
            save(picture, target)
    with pytest.raises(OutputError, match="is the input"):
        save(from_array(np.zeros((2, 2, 3))), source, source=source)
    assert source.read_bytes() == before
    assert save(picture, source, overwrite=True) == source
    assert source.read_bytes() != before
    assert names(source.parent) == ["link.jpg", "photo.jpg"]


def test_an_existing_file_is_never_overwritten_unless_asked(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious.png"
    target.write_bytes(b"precious")
    target.chmod(0o600)
    picture = load(source)
    with pytest.raises(OutputError, match="exists"):
        save(picture, target)
    assert target.read_bytes() == b"precious"
    save(picture, target, overwrite=True)
    assert load(target).format == "PNG"
    assert target.stat().st_mode & 0o777 == 0o600
    dangling = tmp_path / "dangling.png"
    dangling.symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(OutputError, match="exists"):
        save(picture, dangling)


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"

    def chunks() -> Iterator[bytes]:
        yield b"ours"
        target.write_bytes(b"theirs")
        yield b"ours"

    with pytest.raises(OutputError, match="exists"):
        write_atomically(target, chunks())
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, RuntimeError])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, interruption: type[BaseException], overwrite: bool
) -> None:
    target = tmp_path / "out.bin"
    if overwrite:
        target.write_bytes(b"before")
    seen: list[str] = []

    def chunks() -> Iterator[bytes]:
        yield b"half of it"
        seen.extend(names(tmp_path))
        raise interruption

    with pytest.raises(interruption):
        write_atomically(target, chunks(), overwrite=overwrite)
    assert any(re.fullmatch(r"\..*\.part", name) for name in seen)
    assert names(tmp_path) == (["out.bin"] if overwrite else [])
    assert not overwrite or target.read_bytes() == b"before"


def test_a_full_disk_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    """The limit on file size makes the kernel refuse in the middle, as a full disk does."""
    folder = tmp_path / "full"
    folder.mkdir()
    picture = from_array(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            save(picture, folder / "out.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(folder) == []


def test_folders_that_cannot_be_written(source: Path, tmp_path: Path) -> None:
    picture = load(source)
    with pytest.raises(OutputError, match="not a folder"):
        save(picture, source / "out.png")
    with pytest.raises(OutputError, match="not a folder"):
        save(picture, tmp_path / "missing" / "out.png")
    with pytest.raises(OutputError, match="cannot be written"):
        save(picture, "/proc/out.png")
    with pytest.raises(OutputError, match="cannot be written"):
        save(picture, tmp_path / ("n" * 300 + ".png"))
    with pytest.raises(OutputError):
        save(picture, tmp_path / "a\x00b.png")
    folder = tmp_path / "folder.png"
    folder.mkdir()
    with pytest.raises(OutputError, match="not a regular file"):
        save(picture, folder, overwrite=True)
    with pytest.raises(OutputError, match="not a regular file"):
        write = tmp_path / "null.png"
        write.symlink_to(os.devnull)
        save(picture, write, overwrite=True)


@pytest.mark.parametrize("name", ["out", "out.gif", "out.xyz", "out.png.part", ".png"])
def test_unknown_suffixes_are_named(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"\.tiff"):
        save(load(source), tmp_path / name)
    assert names(tmp_path) == ["photo.jpg"]


def test_default_output(tmp_path: Path) -> None:
    source = tmp_path / "IMG_1.final.JPG"
    first = default_output(source)
    assert first == tmp_path / "IMG_1.final.restored.JPG"
    first.touch()
    second = default_output(str(source))
    assert second.name == "IMG_1.final.restored-2.JPG"
    second.symlink_to(tmp_path / "nowhere")
    assert default_output(source).name == "IMG_1.final.restored-3.JPG"
    assert default_output(source, "denoised").name == "IMG_1.final.denoised.JPG"
    assert default_output(tmp_path / "a.gif").name == "a.restored.png"
    assert default_output(tmp_path / "plain").name == "plain.restored.png"
