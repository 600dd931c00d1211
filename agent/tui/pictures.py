"""Pictures for the screen: files and nodes as 8-bit RGB, the last few kept. Called in worker threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from conservator.agent.errors import NotAnImageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from conservator.tools.image_io import Picture

__all__ = ["SUFFIXES", "Album", "on_screen", "thumbnail"]

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
"""Names of files that are offered; any other one may be typed."""
_KEPT: Final = 6
_GROUND: Final = (128, 128, 128)


class Album:
    """The pictures that were looked at last, by name."""

    def __init__(self, load: Callable[[str], Image]) -> None:
        """Load what is not there by `load`, which may raise what it likes."""
        self._load = load
        self._kept: OrderedDict[str, Image] = OrderedDict()
        self._lock = Lock()

    def __call__(self, name: str) -> Image:
        """A picture, RGB."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        picture = self._load(name)
        with self._lock:
            self._kept[name] = picture
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return picture


def on_screen(picture: Picture) -> Image:
    """A picture of the agent's for the screen; transparent parts stand before grey."""
    from conservator.agent.pictures import bitmap

    return _opaque(bitmap(picture))


def thumbnail(path: Path, most: tuple[int, int]) -> tuple[Image, tuple[int, int]]:
    """A file's picture in at most so many pixels, upright, and the file's own width and height.

    Raises:
        NotAnImageError: Pillow does not read it.
    """
    import warnings

    from PIL import Image as image_module
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with image_module.open(path) as file:
                size = file.size
                if file.getexif().get(0x0112, 1) >= 5:
                    size = size[1], size[0]
                # JPEG is decoded at a fraction of its size.
                file.draft("RGB", most)
                small = ImageOps.exif_transpose(_eight_bits(file))
                small.thumbnail(most)
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        raise NotAnImageError(f"{path.name} cannot be shown: {_reason(error)}") from error
    return _opaque(small), size


def _eight_bits(picture: Image) -> Image:
    """16-bit grey and floats as 8 bits; Pillow would clip them."""
    if picture.mode.startswith(("I", "F")):
        low, high = (float(value) for value in picture.getextrema())  # type: ignore[arg-type]
        full = 65535.0 if high > 255 else 255.0 if high > 1 or low < 0 else 1.0
        return picture.convert("F").point(lambda value: value * (255.0 / full)).convert("L")
    return picture


def _opaque(picture: Image) -> Image:
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        from PIL import Image as image_module

        whole = picture.convert("RGBA")
        ground = image_module.new("RGBA", whole.size, (*_GROUND, 255))
        picture = image_module.alpha_composite(ground, whole)
    return picture.convert("RGB")


def _reason(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
