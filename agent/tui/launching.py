"""Starting the terminal UI, and ending it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from conservator.agent.errors import BackendMissingError, MissingFileError
from conservator.agent.settings import load_settings
from conservator.agent.tui.app import ConservatorApp
from conservator.agent.tui.batch import Batch
from conservator.agent.tui.bridge import Bridge
from conservator.agent.tui.graphics.choosing import choose_drawer, served
from conservator.agent.tui.graphics.drawing import Images
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.preferences import load_preferences

__all__ = ["launch"]

_AT_ONCE_S: Final = 0.3
_PATIENCE_S: Final = 8.0
"""Longest wait for a step in hand."""


def launch(paths: Sequence[Path], opening: Opening, *, images: Images | None = None) -> int:
    """Run the UI at this process's terminal until the user leaves it.

    Args:
        paths: what to open, see `ConservatorApp`.
        opening: how photos are opened.
        images: how pictures are drawn; None for the user's preference.

    Returns:
        The application's exit code.

    Raises:
        MissingFileError: a path is not there.
        UsageError: the policy or the user's file does not read.
        BackendMissingError: there is no terminal.
    """
    if not served() and not at_a_terminal():
        raise BackendMissingError(
            "the terminal UI needs a terminal; use conservator restore or conservator chat in scripts"
        )
    for path in paths:
        if not path.exists():
            raise MissingFileError(f"no file or folder {str(path)!r}")
    if opening.policy is not None:
        from conservator.policies.preset import load_preset

        load_preset(opening.policy)
    settings = load_settings()
    preferences = load_preferences(settings)
    drawer = choose_drawer(images or preferences.images)
    app = ConservatorApp(opening, drawer, settings=settings, preferences=preferences, paths=paths)
    app.run()
    _wait_for(app)
    return app.return_code or 0


def at_a_terminal() -> bool:
    """Whether there is one to draw at; Textual draws on stderr."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _wait_for(app: ConservatorApp) -> None:
    """Let the agent's threads end at their next step, for a while; Ctrl-C leaves at once. What was done is on disk either way."""
    app.batch.close()
    for bridge in app.bridges:
        bridge.close()
    threads: list[Bridge | Batch] = [*app.bridges, app.batch]
    end = time.monotonic() + _PATIENCE_S
    try:
        for thread in threads:
            if not thread.join(_AT_ONCE_S):
                sys.stderr.write("stopping; Ctrl-C leaves at once, and nothing is lost\n")
                thread.join(max(0.0, end - time.monotonic()))
    except KeyboardInterrupt:
        end = 0.0
    if any(thread.alive for thread in threads):
        for bridge in app.bridges:
            bridge.abandon()
        sys.stdout.flush()
        sys.stderr.flush()
        # A thread inside a network cannot be stopped otherwise.
        os._exit(130 if not end else 0)
