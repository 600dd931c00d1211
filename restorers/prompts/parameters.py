"""The plain parameter list of recipes and of the command line: `noise:sigma=25+jpeg:quality=20`.

Also understood: `noise` (medium), `noise:high`, `noise:25`, `noise:level=high`, `noise: sigma = 25, jpeg: quality = 20`,
`blind`, `none`. This language is for machines and for recipes, so what is wrong raises instead of being reported.

Precision of the round trip: exact; kinds at "nothing wrong" (`rain:none`) are left out. `semantic` and `unmapped` are dropped.
"""

from __future__ import annotations

import re

from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Kind,
    Level,
    kind_named,
    value_of,
)
from conservator.restorers.errors import PromptError, UnknownNameError
from conservator.restorers.prompts.amounts import checked
from conservator.restorers.prompts.lexicon import ascii_marks
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["item", "items", "parse", "render"]

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)


def item(kind: Kind, value: float) -> str:
    """Write one item with all digits: `noise:sigma=25`.

    Raises:
        PromptError: a strength that is physically impossible.
    """
    number = repr(checked(kind, value)).removesuffix(".0")
    return f"{kind.value}:{PARAMETERS[kind].name}={number}"


def render(prompt: RestorationPrompt) -> str:
    """Write a prompt as parameters; `none` for one that asks for nothing.

    Raises:
        PromptError: a strength that is physically impossible.
    """
    asked = prompt.degradations.items()
    parts = [item(kind, value) for kind, value in asked if value != PARAMETERS[kind].identity]
    if prompt.blind:
        parts.append("blind")
    return "+".join(parts) or "none"


def items(text: str) -> list[tuple[Kind, float]]:
    """Read `kind[:[parameter=]value]` items joined by `+`, `,` or `;`, in their order; a kind may occur twice.

    Raises:
        PromptError: an item that is empty or does not parse, an unknown kind or parameter, an impossible value.
    """
    parts = re.split(r"\+(?=\s*(?:[^\W\d]|\+|$))|[,;]", ascii_marks(text))
    return [_item(part.strip(), text) for part in parts]


def _item(part: str, text: str) -> tuple[Kind, float]:
    name, _, setting = part.partition(":")
    if not name.strip():
        raise PromptError(
            f"an empty step in {text!r}; write kind:parameter=value, for example noise:sigma=25"
        )
    try:
        kind = kind_named(name)
    except UnknownNameError as error:
        raise PromptError(str(error)) from None
    parameter = PARAMETERS[kind]
    key, equals, value = (piece.strip() for piece in setting.partition("="))
    if not equals:
        key, value = "", key
    if key.lower() not in {"", "level", parameter.name}:
        raise PromptError(
            f"{kind.value} has no parameter {key!r}; write {item(kind, value_of(kind, Level.MEDIUM))}"
        )
    if not value and not equals:
        return kind, value_of(kind, Level.MEDIUM)
    if _NUMBER.fullmatch(value) and key.lower() != "level":
        return kind, checked(kind, float(value))
    try:
        return kind, value_of(kind, Level.parse(value))
    except UnknownNameError:
        raise PromptError(
            f"{value!r} in {part!r} is neither a number ({parameter.unit}) nor a level "
            f"({', '.join(level.label for level in Level)})"
        ) from None


def parse(text: str) -> RestorationPrompt:
    """Read a parameter list.

    Raises:
        PromptError: see `items`; also a kind that is named twice, or an empty text.
    """
    strengths: dict[Kind, float] = {}
    blind = False
    if ascii_marks(text).strip().lower() == "none":
        return RestorationPrompt()
    body = re.sub(
        r"(?:^|(?<=[+,;]))\s*blind\s*(?=$|[+,;])", "", ascii_marks(text), flags=re.IGNORECASE
    )
    if body != ascii_marks(text):
        blind = True
        body = re.sub(r"([+,;])\s*(?=$|[+,;])|^\s*[+,;]", "", body)
        if not body.strip():
            return RestorationPrompt(blind=True)
    for kind, value in items(body):
        if kind in strengths:
            raise PromptError(f"{kind.value} occurs twice in {text!r}; give one strength")
        strengths[kind] = value
    strengths = {k: v for k, v in strengths.items() if v != PARAMETERS[k].identity}
    return RestorationPrompt(degradations=strengths, blind=blind)
