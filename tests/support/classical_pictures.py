"""Photos that scikit-image ships, degraded without the project's own synthesis, for the tests of classical tools."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from conservator.restorers import catalog
from conservator.restorers.base import Restored
from conservator.restorers.classical.filters import as_pixels
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt

Image = NDArray[np.float32]


@cache
def photo(name: str, side: int = 176) -> Image:
    """The middle of a photo that scikit-image ships, shrunk by two to be sharp, (side, side, 3)."""
    pixels = getattr(skimage.data, name)()[..., :3]
    height, width = pixels.shape[:2]
    crop = min(height, width, 2 * side)
    top, left = (height - crop) // 2, (width - crop) // 2
    square = pixels[top : top + crop, left : left + crop]
    small = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    return as_pixels(small) / np.float32(255)


PHOTOS = ("astronaut", "coffee", "chelsea")


def eight_bits(x: Any) -> Image:
    return as_pixels(np.round(np.clip(x, 0, 1) * 255) / 255)


def tensor(x: Image) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))[None]


def pixels(restored: Restored) -> Image:
    return restored.image[0].permute(1, 2, 0).numpy()


def psnr(a: Image, b: Image) -> float:
    return float(-10 * np.log10(np.mean((a.astype(np.float64) - b) ** 2) + 1e-12))


def treated(name: str, image: Image, **strengths: float) -> Restored:
    prompt = RestorationPrompt(degradations={Kind(k): v for k, v in strengths.items()})
    return catalog.load(name).restore(tensor(image), prompt)


# ── the degradations, written down independently of the project's synthesis ──


def noisy(x: Image, sigma: float, seed: int = 0) -> Image:
    return eight_bits(x + np.random.default_rng(seed).normal(0, sigma / 255, x.shape))


def darkened(x: Image, stops: float, how: str = "gamma") -> Image:
    value = x.max(2, keepdims=True)
    if how == "gamma":
        return eight_bits(x * value ** (stops / np.log2(1 / 0.45)))
    if how == "shift":
        lower = np.maximum(value - 0.45 * (1 - 2**-stops), 0)
        return eight_bits(x * lower / np.maximum(value, 1e-4))
    return eight_bits(x * 2**-stops)


def hazy(x: Image, beta: float, airlight: float) -> Image:
    depth = np.linspace(1, 0.2, x.shape[0], dtype=np.float32)[:, None, None]
    t = np.exp(-beta * depth)
    return eight_bits(x * t + airlight * (1 - t))


def convolved(x: Image, kernel: Image) -> Image:
    return eight_bits(cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE))


def defocused(x: Image, radius: int) -> Image:
    y, across = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (np.hypot(y, across) <= radius).astype(np.float32)
    return convolved(x, disk / disk.sum())


def moved(x: Image, sigma: float, angle_deg: float) -> Image:
    total, weights = np.zeros_like(x), 0.0
    for step in range(2 * round(5 * (sigma - 1)) + 1):
        weight = np.exp(-(step**2) / (2 * sigma**2))
        shift = step * np.cos(np.radians(angle_deg)), step * np.sin(np.radians(angle_deg))
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        total += weight * cv2.warpAffine(x, matrix, x.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        weights += weight
    return eight_bits(total / weights)


def dragged(x: Image, length: float, angle_deg: float) -> Image:
    """A steady motion of `length` px: the mean of the photo at places along a line."""
    total = np.zeros_like(x)
    places = np.linspace(-length / 2, length / 2, 8 * round(length) + 1)
    for place in places:
        shift = place * np.cos(np.radians(angle_deg)), place * np.sin(np.radians(angle_deg))
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        total += cv2.warpAffine(x, matrix, x.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return eight_bits(total / len(places))


def peppered(x: Image, fraction: float) -> Image:
    lost = np.random.default_rng(1).random(x.shape[:2]) < fraction
    return eight_bits(np.where(lost[..., None], 0, x))


def coded(x: Image, quality: int) -> Image:
    bytes_ = (x[..., ::-1] * 255).round().astype(np.uint8)
    data = cv2.imencode(".jpg", bytes_, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert again is not None
    return as_pixels(again[..., ::-1] / 255)


def shrunk(x: Image, factor: int) -> Image:
    size = [side // factor for side in x.shape[:2]]
    small = F.interpolate(tensor(x), size, mode="bicubic", antialias=True)
    large = F.interpolate(small, x.shape[:2], mode="bicubic")
    return eight_bits(large[0].permute(1, 2, 0).numpy())


def covered(x: Image, style: str, tone: float = 0.0) -> Image:
    hidden = np.zeros(x.shape[:2], np.uint8)
    random = np.random.default_rng(2)
    for _ in range(8):
        y, across = (int(v) for v in random.integers(20, x.shape[0] - 20, 2))
        if style == "blocks":
            hidden[y - 9 : y + 9, across - 9 : across + 9] = 1
        else:
            angle = random.uniform(0, np.pi)
            dy, dx = round(90 * np.sin(angle)), round(90 * np.cos(angle))
            cv2.line(hidden, (across - dx, y - dy), (across + dx, y + dy), (1,), 2)
    return eight_bits(np.where(hidden[..., None] > 0, tone, x))


def rainy(x: Image, drops: float, angle_deg: float = 10) -> Image:
    seeds = (np.random.default_rng(3).random(x.shape[:2]) < drops).astype(np.float32)
    kernel = np.zeros((27, 27), np.float32)
    lean = 13 * np.tan(np.radians(angle_deg))
    cv2.line(kernel, (round(13 - lean), 0), (round(13 + lean), 26), (1,), 1)
    streaks = cv2.GaussianBlur(cv2.filter2D(seeds, -1, kernel), (3, 3), 0.7)
    return eight_bits(x + 0.7 * np.clip(streaks, 0, 1)[..., None])


def snowy(x: Image, flakes: float) -> Image:
    seeds = (np.random.default_rng(4).random(x.shape[:2]) < flakes).astype(np.float32)
    spots = cv2.GaussianBlur(seeds, (0, 0), 1.4)
    alpha = np.clip(spots * 2 * np.pi * 1.4**2, 0, 1)[..., None] * 0.9
    return eight_bits(x * (1 - alpha) + alpha)
