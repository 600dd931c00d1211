"""Waiting for the terminal UI, and reading what it shows."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from conservator.agent.tui.app import ConservatorApp
from conservator.agent.tui.screens.session import SessionScreen

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


def compare_golden(app: ConservatorApp, path: Path) -> None:
    """Hold the screen against a file, but for numbers and moving signs; CONSERVATOR_GOLDEN=write writes it anew."""
    shown = re.sub(r"[\u2800-\u28ff]", "~", re.sub(r"\d", "0", rendered(app)))
    if os.environ.get("CONSERVATOR_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")
