"""A line to type: a name, a path."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

__all__ = ["Ask"]


class Ask(ModalScreen[str | None]):
    """Asks for a line; None when the user wants nothing after all."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", id="ask.leave"),
    ]
    DEFAULT_CSS = """
    Ask { align: center middle; }
    Ask > Vertical { width: 70; max-width: 95%; height: auto; border: round $primary; background: $surface; padding: 1 2; }
    Ask Static { margin-bottom: 1; }
    Ask #hint { color: $text-muted; margin: 1 0 0 0; }
    """

    def __init__(
        self, question: str, value: str = "", hint: str = "Enter goes on, Escape cancels"
    ) -> None:
        """Ask `question`, with an answer in place."""
        super().__init__()
        self._question, self._value, self._hint = question, value, hint

    def compose(self) -> ComposeResult:
        """Question, line and hint."""
        with Vertical():
            yield Static(self._question, markup=False)
            yield Input(self._value, compact=True)
            yield Static(self._hint, id="hint", markup=False)
        yield Footer(compact=True, show_command_palette=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """The answer."""
        event.stop()
        self.dismiss(event.value.strip() or None)

    def action_leave(self) -> None:
        """Nothing."""
        self.dismiss(None)
