"""The first frame is there at once, and nothing heavy was loaded for it."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SOURCE = str(Path(__file__).parents[3] / "src")

# The headless driver draws what a terminal would get; the time is the processor's, whatever else the machine does.
PROGRAM = """
import asyncio, json, sys, time
from pathlib import Path
from conservator.agent.settings import load_settings
from conservator.agent.tui.app import ConservatorApp
from conservator.agent.tui.graphics.choosing import choose_drawer
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.preferences import load_preferences

found = {}

class Timed(ConservatorApp):
    def _display(self, screen, renderable):
        super()._display(screen, renderable)
        if renderable is not None and "seconds" not in found:
            found["seconds"] = time.process_time()
            found["first"] = sorted(sys.modules)

async def main():
    settings = load_settings()
    preferences = load_preferences(settings)
    app = Timed(Opening(), choose_drawer(preferences.images), settings=settings, preferences=preferences)
    async with app.run_test(size=(80, 24)) as pilot:
        while "seconds" not in found:
            await pilot.pause()
        # Folders, a thumbnail and the list of sessions load what they need in worker threads.
        while not app.screen.query_one("SessionList").option_count:
            await pilot.pause(0.05)
        while "photo.png" not in str(app.screen.query_one("Preview").border_title):
            await pilot.pause(0.05)
        found["later"] = sorted(sys.modules)

asyncio.run(main())
print(json.dumps(found))
"""


def test_the_first_frame_takes_less_than_a_second(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (60, 40), "red").save(tmp_path / "photo.png")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": SOURCE, "CONSERVATOR_STATE_DIR": str(tmp_path / "state")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    found = json.loads(done.stdout)
    heavy = {"torch", "pyiqa", "transformers", "skimage", "cv2", "textual_image", "textual_plotext"}
    assert not heavy & set(found["first"])
    assert not {"numpy", "langgraph", "langchain_core"} & set(found["first"])
    assert not {"torch", "pyiqa", "transformers"} & set(found["later"])
    assert found["seconds"] < 1.0


class Terminal:
    """The command at a terminal of its own, 80x24."""

    def __init__(self, folder: Path, *words: object) -> None:
        import fcntl
        import struct
        import termios

        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "conservator.agent.cli.main", *map(str, words)],
            env={
                **os.environ,
                "PYTHONPATH": SOURCE,
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                "CONSERVATOR_STATE_DIR": str(folder / "state"),
            },
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = b""

    def wait_for(self, words: bytes) -> None:
        end = time.monotonic() + 120
        while words not in self.seen:
            assert time.monotonic() < end, self.seen[-3000:]
            if select.select([self.ours], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.ours, 65536)
                except OSError:
                    break
            # A terminal that says what it is: it paints nothing but characters.
            if b"\x1b[c" in self.seen:
                self.seen = self.seen.replace(b"\x1b[c", b"")
                os.write(self.ours, b"\x1b[?62;22c")
        assert words in self.seen, self.seen[-3000:]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.mark.parametrize("words", [(), ("tui", ".")])
def test_at_a_terminal(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "older").mkdir()
    terminal = Terminal(tmp_path, *words)
    try:
        terminal.wait_for(b"older")
        os.write(terminal.ours, b"\x03")
        terminal.wait_for(b"again quits")
        os.write(terminal.ours, b"\x11")
        terminal.wait_for(b"\x1b[?1049l")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()


def test_stopped_and_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "older").mkdir()
    terminal = Terminal(tmp_path, "tui", ".")
    try:
        terminal.wait_for(b"older")
        terminal.seen = b""
        terminal.process.send_signal(signal.SIGTSTP)
        # The shell gets its screen back, and the process rests.
        terminal.wait_for(b"\x1b[?1049l")
        _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        terminal.seen = b""
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for(b"\x1b[?1049h")
        terminal.wait_for(b"older")
        terminal.seen = b""
        os.write(terminal.ours, b"\x11")
        terminal.wait_for(b"\x1b[?1049l")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()
