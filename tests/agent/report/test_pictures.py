"""Pictures on a page: small enough, of the right place, at any depth."""

import numpy as np
import pytest

from conservator.agent.report import pictures
from conservator.agent.report.pictures import Album, details, reduced
from html_page import pixels_of


def gradient(height: int, width: int) -> np.ndarray:
    """(H, W, 3), float32, [0, 1]: every place has a colour of its own."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x / width, y / height, (x + y) / (width + height)], axis=2).astype(np.float32)


def test_depths_look_alike() -> None:
    image = gradient(60, 90)
    eight = np.rint(image * 255).astype(np.uint8)
    sixteen = np.rint(image * 65535).astype(np.uint16)
    for samples in (image, eight, sixteen, np.asarray(eight)[:]):
        small = reduced(samples, 45)
        assert small.dtype == np.uint8 and small.shape == (30, 45, 3)
        assert np.abs(small.astype(int) - np.rint(gradient(30, 45) * 255)).max() <= 3
    assert np.array_equal(reduced(sixteen, 500), eight)
    assert reduced(image * 3 - 1, 500).max() == 255


def test_a_preview_is_at_most_so_large() -> None:
    album = Album()
    album.add("input", "k", np.zeros((700, 2800, 3), np.uint8))
    (shown,) = album.shown(["input"])
    assert (shown.width, shown.height, shown.key) == (pictures.SIDE, 350, "k")
    assert pixels_of(shown.uri).shape == (350, pictures.SIDE, 3)
    thumbnail = album.thumbnail("input")
    assert thumbnail is not None and thumbnail.width == 240
    assert album.thumbnail("nobody") is None


def test_many_noisy_pictures_stay_within_the_budget() -> None:
    rng = np.random.default_rng(0)
    album = Album()
    for number in range(9):
        album.add(f"a{number}", str(number), rng.integers(0, 256, (900, 1400, 3), np.uint8))
    shown = {picture.name: picture for picture in album.shown(["a0", "a1"])}
    assert sum(len(picture.uri) for picture in shown.values()) <= pictures.BUDGET
    assert len(shown) == 9
    assert shown["a0"].width > shown["a5"].width


@pytest.mark.parametrize("scale", [1, 2])
def test_details_show_the_same_place(scale: int) -> None:
    before = gradient(2000, 3000)
    after = gradient(2000 * scale, 3000 * scale)
    found = details(("input", before), ("a1", after), reduced(before, 1400))
    assert len(found) >= 2
    for detail in found:
        left, top = map(int, detail.place.rpartition(" at ")[2].split(", "))
        exact = np.rint(before[top : top + 192, left : left + 192] * 255)
        assert np.array_equal(pixels_of(detail.before.uri), exact)
        assert np.abs(pixels_of(detail.after.uri) - exact).max() <= 2
        assert (detail.before.name, detail.after.name) == ("input", "a1")


def test_a_photo_smaller_than_a_detail() -> None:
    image = gradient(40, 300)
    (detail,) = details(("input", image), ("a1", image), reduced(image, 1400))
    assert pixels_of(detail.before.uri).shape == (40, 192, 3)
