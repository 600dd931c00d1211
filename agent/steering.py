"""A caller's hand on a run under way: words, a pause, a stop."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Condition
from typing import Final

__all__ = ["Steering", "StoppedError"]

_LOOK_S: Final = 0.05
"""How often a paused run looks whether it was cancelled."""
_PAUSE: Final = re.compile(r"pause|wait|hold on")
_GO_ON: Final = re.compile(r"go on|continue|resume|proceed")
_STOP: Final = re.compile(r"stop(?: here)?|enough|that(?:'s| is) enough")


class StoppedError(Exception):
    """The caller stops the run between two steps; never seen outside of it."""


class Steering:
    """Messages to one run; give it to `restore`, `stream` or `resume` and call it from anywhere.

    Everything takes effect at the next border between two steps: before the next plan, and before the next call of a restorer.
    """

    def __init__(self) -> None:
        """Nothing said yet."""
        self._changed = Condition()
        self._words: list[str] = []
        self._paused = self._stopped = False

    def say(self, words: str) -> None:
        """Say what is wanted from here on: "less smoothing", "keep the grain", "noise sigma 15"; also "pause", "go on", "stop".

        What was understood, or why not, comes back as a `Steered` event and among the result's notes.
        """
        plain = " ".join(words.lower().split()).replace("\u2019", "'").rstrip(".! ")
        for pattern, deed in ((_PAUSE, self.pause), (_GO_ON, self.go_on), (_STOP, self.stop)):
            if pattern.fullmatch(plain):
                deed()
                return
        if plain:
            with self._changed:
                self._words.append(words)

    def pause(self) -> None:
        """Rest at the next border; the budget's seconds stand still."""
        self._set(paused=True)

    def go_on(self) -> None:
        """End the pause."""
        self._set(paused=False)

    def stop(self) -> None:
        """End the run at the next border with the best so far; it can be resumed."""
        self._set(stopped=True)

    @property
    def paused(self) -> bool:
        """Whether the run rests, or will at the next border."""
        return self._paused

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    @property
    def unheard(self) -> tuple[str, ...]:
        """What was said and not taken up yet."""
        return tuple(self._words)

    def take(self) -> tuple[str, ...]:
        """What was said since the last time, for the run."""
        with self._changed:
            words, self._words = tuple(self._words), []
        return words

    def wait(self, cancelled: Callable[[], bool]) -> None:
        """Wait while paused, unless stopped or cancelled; for the run."""
        with self._changed:
            while self._paused and not self._stopped and not cancelled():
                self._changed.wait(_LOOK_S)

    def _set(self, *, paused: bool | None = None, stopped: bool | None = None) -> None:
        with self._changed:
            self._paused = self._paused if paused is None else paused
            self._stopped = self._stopped if stopped is None else stopped
            self._changed.notify_all()
