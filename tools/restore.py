"""Restorers as LangChain tools: one tool a restorer, its arguments a pydantic schema made from its card.

The same schema serves the deterministic planner, which builds the arguments itself, and a vision-language model, whose
tool calls are validated against it before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from threading import Event
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.amounts import DOMAINS
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.look import Pixels

if TYPE_CHECKING:
    import torch
    from langchain_core.tools import StructuredTool

    from conservator.restorers.base import OnProgress

__all__ = [
    "RestoreArguments",
    "Treated",
    "Workbench",
    "arguments_schema",
    "blended",
    "describe",
    "from_restored",
    "restore_tool",
    "to_restorer",
    "validated",
]


class RestoreArguments(BaseModel):
    """What every restorer's schema has; the schema of a card adds one strength for each kind it treats, and `others` where it looks.

    Attributes:
        source: node of the run's tree to start from.
        blend: share of the treated picture in the result.
        semantic: what the photo shows.
        seed: for restorers that draw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(
        default="original",
        description="node to start from: 'original', or an earlier attempt's id; the original is usually best",
    )
    blend: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the treated picture; below 1 is a weaker treatment",
    )
    semantic: str = Field(default="", description="what the photo shows, in a few words")
    seed: int = Field(default=0, ge=0, description="for restorers that draw")

    @model_validator(mode="after")
    def _asks_for_something(self) -> RestoreArguments:
        if not self.prompt().degradations:
            kinds = ", ".join(k.value for k in Kind if k.value in type(self).model_fields)
            raise ValueError(f"no strength given; name at least one of: {kinds}")
        return self

    def prompt(self) -> RestorationPrompt:
        """The arguments as a prompt."""
        strengths = {
            kind: value for kind in Kind if (value := getattr(self, kind.value, None)) is not None
        }
        others = bool(getattr(self, "others", False))
        return RestorationPrompt(degradations=strengths, blind=others, semantic=self.semantic)


def arguments_schema(card: RestorerCard) -> type[RestoreArguments]:
    """The argument schema of a restorer: a bounded, described, optional strength for each kind it treats."""
    return _schema(card.name, card.treats, card.looks)


@cache
def _schema(name: str, treats: tuple[Kind, ...], looks: bool) -> type[RestoreArguments]:
    fields: dict[str, Any] = {}
    if looks:
        others = Field(default=False, description="also undo what it sees beside the kinds named")
        fields["others"] = (bool, others)
    for kind in treats:
        parameter = PARAMETERS[kind]
        low, high = DOMAINS[kind]
        ladder = ", ".join(f"{value:g}" for value in parameter.anchors[1:])
        fields[kind.value] = (
            float | None,
            Field(
                default=None,
                ge=low,
                le=high,
                description=f"{parameter.name}: {parameter.unit}; low, medium, high, very high are about "
                f"{ladder}; leave out what is not there",
            ),
        )
    title = "".join(part.capitalize() for part in name.replace("_", "-").split("-"))
    return create_model(f"{title}Arguments", __base__=RestoreArguments, **fields)


def validated(card: RestorerCard, arguments: Mapping[str, Any]) -> RestoreArguments:
    """Arguments from outside, checked against the card's schema.

    Raises:
        PromptError: names the first argument that is wrong, with its value.
    """
    try:
        return arguments_schema(card).model_validate(dict(arguments))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in detail["loc"]) or "arguments"
        given = dict(arguments).get(where, dict(arguments))
        raise PromptError(f"{card.name}: {where}={given!r}: {detail['msg']}") from error


@dataclass(frozen=True)
class Treated:
    """What a restorer made, and how.

    Attributes:
        pixels: (H * scale, W * scale, 3), float32, [0, 1], RGB.
        rendered_prompt: the text or numbers the restorer really saw.
        seconds: the restorer's own time, loading excluded.
        loading_seconds: time to bring the weights into memory, 0 when they were resident.
        details: the restorer's record: device, tiles, weights sha256.
    """

    pixels: Pixels
    rendered_prompt: str
    seconds: float
    loading_seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


class Workbench(Protocol):
    """What a tool needs from the run that calls it."""

    @property
    def device(self) -> str:
        """Where to compute: `auto`, `cpu`, `cuda`."""
        ...

    @property
    def cancel(self) -> Event:
        """Looked at between tiles."""
        ...

    def pixels(self, node: str) -> Pixels:
        """The picture of a node of the tree, (H, W, 3), float32, [0, 1]."""
        ...

    def progress(self, restorer: str) -> OnProgress:
        """Whom to tell about tiles done."""
        ...

    def clock(self) -> float:
        """Monotonic seconds."""
        ...


def restore_tool(
    card: RestorerCard, bench: Workbench, *, configuration: str = "compact"
) -> StructuredTool:
    """A restorer as a LangChain tool.

    Its text result describes what was done; its artifact is a `Treated`.
    """
    from langchain_core.tools import StructuredTool

    return StructuredTool.from_function(
        func=_runner(card, bench, configuration),
        name=card.name,
        description=describe(card),
        args_schema=arguments_schema(card),
        response_format="content_and_artifact",
        infer_schema=False,
    )


def describe(card: RestorerCard) -> str:
    """What a planner reads about a restorer."""
    kinds = ", ".join(kind.value for kind in card.treats)
    strength = "follows the strengths given" if card.understands_strength else "ignores strengths"
    return f"{card.title}. Treats: {kinds}. It {strength}."


def _runner(
    card: RestorerCard, bench: Workbench, configuration: str
) -> Callable[..., tuple[str, Treated]]:
    def run(**arguments: Any) -> tuple[str, Treated]:
        asked = validated(card, arguments)
        from conservator.restorers import catalog

        started = bench.clock()
        restorer = catalog.load(card.name, configuration, device=bench.device)
        loading = bench.clock() - started
        source = bench.pixels(asked.source)
        restored = restorer.restore(
            to_restorer(source),
            asked.prompt(),
            seed=asked.seed,
            on_progress=bench.progress(card.name),
            cancel=bench.cancel,
        )
        pixels = blended(source, from_restored(restored.image), asked.blend)
        treated = Treated(
            pixels=pixels,
            rendered_prompt=restored.rendered_prompt,
            seconds=restored.seconds,
            loading_seconds=loading,
            details=restored.details,
        )
        return f"{card.name} on {asked.source}: {restored.rendered_prompt}", treated

    return run


def blended(source: Pixels, treated: Pixels, share: float) -> Pixels:
    """`share` of the treated picture and the rest of its source, which is resized to it where sizes differ."""
    if share >= 1:
        return treated
    if source.shape != treated.shape:
        import cv2

        size = (treated.shape[1], treated.shape[0])
        source = cv2.resize(source, size, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return np.clip(source + np.float32(share) * (treated - source), 0, 1).astype(np.float32)


def to_restorer(pixels: Pixels) -> torch.Tensor:
    """A copy of (H, W, 3) pixels as (1, 3, H, W), float32."""
    import torch

    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), dtype=np.float32, order="C"))[None]


def from_restored(image: torch.Tensor) -> Pixels:
    """(1, 3, H, W) as (H, W, 3), float32, [0, 1]."""
    from conservator.tools.image_io import from_tensor

    return from_tensor(image)
