"""`conservator chat`: piped, at a terminal, interrupted."""

import io
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conservator import open_session
from conservator.policies.preset import Preset
from terminal import Terminal

SOURCE = str(Path(__file__).parents[3] / "src")


@pytest.fixture
def talk(run, monkeypatch: pytest.MonkeyPatch):
    """A conversation whose lines come through a pipe."""

    def held(*words: object, lines: str):
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        return run("chat", *words)

    return held


def test_a_piped_conversation(talk, noisy_png: Path, quick_yaml: Path, tmp_path: Path) -> None:
    before = noisy_png.read_bytes()
    out = tmp_path / "out.png"
    lines = f"restore\ntoo dark\nundo\n\n# a note\nsave {out}\nwhy\ntree\ncompare\n"
    done = talk(noisy_png, "--policy", quick_yaml, lines=lines)
    assert done.code == 0, done.err
    folder = noisy_png.with_name("noisy.session")
    assert done.out.splitlines() == [str(out), str(folder / "sheets" / "original-t1.png")]
    assert out.read_bytes() != before == noisy_png.read_bytes()
    for words in ("original> restore", "t1> too dark", "t2> undo", "at t1: restore", "joint rule"):
        assert words in done.err
    assert "go on with: conservator chat --run-dir" in done.err
    assert not list(tmp_path.rglob("*.part"))
    # Without `satisfied` or -o nothing is written beside the photo.
    assert not noisy_png.with_name("noisy.restored.png").exists()


def test_satisfied_writes_beside_the_photo(talk, noisy_png: Path, quick_yaml: Path) -> None:
    lines = "remove the noise\nsatisfied\nnever read\n"
    done = talk(noisy_png, "--policy", quick_yaml, lines=lines)
    assert done.code == 0
    result = Path(done.out.strip())
    assert result == noisy_png.with_name("noisy.restored.png")
    assert "never read" not in done.err
    session = open_session(run_dir=noisy_png.with_name("noisy.session"), vlm=None)
    np.testing.assert_array_equal(np.asarray(Image.open(result)), np.rint(session.array * 255))


def test_the_output_is_written_at_the_end_and_the_session_goes_on(
    talk, noisy_png: Path, quick_yaml: Path, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out.png", tmp_path / "talk"
    words = ["--policy", quick_yaml, "-o", out, "--run-dir", folder]
    first = talk(noisy_png, *words, lines="remove the noise\n")
    assert first.code == 0 and Path(first.out.strip()) == out
    before = out.read_bytes()
    second = talk("--run-dir", folder, lines="less\nquit\n")
    assert second.code == 0, second.err
    assert Path(second.out.strip()) == out
    assert "t1> less" in second.err
    assert out.read_bytes() != before


def test_a_conversation_with_a_contract(
    talk, noisy_png: Path, noisy: np.ndarray, quick_yaml: Path, tmp_path: Path
) -> None:
    out, folder = tmp_path / "out.png", tmp_path / "talk"
    words = ["--policy", quick_yaml, "--run-dir", folder, "-o", out, "--max-tools", "1"]
    words += ["--protect", "0,0,80,160", "--keep", "the colours", "--target", "noise<=low"]
    done = talk(noisy_png, *words, lines="restore\nless\nmore\n")
    assert done.code == 0, done.err
    kept = np.asarray(Image.open(out))
    assert np.array_equal(kept[:, :80], noisy[:, :80])
    assert not np.array_equal(kept[:, 100:], noisy[:, 100:])
    again = talk("--run-dir", folder, "--max-tools", "0", lines="undo\nundo\nundo\nrestore\n")
    assert again.code == 0, again.err
    assert "the limit of 0 tools" in again.err
    request = open_session(run_dir=folder, vlm=None).request
    assert (request.protect, request.keep) == (("0,0,80,160",), ("the colours",))
    assert (request.targets, request.budget.max_tools) == ("noise<=low", 0)


def test_a_line_that_fails_does_not_cost_the_others(
    talk, noisy_png: Path, quick_yaml: Path, tmp_path: Path
) -> None:
    lines = f"brighter in the box 900,900,5,5\nfoo bar\nremove the noise\nsave {noisy_png}\n"
    done = talk(noisy_png, "--policy", quick_yaml, lines=lines)
    assert done.code == 1
    assert "outside the photo" in done.err
    assert "I do not understand: 'foo bar'" in done.err
    assert "t1: more denoising" in done.err
    assert "is the input" in done.err
    assert not done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["IN", "--policy", "nope"], "unknown policy"),
        (["missing.png"], "missing.png"),
        ([], "give a photo"),
        (["IN", "-o", "IN"], "exists"),
        (["IN", "-o", "out.xyz"], ".xyz"),
        (["IN", "--keep", "the vibe"], "cannot read 'the vibe'"),
        (["IN", "--protect", "nose"], "none that can be found"),
        (["IN", "--target", "noise<=low", "--keep", "the grain"], "contradict each other"),
        (["IN", "--experience", "nope"], "unknown experience"),
        (["IN", "--vlm", "nobody"], "unknown vision-language model"),
    ],
)
def test_wrong_usage(talk, noisy_png: Path, words: list[str], message: str) -> None:
    given = [str(noisy_png) if word == "IN" else word for word in words]
    done = talk(*given, lines="restore\n")
    assert done.code in (1, 2)
    assert message in done.err
    assert "error: " in done.err
    assert not done.out
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


def test_nothing_said_leaves_nothing(talk, noisy_png: Path) -> None:
    done = talk(noisy_png, lines="help\nundo\nquit\n")
    assert done.code == 2
    assert "keep the grain" in done.err and "nothing to undo" in done.err
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


@pytest.fixture
def terminal(noisy_png: Path, quick: Preset, tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "quick.yaml").write_text(quick.model_dump_json())
    words = ["--policy", tmp_path / "quick.yaml", "--run-dir", tmp_path / "talk"]
    opened = Terminal("chat", noisy_png, *words)
    yield opened
    opened.close()


@pytest.mark.slow
def test_at_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    """Ctrl-C costs the turn, at the prompt nothing; Ctrl-D ends."""
    folder = tmp_path / "talk"
    terminal.wait_for("original> ")
    # Between the prompt and its first look at the keyboard readline hears no signal.
    time.sleep(1)
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("Ctrl-D or quit ends")
    terminal.type("restore\n")
    end = time.monotonic() + 120
    while not (folder / "runs").exists() and time.monotonic() < end:
        time.sleep(0.002)
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("the session is as it was")
    terminal.type("remove the noise\n")
    terminal.wait_for("\nt1> ")
    assert "t1: more denoising" in terminal.seen
    terminal.type("\x04")
    assert terminal.process.wait(60) == 0
    session = open_session(run_dir=folder, vlm=None)
    assert [turn.id for turn in session.tree.turns] == ["t1"]
