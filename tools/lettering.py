"""Where printed text is in a photo: dark or light strokes of one width, letter beside letter on a line.

A classical detector, without weights: strokes are what differs from its surroundings, letters are strokes that are even in tone and narrow for
their height, and a line is four or more of them on one base line, of one tone, and no two alike; windows, bricks and fences fail at one of these.
It reads nothing. Of lines rendered on plain signs in Kodak24, three fonts, it finds three quarters at 28 px and two thirds at 14 px, as many under
noise or JPEG; of lines straight on a photo half. In 4 of the 42 photos of Kodak24 and McMaster18 it takes up to 7 % of the area for text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from conservator.tools.look import Pixels

__all__ = ["text_boxes"]

Box = tuple[float, float, float, float]
Samples = npt.NDArray[np.uint8]

_SIDE: Final = 1280
_SCALES: Final = (1.0, 0.5, 0.25)
"""Letters of 7 to 48 px are looked for at each."""
_LETTERS: Final = 4
_LARGEST: Final = 0.1
"""Height of a line as a share of the photo's longer side; beyond it are windows and bricks."""
_KERNEL: Final = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class _Mark:
    """A connected stroke.

    Attributes:
        stroke: its width, px.
        ink: its tone, of 255, light text being inverted.
        contrast: of the ink with what surrounds it.
        fill: share of its box that it covers.
        letter: whether it looks like one by itself.
    """

    x: int
    y: int
    width: int
    height: int
    stroke: float
    ink: float
    contrast: float
    fill: float
    letter: bool

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height


def text_boxes(pixels: Pixels) -> list[Box]:
    """Left, top, width and height of each line of text, in shares of the photo, a third of the letters' height around it.

    Lines that run across the photo and have four letters or more, from 7 px to a tenth of the longer side high.

    Args:
        pixels: (H, W, 3), float32, [0, 1].
    """
    import cv2

    height, width = pixels.shape[:2]
    shrunk = min(1.0, _SIDE / max(height, width))
    grey = cv2.cvtColor(np.ascontiguousarray(pixels, np.float32), cv2.COLOR_RGB2GRAY)
    found: list[Box] = []
    for scale in _SCALES:
        factor = shrunk * scale
        size = max(1, round(width * factor)), max(1, round(height * factor))
        if min(size) < 24:
            break
        small = grey if factor == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        samples = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
        median = np.asarray(cv2.medianBlur(samples, 3), np.uint8)
        noise = 1.48 * float(np.median(cv2.absdiff(samples, median)))
        if noise > 4:
            samples = np.asarray(cv2.GaussianBlur(median, (0, 0), 0.7), np.uint8)
        for tones in (samples, 255 - samples):
            for left, top, right, bottom in _lines(_marks(tones, noise)):
                if bottom - top <= _LARGEST * max(size):
                    found.append(_share(left, top, right, bottom, size))
    return found


def _share(left: float, top: float, right: float, bottom: float, size: tuple[int, int]) -> Box:
    """A box in shares, cut to the photo."""
    x, y = max(0.0, left / size[0]), max(0.0, top / size[1])
    return x, y, min(1.0, right / size[0]) - x, min(1.0, bottom / size[1]) - y


def _marks(tones: Samples, noise: float) -> list[_Mark]:
    """Connected strokes that are darker than their surroundings."""
    import cv2

    around = cv2.GaussianBlur(tones, (0, 0), 12).astype(np.float32)
    dark = (around - tones > max(12.0, 2.5 * noise)).astype(np.uint8)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(dark, connectivity=4)
    rows, columns = tones.shape
    marks: list[_Mark] = []
    for label, (x, y, width, height, area) in enumerate(boxes.tolist()):
        inside = x >= 3 and y >= 3 and x + width <= columns - 3 and y + height <= rows - 3
        sized = 5 <= height <= 48 and width <= 4 * height
        if label == 0 or not inside or not sized or area < max(8, 0.1 * width * height):
            continue
        own = np.zeros((height + 6, width + 6), np.uint8)
        own[3:-3, 3:-3] = labels[y : y + height, x : x + width] == label
        window = tones[y - 3 : y + height + 3, x - 3 : x + width + 3]
        marks.append(_mark(x, y, own, window, area, noise))
    return marks


def _mark(x: int, y: int, own: Samples, window: Samples, area: int, noise: float) -> _Mark:
    import cv2

    height, width = own.shape[0] - 6, own.shape[1] - 6
    core = cv2.erode(own, _KERNEL)
    ink = window[(core if core.sum() >= 8 else own) > 0].astype(np.float32)
    ring = cv2.dilate(own, _KERNEL, iterations=3) - cv2.dilate(own, _KERNEL)
    ground = window[ring > 0].astype(np.float32)
    tone = float(np.percentile(ink, 25))
    contrast = float(np.median(ground)) - tone
    depth = cv2.distanceTransform(own, cv2.DIST_L2, 3)[own > 0]
    ridge = depth[depth >= np.percentile(depth, 70)]
    # Of a strip as wide as its depths say, whose ridge alone would tell even from odd widths only.
    stroke, fill = float(4 * depth.mean() - 2), area / (width * height)
    letter = (
        height >= 7
        and width <= 2.5 * height
        and fill >= 0.15
        and not (fill > 0.85 and width > 0.45 * height)
        and contrast >= max(18.0, 3 * noise)
        and ink.std() <= 0.3 * contrast
        and (ground < tone + 0.45 * contrast).mean() <= 0.2
        and stroke <= 0.32 * height
        and ridge.std() <= 0.45 * ridge.mean()
    )
    return _Mark(x, y, width, height, stroke, tone, contrast, fill, bool(letter))


