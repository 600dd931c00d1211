"""The part of the screen that pictures are drawn on."""

from __future__ import annotations

from rich.control import Control
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from conservator.agent.tui.graphics.drawing import Drawn

__all__ = ["Canvas"]

_PLAIN = Style()
# Rich leaves the text of a segment alone where it is a control.
_CONTROL = [(ControlType.CURSOR_FORWARD, 0)]


class Canvas(Widget, can_focus=False):
    """Shows what a drawer made; nothing is drawn here."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Canvas { width: 1fr; height: 1fr; }
    """

    def __init__(self) -> None:
        """Show nothing yet."""
        super().__init__()
        self._drawn = Drawn([])

    def show(self, drawn: Drawn) -> None:
        """Show another picture; the terminal forgets the one before."""
        before, self._drawn = self._drawn, drawn
        before.release()
        self.refresh()

    @property
    def ground(self) -> tuple[int, int, int]:
        """The colour beside a picture."""
        return self.background_colors[1].rgb

    def clear(self) -> None:
        """Show nothing."""
        self.show(Drawn([]))

    def on_unmount(self) -> None:
        """Let the terminal forget the picture."""
        self._drawn.release()

    def render_line(self, y: int) -> Strip:
        """A row of the picture; blank beside it."""
        strips, style = self._drawn.strips, self.rich_style
        if y >= len(strips):
            return Strip.blank(self.size.width, style)
        return strips[y].adjust_cell_length(self.size.width, style)

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows; sixels come behind the last one, with the cursor put where they belong."""
        strips = super().render_lines(crop)
        sixels = self._drawn.sixels
        if sixels and self.is_mounted and self.screen.is_active and strips:
            place = self.region
            segments = [
                Segment(Control.move_to(place.x, place.y).segment.text, _PLAIN, _CONTROL),
                Segment(sixels, _PLAIN, _CONTROL),
                Segment(
                    Control.move_to(place.right, place.bottom - 1).segment.text, _PLAIN, _CONTROL
                ),
            ]
            strips[-1] = Strip([*strips[-1], *segments], strips[-1].cell_length)
        return strips
