"""The hermes form of tool calls, in which Qwen2.5 writes them: the grammar that forces it, and how its text is read.

It is done as vLLM 0.32 does it under `--tool-call-parser hermes --tool-strict-level parameter`
(`vllm/tool_parsers/hermes_tool_parser.py`, `structural_tag_registry.py`), so that a model in this process and the same
model behind a server give the same answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conservator.restorers.errors import UsageError

__all__ = ["CHAT_TEMPLATE", "HermesAnswer", "bound_choice", "read_answer", "structural_tag"]

CHAT_TEMPLATE: Final = Path(__file__).with_name("chat_template.jinja")
"""Qwen2.5's chat format with images and tools, for models whose own template leaves the tools out."""

_BEGIN: Final = "<tool_call>"
_END: Final = "</tool_call>"
_CALL: Final = re.compile(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", re.DOTALL)


@dataclass(frozen=True)
class HermesAnswer:
    """A model's text, taken apart.

    Attributes:
        content: the text before the first call; all of it when the calls do not read.
        calls: (name, arguments as JSON text) in the order of the text.
    """

    content: str
    calls: tuple[tuple[str, str], ...] = ()


def read_answer(text: str) -> HermesAnswer:
    """Take an answer apart; one call that does not read spoils all of them, and the text is kept as it is."""
    if _BEGIN not in text:
        return HermesAnswer(text)
    try:
        read = [json.loads(whole or cut_off) for whole, cut_off in _CALL.findall(text)]
        calls = tuple(
            (str(call["name"]), json.dumps(call["arguments"], ensure_ascii=False)) for call in read
        )
    except (ValueError, KeyError, TypeError):
        return HermesAnswer(text)
    content = text[: text.find(_BEGIN)]
    return HermesAnswer(content if content.strip() else "", calls)


def bound_choice(choice: object, names: Sequence[str]) -> str | dict[str, Any]:
    """What `bind_tools` was told about the choice of a tool, as an OpenAI-compatible server is told.

    Raises:
        UsageError: it names no tool of these.
    """
    if choice in (None, False, "auto"):
        return "auto"
    if choice == "none":
        return "none"
    if choice in (True, "any", "required"):
        return "required"
    name = choice
    if isinstance(choice, Mapping):
        name = choice.get("function", {}).get("name")
    if name not in names:
        raise UsageError(f"tool_choice={choice!r} names no tool; known: {', '.join(names)}")
    return {"type": "function", "function": {"name": name}}


def structural_tag(
    tools: Sequence[Mapping[str, Any]], choice: str | Mapping[str, Any], *, parallel: bool = True
) -> dict[str, Any] | None:
    """The grammar of an answer with calls, as xgrammar's structural tag; None where the text is free.

    Args:
        tools: function specifications in OpenAI's form.
        choice: `auto`, `none`, `required`, or one function.
        parallel: whether there may be more than one call.
    """
    if choice == "none" or not tools:
        return None
    if isinstance(choice, Mapping):
        tools = [t for t in tools if t["function"]["name"] == choice["function"]["name"]]
        parallel = False
    tags = [
        {
            "type": "tag",
            "begin": f'{begin}{tool["function"]["name"]}", "arguments": ',
            "content": {
                "type": "json_schema",
                "json_schema": tool["function"].get("parameters") or True,
            },
            "end": end,
        }
        for tool in tools
        for begin, end in (
            (_BEGIN + '\n{"name": "', "}\n" + _END),
            (_BEGIN + '{"name": "', "}" + _END),
        )
    ]
    listed: dict[str, Any] = {"tags": tags, "stop_after_first": not parallel}
    if choice == "auto":
        listed |= {"type": "triggered_tags", "triggers": [_BEGIN]}
    else:
        listed |= {"type": "tags_with_separator", "separator": "", "at_least_one": True}
    return {"type": "structural_tag", "format": listed}
