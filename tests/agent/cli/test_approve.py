"""`--approve`: answers from a pipe, from a terminal, and from nobody."""

import io
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from terminal import Terminal


@pytest.fixture
def answering(run, monkeypatch: pytest.MonkeyPatch):
    """The command line with answers that come through a pipe."""

    def command(*words: object, lines: str):
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        return run(*words)

    return command


def result_of(picture: Path) -> Path:
    return picture.with_name("noisy.restored.png")


def report_of(picture: Path) -> dict:
    return json.loads((picture.with_name("noisy.restored.run") / "report.json").read_text())


def test_it_shows_what_was_found_and_planned_and_does_what_is_approved(
    answering, run, noisy_png: Path, quick_yaml: Path, tmp_path: Path
) -> None:
    unasked = tmp_path / "unasked.png"
    assert run("restore", noisy_png, "--policy", quick_yaml, "-o", unasked).code == 0
    done = answering(
        "restore", noisy_png, "--policy", quick_yaml, "--approve", "plan", lines="help\n\nyes\n"
    )
    assert done.code == 0, done.err
    assert Path(done.out.strip()) == result_of(noisy_png)
    assert result_of(noisy_png).read_bytes() == unasked.read_bytes()
    asked, answered = done.err.split("approve> yes")
    for words in ("Found", "confidence 0.97", "Would do first", "classical-nlm(noise=24"):
        assert words in asked
    for words in ("why: noise high", 'prompt: "noise: sigma=24', "help explains", "with RESTORER"):
        assert words in asked
    assert "Outcome: met" in answered


def test_a_change_is_carried_out(answering, noisy_png: Path, quick_yaml: Path) -> None:
    done = answering(
        *("restore", noisy_png, "--policy", quick_yaml, "--approve", "each"),
        lines="noise=500\nnoise=20\n",
    )
    assert done.code == 0, done.err
    assert "noise=500" in done.err
    assert done.err.count("Found") == 2  # once asked, once told at the end
    assert "classical-nlm(noise=20) on original" in done.err
    assert report_of(noisy_png)["attempts"][0]["call"]["decided_by"] == "user"


def test_words_are_answers(answering, noisy_png: Path, quick_yaml: Path) -> None:
    done = answering(
        *("restore", noisy_png, "--policy", quick_yaml, "--approve", "each"),
        lines="a bit less smoothing\nyes\n",
    )
    assert done.code == 0, done.err
    assert "less denoising: sigma 24.5 -> 18.5" in done.err
    assert report_of(noisy_png)["said"][0]["words"] == "a bit less smoothing"


@pytest.mark.parametrize("lines", ["stop\n", ""])
def test_a_stop_and_the_end_of_the_answers_keep_the_best_so_far(
    answering, noisy_png: Path, quick_yaml: Path, lines: str
) -> None:
    done = answering("restore", noisy_png, "--policy", quick_yaml, "--approve", "plan", lines=lines)
    assert done.code == 4, done.err
    assert Path(done.out.strip()).read_bytes() == noisy_png.read_bytes()
    assert "stopped by you; the input is kept as it is" in done.err
    assert "go on with: conservator restore" in done.err
    # It asks again when it is resumed.
    resumed = answering("restore", noisy_png, "--resume", lines="yes\n")
    assert resumed.code == 0, resumed.err
    assert "approve> yes" in resumed.err
    assert Path(resumed.out.strip()).read_bytes() != noisy_png.read_bytes()


def test_a_resumed_run_may_be_told_not_to_ask(answering, noisy_png: Path, quick_yaml: Path) -> None:
    words = ["restore", noisy_png, "--policy", quick_yaml, "--approve", "each"]
    assert answering(*words, lines="").code == 4
    done = answering("restore", noisy_png, "--resume", "--approve", "never", lines="")
    assert done.code == 0, done.err
    assert "approve>" not in done.err


def test_sessions_resume_asks_as_well(answering, noisy_png: Path, quick_yaml: Path) -> None:
    words = ["restore", noisy_png, "--policy", quick_yaml, "--approve", "plan"]
    assert answering(*words, lines="").code == 4
    folder = noisy_png.with_name("noisy.restored.run")
    done = answering("sessions", "resume", folder, lines="yes\n")
    assert done.code == 0, done.err
    assert "approve> yes" in done.err


def test_nobody_to_ask_is_an_error_before_the_work(
    run, noisy_png: Path, quick_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("/dev/null").open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        done = run("restore", noisy_png, "--policy", quick_yaml, "--approve", "plan")
        assert done.code == 2
        assert "needs a terminal, or answers on stdin" in done.err
        assert list(noisy_png.parent.iterdir()) == [noisy_png]
        assert run("restore", noisy_png, "--dry-run", "--approve", "plan").code == 0


def test_nothing_to_do_is_nothing_to_ask(answering, clean, quick_yaml, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(clean).save(tmp_path / "clean.png")
    words = ["restore", tmp_path / "clean.png", "--policy", quick_yaml, "--approve", "each"]
    done = answering(*words, lines="")
    assert done.code == 0
    assert "approve>" not in done.err


def test_json_stays_on_stdout(answering, noisy_png: Path, quick_yaml: Path) -> None:
    words = ["restore", noisy_png, "--policy", quick_yaml, "--approve", "plan", "--json"]
    done = answering(*words, lines="skip\n")
    assert done.code == 0
    assert json.loads(done.out)["attempts"][0]["status"] == "skipped"


class Interrupted(io.StringIO):
    """A keyboard at which Ctrl-C is pressed."""

    def readline(self, size: int | None = -1) -> str:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the question went on")


def test_ctrl_c_at_the_question_cancels(
    run, answering, noisy_png: Path, quick_yaml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Interrupted())
    done = run("restore", noisy_png, "--policy", quick_yaml, "--approve", "plan")
    assert done.code == 130, done.err
    assert not result_of(noisy_png).exists()
    assert answering("restore", noisy_png, "--resume", lines="yes\n").code == 0


def test_a_conversation_asks_in_its_automatic_runs(
    answering, noisy_png: Path, quick_yaml: Path
) -> None:
    lines = "restore\nnoise=20\na bit less denoising\ntree\n"
    words = ["chat", noisy_png, "--policy", quick_yaml, "--approve", "plan"]
    done = answering(*words, lines=lines)
    assert done.code == 0, done.err
    assert "approve> noise=20" in done.err
    # What is said about a result is done without asking.
    assert done.err.count("approve> ") == 1
    assert "classical-nlm(noise=20)" in done.err and "t2: less denoising" in done.err


@pytest.mark.slow
def test_at_a_terminal(noisy_png: Path, quick_yaml: Path) -> None:
    words = ["restore", noisy_png, "--policy", quick_yaml, "--approve", "each"]
    terminal = Terminal(*words)
    try:
        terminal.wait_for("approve> ")
        terminal.type("keep it sharp\n")
        terminal.wait_for("approve> keep it sharp")
        # Between the prompt and its first look at the keyboard readline hears no signal.
        time.sleep(1)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.process.wait(60) == 130
        terminal.wait_for("go on with: conservator restore")
    finally:
        terminal.close()
    again = Terminal("restore", noisy_png, "--resume")
    try:
        again.wait_for("approve> ")
        again.type("yes\n")
        assert again.process.wait(120) == 0
    finally:
        again.close()
    assert result_of(noisy_png).exists()
