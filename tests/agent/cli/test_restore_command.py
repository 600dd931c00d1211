"""`conservator restore` from inspection to files, its limits, its resumption, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

SOURCE = str(Path(__file__).parents[3] / "src")


def test_it_tells_what_was_found_done_and_gained(run, noisy_png, quick_yaml) -> None:
    before = noisy_png.read_bytes()
    done = run("restore", noisy_png, "--policy", quick_yaml)
    assert done.code == 0
    result = Path(done.out.removesuffix("\n"))
    assert result == noisy_png.with_name("noisy.restored.png")
    with Image.open(result) as restored, Image.open(noisy_png) as given:
        assert (restored.size, restored.mode) == (given.size, given.mode)
    assert result.read_bytes() != before == noisy_png.read_bytes()
    for word in (
        "Found",
        "noise",
        "sigma",
        "confidence",
        "Done",
        "classical-nlm(noise=",
        "prompt:",
    ):
        assert word in done.err
    for word in ("accepted:", "structure", "Gained", "-> ", "better", "Outcome: ", "Time: "):
        assert word in done.err
    folder = noisy_png.with_name("noisy.restored.run")
    assert str(folder) in done.err
    names = {"report.json", "recipe.json", "sheet.png"}
    assert names <= {path.name for path in folder.iterdir()}
    assert not list(noisy_png.parent.rglob("*.part"))


def test_json_is_the_report(run, noisy_png, quick_yaml, tmp_path) -> None:
    target, folder = tmp_path / "out.png", tmp_path / "run"
    done = run(
        "restore", noisy_png, "--policy", quick_yaml, "--json", "-o", target, "--run-dir", folder
    )
    assert done.code == 0
    report = json.loads(done.out)
    assert report == json.loads((folder / "report.json").read_text())
    assert report["path"] == str(target)
    assert report["recipe"]["steps"]
    assert not done.err


def test_a_dry_run_writes_nothing(run, noisy_png, quick_yaml) -> None:
    done = run("restore", noisy_png, "--policy", quick_yaml, "--dry-run")
    assert done.code == 0
    assert "Would do first" in done.err
    assert "classical-nlm(noise=" in done.err
    assert not done.out
    assert list(noisy_png.parent.iterdir()) == [noisy_png]


def test_a_limit_is_an_outcome_and_the_run_goes_on(run, noisy_png, quick_yaml) -> None:
    limited = run("restore", noisy_png, "--policy", quick_yaml, "--max-tools", "0")
    assert limited.code == 4
    assert "limit of 0 tools" in limited.err
    assert "--resume" in limited.err
    output = Path(limited.out.strip())
    assert output.read_bytes() == noisy_png.read_bytes()
    resumed = run("restore", noisy_png, "--resume", "--max-tools", "3")
    assert resumed.code == 0, resumed.err
    assert Path(resumed.out.strip()) == output
    assert output.read_bytes() != noisy_png.read_bytes()
    by_folder = run("restore", noisy_png.with_name("noisy.restored.run"), "--resume")
    assert by_folder.code == 0
    assert by_folder.out == resumed.out


def test_targets_add_up(run, noisy_png, quick_yaml) -> None:
    words = ["restore", noisy_png, "--policy", quick_yaml, "--dry-run", "--json"]
    done = run(*words, "--target", "noise<=low", "--target", "noise<=medium")
    assert done.code == 2
    assert "noise twice" in done.err
    assert run(*words, "--target", "noise<=low,fidelity>=0.1").code == 0


def test_overwrite_replaces_the_input_when_asked(run, noisy_png, quick_yaml) -> None:
    before = noisy_png.read_bytes()
    done = run("restore", noisy_png, "--policy", quick_yaml, "-o", noisy_png, "--overwrite")
    assert done.code == 0
    assert Path(done.out.strip()) == noisy_png
    assert noisy_png.read_bytes() != before


def interrupt_when(ready: Path, send) -> threading.Thread:
    """Send an interrupt as soon as `ready` is there."""

    def wait() -> None:
        end = time.monotonic() + 120
        while not ready.exists() and time.monotonic() < end:
            time.sleep(0.002)
        send()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def assert_cancelled_and_resumable(run, picture: Path, before: bytes, code: int, err: str) -> None:
    assert code == 130
    assert "go on with: conservator restore" in err
    assert picture.read_bytes() == before
    assert not list(picture.parent.rglob("*.part"))
    resumed = run("restore", picture, "--resume")
    assert resumed.code == 0, resumed.err
    assert Path(resumed.out.strip()).read_bytes() != before


def test_ctrl_c_keeps_the_run(run, noisy_png, quick_yaml) -> None:
    before = noisy_png.read_bytes()
    late: list[int] = []
    # Should the run be over before the signal comes, this handler takes it, and the exit code fails the test.
    handler = signal.signal(signal.SIGINT, lambda *_: late.append(1))
    try:
        request = noisy_png.with_name("noisy.restored.run") / "request.json"
        thread = interrupt_when(request, lambda: os.kill(os.getpid(), signal.SIGINT))
        done = run("restore", noisy_png, "--policy", quick_yaml)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, handler)
    assert "press Ctrl-C again" in done.err
    assert not done.out
    assert_cancelled_and_resumable(run, noisy_png, before, done.code, done.err)


@pytest.mark.slow
def test_ctrl_c_on_a_process_of_its_own(run, noisy_png, quick_yaml) -> None:
    before = noisy_png.read_bytes()
    words = ["restore", str(noisy_png), "--policy", str(quick_yaml)]
    with subprocess.Popen(
        [sys.executable, "-m", "conservator.agent.cli.main", *words],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        request = noisy_png.with_name("noisy.restored.run") / "request.json"
        thread = interrupt_when(request, lambda: process.send_signal(signal.SIGINT))
        _, err = process.communicate(timeout=300)
        thread.join()
    assert_cancelled_and_resumable(run, noisy_png, before, process.returncode, err)
