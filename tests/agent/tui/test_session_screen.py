"""A session in the UI, through the real agent."""

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from textual.widgets import Input

from conservator import open_session
from conservator.agent.tui.modals.aims import AimsForm
from conservator.agent.tui.modals.ask import Ask
from conservator.agent.tui.modals.confirm import Confirm
from conservator.agent.tui.screens.start import StartScreen
from conservator.agent.tui.widgets.tree import NodeChosen
from tui_pilot import MakeApp, rendered, said, settled, until


@pytest.fixture
def session_folder(noisy_png: Path, quick_yaml: Path) -> Path:
    """A session with two turns, quickly made."""
    with open_session(noisy_png, policy=quick_yaml, vlm=None) as session:
        session.refine("remove the noise, sigma 25")
        session.refine("a bit less")
        return session.run_dir


async def test_a_session_as_a_person_holds_it(
    make_app: MakeApp, noisy_png: Path, door: threading.Event
) -> None:
    before = noisy_png.read_bytes()
    app = make_app(noisy_png)
    async with app.run_test(size=(140, 45)) as pilot:
        screen = await settled(pilot)
        assert "found: noise" in said(screen)
        assert screen.board.picture.nodes == ("original", "original")

        door.clear()
        await pilot.press("ctrl+r")
        assert screen.busy
        assert screen.check_action("restore", ()) is False
        assert screen.check_action("pause", ())
        door.set()
        await settled(pilot)
        words = said(screen)
        for told in ("planned by the policy: classical-nlm", "a1 kept", "t1: done in"):
            assert told in words, words
        assert screen.board.picture.nodes == ("original", "t1")
        shown = rendered(app)
        for told in ("t1 +", "classical-nlm(noise", "\u2713 noise<=low", "a1 classical-nlm"):
            assert told in shown, shown

        await pilot.press(*"a bit less smoothing", "enter")
        await settled(pilot)
        assert "t2: less denoising" in said(screen)
        assert screen.board.picture.nodes == ("original", "t2")

        await pilot.press("ctrl+z")
        await settled(pilot)
        assert screen.session is not None
        assert screen.session.tree.here == "t1"
        assert screen.board.picture.nodes == ("original", "t1")

        await pilot.press(*"compare t1 t2", "enter")
        await settled(pilot)
        assert screen.board.picture.nodes == ("t1", "t2")
        assert "they differ by" in said(screen)

        await pilot.press(*"branch soft", "enter")
        await settled(pilot)
        assert "on soft" in rendered(app)

        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        target = noisy_png.with_name("noisy.restored.png")
        assert app.screen.query_one(Input).value == str(target)
        await pilot.press("enter")
        await until(pilot, lambda: "saved t1" in said(screen))
        with Image.open(target) as saved:
            expected = np.rint(screen.session.array * 255).astype(np.uint8)
            np.testing.assert_array_equal(np.asarray(saved), expected)

        await pilot.press("f9")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("enter")
        await until(pilot, lambda: "exported" in said(screen))
        export = {path.name for path in noisy_png.with_name("noisy.export").iterdir()}
        assert export >= {"noisy.restored.png", "recipe.json", "report.json"}

        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, StartScreen))
    assert noisy_png.read_bytes() == before
    again = open_session(run_dir=noisy_png.with_name("noisy.session"), vlm=None)
    assert [turn.id for turn in again.tree.turns] == ["t1", "t2"]
    assert again.tree.branches["soft"] == "t1"


async def test_a_kept_session_goes_on(make_app: MakeApp, session_folder: Path) -> None:
    app = make_app(session_folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        assert "going on with noisy.session: 2 turns, at t2" in said(screen)
        assert screen.board.picture.nodes == ("original", "t2")
        await pilot.press(*"undo", "enter")
        await settled(pilot)
        await pilot.press("ctrl+y")
        await settled(pilot)
        assert screen.session is not None and screen.session.tree.here == "t2"


async def test_any_two_nodes_are_looked_at(make_app: MakeApp, session_folder: Path) -> None:
    app = make_app(session_folder)
    async with app.run_test(size=(140, 45)) as pilot:
        screen = await settled(pilot)
        tree = screen.query_one("_Nodes")
        tree.focus()
        await pilot.press("home", "down", "a")
        assert screen.board.picture.nodes == ("t1", "t2")
        await pilot.press("up", "v")
        assert screen.board.picture.nodes == ("t1", "original")
        await pilot.press("down", "enter")
        await settled(pilot)
        assert screen.session is not None and screen.session.tree.here == "t1"
        await pilot.press("w")
        await settled(pilot)
        assert "t1, from original" in said(screen)
        screen.post_message(NodeChosen("look", "nowhere"))
        await until(pilot, lambda: "the picture of nowhere is not kept" in said(screen))


async def test_other_aims(make_app: MakeApp, session_folder: Path) -> None:
    app = make_app(session_folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: isinstance(app.screen, AimsForm))
        await pilot.press(*"noise=>low", "enter")
        await until(pilot, lambda: "does not parse" in rendered(app))
        app.screen.query_one("#targets", Input).value = "noise<=absent,fidelity>=0.5"
        app.screen.query_one("#keep", Input).value = "the colours"
        app.screen.query_one("#seconds", Input).value = "-3"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "not a number from 0 on" in rendered(app))
        app.screen.query_one("#seconds", Input).value = "90"
        await pilot.press("ctrl+s")
        await settled(pilot)
        assert screen.session is not None
        assert screen.session.request.targets == "noise<=absent,fidelity>=0.5"
        assert screen.session.request.budget.max_seconds == 90
        for _ in range(3):
            await pilot.press("f3")
        await pilot.pause()
        shown = rendered(app)
        assert (
            "noise<=absent" in shown
            and "keep the colours" in shown
            and "\u2713 fidelity>=0.5" in shown
        ), shown
        assert "of 1 min 30 s" in shown


