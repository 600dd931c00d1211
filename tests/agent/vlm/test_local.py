"""A network in this process: random, but of the real architecture, with the real grammars."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from conservator import MissingFileError, UsageError, WeightsError
from conservator.agent.vlm.answers import ConditionAnswer
from conservator.agent.vlm.hermes import CHAT_TEMPLATE, bound_choice
from conservator.agent.vlm.local import LocalChat
from conservator.agent.vlm.questions import COMPACT_VIEWS, condition_question, tool_spec
from conservator.restorers import catalog

TOOLS = [tool_spec(catalog.cards()[name]) for name in ("classical-nlm", "classical-median")]


@pytest.fixture(scope="module")
def chat(tiny_vlm: Path) -> LocalChat:
    return LocalChat(model=str(tiny_vlm), max_tokens=160)


@pytest.fixture
def asked() -> list[BaseMessage]:
    pixels = np.random.default_rng(3).random((96, 128, 3), np.float32)
    return list(condition_question(pixels, COMPACT_VIEWS).messages)


def test_it_answers_a_question_with_pictures(chat: LocalChat, asked: list[BaseMessage]) -> None:
    answer = chat.invoke(asked)
    assert answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] <= 160
    # 4 x 3 squares of 28 px, and the text.
    assert answer.usage_metadata["input_tokens"] > 12
    assert answer.response_metadata["model_name"] == "tiny"


def test_greedy_answers_repeat(chat: LocalChat, asked: list[BaseMessage]) -> None:
    assert chat.invoke(asked).text == chat.invoke(asked).text


def test_a_question_is_not_changed_by_the_one_before(
    chat: LocalChat, asked: list[BaseMessage], tiny_vlm: Path
) -> None:
    plain = [HumanMessage("Describe rain, and how strong it is.")]
    chat.invoke(asked)
    after = chat.invoke(plain).text
    assert after == chat.invoke(plain).text
    from conservator.agent.vlm import local

    local._loaded.cache_clear()
    assert LocalChat(model=str(tiny_vlm), max_tokens=160).invoke(plain).text == after


def test_our_loop_writes_what_generate_writes(chat: LocalChat) -> None:
    network = chat._network()
    text = "<|im_start|>user\nIs there noise?<|im_end|>\n<|im_start|>assistant\n"
    inputs = network.processor(text=[text], return_tensors="pt")
    ids = network.model.generate(**inputs, do_sample=False, max_new_tokens=60)
    theirs = ids[0, inputs["input_ids"].shape[1] :].tolist()
    steps = network._steps(inputs, None, lambda logits: int(logits.argmax()))
    assert [token for token, _ in zip(steps, theirs, strict=False)] == theirs


def test_json_is_of_the_schema_and_without_blanks(
    chat: LocalChat, asked: list[BaseMessage]
) -> None:
    structured = chat.with_structured_output(ConditionAnswer, include_raw=True)
    text = structured.invoke(asked)["raw"].text
    # Strict but for control characters, which the grammar lets through.
    data = json.loads(text, strict=False)
    assert list(data) == ["scene", "degradations"]
    assert '":' in text and '": ' not in text.replace(data["scene"], "")
    again = chat.with_structured_output(ConditionAnswer.model_json_schema()).invoke(asked)
    assert again == data


def allowed(chat: LocalChat, choice: str, text: str) -> bool:
    """Whether an answer may be this."""
    from conservator.agent.vlm.local import _Grammar

    names = [tool["function"]["name"] for tool in TOOLS]
    grammar = _Grammar.of({}, TOOLS, bound_choice(choice, names))
    matcher = chat._network()._matcher(grammar)
    end = min(chat._network().ends)
    return bool(matcher.accept_string(text) and matcher.accept_token(end))


def called(name: str, **arguments: Any) -> str:
    text = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{text}\n</tool_call>"


def test_calls_are_forced_into_the_form_and_the_schema(chat: LocalChat) -> None:
    right = called("classical-nlm", noise=25.0, source="original")
    assert allowed(chat, "required", right)
    assert allowed(chat, "required", right + called("classical-median", pepper_noise=0.1))
    assert allowed(chat, "auto", "Noise. " + right)
    assert allowed(chat, "auto", "Nothing to treat.")
    assert allowed(chat, "classical-nlm", right)
    assert not allowed(chat, "required", "Nothing to treat.")
    assert not allowed(chat, "required", called("photoshop", noise=25.0))
    assert not allowed(chat, "classical-median", right)
    assert not allowed(chat, "classical-nlm", right + right)
    assert not allowed(chat, "auto", called("classical-nlm", sharpness=3))
    assert not allowed(chat, "auto", called("classical-nlm", noise=900.0))


def test_a_forced_answer_is_one(chat: LocalChat, asked: list[BaseMessage]) -> None:
    forced = chat.bind_tools(TOOLS, tool_choice="classical-median").invoke(asked)
    # Random weights may write blanks until the limit; what they write is a call from its beginning.
    begun = forced.text.replace("\n", "").startswith('<tool_call>{"name": "classical-median"')
    assert begun or [call["name"] for call in forced.tool_calls] == ["classical-median"]


def test_free_answers_may_be_plain(chat: LocalChat, asked: list[BaseMessage]) -> None:
    answer = chat.bind_tools(TOOLS).invoke(asked)
    assert answer.text or answer.tool_calls


def test_tools_and_earlier_calls_stand_in_the_prompt(chat: LocalChat) -> None:
    from conservator.agent.vlm.turns import as_served, turns_of

    history: list[BaseMessage] = [
        SystemMessage("Look."),
        HumanMessage("Treat it."),
        AIMessage("", tool_calls=[{"name": "nlm", "args": {"noise": 2.5, "why": "ü"}, "id": "1"}]),
        ToolMessage("done", tool_call_id="1"),
        HumanMessage("Again."),
    ]
    network = chat._network()
    turns, pictures = turns_of(history)
    assert pictures == []
    text = network.processor.apply_chat_template(
        turns,
        chat_template=network.template,
        tools=[as_served(tool) for tool in TOOLS],
        add_generation_prompt=True,
        tokenize=False,
    )
    assert text.startswith("<|im_start|>system\nLook.\n\n# Tools\n")
    assert text.count('{"type": "function", "function": {"name": "classical-') == 2
    assert (
        "<|im_start|>assistant\n<tool_call>\n"
        '{"name": "nlm", "arguments": {"noise": 2.5, "why": "ü"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\ndone\n</tool_response><|im_end|>\n"
    ) in text
    assert text.endswith("<|im_start|>user\nAgain.<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_without_tools_is_replaced(tiny_vlm: Path, tmp_path: Path) -> None:
    """As Qwen2.5-VL's own is, which would let a model guess what it may call."""
    folder = tmp_path / "mute"
    shutil.copytree(tiny_vlm, folder)
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert LocalChat(model=str(folder))._network().template == CHAT_TEMPLATE.read_text()
    own = "{{ messages[0].content }}{{ tools }}"
    shutil.copytree(folder, tmp_path / "other")
    (tmp_path / "other" / "chat_template.jinja").write_text(own)
    assert LocalChat(model=str(tmp_path / "other"))._network().template == own


