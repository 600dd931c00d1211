"""Parts of a photo, as soft masks: where a treatment shall act.

A place is a box in shares of the photo's sides, so that it means the same at any size; the sky, faces, text, shadows and
highlights are looked for in the photo itself. What is not found has an empty mask; `coverage` tells.

A mask's border runs half inside, half outside of its place, which suits a treatment; a shield's runs outside only, so that
what it covers stays as it was to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, model_validator

from conservator.restorers.errors import InputError, UsageError
from conservator.tools.look import Pixels, overview

__all__ = [
    "FOUND",
    "Mask",
    "Region",
    "Shield",
    "core_of",
    "coverage",
    "mask_of",
    "mixed",
    "shield_of",
]

Mask = npt.NDArray[np.float32]
"""(H, W), float32: 1 inside, 0 outside, between them on a soft border."""

Found = Literal["sky", "faces", "text", "shadows", "highlights"]
FOUND: Final[tuple[Found, ...]] = ("sky", "faces", "text", "shadows", "highlights")
"""What is looked for in a photo."""

_FEATHER: Final = 0.03
"""Width of a soft border as a share of the long side; seams of a change in brightness vanish from about 0.02 on."""
_ANALYSED_SIDE: Final = 256
_FACE_SIDE: Final = 480
_TEXT_SIDE: Final = 1024


class Region(BaseModel):
    """A part of a photo.

    Attributes:
        name: for people: `the left half`.
        found: what to look for; None for a box.
        box: left, top, width and height, in shares of the photo's width and height.
        outside: everything but the part.
        size: width and height in px of the only photos that it is meant for, because it was given in px; None for any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    found: Found | None = None
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    outside: bool = False
    size: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _inside_the_photo(self) -> Region:
        left, top, width, height = self.box
        if not (0 <= left < left + width <= 1 + 1e-6 and 0 <= top < top + height <= 1 + 1e-6):
            raise ValueError(f"box {self.box} is empty or leaves the photo; give shares in [0, 1]")
        return self


def mask_of(region: Region, pixels: Pixels) -> Mask:
    """The region as a mask with soft borders.

    Args:
        region: what to mask.
        pixels: the photo, (H, W, 3), float32, [0, 1]; where things are looked for.

    Raises:
        InputError: the region is meant for photos of another size.
    """
    _check_size(region, pixels)
    if region.found is None:
        mask = _box(region.box, pixels.shape[0], pixels.shape[1])
    else:
        look = {
            "sky": _sky,
            "faces": _faces,
            "text": _text,
            "shadows": _shadows,
            "highlights": _highlights,
        }
        mask = _full_size(look[region.found](pixels), pixels)
        if not mask.any():
            return mask
    return np.asarray(1 - mask, np.float32) if region.outside else mask


def coverage(region: Region, pixels: Pixels) -> float:
    """Share of the photo that a region covers, [0, 1]; 0 when it is not found."""
    return float(mask_of(region, pixels).mean(dtype=np.float64))


def _check_size(region: Region, pixels: Pixels) -> None:
    height, width = pixels.shape[:2]
    if region.size is not None and region.size != (width, height):
        own = "x".join(map(str, region.size))
        raise InputError(
            f"{region.name} is given in px of a {own} photo, this one is {width}x{height}; give it in percent"
        )


def core_of(region: Region, pixels: Pixels) -> npt.NDArray[np.bool_]:
    """(H, W): the pixels of a region; of a box every pixel that it touches, elsewhere where the mask is half and more.

    Raises:
        InputError: as `mask_of`.
    """
    if region.found is not None:
        return mask_of(region, pixels) >= 0.5
    _check_size(region, pixels)
    height, width = pixels.shape[:2]
    left, top, across, down = region.box

    def ends(low: float, length: float, size: int) -> slice:
        # Shares of px that were whole are so to rounding errors only.
        first, last = low * size, (low + length) * size
        return slice(max(0, math.floor(first + 1e-4)), math.ceil(last - 1e-4))

    core = np.zeros((height, width), np.bool_)
    core[ends(top, down, height), ends(left, across, width)] = True
    return ~core if region.outside else core


