"""How soon the terminal UI shows something: the first frame after the start, and a key while the agent works.

    python -m conservator.evals.responsiveness --out evals/results/responsiveness.json [--part start|keys] [--photo PHOTO] [--starts N]

The command runs at a pseudo-terminal of 140x45, as a user's does, and what it writes there is read:

- `start`: from the process's start to the first bytes of the first frame, in an empty folder, N times; whether torch was loaded by then,
  and two seconds later (files may still be browsed: nothing is opened).
- `keys`: from a key to the bytes that show what it did, from the beginning of a restoration to its end: a letter is typed that is nowhere
  else on the screen, or the picture is zoomed with the wheel and arrives. Keys are told apart by whether a restorer's network was at work.

A part that is not measured is kept as the file has it. `waiting` is the part of a time that the process's first thread, which draws, stood in the queue for a processor: what is left is what the
program itself takes on a machine that has one free for it. `work` is what that thread computed. Both are Linux's own counts, null elsewhere.
On a machine that others keep busy a thread of the agent's that has the interpreter's lock may stand in the queue as well, and the drawing
thread then waits for the lock: `waiting` does not know of that, so measure on one that is idle. Without a photo one is made: scikit-image's
coffee at 1024x1536 with noise of sigma 25.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conservator.evals.provenance import provenance

__all__ = ["Key", "main", "summary"]

_SIZE: Final = (140, 45)
_PATIENCE_S: Final = 1200.0
_LETTERS: Final = "\u0436\u0449\u044d\u044e\u044f\u0444\u0431\u0434\u0438\u043b\u043f\u0446\u0447\u0448\u044a\u044b\u0451\u0491\u0454\u0457"
"""Of an alphabet that the UI does not use: a letter on the screen is the one that was typed."""
_BLOCK: Final = "\N{UPPER HALF BLOCK}".encode()
_ZOOMED: Final = 200
"""Cells of the picture that another magnification at least draws anew."""
_WHEEL: Final = ("\x1b[<64;30;10M", "\x1b[<65;30;10M")
"""Up and down, at a cell of the picture."""
_FIRST: Final = b"open a photo to begin"


@dataclass(frozen=True)
class Key:
    """A key that was pressed.

    Attributes:
        what: `typed` or `zoom`.
        seconds: until it was seen.
        waiting: how much of that the drawing thread waited for a processor; None where the system does not say.
        work: how much of that it computed; None likewise.
        restorer: whether a restorer was at work.
    """

    what: str
    seconds: float
    waiting: float | None
    restorer: bool
    work: float | None = None


class _Terminal:
    """`conservator tui` at a pseudo-terminal."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        width, height = _SIZE
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "CONSERVATOR_STATE_DIR": str(folder / "state"),
        }
        self.seen = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "conservator.agent.cli.main", "tui", *words],
            env=environment,
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, holds: Callable[[bytes], bool], since: int = 0) -> None:
        """Read until what was seen from byte `since` on is what is waited for."""
        end = time.monotonic() + _PATIENCE_S
        while not holds(self.seen[since:]):
            if time.monotonic() > end:
                raise TimeoutError(self.seen[-2000:].decode(errors="replace"))
            self.read(0.2)

    def read(self, patience_s: float) -> None:
        if select.select([self._ours], [], [], patience_s)[0]:
            self.seen += os.read(self._ours, 1 << 20)
            if b"\x1b[c" in self.seen[-4096:]:
                # The program asks what it is at: a terminal without pictures of its own.
                self.seen = self.seen.replace(b"\x1b[c", b"")
                os.write(self._ours, b"\x1b[?62;22c")

    @property
    def spent(self) -> tuple[float, float] | None:
        """Seconds that the process's first thread has computed, and has waited for a processor."""
        pid = self._process.pid
        try:
            text = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text(encoding="ascii")
            work, waiting = (int(word) / 1e9 for word in text.split()[:2])
        except (OSError, ValueError):
            return None
        return work, waiting

    @property
    def has_torch(self) -> bool | None:
        """Whether torch's library is in its memory."""
        try:
            return "libtorch" in Path(f"/proc/{self._process.pid}/maps").read_text("utf-8")
        except OSError:
            return None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


