"""Arrays, Pillow images and tensors arrive as files do, or are refused."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conservator.restorers.errors import ConservatorError, CorruptImageError, InputError
from conservator.tools.image_io import (
    content_hash,
    decode,
    from_array,
    from_pil,
    from_tensor,
    to_tensor,
)
from made_pictures import astronaut, file_bytes, tiff_bytes


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return astronaut()


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
