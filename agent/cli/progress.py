"""A run's events on a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conservator.agent.cli.console import Bar
    from conservator.agent.events import Event

__all__ = ["show"]


def show(event: Event, shown: Bar) -> None:
    """Tell what is going on."""
    from conservator.agent import events

    match event:
        case events.RunStarted() | events.RunResumed() | events.TurnStarted():
            shown.stage("inspecting")
        case events.Inspected():
            shown.stage("planning")
        case events.ToolStarted(attempt=attempt, call=call):
            shown.stage(f"{attempt}: {call}")
        case events.ToolProgressed(done=done, total=total):
            shown.advance(done, total)
        case events.ToolFinished(attempt=attempt):
            shown.stage(f"{attempt}: scoring")
        case events.Judged():
            shown.stage("planning")
