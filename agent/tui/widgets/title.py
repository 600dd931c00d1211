"""The line on top: what is open, and how."""

from __future__ import annotations

from rich.text import Text
from textual.reactive import reactive
from textual.widget import Widget

__all__ = ["Title"]


class Title(Widget, can_focus=False):
    """Left what it is, right how it stands; the right gives way.

    Attributes:
        what: in bold.
        facts: about it.
        stand: how it stands.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Title { dock: top; height: 1; background: $panel; padding: 0 1; }
    """
    what: reactive[str] = reactive("")
    facts: reactive[str] = reactive("")
    stand: reactive[str] = reactive("")

    def render(self) -> Text:
        """One line."""
        width = self.content_size.width
        primary = self.app.theme_variables.get("primary", "default")
        left = Text.assemble((self.what, f"bold {primary}"), (f"  {self.facts}", "dim"))
        left.truncate(width, overflow="ellipsis")
        right = Text(self.stand, "dim")
        right.truncate(max(0, width - left.cell_len - 2), overflow="ellipsis")
        gap = " " * max(0, width - left.cell_len - right.cell_len)
        return Text.assemble(left, gap, right)