def _lines(marks: Sequence[_Mark]) -> list[Box]:
    """Left, top, right and bottom of the lines among the marks, in px."""
    letters = sorted((m for m in marks if m.letter), key=lambda m: (m.x, m.y))
    chains = _chains(letters)
    return [_grown(chain, marks) for chain in chains if _is_line(chain)]


def _chains(letters: Sequence[_Mark]) -> list[list[_Mark]]:
    """Letters that stand beside each other, from the left."""
    owner = list(range(len(letters)))

    def root(i: int) -> int:
        while owner[i] != i:
            i = owner[i]
        return i

    for i, one in enumerate(letters):
        for j in range(i + 1, len(letters)):
            if letters[j].x - one.right > 1.1 * 48:
                break
            if _neighbours(one, letters[j]):
                owner[root(i)] = root(j)
    chains: dict[int, list[_Mark]] = {}
    for i, letter in enumerate(letters):
        chains.setdefault(root(i), []).append(letter)
    return list(chains.values())


def _neighbours(a: _Mark, b: _Mark) -> bool:
    tall, short = max(a.height, b.height), min(a.height, b.height)
    return (
        max(b.x - a.right, a.x - b.right) <= 1.1 * tall
        and tall <= 2 * short
        and min(a.bottom, b.bottom) - max(a.y, b.y) >= 0.6 * short
        and min(abs(a.bottom - b.bottom), abs(a.y - b.y)) <= 0.2 * tall
        and max(a.stroke, b.stroke) <= 1.6 * min(a.stroke, b.stroke) + 0.7
        and abs(a.ink - b.ink) <= 25
        and max(a.contrast, b.contrast) <= 2 * min(a.contrast, b.contrast)
    )


def _is_line(chain: Sequence[_Mark]) -> bool:
    """Four letters or more on one base line, alike in tone and stroke, unlike in width or ink."""
    if len(chain) < _LETTERS:
        return False
    left, right = min(m.x for m in chain), max(m.right for m in chain)
    top, bottom = min(m.y for m in chain), max(m.bottom for m in chain)
    facts = zip(*((m.width, m.fill, m.stroke, m.ink) for m in chain), strict=True)
    widths, fills, strokes, inks = (np.array(values) for values in facts)
    # Typewriters write letters of one width, but no two of them have as much ink.
    unlike = max(widths.std() / widths.mean(), fills.std() / fills.mean())
    typical = float(np.median([m.height for m in chain]))
    slope, off = _base_line(chain)
    return bool(
        right - left >= 1.8 * (bottom - top)
        and bottom - top <= 2.2 * typical
        and off <= 0.1 * typical
        and abs(slope) <= 0.2
        and widths.sum() >= 0.4 * (right - left)
        and unlike >= 0.12
        and strokes.std() <= 0.3 * strokes.mean()
        and inks.std() <= 12
    )


def _base_line(chain: Iterable[_Mark]) -> tuple[float, float]:
    """Slope of the line on which letters stand, and by how many px they miss it, in the median."""
    at = np.array([m.x for m in chain], float)
    base = np.array([m.bottom for m in chain], float)
    slope, start = np.polyfit(at, base, 1)
    return float(slope), float(np.median(np.abs(base - slope * at - start)))


def _grown(chain: Sequence[_Mark], marks: Iterable[_Mark]) -> Box:
    """The line's box with what stands beside it and is no sure letter: touching ones, dots, digits on a shadow."""
    typical = float(np.median([m.height for m in chain]))
    ink, slope = float(np.median([m.ink for m in chain])), _base_line(chain)[0]
    middle = float(np.mean([m.x for m in chain]))
    left, right = min(m.x for m in chain), max(m.right for m in chain)
    top, bottom = min(m.y for m in chain), max(m.bottom for m in chain)
    high, low = top, bottom

    def belongs(mark: _Mark) -> bool:
        gap = max(mark.x - right, left - mark.right)
        shift = slope * (mark.x - middle)
        return (
            -0.2 * typical <= gap <= 1.3 * typical
            and (mark.x < left or mark.right > right)
            and mark.y >= high + shift - 0.35 * typical
            and mark.bottom <= low + shift + 0.35 * typical
            and 0.35 * typical <= mark.height <= 2 * typical
            and abs(mark.ink - ink) <= 40
        )

    rest = list(marks)
    while joined := [mark for mark in rest if belongs(mark)]:
        left, right = min(left, *(m.x for m in joined)), max(right, *(m.right for m in joined))
        top, bottom = min(top, *(m.y for m in joined)), max(bottom, *(m.bottom for m in joined))
        rest = [mark for mark in rest if mark not in joined]
    edge = 0.35 * typical
    return left - edge, top - edge, right + edge, bottom + edge
