"""Messages and tools as a chat template takes them, in the form in which vLLM hands them to it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import BaseMessage, convert_to_openai_messages

from conservator.restorers.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_served", "turns_of"]

_IMAGE_BYTES: Final = 64 << 20


def as_served(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool with the keys, in the order, in which a server shows it to the model."""
    given = tool["function"]
    function = {
        "name": given["name"],
        "description": given.get("description"),
        "parameters": given.get("parameters"),
    }
    if given.get("strict") is not None:
        function["strict"] = given["strict"]
    return {"type": "function", "function": function}


def turns_of(messages: Sequence[BaseMessage]) -> tuple[list[dict[str, Any]], list[Image]]:
    """Messages as a chat template takes them, and their pictures in order.

    Raises:
        UsageError: a picture that is not in the message itself, or does not decode.
    """
    pictures: list[Image] = []
    turns = []
    for message in convert_to_openai_messages(messages):
        turn: dict[str, Any] = dict(message)
        if isinstance(turn.get("content"), list):
            turn["content"] = [_part(block, pictures) for block in turn["content"]]
        if turn.get("tool_calls"):
            turn["tool_calls"] = [
                {**call, "function": {**call["function"], "arguments": _arguments(call)}}
                for call in turn["tool_calls"]
            ]
        turns.append(turn)
    return turns, pictures


def _arguments(call: Mapping[str, Any]) -> Any:
    try:
        return json.loads(call["function"]["arguments"])
    except ValueError:
        return call["function"]["arguments"]


def _part(block: Mapping[str, Any], pictures: list[Image]) -> dict[str, Any]:
    if block.get("type") == "image_url":
        pictures.append(_decoded(block["image_url"]["url"]))
        return {"type": "image"}
    return {"type": "text", "text": str(block.get("text", ""))}


def _decoded(url: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    if not url.startswith("data:image/") or ";base64," not in url:
        raise UsageError(
            f"{url[:60]!r} is no data URI; send the picture itself, nothing is fetched"
        )
    try:
        data = base64.b64decode(url.partition(";base64,")[2], validate=True)
        if len(data) > _IMAGE_BYTES:
            raise UsageError(f"a picture of {len(data)} bytes; send {_IMAGE_BYTES} at most")
        return Image.open(BytesIO(data)).convert("RGB")
    except (binascii.Error, UnidentifiedImageError, OSError) as error:
        raise UsageError(f"a picture in the question does not decode: {error}") from error
