"""The sessions that can be gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

if TYPE_CHECKING:
    from conservator.agent.archive import Kept

__all__ = ["SessionChosen", "SessionList"]


@dataclass
class SessionChosen(Message):
    """The user wants something of a session: `open`, `rename`, `delete`, `export` or `look`."""

    what: str
    kept: Kept


class SessionList(OptionList):
    """Sessions, newest first."""

    HELP = """\
Sessions that were opened before, and those beside the photos of this folder. Enter goes on with one; everything that was said and done is there.

R renames, Delete deletes after asking; the photo and what was saved beside it stay. E exports picture, recipe and report."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select", "Go on", id="sessions.open"),
        Binding("r", "choose('rename')", "Rename", id="sessions.rename"),
        Binding("delete", "choose('delete')", "Delete", id="sessions.delete"),
        Binding("e", "choose('export')", "Export", id="sessions.export"),
    ]
    DEFAULT_CSS = """
    SessionList { border: round $panel-lighten-2; border-title-color: $text-muted; background: transparent; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; scrollbar-size-vertical: 1; }
    SessionList:focus { border: round $primary; border-title-color: $primary; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        """Nothing known yet."""
        super().__init__(id=id)
        self._sessions: Sequence[Kept] = ()

    def on_mount(self) -> None:
        """Name the frame."""
        self.border_title = "Sessions"

    def show(self, sessions: Sequence[Kept]) -> None:
        """Show these."""
        place = self.highlighted
        self._sessions = sessions
        self.clear_options()
        if not sessions:
            self.add_option(Option(Text("none yet; open a photo", "dim"), disabled=True))
            return
        for kept in sessions:
            name = kept.id.removesuffix(".session")
            when = kept.modified.strftime("%Y-%m-%d %H:%M")
            line = Text.assemble((name, "bold"), f"  {kept.state}", (f"  {when}", "dim"))
            self.add_option(Option(line))
        self.highlighted = min(place or 0, len(sessions) - 1)

    @property
    def chosen(self) -> Kept | None:
        """The session under the cursor."""
        place = self.highlighted
        return self._sessions[place] if place is not None and place < len(self._sessions) else None

    def action_choose(self, what: str) -> None:
        """Tell what is wanted."""
        if (kept := self.chosen) is not None:
            self.post_message(SessionChosen(what, kept))

    def on_focus(self) -> None:
        """Show what the cursor is on."""
        self.action_choose("look")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter or a click opens."""
        event.stop()
        self.action_choose("open")

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """The cursor shows what it is on."""
        event.stop()
        if self.has_focus:
            self.action_choose("look")
