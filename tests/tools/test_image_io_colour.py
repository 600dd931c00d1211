"""Colour: profiles, inks and grey go to sRGB and come back."""

import io
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import skimage.color
import skimage.data
import tifffile
from PIL import Image, ImageCms

from conservator.tools.image_io import Picture, decode, encoded, load, save
from conservator.tools.image_io.colour import luma

ADOBE = imagecodecs.cms_profile("adobergb")
GREY = imagecodecs.cms_profile("gray", gamma=1.8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lut8(inputs: int, outputs: int, clut: np.ndarray) -> bytes:
    """An ICC `mft1` table: identity curves around a colour cube."""
    points = round((clut.size / outputs) ** (1 / inputs))
    head = b"mft1" + bytes(4) + bytes([inputs, outputs, points, 0])
    identity = struct.pack(">9i", *(65536 * one for one in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    ramp = bytes(range(256))
    return head + identity + ramp * inputs + clut.astype(np.uint8).tobytes() + ramp * outputs


def cmyk_profile(*, printable: bool = True) -> bytes:
    """A press whose inks behave like R = (1 - C)(1 - K): ICC v2 with tables both ways."""
    ink = np.stack(np.meshgrid(*[np.linspace(0, 1, 9)] * 4, indexing="ij"), axis=-1)
    lab = skimage.color.rgb2lab((1 - ink[..., :3]) * (1 - ink[..., 3:]))
    to_lab = np.stack([lab[..., 0] * 2.55, lab[..., 1] + 128, lab[..., 2] + 128], axis=-1)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 255, 17)] * 3, indexing="ij"), axis=-1)
    wanted = np.stack([grid[..., 0] / 2.55, grid[..., 1] - 128, grid[..., 2] - 128], axis=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # half of the Lab cube is no colour
        rgb = np.clip(skimage.color.lab2rgb(wanted), 0, 1)
    from_lab = np.concatenate([1 - rgb, np.zeros_like(rgb[..., :1])], axis=-1) * 255
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\x00" + bytes(79),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": lut8(4, 3, np.rint(np.clip(to_lab, 0, 255))),
    }
    if printable:
        tags[b"B2A0"] = lut8(3, 4, np.rint(from_lab))
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, block in tags.items():
        padded = block + bytes(-len(block) % 4)
        table += name + struct.pack(">II", offset + len(body), len(block))
        body += padded
    header = struct.pack(
        ">I4sI4s4s4s", 128 + len(table + body), b"test", 0x02400000, b"prtr", b"CMYK", b"Lab "
    )
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\x00") + table + body


def again(picture: Picture, suffix: str) -> Picture:
    """Encoded from the pixels, not copied from the file, and read back."""
    return decode(encoded(replace(picture, pristine=False), suffix))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.coffee()[100:180, 200:300])  # type: ignore[no-untyped-call]


def tiff(array: np.ndarray, icc: bytes | None, photometric: str = "rgb") -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, photometric=photometric, iccprofile=icc)
    return stream.getvalue()


def test_profile_is_applied_as_pillow_does(photo: np.ndarray) -> None:
    picture = decode(tiff(photo, ADOBE))
    source = ImageCms.ImageCmsProfile(io.BytesIO(ADOBE))
    expected = ImageCms.profileToProfile(
        Image.fromarray(photo), source, ImageCms.createProfile("sRGB")
    )
    assert np.abs(picture.pixels * 255 - np.asarray(expected)).max() < 1.01
    assert np.abs(picture.pixels * 255 - photo).max() > 10


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("depth", ["uint8", "uint16"])
def test_wide_gamut_comes_back(depth: str, suffix: str) -> None:
    """Every colour of Adobe RGB, most greens outside sRGB, survives the way through sRGB."""
    top = np.iinfo(depth).max
    array = np.random.default_rng(0).integers(0, top + 1, (64, 64, 3)).astype(depth)
    picture = decode(tiff(array, ADOBE))
    assert picture.overflow is not None
    assert picture.pixels.min() >= 0
    assert picture.pixels.max() <= 1
    back = again(picture, suffix)
    assert back.icc_profile == ADOBE
    if suffix == ".webp" and depth == "uint16":
        assert np.abs(back.pixels - picture.pixels).mean() < 1 / 255
        return
    stored = tifffile.imread(io.BytesIO(encoded(replace(picture, pristine=False), ".tif")))
    assert np.abs(stored.astype(int) - array).max() <= (0 if depth == "uint8" else 16)
    assert np.abs(back.pixels - picture.pixels).max() < 1e-3


def test_restored_colours_are_written_in_the_profile(photo: np.ndarray) -> None:
    picture = decode(tiff(photo, ADOBE))
    darker = picture.with_pixels(picture.pixels * 0.5)
    back = again(darker, ".png")
    assert back.icc_profile == ADOBE
    assert np.abs(back.pixels - darker.pixels).max() < 2.5 / 255


def test_overflow_is_forgotten_where_the_restorer_moved_the_highlight() -> None:
    array = np.full((4, 4, 3), 0.5, np.float32)
    array[0] = 4.0
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, photometric="rgb")
    picture = decode(stream.getvalue())
    pixels = picture.pixels.copy()
    pixels[0, 0] = 0.6
    moved = again(picture.with_pixels(pixels), ".tif")
    assert moved.unclipped()[0, 0, 0] == pytest.approx(0.6)
    assert moved.unclipped()[0, 1, 0] == pytest.approx(4.0)


