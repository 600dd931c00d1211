"""The pictures of a page, as data URIs: one preview a node, thumbnails, and details at native resolution."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from conservator.tools.look import crops

__all__ = ["Album", "Detail", "Samples", "Shown", "details", "earlier_pictures", "reduced"]

Samples = npt.NDArray[Any]
"""(H, W, 3), RGB (sRGB-encoded): uint8 or uint16, full scale, or floats in [0, 1]."""
Small = npt.NDArray[np.uint8]

SIDE: Final = 1400
"""Longest side of a preview, px."""
BUDGET: Final = 2_400_000
"""Characters of all previews; with thumbnails and details a page stays below 4 MB."""
_LADDER: Final = (
    (SIDE, SIDE, 96),
    (SIDE, SIDE, 90),
    (SIDE, 1000, 85),
    (SIDE, 700, 78),
    (1000, 480, 75),
    (700, 320, 70),
)
"""Longest side of the two that are compared first, that of the others, JPEG quality; the first that fits the budget."""
_THUMBNAIL: Final = 240
_DETAIL: Final = 192
_DETAILS: Final = 4
_PLACES: Final = {
    "smooth": "a smooth part",
    "edges": "edges",
    "dark": "a dark part",
    "bright": "a bright part",
    "centre": "the middle",
}
_JPEG: Final = re.compile(r"data:image/jpeg;base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class Shown:
    """One picture of a page.

    Attributes:
        name: what it is called there.
        uri: data URI.
        width: of the embedded copy, px.
        height: of the embedded copy, px.
        key: content hash of what it shows, "" for none.
    """

    name: str
    uri: str = field(repr=False)
    width: int
    height: int
    key: str = ""


@dataclass(frozen=True)
class Detail:
    """A place at native resolution, before and after.

    Attributes:
        place: what it shows and where, in words.
        before: of the input.
        after: the same place of the result.
    """

    place: str
    before: Shown
    after: Shown


@dataclass
class Album:
    """The previews of a page's nodes, in the order of adding.

    Attributes:
        earlier: content hash -> data URI of the preview in an earlier report, for pictures that are gone since.
        reused: names of those that were taken from there.
        gone: names of those that were nowhere.
    """

    earlier: Mapping[str, str] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    _small: dict[str, tuple[str, Small]] = field(default_factory=dict)
    _ready: dict[str, Shown] = field(default_factory=dict)

    def add(self, name: str, key: str, samples: Samples | None) -> None:
        """Take a picture in.

        Args:
            name: unique in the page.
            key: content hash.
            samples: None where the picture is gone.
        """
        if samples is not None:
            self._small[name] = (key, reduced(samples, SIDE))
        elif (pixels := _decoded(self.earlier.get(key, ""))) is not None:
            height, width = pixels.shape[:2]
            self._ready[name] = Shown(name, self.earlier[key], width, height, key)
            self._small[name] = (key, pixels)
            self.reused.append(name)
        else:
            self.gone.append(name)

    def small(self, name: str) -> Small | None:
        """A preview's pixels; None where the picture is gone."""
        found = self._small.get(name)
        return None if found is None else found[1]

    def shown(self, first: Collection[str] = ()) -> tuple[Shown, ...]:
        """The previews, as large as the budget allows.

        Args:
            first: names of those that are reduced last.
        """
        found: list[Shown] = []
        for side_first, side, quality in _LADDER:
            found, room = [], BUDGET
            for name in self._small:
                picture = self._encoded(name, side_first if name in first else side, quality)
                found.append(picture)
                room -= len(picture.uri)
                if room < 0 and quality > _LADDER[-1][2]:
                    break
            if room >= 0:
                break
        return tuple(found)

    def thumbnail(self, name: str) -> Shown | None:
        """A small copy; None where the picture is gone."""
        pixels = self.small(name)
        return None if pixels is None else _jpeg(name, reduced(pixels, _THUMBNAIL), 82)

    def _encoded(self, name: str, side: int, quality: int) -> Shown:
        ready, (key, pixels) = self._ready.get(name), self._small[name]
        if ready is not None and max(ready.width, ready.height) <= side:
            return ready
        return replace(_jpeg(name, reduced(pixels, side), quality), key=key)


