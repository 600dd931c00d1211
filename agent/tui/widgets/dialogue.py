"""The conversation: what was said and what happened, a line that moves, and the line that is typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from conservator.agent.tui.widgets.activity import Activity
from conservator.agent.tui.words import Line, Tone

__all__ = ["Dialogue", "Said"]

_MOST: Final = 400
"""Lines that are kept on the screen; the session keeps everything."""
_HINTS: Final = (
    "restore", "undo", "redo", "tree", "compare original here", "why", "save", "satisfied", "help",
    "branch ", "go original", "too dark", "too bright", "too noisy", "too smooth", "keep the grain",
    "keep the bokeh", "a bit less smoothing", "a bit more sharpening", "brighter in the shadows",
    "brighter in the sky", "less on the left half", "remove the noise", "remove the rain",
    "remove the haze", "leave the faces alone", "pause", "go on", "stop",
)  # fmt: skip


@dataclass
class Said(Message):
    """The user said a line."""

    line: str


class _Typed(Input):
    """The line that is typed, with the ones before under the arrow keys."""

    HELP = """\
Say what is not right yet, in plain words: "too dark", "keep the grain", "less on the left half", "noise sigma 15". What is not understood is said, not guessed.

Commands: restore, undo, redo, go NODE, branch NAME, compare A B, why, save FILE, satisfied, help. <restore> and <refine> WORDS work as well.

While a restoration runs, words steer it: "less smoothing", "pause", "go on", "stop"."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "earlier(-1)", "Earlier line", show=False, id="dialogue.earlier"),
        Binding("down", "earlier(1)", "Later line", show=False, id="dialogue.later"),
    ]

    def __init__(self) -> None:
        """Nothing said yet."""
        super().__init__(
            placeholder="restore, or say what is not right yet",
            suggester=SuggestFromList(_HINTS, case_sensitive=False),
            compact=True,
        )
        self._lines: list[str] = []
        self._place = 0

    def action_earlier(self, step: int) -> None:
        """A line that was said before."""
        place = max(0, min(self._place + step, len(self._lines)))
        if place != self._place:
            self._place = place
            self.value = self._lines[place] if place < len(self._lines) else ""
            self.cursor_position = len(self.value)

    def said(self, line: str) -> None:
        """Remember a line."""
        if line and self._lines[-1:] != [line]:
            self._lines.append(line)
        self._place = len(self._lines)


class _Log(VerticalScroll, can_focus=True):
    """What was said."""

    HELP = "What was said and what happened. Up and down scroll."


class Dialogue(Vertical):
    """Talks with the agent."""

    DEFAULT_CSS = """
    Dialogue { height: 1fr; min-height: 3; border: round $panel-lighten-2; padding: 0 1; }
    Dialogue:focus-within { border: round $primary; }
    Dialogue _Log { height: 1fr; scrollbar-size-vertical: 1; background: transparent; }
    Dialogue _Log Static { height: auto; }
    Dialogue .-inside { padding-left: 2; }
    Dialogue .-user { color: $primary; text-style: bold; }
    Dialogue .-event { color: $text-muted; }
    Dialogue .-good { color: $text-success; }
    Dialogue .-bad { color: $text-warning; }
    Dialogue .-error { color: $text-error; }
    Dialogue .-question { color: $text-accent; text-style: bold; }
    Dialogue _Typed { height: 1; background: $boost; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        """Nothing said yet."""
        super().__init__(id=id)
        self._words: list[tuple[Tone, str]] = []

    def compose(self) -> ComposeResult:
        """What was said, what moves, what is typed."""
        yield _Log()
        yield Activity()
        yield _Typed()

    @property
    def activity(self) -> Activity:
        """The line that moves."""
        return self.query_one(Activity)

    @property
    def text(self) -> str:
        """All that was said, line by line."""
        return "\n".join(words for _, words in self._words)

    def type(self) -> None:
        """Go to the line that is typed."""
        self.query_one(_Typed).focus()

    def on_mount(self) -> None:
        """The end is seen, also at another size, unless the user scrolls back."""
        self.query_one(_Log).anchor()

    def add(self, lines: Sequence[Line]) -> None:
        """Show lines; those that begin with a blank belong to the one above."""
        log = self.query_one(_Log)
        new = []
        for line in lines:
            self._words.append((line.tone, line.text))
            inside = " -inside" if line.text.startswith(" ") else ""
            new.append(Static(line.text.strip(), classes=f"-{line.tone}{inside}", markup=False))
        if not new:
            return
        log.mount(*new)
        extra = len(log.children) - _MOST
        if extra > 0:
            log.remove_children(log.children[:extra])
        if any(line.tone == "user" for line in lines):
            log.scroll_end(animate=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Pass on what was said."""
        event.stop()
        line = event.value.strip()
        typed = self.query_one(_Typed)
        typed.value = ""
        typed.said(line)
        if line:
            self.post_message(Said(line))

    def on_click(self, event: events.Click) -> None:
        """A click beside the words is a wish to type."""
        if not isinstance(event.widget, Input) and not self.screen.get_selected_text():
            self.type()
