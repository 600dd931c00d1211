"""Waiting for the terminal UI, and reading what it shows."""

import difflib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from conservator.agent.tui.app import ConservatorApp
from conservator.agent.tui.screens.session import SessionScreen

DRAWN_S = 20.0
PATIENCE_S = 600
"""On a machine that others work on as well."""

MakeApp = Callable[..., ConservatorApp]


async def until(pilot: Pilot[None], holds: Callable[[], object], what: str = "") -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"in vain: {what or holds}"
        await pilot.pause(0.02)
    await pilot.pause()


async def settled(pilot: Pilot[None]) -> SessionScreen:
    """Wait until the session on the screen is open, idle and drawn."""
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, SessionScreen), screen
    await until(pilot, lambda: screen.bridge.idle, "idle")
    await until(pilot, lambda: screen.board.picture.drawn, "drawn")
    return screen


def said(screen: SessionScreen) -> str:
    """The conversation so far."""
    return screen.board.talk.text


def rendered(app: ConservatorApp) -> str:
    """What the screen shows, line by line, without colours."""
    # Textual has no public way; its own screenshots are made in the same way.
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


async def compare_golden(pilot: Pilot[None], app: ConservatorApp, path: Path) -> None:
    """Hold the screen against a file, but for numbers and moving signs; CONSERVATOR_GOLDEN=write writes it anew.

    A busy machine may be behind with the drawing, so the screen has some seconds to become what the file shows.
    """

    def steady(text: str) -> str:
        # A plot puts the first label under its axis a column to the left or the right, by the width at its first drawing.
        return re.sub(r"\u2502 +original +", "\u2502 original ", text)

    def shown() -> str:
        return steady(re.sub(r"[\u2800-\u28ff]", "~", re.sub(r"\d", "0", rendered(app))))

    if os.environ.get("CONSERVATOR_GOLDEN") == "write":
        await pilot.pause(1.5)
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown(), encoding="utf-8")
    wanted = steady(path.read_text(encoding="utf-8"))
    end = time.monotonic() + DRAWN_S
    while shown() != wanted and time.monotonic() < end:
        await pilot.pause(0.05)
    now = shown()
    assert now == wanted, "\n".join(
        difflib.unified_diff(wanted.splitlines(), now.splitlines(), path.name, "shown")
    )