async def test_nothing_is_overwritten_unasked(make_app: MakeApp, session_folder: Path) -> None:
    other = session_folder.with_name("other.png")
    other.write_bytes(b"somebody else's")
    app = make_app(session_folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        for key, kept in (("n", True), ("y", False)):
            await pilot.press("ctrl+s")
            await until(pilot, lambda: isinstance(app.screen, Ask))
            app.screen.query_one(Input).value = str(other)
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press(key)
            await settled(pilot)
            assert (other.read_bytes() == b"somebody else's") == kept
        assert "saved t2" in said(screen)
        # Not even the user's word lets it replace the photo.
        photo = session_folder.with_name("noisy.png")
        before = photo.read_bytes()
        await pilot.press(*f"save {photo}", "enter")
        await settled(pilot)
        assert "is the input" in said(screen)
        assert photo.read_bytes() == before


async def test_what_is_not_understood_is_said(make_app: MakeApp, session_folder: Path) -> None:
    app = make_app(session_folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        await pilot.press(*"foo bar", "enter")
        await settled(pilot)
        assert "I do not understand: 'foo bar'" in said(screen)
        await pilot.press(*"go t9", "enter")
        await settled(pilot)
        assert "unknown node" in said(screen)
        await pilot.press("up")
        assert screen.query_one(Input).value == "go t9"
        await pilot.press("up")
        assert screen.query_one(Input).value == "foo bar"


async def test_small_and_large_again(make_app: MakeApp, session_folder: Path) -> None:
    app = make_app(session_folder)
    async with app.run_test(size=(140, 45)) as pilot:
        screen = await settled(pilot)
        large = rendered(app)
        await pilot.resize_terminal(40, 12)
        await settled(pilot)
        assert not screen.query_one("Side").display
        await pilot.press("f3")
        await pilot.pause()
        assert screen.query_one("Side").display and "Steps" in rendered(app)
        await pilot.press("escape")
        await pilot.press(*"undo", "enter")
        await settled(pilot)
        await pilot.press("ctrl+y")
        await settled(pilot)
        await pilot.resize_terminal(140, 45)
        await settled(pilot)
        await pilot.pause(0.2)
        shown = rendered(app)
        assert shown.splitlines()[:4] == large.splitlines()[:4]
        assert "t1" in shown and "Scores" in shown


async def test_the_photo_is_deleted_underneath(
    make_app: MakeApp, session_folder: Path, noisy_png: Path
) -> None:
    app = make_app(session_folder)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await settled(pilot)
        noisy_png.unlink()
        await pilot.press("ctrl+z")
        await settled(pilot)
        await pilot.press("ctrl+z")
        await settled(pilot)
        await pilot.press("ctrl+r")
        await settled(pilot)
        assert "no such file" in said(screen).lower() or "is not there" in said(screen).lower()
        # What was made is there, and words still work: the photo is in memory.
        await pilot.press(*"go t2", "enter")
        await settled(pilot)
        shutil.rmtree(session_folder / "artifacts")
        screen.board.picture.show(screen.board.nodes.album, "original", "t1")
        await settled(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, StartScreen))


async def test_a_photo_that_is_none(make_app: MakeApp, tmp_path: Path) -> None:
    path = tmp_path / "note.png"
    path.write_text("not a picture")
    app = make_app(path)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = app.screen
        await until(pilot, lambda: "Ctrl+O goes back" in rendered(app))
        assert "note.png" in said(screen)
        await pilot.press("ctrl+r", *"too dark", "enter")
        await pilot.pause()
        assert "nothing is open yet" in said(screen)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, StartScreen))
    assert list(tmp_path.glob("*.session")) == []