@dataclass(frozen=True)
class Shield:
    """Parts of a photo that stay as they are.

    Attributes:
        mask: 1 on every pixel of the parts, falling to 0 on a soft border around them.
        shares: of the photo that each part takes, [0, 1]; 0 for what was not found.
    """

    mask: Mask = field(repr=False)
    shares: tuple[float, ...] = ()

    def over(self, original: Pixels, treated: Pixels) -> Pixels:
        """The treated picture with the original's own samples in the parts, and a mix of both on their border.

        Raises:
            UsageError: the sizes differ.
        """
        if not original.shape == treated.shape == (*self.mask.shape, 3):
            sizes = ", ".join(f"{x.shape[1]}x{x.shape[0]}" for x in (original, treated, self.mask))
            raise UsageError(f"a protected part needs a result of the input's size: {sizes}")
        result = np.array(treated, np.float32)
        rows = np.flatnonzero(self.mask.any(axis=1))
        if rows.size:
            band = slice(int(rows[0]), int(rows[-1]) + 1)
            share, kept, made = self.mask[band, :, None], original[band], treated[band]
            mix = np.clip(made + share * (kept - made), 0, 1)
            # A mix of 1 and 0 would round.
            result[band] = np.where(share >= 1, kept, np.where(share > 0, mix, made))
        return result

    def touched(self, original: Pixels, result: Pixels) -> int:
        """How many pixels of the parts differ."""
        inside = self.mask >= 1
        return int((original[inside] != result[inside]).any(axis=1).sum())


def shield_of(regions: Iterable[Region], pixels: Pixels) -> Shield:
    """A shield over regions of a photo.

    Args:
        regions: what to cover.
        pixels: the photo, (H, W, 3), float32, [0, 1]; where things are looked for.

    Raises:
        InputError: as `mask_of`.
    """
    import cv2

    height, width = pixels.shape[:2]
    whole, shares = np.zeros((height, width), np.bool_), list[float]()
    for region in regions:
        core = core_of(region, pixels)
        shares.append(float(core.mean(dtype=np.float64)))
        whole |= core
    if not whole.any():
        return Shield(np.zeros((height, width), np.float32), tuple(shares))
    away = cv2.distanceTransform((~whole).astype(np.uint8), cv2.DIST_L2, 5)
    mask = _smooth(1 - np.asarray(away, np.float32) / _feather(height, width))
    mask[whole] = 1
    return Shield(mask, tuple(shares))


def mixed(under: Pixels, over: Pixels, mask: Mask) -> Pixels:
    """`over` inside the mask, `under` outside, float32, [0, 1].

    Raises:
        UsageError: the sizes differ.
    """
    if not under.shape[:2] == over.shape[:2] == mask.shape:
        sizes = ", ".join(f"{x.shape[1]}x{x.shape[0]}" for x in (under, over, mask))
        raise UsageError(f"a part of a photo cannot have another size than the rest: {sizes}")
    return np.clip(under + mask[..., None] * (over - under), 0, 1).astype(np.float32)


def _box(box: tuple[float, float, float, float], height: int, width: int) -> Mask:
    left, top, across, down = box
    feather = _feather(height, width)

    def ramp(size: int, low: float, high: float) -> Mask:
        at = np.arange(size, dtype=np.float32) + 0.5
        rising = np.ones(size, np.float32) if low <= 0 else (at - low * size) / feather + 0.5
        falling = np.ones(size, np.float32) if high >= 1 else (high * size - at) / feather + 0.5
        return _smooth(np.minimum(rising, falling))

    # A border of the photo is no border of the region.
    rows = ramp(height, top, min(1.0, top + down))
    columns = ramp(width, left, min(1.0, left + across))
    return np.asarray(rows[:, None] * columns[None, :], np.float32)


def _feather(height: int, width: int) -> float:
    """Width of a soft border, px."""
    return max(2.0, _FEATHER * max(height, width))


def _smooth(x: npt.NDArray[np.floating]) -> Mask:
    """Smoothstep from 0 at 0 to 1 at 1."""
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


def _full_size(small: Mask, pixels: Pixels) -> Mask:
    """A small mask at the photo's size, its border softened."""
    import cv2

    height, width = pixels.shape[:2]
    soft = cv2.GaussianBlur(small, (0, 0), max(0.5, _FEATHER / 3 * max(small.shape)))
    return np.clip(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR), 0, 1)


