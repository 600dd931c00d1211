"""Pixels for the terminal: what is seen of two pictures, thumbnails, half-cells, and what terminals say of themselves."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conservator.agent.errors import NotAnImageError
from conservator.agent.tui.desktop import kept_for_viewing, open_in_viewer
from conservator.agent.tui.graphics.bitmaps import Kitty, Sixels
from conservator.agent.tui.graphics.choosing import choose_drawer
from conservator.agent.tui.graphics.drawing import HalfCells
from conservator.agent.tui.graphics.probe import Terminal, read_answer
from conservator.agent.tui.graphics.viewing import (
    View,
    amplification,
    cut,
    panned,
    seen,
    window,
    zoomed,
)
from conservator.agent.tui.pictures import Album, on_screen, thumbnail
from conservator.tools.image_io import from_array

SIZES = st.tuples(st.integers(1, 6000), st.integers(1, 6000))
ROOMS = st.tuples(st.integers(1, 400), st.integers(1, 200))
VIEWS = st.builds(
    View,
    zoom=st.sampled_from([None, 0.25, 0.5, 1.0, 2.0, 8.0]),
    centre=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)


def picture(*size: int, seed: int = 1) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise)


@given(view=VIEWS, photo=SIZES, room=ROOMS)
def test_a_window_lies_in_the_photo_and_fits_the_room(view, photo, room) -> None:
    shown = window(view, photo, room)
    left, top, right, bottom = shown.box
    assert -1e-6 <= left < right <= photo[0] + 1e-6
    assert -1e-6 <= top < bottom <= photo[1] + 1e-6
    # A line or a column of pixels is never nothing.
    assert 1 <= shown.size[0] <= max(1, room[0]) and 1 <= shown.size[1] <= max(1, room[1])


@given(view=VIEWS, photo=SIZES, room=ROOMS, steps=st.integers(-9, 9))
def test_zooming_and_panning_stay_inside(view, photo, room, steps) -> None:
    nearer = zoomed(view, steps, photo, room)
    assert nearer.zoom is None or nearer.zoom > window(View(), photo, room).scale
    there = panned(nearer, 0.3, -0.3, photo, room)
    assert 0 <= there.centre[0] <= 1 and 0 <= there.centre[1] <= 1
    assert zoomed(view, -99, photo, room).zoom is None


def test_one_to_one_shows_the_photos_own_pixels() -> None:
    photo = picture(300, 200)
    shown = window(View(zoom=1.0, centre=(0.5, 0.5)), photo.size, (40, 20))
    piece = np.asarray(cut(photo, shown, photo.size))
    left, top, right, bottom = map(int, shown.box)
    np.testing.assert_array_equal(piece, np.asarray(photo)[top:bottom, left:right])
    twice = window(View(zoom=2.0), photo.size, (40, 20))
    large = np.asarray(cut(photo, twice, photo.size))
    np.testing.assert_array_equal(large[::2, ::2], large[1::2, 1::2])


def test_a_split_is_left_on_the_left() -> None:
    one, other = Image.new("RGB", (100, 40), (200, 0, 0)), Image.new("RGB", (100, 40), (0, 0, 200))
    drawn = np.asarray(seen(one, other, View(split=0.25), (120, 40), (7, 7, 7)))
    assert (drawn[:, :10] == 7).all() and (drawn[:, -10:] == 7).all()
    assert (drawn[:, 10:35] == (200, 0, 0)).all()
    assert (drawn[:, 36:110] == (0, 0, 200)).all()
    assert not ((drawn[:, 35] == (200, 0, 0)).all() or (drawn[:, 35] == (0, 0, 200)).all())
    for mode, colour in (("left", (200, 0, 0)), ("right", (0, 0, 200))):
        whole = np.asarray(seen(one, other, View(mode=mode), (100, 40)))
        assert (whole == colour).all()


@pytest.mark.parametrize(("change", "factor"), [(2, 16), (10, 8), (40, 2), (200, 1)])
def test_differences_are_made_as_strong_as_they_bear(change: int, factor: int) -> None:
    one, other = (
        Image.new("RGB", (50, 40), (20,) * 3),
        Image.new("RGB", (50, 40), (20 + change,) * 3),
    )
    assert amplification(one, other) == factor
    drawn = np.asarray(seen(one, other, View(mode="difference"), (50, 40)))
    assert (drawn == min(255, 128 + factor * change)).all()
    assert (np.asarray(seen(other, one, View(mode="difference"), (50, 40))) < 128).all()
    assert (np.asarray(seen(one, one, View(mode="difference"), (50, 40))) == 128).all()


def test_half_cells_carry_two_pixels_each() -> None:
    photo = picture(30, 20)
    drawn = HalfCells().draw(photo)
    assert len(drawn.strips) == 10
    pixels = np.asarray(photo)
    for y, strip in enumerate(drawn.strips):
        assert strip.cell_length == 30
        x = 0
        for segment in strip:
            for _ in segment.text:
                upper = segment.style.color.triplet
                lower = segment.style.bgcolor.triplet
                assert tuple(upper) == tuple(pixels[2 * y, x])
                assert tuple(lower) == tuple(pixels[2 * y + 1, x])
                x += 1
    # Equal neighbours share a segment, so that a plain picture is quickly drawn.
    plain = HalfCells().draw(Image.new("RGB", (30, 20)))
    assert all(len(list(strip)) == 1 for strip in plain.strips)


def test_sixels_are_a_sequence_over_blank_cells() -> None:
    drawn = Sixels((10, 20)).draw(picture(80, 60))
    assert drawn.sixels.startswith("\x1bP") and drawn.sixels.endswith("\x1b\\")
    assert len(drawn.strips) == 3 and not any(strip.text.strip() for strip in drawn.strips)


def test_kitty_gets_the_picture_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr("sys.__stdout__", terminal)
    photo = picture(80, 60)
    drawn = Kitty((10, 20)).draw(photo)
    assert len(drawn.strips) == 3
    sent = "".join(re.findall(r"\x1b_G[^;]*f=100[^;]*;([^\x1b]*)\x1b", terminal.getvalue()))
    with Image.open(io.BytesIO(base64.b64decode(sent))) as arrived:
        np.testing.assert_array_equal(np.asarray(arrived.convert("RGB")), np.asarray(photo))
    drawn.release()
    assert "a=d" in terminal.getvalue()


@pytest.mark.parametrize(
    ("answer", "terminal"),
    [
        (b"", Terminal()),
        (b"\x1b[?62;4;22c", Terminal(sixel=True)),
        (b"\x1b[?64;1;2;14c", Terminal()),
        (b"\x1b_Gi=31;OK\x1b\\\x1b[6;18;9t\x1b[?62c", Terminal(kitty=True, cell=(9, 18))),
        (b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1b[6;0;0t\x1b[?62c", Terminal()),
    ],
)
def test_what_terminals_say(answer: bytes, terminal: Terminal) -> None:
    assert read_answer(answer) == terminal


def test_without_a_terminal_there_are_half_cells() -> None:
    assert choose_drawer("auto").name == "half-cells"
    assert choose_drawer("none").name == "none"
    served = {"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}
    assert choose_drawer("sixel", served).name == "half-cells"


def test_thumbnails_stand_upright(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    photo = Image.new("RGB", (400, 200), "red")
    photo.paste("blue", (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(path, exif=exif)
    small, size = thumbnail(path, (50, 50))
    assert size == (200, 400)
    assert small.size[0] < small.size[1] <= 50
    top, bottom = (np.asarray(small)[row, small.width // 2] for row in (3, small.height - 4))
    assert top[2] > 200 > bottom[2]


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "I;16", "CMYK", "1"])
def test_thumbnails_of_every_kind(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        photo = Image.fromarray(np.full((30, 40), 153 * 257, np.uint16))
    else:
        photo = Image.new("RGB", (40, 30), (153, 153, 153)).convert(mode)
    path = tmp_path / f"photo.{'tif' if mode in ('I;16', 'CMYK') else 'png'}"
    photo.save(path)
    small, _ = thumbnail(path, (20, 20))
    assert small.mode == "RGB"
    if mode != "1":
        assert abs(float(np.asarray(small).mean()) - 153) < 6


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    path = tmp_path / "note.png"
    path.write_text("hello")
    with pytest.raises(NotAnImageError, match=r"note\.png cannot be shown"):
        thumbnail(path, (20, 20))


def test_transparency_stands_before_grey() -> None:
    samples = np.zeros((8, 8, 4), np.uint8)
    samples[:4, :, 3] = 255
    shown = np.asarray(on_screen(from_array(samples)))
    assert (shown[:4] == 0).all() and (shown[4:] == 128).all()


def test_an_album_keeps_the_last_ones() -> None:
    loaded: list[str] = []

    def load(name: str) -> Image.Image:
        loaded.append(name)
        return Image.new("RGB", (2, 2))

    album = Album(load)
    for name in ("a", "b", "a", "c", "d", "e", "f", "g", "a"):
        album(name)
    assert loaded == ["a", "b", "c", "d", "e", "f", "g"] or loaded[-1] == "a"
    assert loaded.count("b") == 1


def test_a_viewer_is_started_or_the_file_named(tmp_path: Path) -> None:
    path = kept_for_viewing(Image.new("RGB", (4, 4)), "photo-t1")
    assert path.name == "photo-t1.png" and path.is_file()
    assert "no desktop" in open_in_viewer(path, {}) and str(path) in open_in_viewer(path, {})
    viewer = tmp_path / "xdg-open"
    viewer.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    viewer.chmod(0o755)
    assert "opened" in open_in_viewer(path, {"DISPLAY": ":0", "PATH": str(tmp_path)})
    served = {"DISPLAY": ":0", "PATH": str(tmp_path), "TEXTUAL_DRIVER": "x:WebDriver"}
    assert "browser" in open_in_viewer(path, served)
