"""Calling a restorer as the LangChain tool that it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conservator.restorers.errors import BackendMissingError
from conservator.tools.restore import Treated, restore_tool

if TYPE_CHECKING:
    from conservator.agent.context import RunContext, ToolBench
    from conservator.policies.attempt import ToolCall
    from conservator.restorers.errors import ConservatorError

__all__ = ["called", "names_the_device"]


def called(call: ToolCall, bench: ToolBench, name: str) -> Treated:
    """What the tool makes of a call; `name` goes into the tool message.

    Raises:
        CancelledError: the caller asked to stop, or the time is up.
        ConservatorError: whatever the tool raises.
    """
    tool = restore_tool(bench.context.cards[call.restorer], bench, configuration=call.configuration)
    arguments: dict[str, Any] = {
        **{kind.value: strength for kind, strength in call.prompt.degradations.items()},
        "source": call.source,
        "blend": call.blend,
        "semantic": call.prompt.semantic,
        "seed": call.seed,
    }
    if call.prompt.blind:
        arguments["others"] = True
    message = tool.invoke({"type": "tool_call", "id": name, "name": tool.name, "args": arguments})
    treated = message.artifact
    if not isinstance(treated, Treated):
        raise TypeError(f"tool {tool.name} returned {type(treated).__name__}, not Treated")
    return treated


def names_the_device(error: ConservatorError, context: RunContext) -> bool:
    """Whether the caller asked for a device that is not there: no other restorer would help."""
    return isinstance(error, BackendMissingError) and context.device != "auto"
