"""`conservator tui` where there is no terminal, and what it refuses at once."""

from pathlib import Path

import pytest


def test_without_a_terminal_it_names_the_other_commands(run) -> None:
    done = run("tui")
    assert done.code == 3
    assert "needs a terminal" in done.err and "conservator chat" in done.err
    assert not done.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--serve", "missing.png"], 2, "missing.png"),
        (["--images", "ascii"], 2, "'ascii' is not one of"),
        (["--port", "0"], 2, "0 is not in the range"),
        (["--policy", "nope", "--device", "toaster"], 2, "toaster"),
    ],
)
def test_wrong_usage(run, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    done = run("tui", *words)
    assert done.code == code
    assert message in done.err
    assert not done.out


def test_it_refuses_before_it_draws(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As at a terminal, but with a policy, a photo or a file of keys that is not there."""
    monkeypatch.setattr("conservator.agent.tui.launching.at_a_terminal", lambda: True)
    assert "unknown policy 'nope'" in run("tui", "--policy", "nope").err
    assert "missing.png" in run("tui", "missing.png").err
    monkeypatch.setenv("CONSERVATOR_SETTINGS", str(tmp_path / "settings.toml"))
    (tmp_path / "settings.toml").write_text("")
    (tmp_path / "tui.toml").write_text("colour = 1")
    done = run("tui")
    assert done.code == 2 and "unknown setting 'colour'" in done.err
