"""Reading: every kind of file arrives as the same upright sRGB floats, hostile ones as typed errors."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import skimage.data
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from conservator.restorers.errors import (
    ConservatorError,
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    MissingFileError,
    NotAnImageError,
)
from conservator.tools.image_io import (
    Limits,
    Picture,
    content_hash,
    decode,
    from_array,
    from_pil,
    from_tensor,
    load,
    to_tensor,
)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """(37, 61, 3) uint8: odd sides, so that 8x8 blocks are cut off at the edges."""
    return np.ascontiguousarray(skimage.data.astronaut()[100:137, 200:261])  # type: ignore[no-untyped-call]


def file_bytes(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def tiff_bytes(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


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


# ── what arrives ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("form", "mode"),
    [(form, mode) for form in ("PNG", "TIFF") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")]
    + [("BMP", mode) for mode in ("1", "L", "P", "RGB")],
)
def test_eight_bit_modes_arrive_exactly(photo: np.ndarray, form: str, mode: str) -> None:
    image = Image.fromarray(photo)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(photo[..., 1]))
    image = image.convert(mode)
    picture = decode(file_bytes(image, form))
    assert (picture.mode, picture.depth, picture.format) == (mode, "uint8", form)
    expected = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    assert np.array_equal(picture.pixels, expected)
    if mode in ("LA", "RGBA"):
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, photo[..., 1].astype(np.float32) / 255)
    else:
        assert picture.alpha is None


def test_palette_with_transparency(photo: np.ndarray) -> None:
    image = Image.fromarray(photo).quantize(16)
    picture = decode(file_bytes(image, "PNG", transparency=3))
    assert picture.mode == "P"
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, np.asarray(image) == 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_keeps_every_bit(channels: int) -> None:
    rng = np.random.default_rng(channels)
    array = rng.integers(0, 65536, (9, 7, channels), dtype=np.uint16)
    data = imagecodecs.png_encode(array[..., 0] if channels == 1 else array)
    picture = decode(bytes(data))
    assert picture.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
    assert picture.depth == "uint16"
    colours = array[..., : 1 if channels < 3 else 3].astype(np.float64) / 65535
    assert np.abs(picture.pixels - colours).max() < 1e-7
    if channels in (2, 4):
        assert picture.alpha is not None
        assert np.abs(picture.alpha - array[..., -1] / 65535).max() < 1e-7


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "rgb"},
        {"photometric": "rgb", "compression": "lzw", "predictor": True},
        {"photometric": "rgb", "compression": "zlib", "tile": (16, 16)},
        {"photometric": "rgb", "planarconfig": "separate"},
    ],
)
def test_sixteen_bit_tiff(byteorder: str, options: dict[str, Any]) -> None:
    array = np.random.default_rng(0).integers(0, 65536, (21, 34, 3), dtype=np.uint16)
    stored = np.moveaxis(array, -1, 0) if "planarconfig" in options else array
    picture = decode(tiff_bytes(stored, byteorder=byteorder, **options))
    assert (picture.mode, picture.depth) == ("RGB", "uint16")
    assert np.array_equal(np.rint(picture.pixels * 65535), array)


def test_white_is_zero_tiff_is_inverted() -> None:
    array = np.arange(0, 60000, 1000, dtype=np.uint16).reshape(6, 10)
    picture = decode(tiff_bytes(array, photometric="miniswhite"))
    assert np.array_equal(np.rint(picture.pixels[..., 0] * 65535), 65535 - array)


def test_premultiplied_alpha_is_undone() -> None:
    straight = np.array([[[60000, 30000, 10000, 32768]]], dtype=np.float64)
    stored = straight.copy()
    stored[..., :3] *= stored[..., 3:] / 65535
    data = tiff_bytes(
        np.rint(stored).astype(np.uint16), photometric="rgb", extrasamples=["assocalpha"]
    )
    picture = decode(data)
    assert picture.alpha is not None
    assert np.abs(picture.pixels * 65535 - straight[..., :3]).max() < 2
    assert abs(float(picture.alpha[0, 0]) - 32768 / 65535) < 1e-6


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_saved_selection_is_not_transparency(dtype: type) -> None:
    array = np.zeros((4, 4, 4), dtype)
    picture = decode(tiff_bytes(array, photometric="rgb", extrasamples=["unspecified"]))
    assert (picture.mode, picture.alpha) == ("RGB", None)


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"]
)
def test_compressed_tiffs(photo: np.ndarray, compression: str | None) -> None:
    picture = decode(file_bytes(Image.fromarray(photo), "TIFF", compression=compression))
    limit = 0.1 if compression == "jpeg" else 0
    assert np.abs(picture.pixels - photo.astype(np.float32) / 255).mean() <= limit


def test_float_highlights_are_kept_beside_the_pixels() -> None:
    array = np.full((4, 5, 3), 0.25, dtype=np.float32)
    array[0, 0] = (3.0, 0.5, -0.5)
    picture = decode(tiff_bytes(array, photometric="rgb"))
    assert picture.depth == "float32"
    assert picture.pixels[0, 0].tolist() == [1.0, 0.5, 0.0]
    assert picture.overflow is not None
    assert picture.overflow[0, 0].tolist() == [2.0, 0.0, -0.5]
    assert np.array_equal(picture.unclipped(), array)


@pytest.mark.parametrize("white", [255.0, 65535.0])
def test_floats_on_another_scale(white: float) -> None:
    array = np.random.default_rng(3).random((8, 8, 3)).astype(np.float32)
    picture = from_array(array * np.float32(white))
    assert picture.white == white
    assert np.abs(picture.pixels - array).max() < 1e-6


def test_cmyk_without_a_profile() -> None:
    inks = np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 0], [0, 128, 0, 64]]], np.uint8)
    image = Image.frombytes("CMYK", (4, 1), inks.tobytes())
    picture = decode(file_bytes(image, "TIFF"))
    assert picture.mode == "CMYK"
    expected: list[list[float]] = [
        [0, 1, 1],
        [0, 0, 0],
        [1, 1, 1],
        [191 / 255, 127 / 255 * 191 / 255, 191 / 255],
    ]
    assert np.allclose(picture.pixels[0], expected, atol=1e-6)


def test_animation_gives_its_first_frame_and_says_so(photo: np.ndarray) -> None:
    frames = [Image.fromarray(photo).quantize(32), Image.fromarray(255 - photo).quantize(32)]
    picture = decode(file_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert picture.frames == 2
    expected = np.asarray(frames[0].convert("RGB"), dtype=np.float32) / 255
    assert np.abs(picture.pixels - expected).max() < 1e-6


def test_webp_knows_whether_it_is_lossless(photo: np.ndarray) -> None:
    image = Image.fromarray(photo)
    lossless = decode(file_bytes(image, "WEBP", lossless=True, exif=b"Exif\x00\x00VP8 "))
    assert lossless.lossless
    assert np.array_equal(lossless.pixels, photo.astype(np.float32) / 255)
    assert not decode(file_bytes(image, "WEBP", quality=80)).lossless
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - photo)]}
    animated = decode(file_bytes(image, "WEBP", lossless=True, **frames))
    assert (animated.lossless, animated.frames) == (True, 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_obeyed(photo: np.ndarray, orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    special: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"dpi": (300, 150)}}
    options = special.get(form, {})
    data = file_bytes(Image.fromarray(photo), form, exif=exif, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.float32) / 255
    picture = decode(data)
    assert picture.orientation == orientation
    assert np.array_equal(picture.pixels, expected)
    if form == "JPEG":
        assert picture.dpi == ((300, 150) if orientation < 5 else (150, 300))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_grid_origin_lies_on_block_borders(orientation: int) -> None:
    """Blocks of one colour show the borders: the jumps must lie where the picture says."""
    height, width = 29, 45
    rows, columns = np.indices((height, width)) // 8
    blocks = ((rows * 37 + columns * 91) % 256).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(file_bytes(Image.fromarray(blocks), "JPEG", quality=100, exif=exif))
    assert picture.jpeg is not None
    assert picture.jpeg.grid_valid
    grey = picture.pixels[..., 0]
    for axis in (0, 1):
        jumps = np.abs(np.diff(grey, axis=axis)).max(axis=1 - axis)
        borders = set((np.flatnonzero(jumps > 0.1) + 1).tolist())
        size, origin = grey.shape[axis], picture.jpeg.grid_origin[axis]
        assert borders == set(range(origin or 8, size, 8))


@pytest.mark.parametrize("quality", [5, 20, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_jpeg_facts(photo: np.ndarray, quality: int, subsampling: str) -> None:
    data = file_bytes(Image.fromarray(photo), "JPEG", quality=quality, subsampling=subsampling)
    picture = decode(data)
    assert picture.jpeg is not None
    assert picture.jpeg.subsampling == subsampling
    assert abs(picture.jpeg.quality - quality) <= (0 if quality > 10 else 1)
    assert len(picture.jpeg.tables) == 2
    assert not picture.lossless


def test_grey_jpeg(photo: np.ndarray) -> None:
    picture = decode(file_bytes(Image.fromarray(photo[..., 0]), "JPEG"))
    assert picture.mode == "L"
    assert picture.jpeg is not None
    assert picture.jpeg.subsampling == "grey"


def test_load_records_the_file(photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "photo with spaces é.png"
    Image.fromarray(photo).save(path)
    picture = load(str(path))
    assert picture.path == path
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert picture.pristine
    assert (picture.height, picture.width) == (37, 61)
    assert picture.megapixels == pytest.approx(37 * 61 / 1e6)


def test_the_content_decides_not_the_suffix(photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(file_bytes(Image.fromarray(photo), "PNG"))
    assert load(path).format == "PNG"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_one_pixel(mode: str) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    picture = decode(file_bytes(Image.new(mode, (1, 1)), form))
    assert picture.pixels.shape == (1, 1, 3)


# ── arrays, Pillow images, tensors ────────────────────────────────────────────


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5, 4, 4)])
def test_arrays(dtype: type, shape: tuple[int, ...]) -> None:
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    array: np.ndarray = (np.random.default_rng(0).random(shape) * top).astype(dtype)
    picture = from_array(array)
    assert picture.mode == {2: "L", 1: "L", 3: "RGB", 4: "RGBA"}[shape[2] if len(shape) > 2 else 2]
    assert picture.depth == {"f": "float32"}.get(np.dtype(dtype).kind, np.dtype(dtype).name)
    expected = array.reshape(5, 4, -1)[..., :3].astype(np.float64) / top
    assert np.abs(picture.pixels - expected).max() < 1e-6
    assert (picture.alpha is not None) == (shape[-1] == 4 and len(shape) == 3)


def test_an_array_is_copied() -> None:
    array = np.zeros((2, 2, 3), dtype=np.float32)
    picture = from_array(array)
    array += 1
    assert picture.pixels.max() == 0


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.int64),
        np.zeros((4, 4), bool),
        np.zeros((4, 4), complex),
        np.zeros(4, np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_arrays_that_are_no_picture(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="array of"):
        from_array(array)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = bad
    with pytest.raises(CorruptImageError, match="NaN"):
        from_array(array)
    with pytest.raises(CorruptImageError, match="NaN"):
        decode(tiff_bytes(array, photometric="rgb"))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16", "F"]
)
def test_pillow_images(photo: np.ndarray, mode: str) -> None:
    image = Image.fromarray(photo)
    if mode == "I;16":
        image = Image.fromarray(photo[..., 0].astype(np.uint16) * 257)
        expected = np.repeat(photo[..., :1], 3, axis=2) / 255
    elif mode == "F":
        image = Image.fromarray(photo[..., 0].astype(np.float32) / 255)
        expected = np.repeat(photo[..., :1], 3, axis=2) / 255
    else:
        image = image.convert(mode)
        expected = np.asarray(image.convert("RGB")) / 255
    assert np.abs(from_pil(image).pixels - expected).max() < 1.5 / 255


def test_lazy_pillow_image_is_turned_upright(photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file_bytes(Image.fromarray(photo), "JPEG", exif=exif, quality=60)
    with Image.open(io.BytesIO(data)) as image:
        picture = from_pil(image)
    assert (picture.height, picture.width) == (61, 37)
    assert picture.jpeg is not None
    assert picture.jpeg.quality == 60
    with Image.open(io.BytesIO(data[:-100])) as image:
        with pytest.raises(CorruptImageError):
            from_pil(image)


def test_pillow_images_that_are_no_picture() -> None:
    with pytest.raises(InputError, match="16 bit"):
        from_pil(Image.new("I", (2, 2), 70000))
    with pytest.raises(InputError, match="0x5"):
        from_pil(Image.new("RGB", (0, 5)))


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_tensors_round_trip(height: int, width: int, seed: int) -> None:
    picture = from_array(np.random.default_rng(seed).random((height, width, 3)))
    tensor = to_tensor(picture)
    assert tuple(tensor.shape) == (1, 3, height, width)
    assert tensor.is_contiguous()
    assert np.array_equal(tensor[0, 1].numpy(), picture.pixels[..., 1])
    assert np.array_equal(from_tensor(tensor), picture.pixels)
    tensor.zero_()
    assert picture.pixels.max() > 0


def test_tensors_of_another_shape_or_type() -> None:
    import torch

    pixels = from_tensor(torch.full((3, 2, 2), 1.5, dtype=torch.bfloat16, requires_grad=True))
    assert (pixels.dtype.name, pixels.shape, pixels.max()) == ("float32", (2, 2, 3), 1.0)
    for shape in ((2, 3, 4, 4), (1, 1, 4, 4), (4, 4)):
        with pytest.raises(ConservatorError, match="shape"):
            from_tensor(torch.zeros(shape))


def test_content_hash_tells_shape_type_and_values_apart() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    variants: list[np.ndarray] = [
        array,
        array.T,
        array.reshape(4, 3),
        array.astype(np.float64),
        array + 1,
    ]
    assert len({content_hash(one) for one in variants}) == len(variants)
    assert content_hash(array) == content_hash(np.asfortranarray(array))


def test_pixels_cannot_be_changed_in_place(photo: np.ndarray) -> None:
    picture = from_array(photo)
    with pytest.raises(ValueError, match="read-only"):
        picture.pixels[0, 0, 0] = 1


# ── what is refused ───────────────────────────────────────────────────────────


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
