"""The picture under keys and mouse."""

from pathlib import Path

import pytest
from PIL import Image
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from conservator.agent.tui.graphics.drawing import HalfCells, Nothing
from conservator.agent.tui.widgets.canvas import Canvas
from conservator.agent.tui.widgets.picture import PictureView
from tui_pilot import until

PICTURES = {
    "original": Image.new("RGB", (320, 160), (200, 0, 0)),
    "t1": Image.new("RGB", (320, 160), (0, 0, 200)),
}


class Shown(App[None]):
    """A picture and nothing else."""

    def __init__(self, drawer=None) -> None:
        super().__init__()
        self.view = PictureView(drawer or HalfCells())
        self.opened: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.view

    def on_mount(self) -> None:
        self.view.show(PICTURES.__getitem__, "original", "t1", labels=("before", "after"))
        self.view.focus()

    def on_picture_view_open_asked(self, message: PictureView.OpenAsked) -> None:
        self.opened.append(message.node)


async def colours(app: Shown, pilot: Pilot[None]) -> str:
    """A row of the middle: r for the left picture, b for the right one, anything else for what else there is."""
    await until(pilot, lambda: app.view.drawn)
    canvas = app.query_one(Canvas)
    letters = ""
    for segment in canvas.render_line(canvas.size.height // 2):
        colour = segment.style.color.triplet if segment.style and segment.style.color else None
        letter = {(200, 0, 0): "r", (0, 0, 200): "b"}.get(tuple(colour or ()), ".")
        letters += letter * len(segment.text)
    return letters


async def test_keys_move_the_split() -> None:
    app = Shown()
    async with app.run_test(size=(80, 41)) as pilot:
        row = await colours(app, pilot)
        assert row.count("r") == 40 and row.count("b") == 39
        await pilot.press("right", "right")
        assert (await colours(app, pilot)).count("r") == 48
        await pilot.press(*["left"] * 30)
        row = await colours(app, pilot)
        assert app.view.view.split == 0 and set(row) == {"b"}


async def test_the_mouse_drags_the_split() -> None:
    app = Shown()
    async with app.run_test(size=(80, 41)) as pilot:
        await colours(app, pilot)
        await pilot.mouse_down(Canvas, offset=(40, 20))
        await pilot.hover(Canvas, offset=(60, 20))
        row = await colours(app, pilot)
        assert 59 <= row.count("r") <= 61
        await pilot.mouse_up(Canvas, offset=(60, 20))
        await pilot.hover(Canvas, offset=(10, 20))
        assert await colours(app, pilot) == row


async def test_ab_difference_and_back() -> None:
    app = Shown()
    async with app.run_test(size=(80, 41)) as pilot:
        await pilot.press("space")
        assert set(await colours(app, pilot)) == {"b"}
        await pilot.press("space")
        assert set(await colours(app, pilot)) == {"r"}
        await pilot.press("d")
        assert set(await colours(app, pilot)) == {"."}
        await pilot.press("s")
        assert set(await colours(app, pilot)) >= {"r", "b"}


async def test_one_to_one_pans() -> None:
    app = Shown()
    async with app.run_test(size=(80, 41)) as pilot:
        await pilot.press("z")
        assert app.view.view.zoom == 1.0
        await pilot.press("right", "down")
        x, y = app.view.view.centre
        assert x > 0.5 and y > 0.5
        await pilot.press(*["right"] * 20)
        assert app.view.view.centre[0] == pytest.approx(1 - 40 / 320)
        await pilot.press("plus")
        assert app.view.view.zoom == 2.0
        await pilot.press("0")
        assert app.view.view.zoom is None
        await until(pilot, lambda: app.view.drawn)


async def test_opening_and_filling() -> None:
    app = Shown()
    async with app.run_test(size=(80, 41)) as pilot:
        await pilot.press("o")
        await pilot.press("space", "space", "o")
        await pilot.pause()
        assert app.opened == ["t1", "original"]
        await pilot.press("f")
        assert app.screen.maximized is app.view
        await pilot.press("f")
        assert app.screen.maximized is None


async def test_many_wishes_are_one_picture(tmp_path: Path) -> None:
    """While one is drawn others wait, and of those the last one counts."""
    app = Shown()
    async with app.run_test(size=(80, 41)) as pilot:
        await until(pilot, lambda: app.view.drawn)
        drawn = 0
        own = app.view._paint

        def counted(*arguments: object) -> None:
            nonlocal drawn
            drawn += 1
            own(*arguments)

        app.view._paint = counted
        for step in range(50):
            app.view._look(split=step / 50)
        assert "r" * 39 in await colours(app, pilot)
        assert app.view.view.split == 0.98 and drawn <= 3


async def test_a_picture_that_fails_is_a_line(tmp_path: Path) -> None:
    app = Shown()
    async with app.run_test(size=(80, 41)) as pilot:
        await until(pilot, lambda: app.view.drawn)

        def gone(name: str) -> Image.Image:
            raise FileNotFoundError(f"{name} is gone")

        app.view.show(gone, "original", "t1")
        await until(pilot, lambda: app.view.drawn)
        assert "FileNotFoundError: original is gone" in app.view.query_one("_Caption").middle


async def test_without_pictures_nothing_is_drawn() -> None:
    app = Shown(Nothing())
    async with app.run_test(size=(80, 41)) as pilot:
        assert set(await colours(app, pilot)) == {"."}
