"""Reading: every kind of file arrives as the same upright sRGB floats."""

import hashlib
import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from conservator.tools.image_io import decode, from_array, load
from made_pictures import astronaut, file_bytes, tiff_bytes


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return astronaut()


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
