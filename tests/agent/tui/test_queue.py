"""Photos in the background: states, time left, going on after a kill, results."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator.agent.tui.batch import Batch, Item, photos_in
from conservator.agent.tui.modals.ask import Ask
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.screens.queue import QueueScreen
from conservator.agent.tui.screens.session import SessionScreen
from conservator.policies.preset import preset_names
from tui_pilot import MakeApp, rendered, settled, until


@pytest.fixture
def photos(tmp_path: Path, noisy: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(noisy[:96, :96]).save(folder / "a.png")
    (folder / "b.png").write_text("no picture")
    Image.fromarray(noisy[40:136, 40:136]).save(folder / "c.jpg", quality=95)
    (folder / "note.txt").write_text("no photo")
    return folder


def states(app) -> dict[str, str]:
    return {item.path.name: item.state for item in app.batch.items}


async def test_a_folder_is_worked_off(make_app: MakeApp, photos: Path) -> None:
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    app = make_app(photos)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))
        await until(pilot, lambda: not app.batch.working and app.batch.items)
        assert states(app) == {"a.png": "done", "b.png": "failed", "c.jpg": "done"}
        await until(pilot, lambda: "2 of 3 done, 1 failed" in rendered(app))
        assert "b.png" in rendered(app) and "not" in app.batch.items[1].words
        assert app.batch.seconds_left == 0
        for name in ("a.restored.png", "c.restored.jpg", "a.session", "c.session"):
            assert (photos / name).exists()
        assert not (photos / "b.session").exists()

        # Adding the folder once more adds nothing; what failed can be tried again.
        app.screen.add(photos)
        assert len(app.batch.items) == 3
        shutil.copy(photos / "a.png", photos / "b.png")
        await pilot.press("down", "r")
        await until(pilot, lambda: states(app)["b.png"] == "done")

        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press("enter")
        table = photos / "export" / "queue.csv"
        await until(pilot, table.exists)
        rows = list(csv.DictReader(table.read_text().splitlines()))
        assert [row["state"] for row in rows] == ["done"] * 3
        assert (photos / "export" / "a" / "recipe.json").is_file()

        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        screen = await settled(pilot)
        assert screen.session is not None and screen.session.tree.here == "t1"
    after = {name: (photos / name).read_bytes() for name in before if name != "b.png"}
    assert all(before[name] == data for name, data in after.items())


async def test_a_killed_queue_goes_on(make_app: MakeApp, photos: Path) -> None:
    (photos / "b.png").unlink()
    app = make_app(photos / "a.png", photos / "c.jpg")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: states(app).get("a.png") == "done")
    app.batch.close()
    app.batch.join(60)
    result = photos / "a.restored.png"
    written = result.stat().st_mtime_ns
    app = make_app(photos / "a.png", photos / "c.jpg")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.batch.items and not app.batch.working)
        assert app.batch.items[0].words == "done before"
        assert states(app) == {"a.png": "done", "c.jpg": "done"}
    assert result.stat().st_mtime_ns == written


async def test_pausing_and_leaving_out(make_app: MakeApp, photos: Path) -> None:
    app = make_app()
    app.batch.pause()
    async with app.run_test(size=(80, 24)) as pilot:
        app.batch.add([photos / "a.png", photos / "c.jpg"])
        app._to_queue()
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))
        await until(pilot, lambda: "0 of 2 done" in rendered(app))
        assert "paused" in rendered(app)
        await pilot.press("delete")
        assert states(app) == {"a.png": "left out", "c.jpg": "waiting"}
        # The policy is another one, and the one before comes round again.
        before = app.batch.policy
        await pilot.press("p")
        chosen = app.batch.policy
        assert chosen != before and chosen in preset_names()
        await until(pilot, lambda: f"policy {chosen}, from the next photo on" in rendered(app))
        app.batch.choose(before)
        await pilot.press("space")
        await until(pilot, lambda: states(app)["c.jpg"] == "done")
        assert states(app)["a.png"] == "left out"
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, QueueScreen))


def test_when_a_photo_is_due(tmp_path: Path) -> None:
    batch = Batch(lambda message: None, Opening())
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path in paths:
        batch._put(Item(path))
    assert [batch.due(path) for path in paths] == [None] * 3
    batch._put(Item(paths[0], "done", seconds=20.0))
    batch._put(Item(paths[1], "running"))
    assert [batch.due(path) for path in paths] == [None, 20, 40]
    assert batch.seconds_left == 40
    assert batch.due(tmp_path / "other.png") is None


def test_photos_of_a_folder(photos: Path) -> None:
    (photos / "a.restored.png").touch()
    (photos / ".hidden.png").touch()
    (photos / "folder.png").mkdir()
    assert [path.name for path in photos_in(photos)] == ["a.png", "b.png", "c.jpg"]
