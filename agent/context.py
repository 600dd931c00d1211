"""What nodes need and a checkpoint must not hold: the picture, the folder, the clock, the listeners."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Signal
from typing import TYPE_CHECKING

from conservator.agent.events import Continued, Event, Paused
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.agent.steering import StoppedError
from conservator.agent.wishes import as_said
from conservator.policies.attempt import Attempt, find_attempt
from conservator.policies.budget import BudgetClock, Clock, Spent
from conservator.policies.contract import Contract
from conservator.policies.experience import Experience
from conservator.policies.preferences import Preferences
from conservator.policies.preset import Preset
from conservator.policies.situation import Situation
from conservator.policies.targets import Target
from conservator.restorers.card import RestorerCard
from conservator.restorers.errors import CancelledError
from conservator.tools.image_io import Picture
from conservator.tools.look import Pixels
from conservator.tools.regions import Shield, shield_of

if TYPE_CHECKING:
    from conservator.agent.state import RunState
    from conservator.agent.steering import Steering
    from conservator.agent.vlm.exchange import Allowance
    from conservator.agent.vlm.seat import Seat
    from conservator.policies.acceptance import Direction
    from conservator.restorers.base import OnProgress

__all__ = ["CancelSignal", "RunContext", "ToolBench"]


class CancelSignal(Signal):
    """An event that is also set when one of its parents is, or when a deadline has passed."""

    def __init__(
        self, *parents: Signal | None, deadline: Callable[[], bool] = lambda: False
    ) -> None:
        """Follow `parents` and `deadline`, which says whether time is up."""
        super().__init__()
        self._parents = tuple(parent for parent in parents if parent is not None)
        self._deadline = deadline

    def is_set(self) -> bool:
        """Whether somebody asked to stop, or time is up."""
        return self.asked() or self._deadline()

    def asked(self) -> bool:
        """Whether somebody asked to stop."""
        return super().is_set() or any(parent.is_set() for parent in self._parents)


@dataclass
class RunContext:
    """One session of a run.

    Attributes:
        request: what the caller asked for.
        picture: the input, decoded.
        folder: the run folder with its artifacts.
        preset: the thresholds.
        targets: the user's, parsed.
        cards: restorers that may be called.
        directions: metric -> which way is better.
        clock: the run's time against its budget.
        cancel: the caller's wish to stop.
        emit_event: the listener.
        experience: what was learned, None to plan without.
        contract: what the user asks the run to hold to.
        seat: the vision-language model, None without one.
        steering: the caller's hand on the run, None without one.
        device: where restorers compute.
    """

    request: RunRequest
    picture: Picture
    folder: RunFolder
    preset: Preset
    targets: tuple[Target, ...]
    preferences: Preferences
    cards: Mapping[str, RestorerCard]
    directions: Mapping[str, Direction]
    clock: BudgetClock
    cancel: CancelSignal
    emit_event: Callable[[Event], None]
    contract: Contract = field(default_factory=Contract)
    experience: Experience | None = None
    seat: Seat | None = None
    steering: Steering | None = None
    device: str = "auto"
    seconds: Clock = time.perf_counter
    _timing: dict[str, float] = field(default_factory=dict)
    _shield: Shield | None = None

    def emit(self, kind: type[Event], **facts: object) -> None:
        """Tell the listener that something happened now."""
        self.emit_event(kind(at_s=round(self.clock.elapsed(), 4), **facts))

    def raise_if_cancelled(self) -> None:
        """Stop at a node's border when the caller asked to.

        Raises:
            CancelledError: the caller asked to stop.
        """
        if self.cancel.asked():
            raise CancelledError("the run was cancelled; resume it with its run folder")

    def rest(self) -> None:
        """Rest at a border between two steps while the caller wants that; the budget's seconds stand still.

        Raises:
            StoppedError: the caller wants no further step.
            CancelledError: the caller asked to stop at once.
        """
        steering = self.steering
        if steering is None:
            return
        if steering.paused and not steering.stopped:
            self.emit(Paused)
            with self.clock.standing():
                steering.wait(self.cancel.asked)
            self.raise_if_cancelled()
            self.emit(Continued)
        if steering.stopped:
            raise StoppedError

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Count the seconds of a block under `name`."""
        start = self.seconds()
        try:
            yield
        finally:
            self.count(name, self.seconds() - start)

    def count(self, name: str, seconds: float) -> None:
        """Add seconds measured elsewhere."""
        self._timing[name] = self._timing.get(name, 0.0) + seconds

    def drain(self) -> dict[str, float]:
        """The seconds counted since the last call."""
        counted, self._timing = self._timing, {}
        return counted

    def pixels(self, attempts: Sequence[Attempt], node: str) -> Pixels:
        """The picture of a node of the tree, (H, W, 3), float32, [0, 1]; exactly as it would be saved losslessly."""
        attempt = find_attempt(attempts, node)
        if attempt is None:
            return self.picture.pixels
        return self.folder.load_artifact(attempt.artifact)

    @property
    def shield(self) -> Shield:
        """What covers the parts that the user protects; looked for once."""
        if self._shield is None:
            with self.timed("protection"):
                self._shield = shield_of(self.contract.protect, self.picture.pixels)
        return self._shield

    def protected(self, pixels: Pixels) -> Pixels:
        """A candidate with the parts that the user protects as they came in.

        Raises:
            UsageError: it has another size than the input.
        """
        if not self.contract.protect:
            return pixels
        shield = self.shield
        with self.timed("protection"):
            return shield.over(self.picture.pixels, pixels)

    def allowance(self, spent: Spent) -> Allowance:
        """What the next question to the vision-language model may take."""
        from conservator.agent.vlm.exchange import Allowance

        rules = self.preset.vlm
        return Allowance(
            seconds=min(rules.seconds, rules.share * self.clock.remaining_seconds()),
            calls=rules.max_calls - spent.vlm_calls,
            tokens=rules.max_tokens - spent.vlm_tokens,
            cancelled=self.cancel.asked,
        )

    def situation(self, state: RunState) -> Situation:
        """What the planner sees."""
        report = state["report"]
        if report is None:
            raise RuntimeError("the planner ran before the inspection")
        situation = Situation(
            report=report,
            attempts=tuple(state["attempts"]),
            best=state["best"],
            targets=self.targets,
            preset=self.preset,
            preferences=self.preferences,
            experience=self.experience,
            side=min(self.picture.width, self.picture.height),
            cards=self.cards,
            room=self.clock.remaining_tools(state["spent"]),
            seed=self.request.seed,
            spared=self.contract.kept,
        )
        return as_said(situation, state.get("said", ()))


@dataclass(frozen=True)
class ToolBench:
    """The workbench of one tool call; implements `conservator.tools.restore.Workbench`."""

    context: RunContext
    attempts: tuple[Attempt, ...]
    attempt: str
    cancel: Signal
    on_progress: Callable[[int, int], None]

    @property
    def device(self) -> str:
        """Where to compute."""
        return self.context.device

    def pixels(self, node: str) -> Pixels:
        """The picture of a node of the tree."""
        return self.context.pixels(self.attempts, node)

    def progress(self, restorer: str) -> OnProgress:
        """Whom to tell about tiles done."""
        return self.on_progress

    def clock(self) -> float:
        """Monotonic seconds."""
        return self.context.seconds()