def details(
    before: tuple[str, Samples], after: tuple[str, Samples], preview: Small
) -> tuple[Detail, ...]:
    """Up to four places at native resolution, losslessly.

    Args:
        before: name and pixels of the input.
        after: the same of the result, at the same size or at a multiple of it.
        preview: the input, reduced; where the places are looked for.
    """
    (old_name, old), (new_name, new) = before, after
    height, width = old.shape[:2]
    factor, scale = preview.shape[1] / width, new.shape[1] / width
    side = max(1, round(_DETAIL * factor))
    found = []
    for place in crops(np.divide(preview, np.float32(255), dtype=np.float32), _DETAILS, side):
        tall, wide = min(_DETAIL, height), min(_DETAIL, width)
        top = max(0, min(round(place.top / factor), height - tall))
        left = max(0, min(round(place.left / factor), width - wide))
        pairs = []
        for name, pixels, times in ((old_name, old, 1.0), (new_name, new, scale)):
            rows = slice(round(top * times), round((top + tall) * times))
            columns = slice(round(left * times), round((left + wide) * times))
            pairs.append(_png(name, _resized(pixels[rows, columns], (wide, tall))))
        words = f"{_PLACES.get(place.reason, place.reason)}, at {left}, {top}"
        found.append(Detail(words, *pairs))
    return tuple(found)


def earlier_pictures(page: Path) -> dict[str, str]:
    """Content hash -> data URI of each preview in a report that was written before; empty without one."""
    try:
        text = page.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    reader = _PageReader()
    reader.feed(text)
    return reader.found


class _PageReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        key, uri = given.get("data-key"), given.get("src")
        if tag == "img" and key and uri and _JPEG.fullmatch(uri):
            self.found[key] = uri


def reduced(samples: Samples, side: int) -> Small:
    """A picture with a longest side of at most `side` px, area-averaged, 8-bit."""
    height, width = samples.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return _eight_bit(samples)
    return _resized(samples, (max(1, round(width * factor)), max(1, round(height * factor))))


def _resized(samples: Samples, size: tuple[int, int]) -> Small:
    import cv2

    if (samples.shape[1], samples.shape[0]) == size:
        return _eight_bit(samples)
    shrinks = size[0] <= samples.shape[1]
    scaling = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return _eight_bit(cv2.resize(np.asarray(samples), size, interpolation=scaling))


def _eight_bit(samples: Samples) -> Small:
    if samples.dtype == np.uint8:
        return np.asarray(samples)
    scale = 255.0 / 65535 if samples.dtype == np.uint16 else 255.0
    return np.rint(np.clip(samples * np.float32(scale), 0, 255)).astype(np.uint8)


def _jpeg(name: str, pixels: Small, quality: int) -> Shown:
    import cv2

    # Chroma at full resolution: half of it would be seen as a treatment.
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], options)
    return _shown(name, "jpeg", bytes(data), pixels)


def _png(name: str, pixels: Small) -> Shown:
    import cv2

    _, data = cv2.imencode(".png", pixels[..., ::-1])
    return _shown(name, "png", bytes(data), pixels)


def _shown(name: str, form: str, data: bytes, pixels: Small) -> Shown:
    uri = f"data:image/{form};base64,{base64.b64encode(data).decode('ascii')}"
    return Shown(name, uri, pixels.shape[1], pixels.shape[0])


def _decoded(uri: str) -> Small | None:
    """A JPEG data URI's pixels; None when it is none, or does not decode."""
    import cv2

    if not _JPEG.fullmatch(uri):
        return None
    try:
        data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    except ValueError:
        return None
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if decoded is None else np.asarray(decoded[..., ::-1], np.uint8)
