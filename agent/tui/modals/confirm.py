"""A question with two answers."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Footer, Static

__all__ = ["Confirm"]


class Confirm(ModalScreen[bool]):
    """Asks before something that cannot be undone; Escape means no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="confirm.yes"),
        Binding("n,escape", "answer(False)", "No", id="confirm.no"),
    ]
    DEFAULT_CSS = """
    Confirm { align: center middle; }
    Confirm > Vertical { width: 60; max-width: 95%; height: auto; border: round $warning; background: $surface; padding: 1 2; }
    Confirm Static { margin-bottom: 1; }
    Confirm Horizontal { height: auto; align-horizontal: right; }
    Confirm Button { margin-left: 2; }
    """

    def __init__(self, question: str, yes: str = "Yes") -> None:
        """Ask `question`; `yes` is what is done."""
        super().__init__()
        self._question, self._yes = question, yes

    def compose(self) -> ComposeResult:
        """Question and answers."""
        with Vertical():
            yield Static(self._question, markup=False)
            with Horizontal():
                yield Button(self._yes, variant="warning", id="yes", compact=True)
                yield Button("No", id="no", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """What changes nothing comes first."""
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """An answer by key."""
        self.dismiss(answer)
