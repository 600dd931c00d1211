"""One question and its answer: structured output, a deadline, one repair, and the account of what it took.

Chat models raise whatever their servers and libraries do, answer late, or answer nonsense; none of it may cost the run. So a question runs
in a thread that is waited for no longer than its allowance, and ends in an `Exchange` in any case.
"""

from __future__ import annotations

import contextvars
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from pydantic import BaseModel, ValidationError

from conservator.agent.vlm.answers import plain_text
from conservator.agent.vlm.asked import Asked
from conservator.restorers.errors import CancelledError, ConservatorError, PromptError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig

    from conservator.agent.vlm.questions import Question

__all__ = ["Allowance", "Exchange", "TooLateError", "ask", "data_of"]

T = TypeVar("T")

_TRIES: Final = 2
_LOOK_S: Final = 0.05
_FENCED: Final = re.compile(r"^```\w*\s*|\s*```$")


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Allowance:
    """What one question may take.

    Attributes:
        seconds: wall-clock, the repair included.
        calls: times the model may be called.
        tokens: after which no further call is made.
        cancelled: whether the caller asked to stop.
    """

    seconds: float = 60.0
    calls: float = float("inf")
    tokens: float = float("inf")
    cancelled: Callable[[], bool] = _never


@dataclass(frozen=True)
class Exchange(Generic[T]):
    """A question's end.

    Attributes:
        answer: what was understood; None unless `asked.status` is `answered`.
        asked: the line for the record.
    """

    answer: T | None
    asked: Asked


class TooLateError(Exception):
    """The allowance's time is over."""


def ask(
    model: BaseChatModel,
    question: Question,
    understood: Callable[[AIMessage], T],
    allowance: Allowance,
    *,
    about: str = "",
) -> Exchange[T]:
    """Ask, and ask once more with the reason when the answer is refused.

    Args:
        model: any chat model.
        question: the messages, and the form of the answer.
        understood: reads an answer; a `ConservatorError` or `ValidationError` refuses it.
        allowance: what it may take.
        about: for the record.

    Raises:
        CancelledError: the caller asked to stop.
    """
    clock = _Clock(allowance)
    account = _Account(question.name, about, clock)
    for _ in range(_TRIES):
        if allowance.seconds <= 0:
            return Exchange(None, account.line("skipped"))
        if account.calls >= allowance.calls or account.tokens >= allowance.tokens:
            account.notes.append("the budget for the vision-language model is spent")
            return Exchange(None, account.line("skipped" if account.calls == 0 else "refused"))
        account.calls += 1
        try:
            message = _invoked(model, question, clock)
        except CancelledError:
            raise
        except TooLateError:
            account.notes.append(
                f"the vision-language model gave no answer within {allowance.seconds:.3g} s"
            )
            return Exchange(None, account.line("late"))
        # Whatever the model, its server or its libraries raise.
        except Exception as error:
            account.notes.append(f"the vision-language model failed: {_first_line(error)}")
            return Exchange(None, account.line("failed"))
        account.tokens += _tokens(message)
        try:
            if not isinstance(message, AIMessage):
                raise PromptError(f"{type(message).__name__} is no answer")
            answer = understood(message)
        except (ConservatorError, ValidationError) as error:
            complaint = _complaint(error)
            account.notes.append(f"the vision-language model's answer was refused: {complaint}")
            question = question.again(_without_calls(message), complaint)
            continue
        data = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else {}
        return Exchange(answer, account.line("answered", data))
    return Exchange(None, account.line("refused"))


def data_of(message: AIMessage) -> Mapping[str, Any]:
    """The JSON object of an answer: the arguments of its first tool call, or what its text holds.

    Raises:
        PromptError: no JSON object in it.
    """
    if message.tool_calls:
        return message.tool_calls[0]["args"]
    text = _FENCED.sub("", message.text.strip())
    try:
        data = json.loads(text[text.find("{") : text.rfind("}") + 1])
    except ValueError as error:
        raise PromptError(f"answer with one JSON object, not {text[:60]!r}") from error
    if not isinstance(data, dict):
        raise PromptError(f"answer with one JSON object, not {text[:60]!r}")
    return data


