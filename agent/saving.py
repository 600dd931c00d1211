"""What a candidate looks like once it is saved: scores are computed on that, and nothing changes it afterwards."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from conservator.agent.sessions import full_range
from conservator.tools.image_io import Picture, quantise
from conservator.tools.image_io.colour import is_srgb
from conservator.tools.look import Pixels

__all__ = ["artifact_samples", "as_saved"]

_LOSSLESS: Final = (".png", ".tif", ".tiff", ".bmp")


def artifact_samples(picture: Picture, pixels: Pixels) -> npt.NDArray[np.generic]:
    """A candidate's pixels in the depth that loses nothing of what can be saved.

    Args:
        picture: the input, which decides depth and colour of the output.
        pixels: (H, W, 3), [0, 1].
    """
    if picture.depth == "float32":
        return np.clip(pixels, 0, 1).astype(np.float32)
    plain = picture.depth == "uint8" and is_srgb(picture.icc_profile)
    return full_range(pixels, "uint8" if plain else "uint16")


def as_saved(picture: Picture, pixels: Pixels, suffix: str) -> Pixels:
    """(H, W, 3), float32, [0, 1]: a kept candidate as it reads back from the file that would be written.

    Args:
        picture: the input, which decides depth, mode and profile of the output.
        pixels: a candidate as the run folder keeps it, so already at the output's depth; plain 8-bit RGB in a lossless
            format is then what will be in the file, and coding it would tell nothing new.
        suffix: of the output.
    """
    plain = (
        suffix.lower() in _LOSSLESS
        and picture.depth == "uint8"
        and picture.mode in ("RGB", "RGBA")
        and is_srgb(picture.icc_profile)
        and picture.overflow is None
        and (picture.alpha is None or suffix.lower() != ".bmp")
    )
    if plain:
        return pixels
    return quantise(picture.with_pixels(pixels), suffix).pixels
