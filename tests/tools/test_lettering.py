"""Lines of printed text are found, and what is none mostly is not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from conservator.tools.lettering import text_boxes
from conservator.tools.regions import Region, core_of

LINE = (40, 60)
"""Where the text begins, px."""


def sign(text: str, size: int, ink: int, ground: int, noise: float = 0.0) -> np.ndarray:
    page = Image.new("RGB", (420, 160), (ground, ground, ground))
    font = ImageFont.load_default(size=size)
    ImageDraw.Draw(page).text(LINE, text, font=font, fill=(ink, ink, ink))
    drawn = np.random.default_rng(3).normal(np.asarray(page, float), noise)
    return (np.clip(drawn, 0, 255) / 255).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "size", "ink", "ground", "noise"),
    [
        ("Conservator 1987", 30, 20, 200, 0),
        ("restored by hand", 24, 235, 70, 0),
        ("Exit to Platform 4", 18, 30, 180, 0),
        ("Conservator 1987", 30, 20, 200, 25),
    ],
)
def test_a_line_of_text(text: str, size: int, ink: int, ground: int, noise: float) -> None:
    pixels = sign(text, size, ink, ground, noise)
    bare = np.abs(sign(text, size, ink, ground) - ground / 255).max(axis=2) > 0.3
    found = core_of(Region(name="the text", found="text"), pixels)
    assert found[bare].mean() > 0.95
    assert found.mean() < 4 * bare.mean() + 0.1


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "brick", "grass"])
def test_photos_without_text(name: str) -> None:
    photo = np.asarray(getattr(data, name)())
    colour = photo if photo.ndim == 3 else np.stack([photo] * 3, axis=2)
    boxes = text_boxes((colour[::2, ::2] / 255).astype(np.float32))
    assert sum(width * height for _, _, width, height in boxes) < 0.03


def test_a_scanned_page() -> None:
    page = np.stack([data.page()] * 3, axis=2)
    boxes = text_boxes((page / 255).astype(np.float32))
    assert len(boxes) >= 4


def test_pictures_too_small_for_letters() -> None:
    assert text_boxes(np.zeros((5, 300, 3), np.float32)) == []