class _Clock:
    """The time of one question, and the wish to stop."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._start

    def check(self) -> None:
        """Raise when time is up or the caller asked to stop."""
        if self._allowance.cancelled():
            raise CancelledError("the run was cancelled; resume it with its run folder")
        if self.seconds() >= self._allowance.seconds:
            raise TooLateError


class _Stop(BaseException):
    """Ends an answer from within the model; no `Exception`, because langchain would log one as a callback's mistake."""


class _Deadline(BaseCallbackHandler):
    """Stops a model that tells its tokens, so that an answer nobody waits for stops computing."""

    raise_error = True

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        try:
            self._clock.check()
        except (CancelledError, TooLateError) as error:
            raise _Stop from error


@dataclass
class _Account:
    question: str
    about: str
    clock: _Clock
    calls: int = 0
    tokens: int = 0

    def __post_init__(self) -> None:
        self.notes: list[str] = []

    def line(self, status: Any, answer: Mapping[str, Any] | None = None) -> Asked:
        return Asked(
            question=self.question,
            about=self.about,
            status=status,
            answer=answer or {},
            notes=tuple(self.notes),
            calls=self.calls,
            tokens=self.tokens,
            seconds=round(self.clock.seconds(), 4),
        )


def _invoked(model: BaseChatModel, question: Question, clock: _Clock) -> BaseMessage:
    """The model's message.

    Raises:
        TooLateError: it is not there in time; the thread that waits for it is left behind.
    """
    clock.check()
    arrived: queue.SimpleQueue[BaseMessage | BaseException] = queue.SimpleQueue()
    config: RunnableConfig = {"callbacks": [_Deadline(clock)]}

    def work() -> None:
        try:
            arrived.put(_call(model, question, config))
        # The thread that waits raises it again.
        except BaseException as error:
            arrived.put(error)

    context = contextvars.copy_context()
    threading.Thread(
        target=context.run, args=(work,), name=f"conservator-vlm-{question.name}", daemon=True
    ).start()
    while True:
        try:
            result = arrived.get(timeout=_LOOK_S)
        except queue.Empty:
            clock.check()
            continue
        if isinstance(result, _Stop):
            clock.check()
            raise TooLateError
        if isinstance(result, BaseException):
            raise result
        return result


def _call(model: BaseChatModel, question: Question, config: RunnableConfig) -> BaseMessage:
    messages = list(question.messages)
    if question.schema is not None:
        try:
            structured = model.with_structured_output(
                question.schema.model_json_schema(), method="json_schema", include_raw=True
            )
        except (NotImplementedError, ValueError):
            # Models without structured output (the fakes of langchain-core) are asked plainly.
            return model.invoke(messages, config)
        answer: Any = structured.invoke(messages, config)
        raw = answer["raw"]
        return raw if isinstance(raw, BaseMessage) else AIMessage(str(raw))
    if question.tools:
        try:
            # A call is what is asked for: where nothing is to be treated, nobody is asked.
            return model.bind_tools(question.tools, tool_choice="any").invoke(messages, config)
        except NotImplementedError:
            return model.invoke(messages, config)
    return model.invoke(messages, config)


def _tokens(message: BaseMessage) -> int:
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    return usage["total_tokens"] if usage else 0


def _complaint(error: ConservatorError | ValidationError) -> str:
    """Why an answer is refused, in one line; it may quote the answer, names of its own making among it."""
    text = str(error)
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in detail["loc"])
        given = "" if isinstance(detail["input"], (dict, list)) else f"={detail['input']!r:.60}"
        text = f"{where}{given}: {detail['msg']}"
    return plain_text(text)[:300]


def _first_line(error: BaseException) -> str:
    return plain_text(f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}")


def _without_calls(message: BaseMessage) -> AIMessage:
    """The refused answer as text: servers reject a history in which tool calls have no results."""
    calls = getattr(message, "tool_calls", [])
    said = f"(called {', '.join(str(call['name']) for call in calls)})" if calls else "(nothing)"
    return AIMessage(plain_text(message.text)[:1000] or plain_text(said))