def test_limits_end_an_answer(chat: LocalChat, asked: list[BaseMessage]) -> None:
    short = chat.invoke(asked, max_tokens=3)
    assert short.usage_metadata and short.usage_metadata["output_tokens"] == 3
    assert short.response_metadata["finish_reason"] == "length"
    word = chat.invoke(asked).text[10:13]
    assert word not in chat.invoke(asked, stop=[word]).text
    with pytest.raises(TimeoutError, match=r"0\.001 s"):
        chat.model_copy(update={"timeout_s": 0.001}).invoke(asked)


def test_who_waits_no_longer_can_stop_it(chat: LocalChat, asked: list[BaseMessage]) -> None:
    class Impatient(BaseCallbackHandler):
        raise_error = True
        seen = 0

        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            self.seen += 1
            if self.seen == 5:
                raise TimeoutError("enough")

    handler = Impatient()
    with pytest.raises(TimeoutError, match="enough"):
        chat.invoke(asked, {"callbacks": [handler]})
    assert handler.seen == 5
    assert chat.invoke(asked).text


def test_draws_follow_the_seed(chat: LocalChat, asked: list[BaseMessage]) -> None:
    warm = {"temperature": 1.5}
    first = chat.model_copy(update={"seed": 1}).invoke(asked, **warm).text
    assert first == chat.model_copy(update={"seed": 1}).invoke(asked, **warm).text
    assert first != chat.model_copy(update={"seed": 2}).invoke(asked, **warm).text


@pytest.mark.parametrize(
    "url", ["https://example.org/a.png", "file:///etc/passwd", "data:image/png;base64,AAAA"]
)
def test_only_pictures_that_are_sent_are_looked_at(chat: LocalChat, url: str) -> None:
    block = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(UsageError, match=r"data URI|decode"):
        chat.invoke([HumanMessage([block])])


def test_what_is_no_model_is_said(tiny_vlm: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nobody/nothing"):
        LocalChat(model="nobody/nothing").load()
    with pytest.raises(WeightsError, match="holds no model"):
        LocalChat(model=str(tmp_path)).load()
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_vlm, damaged)
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(WeightsError, match="does not load"):
        LocalChat(model=str(damaged)).load()
    config = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(WeightsError, match="'gpt2'"):
        LocalChat(model=str(damaged)).load()
