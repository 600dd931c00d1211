"""What happened in a run, in the order in which it happened. Every event says when, in seconds since the run began."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import DecidedBy, ToolCall
from conservator.policies.budget import Limit
from conservator.restorers.degradations.vocabulary import ConditionReport

if TYPE_CHECKING:
    from conservator.agent.approval import Answer, Question
    from conservator.agent.dialogue.tree import Turn
    from conservator.agent.result import RestorationResult
    from conservator.agent.vlm.asked import Asked

__all__ = [
    "ApprovalAsked",
    "ApprovalGiven",
    "Continued",
    "Event",
    "Inspected",
    "Judged",
    "LimitReached",
    "ModelAsked",
    "OnEvent",
    "Paused",
    "Planned",
    "RunFinished",
    "RunResumed",
    "RunStarted",
    "Scored",
    "Steered",
    "ToolFinished",
    "ToolProgressed",
    "ToolStarted",
    "TurnFinished",
    "TurnStarted",
]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        at_s: seconds since the run began, pauses of a resumed run left out.
    """

    at_s: float

    @property
    def name(self) -> str:
        """The event's name, as in logs."""
        return type(self).__name__


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A run began on a picture of `width` x `height`."""

    width: int
    height: int
    policy: str
    run_dir: Path | None


@dataclass(frozen=True, kw_only=True)
class RunResumed(Event):
    """A run went on from its last checkpoint."""

    attempts: int
    run_dir: Path


@dataclass(frozen=True, kw_only=True)
class Inspected(Event):
    """The condition report is there."""

    report: ConditionReport
    baseline: Measurement


@dataclass(frozen=True, kw_only=True)
class ModelAsked(Event):
    """A question to the vision-language model came to its end: an answer that holds, or why there is none."""

    asked: Asked


@dataclass(frozen=True, kw_only=True)
class Planned(Event):
    """The next step's candidates were chosen; none when there is nothing more to do."""

    calls: tuple[ToolCall, ...]
    reason: str
    decided_by: DecidedBy


@dataclass(frozen=True, kw_only=True)
class ApprovalAsked(Event):
    """A person is asked before a call; without an approver the run ends here, waiting."""

    question: Question


@dataclass(frozen=True, kw_only=True)
class ApprovalGiven(Event):
    """The person answered."""

    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Steered(Event):
    """Words of the caller's were taken up; `lines` say what came of them. What was not `understood` changes nothing."""

    words: str
    lines: tuple[str, ...]
    understood: bool


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """The run rests between two steps, as the caller asked."""


@dataclass(frozen=True, kw_only=True)
class Continued(Event):
    """The pause is over."""


@dataclass(frozen=True, kw_only=True)
class ToolStarted(Event):
    """A restorer was called."""

    attempt: str
    call: ToolCall


@dataclass(frozen=True, kw_only=True)
class ToolProgressed(Event):
    """A restorer finished some of its tiles."""

    attempt: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class ToolFinished(Event):
    """A restorer returned; `error` is "" unless it failed."""

    attempt: str
    seconds: float
    error: str


@dataclass(frozen=True, kw_only=True)
class Scored(Event):
    """A candidate was measured, on the bytes that would be saved."""

    attempt: str
    measurement: Measurement


@dataclass(frozen=True, kw_only=True)
class Judged(Event):
    """A candidate was accepted or refused; `best` is the node that leads now."""

    attempt: str
    verdict: Verdict
    best: str


@dataclass(frozen=True, kw_only=True)
class LimitReached(Event):
    """A budget ended the search."""

    limit: Limit


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The run ended; the result says how."""

    result: RestorationResult


@dataclass(frozen=True, kw_only=True)
class TurnStarted(Event):
    """A turn of a dialogue began; `words` are the user's, "" for the automatic run, whose own events follow."""

    turn: str
    words: str


@dataclass(frozen=True, kw_only=True)
class TurnFinished(Event):
    """A turn of a dialogue is a node of its tree now."""

    turn: Turn


OnEvent = Callable[[Event], None]
"""A listener; it is called in the thread of the run, so it should return soon."""
