"""Tool calls in hermes form: read as vLLM reads them, and forced by the grammar that vLLM builds."""

import json

import pytest

from conservator import UsageError
from conservator.agent.vlm.hermes import bound_choice, read_answer, structural_tag

CALL = '<tool_call>\n{"name": "nlm", "arguments": {"noise": 25.0}}\n</tool_call>'
TOOLS = [
    {"type": "function", "function": {"name": "nlm", "parameters": {"type": "object"}}},
    {"type": "function", "function": {"name": "other"}},
]


def test_text_without_calls_is_content() -> None:
    assert read_answer("a cat").content == "a cat"
    assert read_answer("a cat").calls == ()


def test_calls_are_read_in_order() -> None:
    answer = read_answer(f"First this.\n{CALL}\n{CALL.replace('nlm', 'other')}")
    assert answer.content == "First this.\n"
    assert [name for name, _ in answer.calls] == ["nlm", "other"]
    assert json.loads(answer.calls[0][1]) == {"noise": 25.0}


def test_a_call_that_ends_without_its_tag_is_a_call() -> None:
    answer = read_answer('\n<tool_call>{"name": "nlm", "arguments": {}}')
    assert answer.calls == (("nlm", "{}"),)
    assert answer.content == ""


@pytest.mark.parametrize(
    "broken",
    [
        CALL.replace("25.0", ""),
        CALL.replace('"name"', '"tool"'),
        CALL + "<tool_call>{",
        '<tool_call>["nlm"]</tool_call>',
    ],
)
def test_one_broken_call_makes_text_of_all(broken: str) -> None:
    answer = read_answer(broken)
    assert answer.calls == ()
    assert answer.content == broken


def test_choices_become_those_of_the_protocol() -> None:
    assert bound_choice(None, ["nlm"]) == "auto"
    assert bound_choice(True, ["nlm"]) == bound_choice("any", ["nlm"]) == "required"
    assert bound_choice("none", ["nlm"]) == "none"
    named = {"type": "function", "function": {"name": "nlm"}}
    assert bound_choice("nlm", ["nlm"]) == bound_choice(named, ["nlm"]) == named
    with pytest.raises(UsageError, match=r"'photoshop'.*nlm"):
        bound_choice("photoshop", ["nlm"])


def test_grammar_follows_the_choice() -> None:
    assert structural_tag(TOOLS, "none") is None
    assert structural_tag([], "required") is None
    auto, required = structural_tag(TOOLS, "auto"), structural_tag(TOOLS, "required")
    named = structural_tag(TOOLS, bound_choice("nlm", ["nlm"]))
    assert auto and required and named
    assert auto["format"]["type"] == "triggered_tags"
    assert required["format"]["at_least_one"] and not required["format"]["stop_after_first"]
    assert named["format"]["stop_after_first"]
    assert all('"nlm"' in tag["begin"] for tag in named["format"]["tags"])
    single = structural_tag(TOOLS, "auto", parallel=False)
    assert single and single["format"]["stop_after_first"]
