"""Small pictures and their bytes, made on the spot, that several tests of the image carrier share."""

import io
from typing import Any

import numpy as np
import skimage.data
import tifffile
from PIL import Image

from conservator.tools.image_io import Picture


def astronaut() -> np.ndarray:
    """(37, 61, 3) uint8: odd sides, so that 8x8 blocks are cut off at the edges."""
    return np.ascontiguousarray(skimage.data.astronaut()[100:137, 200:261])


def chelsea() -> np.ndarray:
    """(96, 128, 3) uint8."""
    return np.ascontiguousarray(skimage.data.chelsea()[50:146, 100:228])


def file_bytes(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def tiff_bytes(array: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def darker(picture: Picture) -> Picture:
    return picture.with_pixels(picture.pixels * 0.75)
