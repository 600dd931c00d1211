"""What a terminal can show of a picture, behind one interface: pixels in, lines of cells out.

Everything here is called in worker threads; only `Drawn` reaches the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from conservator.agent.tui.graphics.halfcell import halfcell_strips

if TYPE_CHECKING:
    from PIL.Image import Image
    from textual.strip import Strip

__all__ = ["Drawer", "Drawn", "HalfCells", "Images", "Nothing", "nothing_to_release"]

Images = Literal["auto", "sixel", "kitty", "halfcell", "none"]
"""How pictures are drawn; `auto` asks the terminal before the application starts."""


def nothing_to_release() -> None:
    """Free nothing."""


@dataclass(frozen=True)
class Drawn:
    """A picture as a terminal takes it.

    Attributes:
        strips: one a row of cells; with `sixels` they are blank.
        sixels: control sequence that paints over the rows; "" for pictures made of characters.
        release: frees what the terminal keeps of the picture.
    """

    strips: list[Strip]
    sixels: str = ""
    release: Callable[[], None] = nothing_to_release


class Drawer(Protocol):
    """A way to draw.

    Attributes:
        name: for people.
        cell: pixels that one cell shows, (width, height).
    """

    name: str
    cell: tuple[int, int]

    def draw(self, picture: Image) -> Drawn:
        """Draw a picture whose sides are multiples of `cell`; RGB."""
        ...


class HalfCells:
    """Two pixels a cell, by an upper half block; works wherever there are colours."""

    name = "half-cells"
    cell = (1, 2)

    def draw(self, picture: Image) -> Drawn:
        """Two rows of pixels a line."""
        return Drawn(halfcell_strips(picture))


class Nothing:
    """No picture at all, for terminals without colours and people without need."""

    name = "none"
    cell = (1, 2)

    def draw(self, picture: Image) -> Drawn:
        """No lines."""
        return Drawn([])
