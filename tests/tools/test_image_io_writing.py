"""Writing: the same kind of file comes out, at the source's quality or better."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conservator.restorers.errors import OutputError, RestorerError, UsageError
from conservator.tools.image_io import (
    decode,
    encoded,
    from_array,
    from_pil,
    load,
    quantise,
    save,
)
from conservator.tools.image_io.formats import WRITABLE
from conservator.tools.image_io.picture import standard_tables
from made_pictures import chelsea, darker

LOSSLESS = [".png", ".tif", ".bmp", ".webp"]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return chelsea()


@pytest.fixture
def source(photo: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, quality=85)
    return path


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
    if suffix == ".webp" and picture.alpha is not None and picture.alpha.min() == 1:
        # The codec leaves out a channel that hides nothing.
        assert back.alpha is None
        return
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