def _started() -> dict[str, Any]:
    """One start."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        terminal = _Terminal(Path(folder))
        try:
            terminal.until(lambda seen: _FIRST in seen)
            seconds, spent = time.perf_counter() - begun, terminal.spent
            early = terminal.has_torch
            end = time.monotonic() + 2
            while time.monotonic() < end:
                terminal.read(0.1)
            return {
                "seconds": round(seconds, 3),
                "waiting": None if spent is None else round(spent[1], 3),
                "torch": early,
                "torch_later": terminal.has_torch,
            }
        finally:
            terminal.close()


def _pressed(photo: Path, pause_s: float) -> list[Key]:
    """Keys all through a restoration of `photo`."""
    keys: list[Key] = []
    terminal = _Terminal(photo.parent, "--vlm", "none", "--images", "halfcell", str(photo))

    def press(what: str, key: str, shown: Callable[[bytes], bool]) -> None:
        since, pressed, before = len(terminal.seen), time.perf_counter(), terminal.spent
        terminal.press(key)
        terminal.until(shown, since)
        seconds, after = time.perf_counter() - pressed, terminal.spent
        if before is None or after is None:
            keys.append(Key(what, seconds, None, at_work()))
        else:
            work, waiting = after[0] - before[0], after[1] - before[1]
            keys.append(Key(what, seconds, waiting, at_work(), work))

    def at_work() -> bool:
        """A restorer's network, by what the UI said last."""
        told = terminal.seen[begun:]
        return told.rfind(b" runs: ") > max(told.rfind(b" scores: "), told.rfind(b" failed: "))

    try:
        terminal.until(lambda seen: b"Ctrl+R" in seen)
        begun = len(terminal.seen)
        terminal.press("\x12")
        number = 0
        while b": done in" not in terminal.seen[begun:]:
            letter = _LETTERS[number % len(_LETTERS)]
            if number and number % len(_LETTERS) == 0:
                # The line is full of them: begin anew.
                terminal.press("\x15")
                _rest(terminal, 1.0)
            press("typed", letter, _shows(letter.encode()))
            _rest(terminal, pause_s)
            if number % 5 == 4:
                # The wheel over the picture, so that the line stays in focus: nearer, and back.
                wheel = _WHEEL[number // 5 % 2]
                press("zoom", wheel, lambda seen: seen.count(_BLOCK) >= _ZOOMED)
            number += 1
    finally:
        terminal.close()
    return keys


def _shows(what: bytes) -> Callable[[bytes], bool]:
    return lambda seen: what in seen


def _rest(terminal: _Terminal, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        terminal.read(0.02)


def summary(keys: Iterable[Key]) -> dict[str, Any]:
    """Times in ms, by kind of key and by what the agent was at: count, median, 95th percentile, longest; and the same without waiting."""
    groups: dict[str, list[Key]] = {}
    for key in keys:
        groups.setdefault(
            f"{key.what}, {'restorer' if key.restorer else 'rest of the run'}", []
        ).append(key)
    return {
        name: {
            "count": len(group),
            "ms": _spread([key.seconds for key in group]),
            "ms_without_waiting": None
            if any(key.waiting is None for key in group)
            else _spread([max(0.0, key.seconds - (key.waiting or 0.0)) for key in group]),
            "ms_of_work": None
            if any(key.work is None for key in group)
            else _spread([key.work or 0.0 for key in group]),
        }
        for name, group in groups.items()
    }


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(1000 * value for value in seconds)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {
        "median": round(statistics.median(ordered), 1),
        "p95": round(late, 1),
        "most": round(ordered[-1], 1),
    }


def _made(folder: Path) -> Path:
    import numpy as np
    from PIL import Image
    from skimage import data

    photo = Image.fromarray(data.coffee()).resize((1536, 1024), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 25, (1024, 1536, 3))
    path = folder / "coffee.png"
    Image.fromarray(np.clip(np.asarray(photo) + noise, 0, 255).astype(np.uint8)).save(path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; write the JSON, print the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--photo", type=Path, help="that needs a restoration; copied first")
    parser.add_argument("--part", action="append", choices=("start", "keys"), help="default: both")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between keys")
    options = parser.parse_args(arguments)
    record: dict[str, Any] = {}
    if options.out and options.out.exists():
        record = json.loads(options.out.read_text(encoding="utf-8"))
    for part in options.part or ("start", "keys"):
        if part == "start":
            measured: Any = [_started() for _ in range(options.starts)]
        else:
            measured = summary(_keys(options.photo, options.pause))
        record[part] = {"measured": measured} | _conditions()
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    told = {part: record[part]["measured"] for part in options.part or ("start", "keys")}
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    return 0


def _keys(photo: Path | None, pause_s: float) -> list[Key]:
    with tempfile.TemporaryDirectory() as folder:
        if photo is None:
            return _pressed(_made(Path(folder)), pause_s)
        copy = Path(folder, photo.name)
        copy.write_bytes(photo.read_bytes())
        return _pressed(copy, pause_s)


def _conditions() -> dict[str, Any]:
    """What else the machine did, and what it is."""
    load = [round(value, 2) for value in os.getloadavg()]
    return {"load": load, "niceness": os.nice(0), "provenance": provenance()}


if __name__ == "__main__":
    raise SystemExit(main())
