"""Reading what is missing, damaged, hostile or no picture: one typed error, in little time and memory."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from conservator.restorers.errors import (
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    MissingFileError,
    NotAnImageError,
)
from conservator.tools.image_io import Limits, Picture, decode, load
from made_pictures import astronaut, file_bytes, tiff_bytes


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return astronaut()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(64)))
        + chunk(b"IEND", b"")
    )


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        load(tmp_path / "nothing.png")
    with pytest.raises(MissingFileError, match="a directory"):
        load(tmp_path)
    with pytest.raises(MissingFileError, match="not a regular file"):
        load("/dev/zero")
    with pytest.raises(MissingFileError):
        load(tmp_path / "x.png" / "y.png")
    with pytest.raises(MissingFileError):
        load("a\x00b.png")
    with pytest.raises(MissingFileError):
        load(tmp_path / ("n" * 300 + ".png"))
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(MissingFileError):
        load(loop)


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.png"
    os.mkfifo(fifo)
    with pytest.raises(MissingFileError, match="not a regular file"):
        load(fifo)


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(file_bytes(Image.new("L", (2, 2)), "PNG"))
    path.chmod(0o000)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match="no permission"):
            load(path)
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello, this is no picture\n", "text file"),
        ("größe ist egal\n".encode() * 60, "text file"),
        (b"BMW is a car maker and this is prose", "text file"),
        (b"<html><body>404</body></html>", "text file"),
        (bytes(2000), "known format"),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3" + bytes(100), "PDF"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), "HEIC"),
        (b"8BPS\x00\x01" + bytes(100), "Photoshop"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(100), "camera raw"),
    ],
)
def test_not_an_image(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "named.jpg"
    path.write_bytes(data)
    with pytest.raises(NotAnImageError, match=says) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert "named.jpg" in str(caught.value)


def test_camera_raw_is_not_read_as_its_thumbnail(photo: np.ndarray, tmp_path: Path) -> None:
    thumbnail = tiff_bytes(photo, photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0), True)])
    with pytest.raises(NotAnImageError, match="camera raw"):
        decode(thumbnail)
    path = tmp_path / "dsc_0001.NEF"
    path.write_bytes(tiff_bytes(photo, photometric="rgb"))
    with pytest.raises(NotAnImageError, match="camera raw"):
        load(path)


@pytest.fixture(scope="module")
def files(photo: np.ndarray) -> dict[str, bytes]:
    image = Image.fromarray(np.tile(photo, (4, 4, 1)))
    deep = np.asarray(image).astype(np.uint16) * 257
    return {
        "jpeg": file_bytes(image, "JPEG"),
        "progressive": file_bytes(image, "JPEG", progressive=True),
        "png": file_bytes(image, "PNG"),
        "png16": bytes(imagecodecs.png_encode(deep)),
        "tiff": file_bytes(image, "TIFF"),
        "tiff_lzw": file_bytes(image, "TIFF", compression="tiff_lzw"),
        "tiff16": tiff_bytes(deep, photometric="rgb"),
        "tiff16_zlib": tiff_bytes(deep, photometric="rgb", compression="zlib"),
        "float": tiff_bytes((deep / 65535).astype(np.float32), photometric="rgb"),
        "webp": file_bytes(image, "WEBP"),
        "bmp": file_bytes(image, "BMP"),
        "gif": file_bytes(image.quantize(64), "GIF"),
        "avif": file_bytes(image, "AVIF"),
    }


KINDS = ["jpeg", "progressive", "png", "png16", "tiff", "tiff_lzw", "tiff16", "tiff16_zlib", "float",
         "webp", "bmp", "gif", "avif"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files(files: dict[str, bytes], kind: str, share: float) -> None:
    data = files[kind]
    assert decode(data).width == 244
    with pytest.raises((CorruptImageError, NotAnImageError)) as caught:
        decode(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)


def test_tiff_with_missing_strips(photo: np.ndarray) -> None:
    """Cut between two strips: what is there decodes, and the rest must not become black."""
    image = np.tile(photo, (4, 4, 1))
    data = tiff_bytes(image, photometric="rgb", compression="zlib", rowsperstrip=8)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offsets = file.pages.first.dataoffsets
        tags = file.pages.first.tags
        height, place = tags["ImageLength"].value, tags["ImageLength"].valueoffset
    assert len(offsets) > 5
    with pytest.raises(CorruptImageError, match="end of the file"):
        decode(data[: offsets[5]])
    taller = bytearray(data)
    taller[place : place + 2] = struct.pack("<H", 2 * height)
    with pytest.raises(CorruptImageError, match="strips instead of"):
        decode(bytes(taller))


def test_truncation_is_seen_although_a_library_switched_it_off(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for kind in ("jpeg", "png", "bmp"):
        with pytest.raises(CorruptImageError):
            decode(files[kind][: len(files[kind]) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


def big_headers() -> dict[str, bytes]:
    small = {form: file_bytes(Image.new("L", (8, 8)), form) for form in ("JPEG", "GIF", "BMP")}
    jpeg = bytearray(small["JPEG"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 40000, 40000)
    gif = bytearray(small["GIF"])
    gif[6:10] = struct.pack("<HH", 40000, 40000)
    bmp = bytearray(small["BMP"])
    bmp[18:26] = struct.pack("<ii", 40000, 40000)
    tags = [(256, 4, 40000), (257, 4, 40000), (258, 3, 16), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, 40000), (279, 4, 64)]
    tiff = b"II*\x00" + struct.pack("<IH", 8, len(tags))
    tiff += b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    ) + bytes(4)
    return {
        "png": png_header(40000, 40000),
        "jpeg": bytes(jpeg),
        "gif": bytes(gif),
        "bmp": bytes(bmp),
        "tiff": tiff,
    }


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "bmp", "tiff"])
def test_huge_headers_are_refused_before_decoding(kind: str) -> None:
    with pytest.raises(ImageTooLargeError, match="40000x40000 is 1600 megapixels"):
        decode(big_headers()[kind])


BOMB = """
import resource, sys
from conservator.restorers.errors import ImageTooLargeError
from conservator.tools.image_io import load
resource.setrlimit(resource.RLIMIT_AS, (1500 << 20, 1500 << 20))
try:
    load(sys.argv[1])