def _grey(pixels: Pixels, side: int) -> Mask:
    small = overview(pixels, side)
    return np.asarray(small @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


def _shadows(pixels: Pixels) -> Mask:
    grey, threshold = _split(pixels)
    return 1 - _smooth((grey - min(threshold, 0.5)) / 0.2 + 0.5)


def _highlights(pixels: Pixels) -> Mask:
    grey, threshold = _split(pixels)
    return _smooth((grey - max(threshold, 0.55)) / 0.2 + 0.5)


def _split(pixels: Pixels) -> tuple[Mask, float]:
    """The photo without its detail, and the value that best parts dark from bright (Otsu)."""
    import cv2

    grey = _grey(pixels, _ANALYSED_SIDE)
    soft = cv2.GaussianBlur(grey, (0, 0), max(1.0, 0.01 * max(grey.shape)))
    levels = np.rint(np.clip(soft, 0, 1) * 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(soft, np.float32), threshold / 255


def _faces(pixels: Pixels) -> Mask:
    """Ellipses over frontal faces (local binary patterns in a cascade, Ahonen et al. 2004; scikit-image's own).

    Of eight larger ones in Kodak24, McMaster18 and Set14 it finds four, and takes a stained-glass window for a fifth. Under noise, haze, rain, JPEG or
    darkness four of five that it finds stay found; smoothing them first finds no more.
    """
    import cv2
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    small = overview(pixels, _FACE_SIDE)
    samples = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    least, most = max(24, min(samples.shape[:2]) // 10), min(samples.shape[:2])
    mask = np.zeros(samples.shape[:2], np.float32)
    if most < least:
        return mask
    # Of 4, 8, 12 and 20 neighbours on Kodak24 and McMaster, 4 finds hands and flowers too, and 20 loses faces.
    faces = Cascade(lbp_frontal_face_cascade_filename()).detect_multi_scale(
        img=samples,
        scale_factor=1.1,
        step_ratio=1,
        min_size=(least, least),
        max_size=(most, most),
        min_neighbor_number=10,
    )
    for face in faces:
        centre = (face["c"] + face["width"] // 2, face["r"] + face["height"] // 2)
        # The detector's square ends at the eyebrows and the lips.
        axes = (round(0.58 * face["width"]), round(0.72 * face["height"]))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, -1)
    return mask


def _text(pixels: Pixels) -> Mask:
    """Boxes over lines of printed text."""
    from conservator.tools.lettering import text_boxes

    height, width = pixels.shape[:2]
    factor = min(1.0, _TEXT_SIDE / max(height, width))
    rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
    mask = np.zeros((rows, columns), np.float32)
    for left, top, across, down in text_boxes(pixels):
        first, last = math.floor(top * rows), math.ceil((top + down) * rows)
        mask[first:last, math.floor(left * columns) : math.ceil((left + across) * columns)] = 1
    return mask


def _sky(pixels: Pixels) -> Mask:
    """What GrabCut (Rother et al., 2004) parts from the ground; empty unless it looks like sky.

    It starts from what is nearer in colour to the top sixth than to the bottom quarter.
    """
    import cv2

    small = overview(pixels, _ANALYSED_SIDE)
    height, width = small.shape[:2]
    empty = np.zeros((height, width), np.float32)
    if min(height, width) < 24:
        return empty
    smooth = np.asarray(np.clip(cv2.GaussianBlur(small, (0, 0), 1.5), 0, 1), np.float32)
    top, bottom = height // 6, height - height // 4
    nearer = _distance(smooth, smooth[:top]) < _distance(smooth, smooth[bottom:])
    guess = np.where(nearer, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[bottom:] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    samples = np.rint(255 * smooth).astype(np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(samples, guess, (0, 0, 1, 1), *models, 6, cv2.GC_INIT_WITH_MASK)
    sky = np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    sky = np.asarray(cv2.morphologyEx(sky, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
    _, parts = cv2.connectedComponents(sky)
    at_top = np.unique(parts[:2][sky[:2] > 0])
    mask = np.isin(parts, at_top)
    return mask.astype(np.float32) if _looks_like_sky(smooth, mask) else empty


def _distance(pixels: Pixels, sample: Pixels) -> npt.NDArray[np.float32]:
    """(h, w): of each pixel to the nearest of a sample's four main colours."""
    import cv2

    colours = np.ascontiguousarray(sample.reshape(-1, 3), np.float32)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 10, 0.01)
    labels = np.zeros((len(colours), 1), np.int32)
    _, _, centres = cv2.kmeans(colours, 4, labels, stop, 1, cv2.KMEANS_PP_CENTERS)
    apart = pixels[:, :, None] - np.asarray(centres, np.float32)[None, None]
    return np.asarray(np.sqrt((apart**2).sum(axis=3)).min(axis=2), np.float32)


def _looks_like_sky(smooth: Pixels, mask: npt.NDArray[np.bool_]) -> bool:
    """Along the top, not green, smoother than the rest, and brighter or bluer than it.

    Bounds from Kodak24, RealHaze and DICM by eye: three of five skies are found, none where Kodak24 has none; a plain bright wall
    along the top passes for one.
    """
    import cv2

    if not 0.05 < mask.mean() < 0.9 or mask[0].mean() < 0.9:
        return False
    lab = cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)
    light = np.asarray(lab[..., 0] / 100, np.float32)
    blue = np.asarray(-lab[..., 2] / 80, np.float32)
    detail = (light - cv2.GaussianBlur(light, (0, 0), 4)) ** 2
    texture = np.sqrt(cv2.GaussianBlur(detail, (0, 0), 4))
    brighter, bluer = (float(x[mask].mean() - x[~mask].mean()) for x in (light, blue))
    red, green, violet = smooth[mask].mean(axis=0)
    return bool(
        green < max(red, violet) + 0.02
        and texture[mask].mean() < 0.9 * texture[~mask].mean()
        and (brighter > 0.15 or bluer > 0.12 or (brighter > 0.1 and bluer > 0.08))
    )
