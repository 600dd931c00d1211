"""Help for what has the focus: what it is, and every key that works there now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Static

if TYPE_CHECKING:
    from textual.app import App
    from textual.dom import DOMNode
    from textual.screen import Screen

__all__ = ["Help"]


class Help(ModalScreen[None]):
    """Words and keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,f1,question_mark", "dismiss", "Back", id="help.back"),
    ]
    DEFAULT_CSS = """
    Help { align: center middle; }
    Help > VerticalScroll { width: 76; max-width: 96%; height: auto; max-height: 92%; border: round $primary; background: $surface; padding: 0 2; }
    Help .-words { margin-bottom: 1; }
    Help .-title { text-style: bold; color: $primary; }
    """

    def __init__(self, words: Iterable[str], keys: Iterable[tuple[str, str, str]]) -> None:
        """Show paragraphs, and rows of key, what it does, and its name for the keys of the settings."""
        super().__init__()
        self._words, self._keys = tuple(words), tuple(keys)

    @classmethod
    def about(cls, screen: Screen[object]) -> Help:
        """Help about the widget that has the focus, and the screen around it."""
        words = []
        node: DOMNode | None = screen.focused or screen
        while node is not None:
            own = getattr(node, "HELP", None)
            if isinstance(own, str) and own not in words:
                words.append(own)
            node = node.parent
        return cls(words, _keys(screen, screen.app))

    def compose(self) -> ComposeResult:
        """Words, then keys."""
        table = Table.grid(padding=(0, 2))
        for key, does, name in self._keys:
            table.add_row(Text(key, "bold"), Text(does), Text(name, "dim"))
        with VerticalScroll():
            for words in self._words:
                yield Static(words, classes="-words", markup=False)
            yield Static("Keys", classes="-title")
            yield Static(table)
            yield Static("")
            yield Static(
                Text("Names on the right are for [keys] in tui.toml, beside settings.toml.", "dim")
            )
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Scrolls with the arrow keys."""
        self.query_one(VerticalScroll).focus()


def _keys(screen: Screen[object], app: App[object]) -> list[tuple[str, str, str]]:
    rows: dict[str, tuple[list[str], str, str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if not binding.id:
            # Textual's own: scrolling and editing as everywhere.
            continue
        key = app.get_key_display(binding)
        keys, _, _ = rows.setdefault(
            binding.action, ([], binding.tooltip or binding.description, binding.id)
        )
        if key not in keys:
            keys.append(key)
    return [(" ".join(keys), does, name) for keys, does, name in rows.values()]
