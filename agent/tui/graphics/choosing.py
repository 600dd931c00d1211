"""Which drawer: what the user asked for, else the best that the terminal says it has."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from conservator.agent.tui.graphics.drawing import Drawer, HalfCells, Images, Nothing
from conservator.agent.tui.graphics.probe import probe

__all__ = ["IMAGES", "choose_drawer", "served"]

IMAGES: Final[tuple[Images, ...]] = ("auto", "sixel", "kitty", "halfcell", "none")
_USUAL_CELL: Final = (10, 20)
"""Of a terminal that does not say, px."""


def choose_drawer(images: Images, environment: Mapping[str, str] = os.environ) -> Drawer:
    """The drawer for this process's terminal; asks the terminal, so it comes before the application.

    Args:
        images: what the user wants.
        environment: variables; a served page draws half-cells whatever is asked for.
    """
    if images == "none":
        return Nothing()
    if images == "halfcell" or served(environment):
        return HalfCells()
    terminal = probe()
    cell = terminal.cell or _USUAL_CELL
    wants = (images == "kitty" or (images == "auto" and terminal.kitty), images == "sixel")
    if not any((*wants, images == "auto" and terminal.sixel)):
        return HalfCells()
    # Asks the terminal again when it is imported, so it must be imported now or never.
    import textual_image.widget  # noqa: F401

    from conservator.agent.tui.graphics.bitmaps import Kitty, Sixels

    return Kitty(cell) if wants[0] else Sixels(cell)


def served(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser shows this process, through textual-serve."""
    return "WebDriver" in environment.get("TEXTUAL_DRIVER", "")
