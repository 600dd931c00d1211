"""A strength that is set with the arrow keys or the mouse, on the severity ladder of its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from conservator.agent.tui.words import kind_words, value_words
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Kind,
    level_of,
    severity_of,
    value_at,
)

__all__ = ["Slider"]

_STEP: Final = 0.02
_NAME: Final = 14
_VALUE: Final = 18


class Slider(Widget, can_focus=True):
    """One kind's strength.

    The track is severity, so that a step to the right is the same amount more for a noise sigma, which rises with it, and a
    JPEG quality, which falls.
    """

    HELP = "Left and right set the strength, Shift in large steps, Home and End its ends. The unit is the kind's own."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,minus", "move(-1)", "Less", id="slider.less"),
        Binding("right,plus", "move(1)", "More", id="slider.more"),
        Binding("shift+left", "move(-5)", "Much less", show=False, id="slider.much-less"),
        Binding("shift+right", "move(5)", "Much more", show=False, id="slider.much-more"),
        Binding("home", "end(0)", "Least", show=False, id="slider.least"),
        Binding("end", "end(1)", "Most", show=False, id="slider.most"),
    ]
    DEFAULT_CSS = """
    Slider { height: 1; }
    Slider:focus { background: $primary 20%; }
    """
    value: reactive[float] = reactive(0.0)

    @dataclass
    class Changed(Message):
        """A strength was set by the user."""

        slider: Slider
        kind: Kind
        value: float

    def __init__(self, kind: Kind, value: float) -> None:
        """Start at `value`, in the kind's own unit; it may lie beyond the ladder."""
        super().__init__()
        self.kind = kind
        self.set_reactive(Slider.value, value)

    @property
    def severity(self) -> float:
        """Where the value lies on the ladder, [0, 1]."""
        return severity_of(self.kind, self.value)

    def action_move(self, steps: int) -> None:
        """More or less."""
        self._to(self.severity + steps * _STEP)

    def action_end(self, severity: float) -> None:
        """One of the ends."""
        self._to(severity)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold."""
        self.focus()
        self.capture_mouse()
        self._at(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag."""
        if self.app.mouse_captured is self:
            self._at(event.x)

    def on_mouse_up(self) -> None:
        """Let go."""
        self.release_mouse()

    def render(self) -> Text:
        """Name, track, value and level."""
        track = self._track
        place = round(self.severity * (track - 1))
        name = Text(kind_words(self.kind).ljust(_NAME)[:_NAME])
        line = Text("\u2501" * place + "\u25cf", "bold") + Text(
            "\u2500" * (track - 1 - place), "dim"
        )
        level = level_of(self.kind, self.value).label
        parameter = PARAMETERS[self.kind]
        words = f" {parameter.name} {value_words(self.kind, self.value)} {level}"
        return Text.assemble(name, line, words, no_wrap=True, overflow="ellipsis")

    @property
    def _track(self) -> int:
        return max(4, self.size.width - _NAME - _VALUE - 10)

    def _at(self, x: float) -> None:
        self._to((x - _NAME) / max(1, self._track - 1))

    def _to(self, severity: float) -> None:
        digits = PARAMETERS[self.kind].decimals
        value = round(value_at(self.kind, min(1.0, max(0.0, severity))), digits)
        if value == self.value and 0 < severity < 1:
            # The unit's digits are coarser than a step: take the next number.
            nearer = 10**-digits * (1 if value_at(self.kind, 1) > value_at(self.kind, 0) else -1)
            value = round(value + nearer * (1 if severity > self.severity else -1), digits)
        if value != self.value:
            self.value = value
            self.post_message(self.Changed(self, self.kind, value))
