"""The beginning: folders, paths, sessions."""

from pathlib import Path

import pytest
from PIL import Image
from textual.events import AppBlur, AppFocus, Paste
from textual.widgets import Input

from conservator import open_session
from conservator.agent.tui.modals.ask import Ask
from conservator.agent.tui.modals.confirm import Confirm
from conservator.agent.tui.modals.help import Help
from conservator.agent.tui.screens.session import SessionScreen
from conservator.agent.tui.screens.start import StartScreen, pasted_path
from conservator.agent.tui.widgets.browser import Browser
from conservator.agent.tui.widgets.sessions import SessionList
from tui_pilot import MakeApp, rendered, settled, until


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "photos"
    (folder / "older").mkdir(parents=True)
    (folder / "one.session").mkdir()
    for name, colour in (("one.png", "red"), ("two.jpg", "blue"), ("older/three.png", "green")):
        Image.new("RGB", (60, 40), colour).save(folder / name)
    (folder / "note.txt").write_text("no photo")
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    monkeypatch.chdir(folder)
    return folder


async def test_photos_are_browsed(make_app: MakeApp, photos: Path) -> None:
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "broken.png cannot be shown" in rendered(app))
        shown = rendered(app)
        assert "two.jpg" in shown and "older" in shown
        assert "note.txt" not in shown and "one.session" not in shown
        await pilot.press("down")
        await until(pilot, lambda: "60\u00d740" in rendered(app))
        await pilot.press("backspace")
        await until(pilot, lambda: "photos" in rendered(app))
        assert Path(app.screen.query_one(Browser).path) == photos.parent
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(app.screen, Help))
        assert "browser.above" in rendered(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, StartScreen))


async def test_a_path_is_typed_or_dropped(make_app: MakeApp, photos: Path) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", *"nowhere.png", "enter")
        await until(pilot, lambda: "is not there" in " ".join(rendered(app).split()))
        app.screen.query_one("#path", Input).value = str(photos / "older")
        await pilot.press("enter")
        await until(pilot, lambda: "three.png" in rendered(app))
        app.screen.post_message(Paste(f"'{photos / 'one.png'}'\n"))
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        screen = await settled(pilot)
        assert screen.session is not None
        assert screen.session.request.input == photos / "one.png"


@pytest.mark.parametrize("text", ["{}", "'{}'", '"{}"', "file://{}", " {} \n"])
def test_dropped_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a photo.png"
    path.touch()
    assert pasted_path(text.format(path)) == path
    assert pasted_path(str(path).replace(" ", "\\ ")) == path
    assert pasted_path(f"file://{str(path).replace(' ', '%20')}") == path
    assert pasted_path("just some words") is None
    assert pasted_path("") is None
    assert pasted_path("x" * 5000) is None


async def test_sessions_are_renamed_and_deleted(make_app: MakeApp, photos: Path) -> None:
    (photos / "one.session").rmdir()
    with open_session(photos / "one.png", vlm=None) as session:
        session.refine("brighten by 0.2 stops")
        folder = session.run_dir
    app = make_app()
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "at t1, 1 turn" in rendered(app))
        app.screen.query_one(SessionList).focus()
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = "a/b"
        await pilot.press("enter")
        await until(pilot, lambda: "no name for a folder" in rendered(app))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(Input).value = "sunny"
        await pilot.press("enter")
        sunny = photos / "sunny.session"
        await until(pilot, lambda: sunny.is_dir() and "sunny" in rendered(app))
        assert not folder.exists()
        app.screen.query_one(SessionList).focus()
        for key, there in (("n", True), ("y", False)):
            await pilot.press("delete")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, StartScreen))
            await until(pilot, lambda there=there: sunny.exists() == there)
        await until(pilot, lambda: "none yet" in rendered(app))
    assert (photos / "one.png").is_file()


async def test_a_session_is_found_from_elsewhere(
    make_app: MakeApp, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(photos / "two.jpg")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press(*"brighten by 0.2 stops", "enter")
        await settled(pilot)
        assert screen.session is not None and screen.session.tree.turns
    monkeypatch.chdir(tmp_path)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "at t1, 1 turn" in rendered(app))
        app.screen.query_one(SessionList).focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        screen = await settled(pilot)
        assert screen.session is not None and screen.session.tree.here == "t1"


async def test_a_page_opened_in_the_background(make_app: MakeApp, photos: Path) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, StartScreen))
        app.post_message(AppBlur())
        await until(pilot, lambda: app.screen.focused is None)
        # What had the focus may be gone, or nothing had it yet.
        app._last_focused_on_app_blur = None
        app.post_message(AppFocus())
        await until(pilot, lambda: isinstance(app.screen.focused, Browser))
