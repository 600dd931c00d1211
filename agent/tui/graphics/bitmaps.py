"""Pictures in pixels, by the terminal: kitty's graphics protocol, and sixels. The encoding is textual-image's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.segment import Segment
from textual.strip import Strip

from conservator.agent.tui.graphics.drawing import Drawer, Drawn

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Kitty", "Sixels"]

_SIXEL_START: Final = "\x1bP"


class Kitty:
    """Kitty's protocol with placeholders: characters that the terminal replaces by the picture."""

    name = "kitty"

    def __init__(self, cell: tuple[int, int]) -> None:
        """Draw in cells of this size, px."""
        self.cell = cell

    def draw(self, picture: Image) -> Drawn:
        """Send the picture, and give the characters that stand for it."""
        from textual_image.renderable import TGPImage

        rows = _rows(picture, self)
        renderable = TGPImage(picture, *_cells(picture, self))
        lines = _lines(renderable, picture.width // self.cell[0])
        return Drawn([Strip(line) for line in lines[:rows]], release=renderable.cleanup)


class Sixels:
    """Sixels: a control sequence that paints over blank cells."""

    name = "sixel"

    def __init__(self, cell: tuple[int, int]) -> None:
        """Draw in cells of this size, px."""
        self.cell = cell

    def draw(self, picture: Image) -> Drawn:
        """Encode the picture."""
        from textual_image.renderable import SixelImage

        width, rows = _cells(picture, self)
        lines = _lines(SixelImage(picture, width, rows), width)
        sixels = next(
            (s.text for line in lines for s in line if s.text.startswith(_SIXEL_START)), ""
        )
        return Drawn([Strip.blank(width)] * rows, sixels)


def _cells(picture: Image, drawer: Drawer) -> tuple[int, int]:
    return picture.width // drawer.cell[0], _rows(picture, drawer)


def _rows(picture: Image, drawer: Drawer) -> int:
    return picture.height // drawer.cell[1]


def _lines(renderable: object, width: int) -> list[list[Segment]]:
    console = Console(width=max(width, 1), color_system="truecolor", force_terminal=True)
    segments = console.render(renderable, console.options)  # type: ignore[arg-type]
    return list(Segment.split_lines(segments))
