"""Budgets: how many seconds and tool calls a run may take. A limit reached is an outcome, not an exception."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Budget", "BudgetClock", "Clock", "Limit", "Spent"]

Clock = Callable[[], float]
"""Monotonic seconds; injected so that tests and replays need not wait."""

Limit = Literal["seconds", "tools"]


class Budget(BaseModel):
    """What a run may take at most.

    Attributes:
        max_seconds: wall-clock seconds over all sessions of the run; None for no limit.
        max_tools: restorer calls; None for no limit, 0 to look only.
    """

    model_config = ConfigDict(frozen=True)

    max_seconds: float | None = Field(default=None, ge=0)
    max_tools: int | None = Field(default=None, ge=0)

    def limited(self, max_seconds: float | None, max_tools: int | None) -> Budget:
        """The budget with other limits; None for what stays.

        Raises:
            ValidationError: a limit below zero.
        """
        given = {"max_seconds": max_seconds, "max_tools": max_tools}
        changed = {name: value for name, value in given.items() if value is not None}
        return Budget.model_validate({**self.model_dump(), **changed})


class Spent(BaseModel):
    """What a run has taken so far.

    Attributes:
        seconds: wall-clock seconds, earlier sessions of a resumed run included.
        tools: restorer calls, failed ones included.
        trials: restorer calls on a piece of the photo, to choose among candidates; not limited by `max_tools`.
        vlm_calls: questions put to a vision-language model.
        vlm_tokens: tokens it reported, 0 when it reports none.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float = 0.0
    tools: int = 0
    trials: int = 0
    vlm_calls: int = 0
    vlm_tokens: int = 0


class BudgetClock:
    """Measures one session of a run against its budget."""

    def __init__(
        self, budget: Budget, *, seconds_before: float = 0.0, clock: Clock = time.monotonic
    ) -> None:
        """Start counting now; `seconds_before` is what earlier sessions of the run took."""
        self.budget = budget
        self._clock = clock
        self._start = clock() - seconds_before
        self._stopped: float | None = None

    def elapsed(self) -> float:
        """Seconds since the run began, without the pauses in its sessions and between them."""
        return (self._clock() if self._stopped is None else self._stopped) - self._start

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let no time pass while the block runs: it waits for a person."""
        self._stopped = self._clock()
        try:
            yield
        finally:
            self._start += self._clock() - self._stopped
            self._stopped = None

    def remaining_seconds(self) -> float:
        """Seconds left; infinite without a limit, never negative."""
        if self.budget.max_seconds is None:
            return float("inf")
        return max(0.0, self.budget.max_seconds - self.elapsed())

    def remaining_tools(self, spent: Spent) -> float:
        """Tool calls left; infinite without a limit, never negative."""
        if self.budget.max_tools is None:
            return float("inf")
        return max(0, self.budget.max_tools - spent.tools)

    def limit(self, spent: Spent) -> Limit | None:
        """The limit that stands in the way of another tool call, if any."""
        if self.remaining_seconds() <= 0:
            return "seconds"
        if self.remaining_tools(spent) <= 0:
            return "tools"
        return None
