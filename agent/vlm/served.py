"""A vision-language model behind an OpenAI-compatible server: vLLM, or any other that understands pictures and tools."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import openai
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from pydantic import Field, PrivateAttr, SecretStr

from conservator.agent.vlm.endpoint import base_url, served_models
from conservator.agent.vlm.structured import Method, Schema, structured
from conservator.restorers.addresses import loopback
from conservator.restorers.errors import BackendMissingError, UnknownNameError

__all__ = ["ServedChat", "Tokens", "connect"]

_NO_KEY: Final = "none"
_CONNECT_S: Final = 5.0


@dataclass(frozen=True)
class Tokens:
    """What a model has taken so far.

    Attributes:
        calls: answers that came.
        failures: questions that got none, retries not counted.
        asked: tokens read.
        answered: tokens written.
    """

    calls: int = 0
    failures: int = 0
    asked: int = 0
    answered: int = 0


class ServedChat(ChatOpenAI):
    """`ChatOpenAI` for one server: bounded in time, retries and simultaneous questions, and keeping account of tokens.

    Attributes:
        concurrency: questions in flight to the server at once, over all models of this process that ask it.
    """

    concurrency: int = Field(default=4, gt=0)
    _tokens: Tokens = PrivateAttr(default_factory=Tokens)
    _account: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @property
    def tokens(self) -> Tokens:
        """What was asked and answered so far."""
        return self._tokens

    @property
    def url(self) -> str:
        """The server's address."""
        return str(self.openai_api_base)

    def with_structured_output(  # type: ignore[override]
        self,
        schema: Schema,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Ask for answers of a schema; see `conservator.agent.vlm.structured.structured`."""
        return structured(self, schema, method=method, include_raw=include_raw, **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        with _turn(self.url, self.concurrency), self._counted() as counted:
            try:
                result = super()._generate(messages, *args, **kwargs)
            except openai.LengthFinishReasonError as error:
                # An answer cut off is an answer too: whoever asked sees that it does not read, and may ask again.
                result = self._create_chat_result(error.completion)
            counted.append(result)
        return result

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        async with _async_turn(self.url, self.concurrency):
            with self._counted() as counted:
                try:
                    result = await super()._agenerate(messages, *args, **kwargs)
                except openai.LengthFinishReasonError as error:
                    result = self._create_chat_result(error.completion)
                counted.append(result)
        return result

    @contextmanager
    def _counted(self) -> Iterator[list[ChatResult]]:
        results: list[ChatResult] = []
        try:
            yield results
        finally:
            calls, asked, answered = 0, 0, 0
            for result in results:
                message = result.generations[0].message
                calls += 1
                if isinstance(message, AIMessage) and message.usage_metadata:
                    asked += message.usage_metadata["input_tokens"]
                    answered += message.usage_metadata["output_tokens"]
            with self._account:
                before = self._tokens
                self._tokens = Tokens(
                    calls=before.calls + calls,
                    failures=before.failures + (0 if results else 1),
                    asked=before.asked + asked,
                    answered=before.answered + answered,
                )


def connect(
    url: str,
    *,
    model: str | None = None,
    api_key: SecretStr | None = None,
    timeout_s: float = 60.0,
    retries: int = 2,
    concurrency: int = 4,
    max_tokens: int = 512,
) -> ServedChat:
    """A model behind a server, after asking the server whether it is there.

    Args:
        url: of the server, with or without `/v1`.
        model: by default the first one that it serves.
        api_key: None where the server wants none.
        timeout_s: of one answer.
        retries: how often a question that failed is put again, with growing pauses.
        concurrency: questions in flight at once.
        max_tokens: longest answer.

    Raises:
        UsageError: the address is none.
        BackendMissingError: nothing answers there, or it refuses the key.
        UnknownNameError: it does not serve that model.
    """
    address = base_url(url)
    known = served_models(address, api_key=api_key.get_secret_value() if api_key else None)
    if not known:
        raise BackendMissingError(f"the server at {address} serves no model; give another URL")
    if model is not None and model not in known:
        raise UnknownNameError(f"model at {address}", model, known)
    timeout = openai.Timeout(timeout_s, connect=_CONNECT_S)
    client: dict[str, Any] = {"trust_env": not loopback(address), "timeout": timeout}
    return ServedChat(
        base_url=address,
        # Without one, ChatOpenAI would send the key of OPENAI_API_KEY to whatever server this is.
        api_key=api_key or SecretStr(_NO_KEY),
        model=model or known[0],
        temperature=0.0,
        seed=0,
        max_completion_tokens=max_tokens,
        timeout=timeout,
        max_retries=retries,
        use_responses_api=False,
        http_client=openai.DefaultHttpxClient(**client),
        http_async_client=openai.DefaultAsyncHttpxClient(**client),
        concurrency=concurrency,
    )


@cache
def _semaphore(url: str, size: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(size)


@contextmanager
def _turn(url: str, size: int) -> Iterator[None]:
    with _semaphore(url, size):
        yield


@asynccontextmanager
async def _async_turn(url: str, size: int) -> AsyncIterator[None]:
    """The same limit for tasks: a semaphore of asyncio belongs to one loop, and threads ask the same server."""
    limit = _semaphore(url, size)
    await asyncio.to_thread(limit.acquire)
    try:
        yield
    finally:
        limit.release()
