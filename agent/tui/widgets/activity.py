"""One line that says what goes on: a stage, how far it is, and how long it takes."""

from __future__ import annotations

import time
from typing import Final

from rich.text import Text
from textual.reactive import reactive
from textual.timer import Timer
from textual.widget import Widget

from conservator.agent.tui.words import duration

__all__ = ["Activity"]

_BAR: Final = 12
_NOTE: Final = "Esc: the picture's keys   F1: help"
_BEAT_S: Final = 0.25
_SPINNER: Final = "\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827\u2807\u280f"


class Activity(Widget, can_focus=False):
    """What goes on now; blank while nothing does.

    Attributes:
        note: what is said while nothing goes on.
    """

    DEFAULT_CSS = """
    Activity { height: 1; color: $primary; }
    """
    stage: reactive[str] = reactive("")
    note: reactive[str] = reactive(_NOTE)

    def __init__(self) -> None:
        """Nothing goes on."""
        super().__init__()
        self._share: float | None = None
        self._since = 0.0
        self._stood: float | None = None
        self._beat: Timer | None = None

    def on_mount(self) -> None:
        """Keep the clock."""
        self._beat = self.set_interval(_BEAT_S, self.refresh, pause=True)

    def begin(self, stage: str) -> None:
        """Something begins; its clock starts."""
        self._since = time.monotonic()
        self._share = self._stood = None
        self.stage = stage
        if self._beat is not None:
            self._beat.resume()

    def go_on(self, stage: str) -> None:
        """The next stage of the same."""
        self._share = None
        self.stage = stage

    def stand(self) -> None:
        """The clock stands still, as the run's does while it waits for the user."""
        if self._stood is None:
            self._stood = time.monotonic()

    def go(self) -> None:
        """The clock goes on."""
        if self._stood is not None:
            self._since += time.monotonic() - self._stood
            self._stood = None

    def progress(self, done: int, total: int) -> None:
        """How far the stage is."""
        self._share = done / total if total else None
        self.refresh()

    def end(self) -> None:
        """Nothing goes on any more."""
        self.stage = ""
        self._share = self._stood = None
        if self._beat is not None:
            self._beat.pause()

    @property
    def seconds(self) -> float:
        """Since `begin`, without the time that it stood; 0 while nothing goes on."""
        if not self.stage:
            return 0.0
        return (self._stood or time.monotonic()) - self._since

    def render(self) -> Text:
        """The line."""
        if not self.stage:
            return Text(self.note, "dim", no_wrap=True, overflow="ellipsis")
        # Without animation, as some people want it, the sign rests; it also rests with the clock.
        moves = self.app.animation_level != "none" and self._stood is None
        turn = int(self.seconds / _BEAT_S) if moves else 0
        end = Text("" if self._stood is not None else f" {duration(self.seconds)}")
        if self._share is not None:
            width = min(_BAR, self.size.width // 6)
            full = round(self._share * width)
            track = "\u2501" * full + "\u2500" * (width - full)
            end = Text(f" {track} {self._share:.0%}") + end
        start = Text(f"{_SPINNER[turn % len(_SPINNER)]} {self.stage}")
        start.truncate(max(4, self.size.width - end.cell_len), overflow="ellipsis")
        return start + end
