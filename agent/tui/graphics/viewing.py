"""What of two pictures is seen, and how: split, one or the other, their difference; fitted or pixel by pixel.

Pure functions over Pillow pictures; the widget keeps a `View` and draws what `seen` gives.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Mode", "View", "Window", "amplification", "cut", "panned", "seen", "window", "zoomed"]

Mode = Literal["split", "left", "right", "difference"]

_AMPLIFICATIONS: Final = (16, 8, 4, 2)
_CLIPPED: Final = 0.01
"""Share of the differences that may be too large to be drawn."""
ZOOMS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Screen pixels a photo pixel; fitting comes before them."""
_DIVIDER: Final = (232, 190, 90)
_MIDDLE: Final = 128


@dataclass(frozen=True)
class View:
    """How a pair of pictures is looked at.

    Attributes:
        mode: what is shown.
        split: where the left picture ends in `split`, [0, 1] of the shown width.
        zoom: screen pixels a photo pixel; None fits the photo into the room.
        centre: of what is shown, [0, 1] of the photo's width and height.
    """

    mode: Mode = "split"
    split: float = 0.5
    zoom: float | None = None
    centre: tuple[float, float] = (0.5, 0.5)


@dataclass(frozen=True)
class Window:
    """The part of a photo that is seen, and how large.

    Attributes:
        box: left, top, right, bottom in photo pixels.
        size: width and height on the screen, px.
        scale: screen pixels a photo pixel.
        exact: photo pixels keep their edges.
    """

    box: tuple[float, float, float, float]
    size: tuple[int, int]
    scale: float
    exact: bool


def window(view: View, photo: tuple[int, int], room: tuple[int, int]) -> Window:
    """What is seen of a photo of `photo` px in `room` px.

    The window never leaves the photo, and a photo is never larger than it is asked to be.
    """
    width, height = photo
    scale = view.zoom or min(room[0] / width, room[1] / height)
    seen_width, seen_height = min(width, room[0] / scale), min(height, room[1] / scale)
    left = _inside(view.centre[0] * width - seen_width / 2, width - seen_width)
    top = _inside(view.centre[1] * height - seen_height / 2, height - seen_height)
    exact = view.zoom is not None and scale >= 1
    if exact:
        left, top = floor(left), floor(top)
    size = max(1, round(seen_width * scale)), max(1, round(seen_height * scale))
    return Window((left, top, left + seen_width, top + seen_height), size, scale, exact)


def seen(
    left: Image,
    right: Image,
    view: View,
    room: tuple[int, int],
    ground: tuple[int, int, int] = (0, 0, 0),
) -> Image:
    """The picture to draw, `room` px, RGB.

    Args:
        left: what is seen of the one before, as `cut` gives it.
        right: the same of the one after.
        view: how they are looked at.
        room: what there is to draw on, px.
        ground: what is seen beside the photo.
    """
    from PIL import Image as image_module
    from PIL import ImageChops

    canvas = image_module.new("RGB", room, ground)
    width, height = left.size
    x, y = (room[0] - width) // 2, (room[1] - height) // 2
    if view.mode == "difference":
        # What the right one has more is brighter than the middle, what it has less is darker.
        factor = amplification(left, right)
        canvas.paste(ImageChops.subtract(right, left, 1 / factor, _MIDDLE), (x, y))
        return canvas
    canvas.paste(left if view.mode == "left" else right, (x, y))
    if view.mode == "split":
        edge = round(view.split * width)
        canvas.paste(left.crop((0, 0, edge, height)), (x, y))
        if 0 < edge < width:
            canvas.paste(_DIVIDER, (x + edge, y, x + edge + max(1, width // 320), y + height))
    return canvas


def cut(picture: Image, shown: Window, photo: tuple[int, int]) -> Image:
    """What is seen of a picture, at its size on the screen.

    Args:
        picture: RGB; of another size than `photo` it is shown at that one's.
        shown: the window into the photo.
        photo: the size that the window is about, px.
    """
    from PIL import Image as image_module

    across, down = picture.width / photo[0], picture.height / photo[1]
    left, top, right, bottom = shown.box
    box = left * across, top * down, right * across, bottom * down
    kinds = image_module.Resampling
    if shown.exact:
        return picture.resize(shown.size, kinds.NEAREST, box=box)
    kind = kinds.BICUBIC if shown.scale > 1 else kinds.BOX
    return picture.resize(shown.size, kind, box=box, reducing_gap=3.0)


def amplification(left: Image, right: Image) -> int:
    """By how much a difference is made stronger: as much as nearly all of it can bear, 1 to 16."""
    from PIL import ImageChops

    counts = ImageChops.difference(left, right).convert("L").histogram()
    total = sum(counts)
    for factor in _AMPLIFICATIONS:
        if sum(counts[256 // (2 * factor) :]) <= _CLIPPED * total:
            return factor
    return 1


def zoomed(view: View, steps: int, photo: tuple[int, int], room: tuple[int, int]) -> View:
    """The view `steps` magnifications nearer, or farther below 0; farther than fitting is fitting."""
    fitting = window(replace(view, zoom=None), photo, room).scale
    ladder = [None, *(zoom for zoom in ZOOMS if zoom > fitting)]
    known = view.zoom if view.zoom in ladder else None
    place = ladder.index(known) + steps
    return replace(view, zoom=ladder[max(0, min(place, len(ladder) - 1))])


def panned(
    view: View, across: float, down: float, photo: tuple[int, int], room: tuple[int, int]
) -> View:
    """The view moved by shares of what is seen."""
    left, top, right, bottom = window(view, photo, room).box
    half = (right - left) / 2 / photo[0], (bottom - top) / 2 / photo[1]
    now = (left + right) / 2 / photo[0], (top + bottom) / 2 / photo[1]
    wanted = now[0] + across * 2 * half[0], now[1] + down * 2 * half[1]
    x, y = (
        min(max(value, margin), 1 - margin) if margin < 0.5 else 0.5
        for value, margin in zip(wanted, half, strict=True)
    )
    return replace(view, centre=(x, y))


def _inside(value: float, most: float) -> float:
    return max(0.0, min(value, most))
