"""The agent in a thread of its own: jobs go in, messages come out.

A session is not made for two threads, so everything that changes it goes through one `Bridge`, one job after the other. What the agent
says while it works arrives as messages in the event loop, in the order in which it was said.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event as Signal
from typing import TYPE_CHECKING, Final

from textual.message import Message

from conservator.agent.errors import CancelledError
from conservator.agent.tui.words import error_words

if TYPE_CHECKING:
    from conservator.agent.approval import Answer, Question
    from conservator.agent.dialogue.reply import Reply
    from conservator.agent.dialogue.session import Session
    from conservator.agent.events import Event, OnEvent
    from conservator.agent.steering import Steering

__all__ = ["Answered", "Bridge", "Failed", "Heard", "Job", "Opened", "Questioned"]

_PROGRESS_S: Final = 0.05
"""Tiles are told of no more often than this."""
_LOOK_S: Final = 0.1


@dataclass(frozen=True)
class Job:
    """Something that a session is to do.

    Attributes:
        name: in words: `restore`, or what the user said.
        work: is called in the agent's thread.
        takes_long: whether a turn is made, which can be paused, steered and cancelled.
    """

    name: str
    work: Callable[[Session, Bridge], Reply | None]
    takes_long: bool = False


@dataclass(eq=False)
class _Waiting:
    job: Job
    steering: Steering | None


@dataclass
class Opened(Message):
    """The session is open."""

    session: Session


@dataclass
class Heard(Message):
    """Something happened in the agent."""

    event: Event


@dataclass
class Questioned(Message):
    """The run waits for an answer, which `Bridge.answer` gives."""

    question: Question


@dataclass
class Answered(Message):
    """A job is done; `reply` is None for those that have nothing to say."""

    job: Job
    reply: Reply | None


@dataclass
class Failed(Message):
    """A job came to nothing, and left the session as it was; without a job the session could not be opened."""

    job: Job | None
    error: str
    cancelled: bool = False


class Bridge:
    """One session and its thread.

    Attributes:
        session: None before it is open.
        cancel: set while the running job is to stop.
    """

    def __init__(
        self, post: Callable[[Message], object], open_: Callable[[OnEvent], Session]
    ) -> None:
        """Post messages by `post`, from any thread; `open_` is called in the agent's thread."""
        self._post = post
        self._open = open_
        self._jobs: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()
        self._told = 0.0
        self._closing = False
        self.session: Session | None = None
        self.cancel = Signal()
        # Quitting must not wait for a tile; what the session is worth is on disk.
        self._thread = threading.Thread(target=self._work, name="conservator-agent", daemon=True)

    def start(self) -> None:
        """Open the session."""
        self._thread.start()

    @property
    def running(self) -> Job | None:
        """The job in hand, or the one that is taken up next."""
        with self._lock:
            return self._waiting[0].job if self._waiting else None

    @property
    def steering(self) -> Steering | None:
        """The hand on the turn that runs; None between turns."""
        with self._lock:
            return self._waiting[0].steering if self._waiting else None

    @property
    def idle(self) -> bool:
        """Whether the session is open and nothing is to be done."""
        return self.session is not None and self.running is None

    @property
    def alive(self) -> bool:
        """Whether the thread still works."""
        return self._thread.is_alive()

    def do(self, job: Job) -> None:
        """Do a job after those that wait."""
        from conservator.agent.steering import Steering

        waiting = _Waiting(job, Steering() if job.takes_long else None)
        with self._lock:
            self._waiting.append(waiting)
        self._jobs.put(waiting)

    def stop(self) -> None:
        """Stop the running job at the next tile; the session is then as it was before it."""
        if self.running is not None:
            self.cancel.set()

    def answer(self, answer: Answer) -> None:
        """Answer the question that the run waits with."""
        self._answers.put(answer)

    def approver(self, question: Question) -> Answer:
        """Put a question to the user; called in the agent's thread, returns when there is an answer.

        Raises:
            CancelledError: the user cancels the run instead.
        """
        while not self._answers.empty():
            self._answers.get()
        self._post(Questioned(question))
        while True:
            try:
                return self._answers.get(timeout=_LOOK_S)
            except queue.Empty:
                if self.cancel.is_set():
                    raise CancelledError("cancelled at a question") from None

    def close(self) -> None:
        """Stop what runs, and end the thread; does not wait for it."""
        self._closing = True
        self.cancel.set()
        self._jobs.put(None)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the thread's end; whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """Leave nothing of a session in which nothing was done, though its thread still works."""
        if self.session is not None:
            with suppress(OSError):
                self.session.close()

    def _work(self) -> None:
        try:
            session = self._open(self._heard)
        except BaseException as error:
            self._post(Failed(None, error_words(error)))
            return
        self.session = session
        self._post(Opened(session))
        try:
            while (waiting := self._jobs.get()) is not None and not self._closing:
                message = self._done(waiting.job, session)
                with self._lock:
                    self._waiting.remove(waiting)
                self.cancel.clear()
                self._post(message)
        finally:
            session.close()

    def _done(self, job: Job, session: Session) -> Message:
        try:
            return Answered(job, job.work(session, self))
        except CancelledError as error:
            return Failed(job, error_words(error), cancelled=True)
        except Exception as error:
            # A job that fails costs itself; the conversation goes on.
            return Failed(job, error_words(error))

    def _heard(self, event: Event) -> None:
        from conservator.agent.events import ToolProgressed

        if isinstance(event, ToolProgressed):
            now = time.monotonic()
            if event.done < event.total and now - self._told < _PROGRESS_S:
                return
            self._told = now
        self._post(Heard(event))