except ImageTooLargeError as error:
    print(error)
"""


def test_a_huge_header_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(40000, 40000))
    search = os.pathsep.join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, "-c", BOMB, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"},
    )
    assert "1600 megapixels" in run.stdout


def test_limits_are_configurable(files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(files["png"])
    picture = load(path)
    pixels = picture.width * picture.height
    assert load(path, limits=Limits(max_pixels=pixels)).width == picture.width
    with pytest.raises(ImageTooLargeError, match="max_pixels"):
        load(path, limits=Limits(max_pixels=pixels - 1))
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        load(path, limits=Limits(max_bytes=len(files["png"]) - 1))
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        decode(files["png"], limits=Limits(max_bytes=100))


def test_more_pixels_than_pillow_allows_when_the_limit_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pillow's global limit neither stops nor warns; ours decides."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert decode(file_bytes(Image.new("L", (50, 50)), "PNG")).width == 50


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.int16), np.zeros((4, 4), np.uint32), np.zeros((4, 4, 7), np.uint16)],
)
def test_scientific_tiffs_are_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(InputError):
        decode(
            tiff_bytes(
                array, photometric="minisblack", planarconfig="contig" if array.ndim == 3 else None
            )
        )


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(KINDS),
    hits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    header=st.booleans(),
    cut=st.floats(0.5, 1),
)
def test_damaged_files_never_raise_anything_else(
    files: dict[str, bytes], kind: str, hits: list[tuple[float, int]], header: bool, cut: float
) -> None:
    data = bytearray(files[kind])
    span = min(len(data), 200) if header else len(data)
    for place, value in hits:
        data[int(place * (span - 1))] = value
    try:
        picture = decode(bytes(data[: int(len(data) * cut)]), limits=Limits(max_pixels=1_000_000))
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(picture, Picture)
        assert picture.pixels.dtype == np.float32
        assert picture.pixels.min() >= 0
        assert picture.pixels.max() <= 1


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\x00",
       b"MM\x00*", b"GIF89a", b"BM", b"RIFF\x00\x01\x00\x00WEBP", b"\x00\x00\x00\x20ftypavif"]))  # fmt: skip
def test_random_bytes_are_refused(body: bytes, start: bytes) -> None:
    with pytest.raises(InputError):
        decode(start + body)
