"""The user's file, the theme, the keys, and the list of sessions."""

from pathlib import Path

import pytest

from conservator.agent.errors import UsageError
from conservator.agent.settings import load_settings
from conservator.agent.tui.preferences import Preferences, load_preferences, remember_theme
from conservator.agent.tui.recents import Recents
from conservator.agent.tui.screens.start import StartScreen
from tui_pilot import MakeApp, rendered, until


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONSERVATOR_SETTINGS", str(tmp_path / "settings.toml"))
    (tmp_path / "settings.toml").write_text("")
    monkeypatch.setenv("CONSERVATOR_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def test_without_a_file_there_are_defaults() -> None:
    assert load_preferences(load_settings()) == Preferences()


def test_the_file_is_read_and_the_last_theme_counts(own_place: Path) -> None:
    (own_place / "tui.toml").write_text(
        'theme = "nord"\nimages = "none"\n[keys]\n"picture.flip" = "b"\n'
    )
    settings = load_settings()
    assert load_preferences(settings) == Preferences("nord", "none", {"picture.flip": "b"})
    remember_theme(settings, "gruvbox")
    assert load_preferences(settings).theme == "gruvbox"
    (own_place / "state" / "tui-theme.json").write_text("broken")
    assert load_preferences(settings).theme == "nord"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("theme =", "does not read"),
        ("colour = 3", "unknown setting 'colour'"),
        ('images = "ascii"', "known: auto, sixel"),
        ("theme = 3", "is no name"),
        ("[keys]\na = 3", "keys are text"),
    ],
)
def test_what_does_not_read_is_named(own_place: Path, text: str, message: str) -> None:
    (own_place / "tui.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_preferences(load_settings())


def test_a_state_folder_that_cannot_be_written_costs_nothing(own_place: Path) -> None:
    (own_place / "state").write_text("a file in its place")
    settings = load_settings()
    remember_theme(settings, "nord")
    recents = Recents(settings)
    recents.opened(own_place / "a.session")
    assert recents.folders() == []


def test_sessions_are_remembered_newest_first(own_place: Path) -> None:
    recents = Recents(load_settings())
    for name in ("a", "b", "a"):
        recents.opened(own_place / name)
    assert recents.folders() == [own_place / "a", own_place / "b"]
    recents.moved(own_place / "a", own_place / "c")
    recents.moved(own_place / "b", None)
    assert recents.folders() == [own_place / "c"]
    assert recents.sessions() == []


async def test_keys_and_theme_of_the_user(make_app: MakeApp, own_place: Path) -> None:
    (own_place / "photos").mkdir()
    preferences = Preferences("textual-light", keys={"browser.above": "u", "app.help": "f7"})
    app = make_app(own_place / "photos", preferences=preferences)
    async with app.run_test(size=(80, 24)) as pilot:
        assert app.theme == "textual-light"
        await until(pilot, lambda: "photos" in rendered(app))
        await until(pilot, lambda: "u Above" in rendered(app))
        await pilot.press("u")
        await until(pilot, lambda: app.screen.query_one("Browser").path == own_place)
        await pilot.press("f7")
        await until(pilot, lambda: not isinstance(app.screen, StartScreen))
        app.theme = "nord"
        await pilot.pause()
    assert load_preferences(load_settings()).theme == "nord"


async def test_an_unknown_theme_is_the_default(make_app: MakeApp, own_place: Path) -> None:
    app = make_app(own_place, preferences=Preferences("no-such-theme"))
    async with app.run_test(size=(80, 24)):
        assert app.theme == "conservator"