def test_srgb_profile_is_not_applied_but_kept(photo: np.ndarray) -> None:
    picture = decode(tiff(photo, SRGB))
    assert np.array_equal(picture.pixels, photo.astype(np.float32) / 255)
    assert again(picture, ".png").icc_profile == SRGB


def test_grey_profile(photo: np.ndarray) -> None:
    grey = np.ascontiguousarray(photo[..., 0])
    picture = decode(tiff(grey, GREY, "minisblack"))
    assert np.abs(picture.pixels[..., 0] * 255 - grey).max() > 10
    for suffix in (".tif", ".png"):
        back = again(picture, suffix)
        assert (back.mode, back.icc_profile) == ("L", GREY)
        assert np.array_equal(back.pixels, picture.pixels)
    colour = again(picture, ".webp")
    assert colour.icc_profile is None
    assert np.abs(colour.pixels - picture.pixels).max() < 0.51 / 255


def test_grey_with_an_rgb_profile(photo: np.ndarray) -> None:
    grey = np.ascontiguousarray(photo[..., 0])
    picture = decode(tiff(grey, ADOBE, "minisblack"))
    colour = decode(tiff(np.repeat(grey[..., None], 3, axis=2), ADOBE))
    assert np.array_equal(picture.pixels, colour.pixels)
    stored = tifffile.imread(io.BytesIO(encoded(replace(picture, pristine=False), ".tif")))
    assert np.array_equal(stored, grey)


@pytest.mark.parametrize(
    "icc", [GREY, b"no profile at all", ADOBE[:200], ADOBE[:16] + b"LUV " + ADOBE[20:], bytes(400)]
)
def test_profiles_that_do_not_fit_leave_the_pixels_alone(photo: np.ndarray, icc: bytes) -> None:
    picture = decode(tiff(photo, icc))
    assert np.array_equal(picture.pixels, photo.astype(np.float32) / 255)
    assert np.array_equal(again(picture, ".png").pixels, picture.pixels)


def test_bmp_has_no_profile_and_gets_srgb(photo: np.ndarray) -> None:
    picture = decode(tiff(photo, ADOBE))
    back = again(picture, ".bmp")
    assert back.icc_profile is None
    assert np.abs(back.pixels - picture.pixels).max() < 0.51 / 255


def cmyk_photo(photo: np.ndarray) -> Image.Image:
    return Image.fromarray(photo).convert("CMYK")


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_through_its_profile(photo: np.ndarray, form: str, tmp_path: Path) -> None:
    profile = cmyk_profile()
    path = tmp_path / {"JPEG": "press.jpg", "TIFF": "press.tif"}[form]
    options = {"quality": 100} if form == "JPEG" else {}
    cmyk_photo(photo).save(path, form, icc_profile=profile, **options)
    picture = load(path)
    assert (picture.mode, picture.icc_profile) == ("CMYK", profile)
    assert np.abs(picture.pixels * 255 - photo).mean() < 5
    darker = picture.with_pixels(picture.pixels * 0.8)
    out = save(darker, tmp_path / f"out{path.suffix}")
    with Image.open(out) as image:
        assert image.mode == "CMYK"
        assert image.info["icc_profile"] == profile
    assert np.abs(load(out).pixels - darker.pixels).mean() < 3 / 255
    flat = decode(encoded(darker, ".png"))
    assert (flat.mode, flat.icc_profile) == ("RGB", None)
    assert np.abs(flat.pixels - darker.pixels).max() < 0.51 / 255


def test_a_profile_for_reading_only_is_not_written(photo: np.ndarray) -> None:
    profile = cmyk_profile(printable=False)
    stream = io.BytesIO()
    cmyk_photo(photo).save(stream, "TIFF", icc_profile=profile)
    picture = decode(stream.getvalue())
    assert np.abs(picture.pixels * 255 - photo).mean() < 5
    back = again(picture, ".tif")
    assert (back.mode, back.icc_profile) == ("CMYK", None)
    assert np.abs(back.pixels - picture.pixels).max() < 2 / 255


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile_looks_the_same_afterwards(photo: np.ndarray, form: str) -> None:
    stream = io.BytesIO()
    cmyk_photo(photo).save(stream, form, **({"quality": 100} if form == "JPEG" else {}))
    picture = decode(stream.getvalue())
    back = again(picture, ".tif")
    assert back.mode == "CMYK"
    assert np.abs(back.pixels - picture.pixels).max() < 1.1 / 255


def test_deep_cmyk_stays_deep() -> None:
    inks = np.random.default_rng(0).integers(0, 65536, (8, 8, 4), dtype=np.uint16)
    picture = decode(tiff(inks, None, "separated"))
    back = again(picture, ".tif")
    assert (back.mode, back.depth) == ("CMYK", "uint16")
    assert np.abs(back.pixels - picture.pixels).max() < 2 / 65535


def test_luma_of_grey_is_that_grey() -> None:
    grey = np.random.default_rng(0).random(1000).astype(np.float32)
    assert np.array_equal(luma(np.repeat(grey[:, None], 3, axis=1)), grey)
    assert luma(np.eye(3, dtype=np.float32)).tolist() == pytest.approx([0.299, 0.587, 0.114])
