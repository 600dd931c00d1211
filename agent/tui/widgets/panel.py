"""A part of the side: a title, and what is known under it."""

from __future__ import annotations

from typing import ClassVar

from textual.widget import Widget

__all__ = ["Panel"]


class Panel(Widget):
    """Base of the side's parts; `TITLE` names it in its frame and among the tabs."""

    TITLE: ClassVar[str] = ""
    DEFAULT_CSS = """
    Panel { height: auto; border: round $panel-lighten-2; border-title-color: $text-muted; padding: 0 1; }
    Panel:focus-within, Panel:focus { border: round $primary; border-title-color: $primary; }
    """

    def on_mount(self) -> None:
        """Name the frame, and take new colours when the theme changes."""
        self.border_title = self.TITLE
        self.app.theme_changed_signal.subscribe(self, lambda theme: self.redraw())

    def colour(self, name: str) -> str:
        """A colour of the theme: `success`, `warning`, `error`, `primary`."""
        return self.app.theme_variables.get(name, "default")

    def redraw(self) -> None:
        """Show the same in other colours, or at another size."""
