"""Answers in a given form, for every chat model of ours alike: one schema sent, the text kept, the answer validated here."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel

__all__ = ["Method", "Schema", "json_schema_format", "structured"]

Schema = dict[str, Any] | type
"""A pydantic class, or a JSON schema with a title."""

Method = Literal["json_schema", "function_calling", "json_mode"]


def json_schema_format(schema: Schema) -> dict[str, Any]:
    """The `response_format` that asks a server for one JSON object of a schema."""
    function = convert_to_openai_tool(schema, strict=True)["function"]
    described = {"name": function["name"], "schema": function["parameters"], "strict": True}
    return {"type": "json_schema", "json_schema": described}


def structured(
    model: BaseChatModel, schema: Schema, *, method: Method, include_raw: bool, **bound: Any
) -> Runnable[Any, Any]:
    """`model` with answers of a schema: a pydantic object for a class, a dict for a JSON schema.

    Args:
        model: any chat model.
        schema: of the answer.
        method: `json_schema` constrains the text, `function_calling` forces a call, `json_mode` asks for any object.
        include_raw: give {"raw": message, "parsed": answer or None, "parsing_error": error or None}.
        bound: more arguments of each call, such as `max_tokens`.
    """
    parser: Runnable[Any, Any]
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        asking = model.bind_tools([schema], tool_choice=name, **bound)
        if isinstance(schema, type):
            parser = PydanticToolsParser(tools=[schema], first_tool_only=True)
        else:
            parser = JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
    else:
        wanted = json_schema_format(schema) if method == "json_schema" else {"type": "json_object"}
        asking = model.bind(response_format=wanted, **bound)

        def read(message: BaseMessage) -> Any:
            # xgrammar 0.2.8 lets control characters into strings that have a longest length.
            data = json.loads(message.text, strict=False)
            if isinstance(schema, type) and issubclass(schema, BaseModel):
                return schema.model_validate(data)
            return data

        parser = RunnableLambda(read)
    if not include_raw:
        return asking | parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    answered = RunnableMap[Any](raw=asking)
    return answered | parsed.with_fallbacks([failed], exception_key="parsing_error")
