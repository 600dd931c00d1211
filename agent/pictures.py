"""Whatever a caller calls an image, as a picture; and the input of an earlier session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from conservator.agent.placing import DELIVERED
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.agent.settings import Settings, load_settings
from conservator.restorers.errors import InputError
from conservator.tools.image_io import Limits, Picture, from_array, from_pil, load

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

__all__ = ["ImageLike", "bitmap", "input_again", "picture_from"]

ImageLike: TypeAlias = "str | Path | Image | npt.NDArray[np.generic]"
"""A path, a Pillow image, or an (H, W), (H, W, 3) or (H, W, 4) array of uint8, uint16 or floats in [0, 1]."""


def picture_from(image: ImageLike, settings: Settings | None = None) -> Picture:
    """Decode a path, or carry a Pillow image or an array.

    Raises:
        InputError: the picture cannot be used, see `conservator.tools.image_io`; or it is none of the three.
    """
    kind = type(image).__name__
    if isinstance(image, (str, Path)):
        chosen = settings or load_settings()
        return load(image, limits=Limits(max_pixels=chosen.max_pixels, max_bytes=chosen.max_bytes))
    if isinstance(image, np.ndarray):
        return from_array(image)
    from PIL.Image import Image as PilImage

    if isinstance(image, PilImage):
        return from_pil(image)
    raise InputError(
        f"cannot read a picture from {kind}; give a path, a PIL image or a NumPy array"
    )


def input_again(request: RunRequest, folder: RunFolder, settings: Settings) -> Picture:
    """The input of an earlier session.

    Raises:
        InputError: the file is not what it was.
    """
    if request.input is None:
        return folder.read_input()
    picture = picture_from(request.input, settings)
    if picture.sha256 != request.input_id:
        if picture.sha256 == (folder.read_json(DELIVERED) or {}).get("sha256"):
            raise InputError(f"{request.input} was replaced by this run's result; it cannot go on")
        raise InputError(f"{request.input} changed since the run began; start a new run")
    return picture


def bitmap(picture: Picture) -> Image:
    """An 8-bit Pillow image, RGB, or RGBA with transparency."""
    from PIL import Image as image_module

    planes = [picture.pixels]
    if picture.alpha is not None:
        planes.append(picture.alpha[..., None])
    samples = np.rint(np.concatenate(planes, axis=2) * 255).astype(np.uint8)
    return image_module.fromarray(samples)
