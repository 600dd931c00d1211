"""The client's manners towards a server: time, retries, simultaneous questions, accounts. The server here only speaks the protocol."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from conservator import BackendMissingError, UnknownNameError
from conservator.agent.vlm.served import ServedChat, Tokens, connect
from openai_server import Spoken, completion, fails, openai_server, says

TOOL = {
    "type": "function",
    "function": {
        "name": "nlm",
        "description": "denoise",
        "parameters": {"type": "object", "properties": {"noise": {"type": "number"}}},
    },
}


class Cat(BaseModel):
    """A cat."""

    name: str


@contextmanager
def chatting(*replies: Any, **options: Any) -> Iterator[tuple[Spoken, ServedChat]]:
    server_options = {k: options.pop(k) for k in ("key", "delay_s", "models") if k in options}
    with openai_server(*replies, **server_options) as server:
        chat = connect(server.url, **options)
        try:
            yield server, chat
        finally:
            chat.http_client.close()
            asyncio.run(chat.http_async_client.aclose())


def test_it_asks_the_first_model_greedily_and_with_a_limit() -> None:
    with chatting(says("a cat"), max_tokens=77) as (server, chat):
        assert chat.invoke("What is it?").text == "a cat"
    asked = server.requests[0]
    assert asked["model"] == "seer"
    assert asked["temperature"] == 0
    assert asked["max_completion_tokens"] == 77


def test_an_answer_of_a_schema_is_asked_for_and_read() -> None:
    with chatting(says('{"name":"Chelsea"}')) as (server, chat):
        assert chat.with_structured_output(Cat).invoke("Who?") == Cat(name="Chelsea")
        data = chat.with_structured_output(Cat.model_json_schema()).invoke("Who?")
    assert data == {"name": "Chelsea"}
    schema = server.requests[0]["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["required"] == ["name"]
    same = server.requests[1]["response_format"]["json_schema"]
    assert (same["name"], same["schema"]["required"]) == (schema["name"], ["name"])


def test_an_answer_cut_off_comes_back_as_it_is() -> None:
    with chatting(says('{"name":"Chel', finish="length")) as (_, chat):
        answer = chat.with_structured_output(Cat, include_raw=True).invoke("Who?")
    assert answer["raw"].text == '{"name":"Chel'
    assert answer["parsed"] is None
    assert isinstance(answer["parsing_error"], ValueError)


def test_tools_are_offered_and_calls_read() -> None:
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "nlm", "arguments": '{"noise": 25}'},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    with chatting(lambda request: (200, completion(message))) as (server, chat):
        answer = chat.bind_tools([TOOL], tool_choice="any").invoke("Treat it.")
    assert [(c["name"], c["args"]) for c in answer.tool_calls] == [("nlm", {"noise": 25})]
    assert server.requests[0]["tools"] == [TOOL]
    assert server.requests[0]["tool_choice"] == "required"


def test_a_busy_server_is_asked_again_a_bounded_number_of_times() -> None:
    with chatting(fails(503), says("now"), retries=1) as (server, chat):
        assert chat.invoke("Now?").text == "now"
    assert len(server.requests) == 2
    with chatting(fails(503), retries=1) as (server, chat):
        with pytest.raises(Exception, match="busy"):
            chat.invoke("Now?")
    assert len(server.requests) == 2


def test_a_wrong_request_is_not_repeated() -> None:
    with chatting(fails(400), retries=3) as (server, chat):
        with pytest.raises(Exception, match="busy"):
            chat.invoke("Now?")
    assert len(server.requests) == 1


def test_a_slow_answer_is_given_up() -> None:
    with chatting(delay_s=1.0, timeout_s=0.1, retries=0) as (_, chat):
        with pytest.raises(Exception, match="timed out"):
            chat.invoke("Now?")
        assert chat.tokens == Tokens(failures=1)


def test_no_more_questions_at_once_than_allowed() -> None:
    with chatting(delay_s=0.05, concurrency=2) as (server, chat):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(chat.invoke, ["Now?"] * 6))
        assert server.most == 2
        assert chat.tokens == Tokens(calls=6, asked=60, answered=30)


def test_tasks_keep_the_same_limit() -> None:
    async def all_at_once(chat: ServedChat) -> None:
        await asyncio.gather(*(chat.ainvoke("Now?") for _ in range(6)))

    with chatting(delay_s=0.05, concurrency=2) as (server, chat):
        asyncio.run(all_at_once(chat))
        assert server.most == 2
        assert chat.tokens.calls == 6


def test_a_key_of_another_service_stays_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-private")
    with chatting() as (server, chat):
        chat.invoke("Who am I?")
    assert server.keys == ["none"]
    with chatting(key="secret", api_key=SecretStr("secret")) as (server, chat):
        chat.invoke("Who am I?")
    assert server.keys == ["secret"]


def test_an_unknown_model_is_named_with_the_known_ones() -> None:
    with openai_server(models=("a", "b")) as server:
        with pytest.raises(UnknownNameError, match=r"'c'.*a, b"):
            connect(server.url, model="c")
    with openai_server(models=()) as server, pytest.raises(BackendMissingError, match="no model"):
        connect(server.url)
