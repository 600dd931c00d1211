"""The questions to a vision-language model: pure functions from what is known to messages, a schema or tools.

Every question is built in the same way: the system text, then the pictures, then a short text that ends with the question. Facts are
compact lines (`readings`), because a small model reads them too. Names of files are in no question; what a user wrote and what an earlier
attempt said stand in quotes and are cut to size.

The pictures are an overview for the scene and crops at native resolution for the surface: resizing hides noise, blocks and fine rain.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from conservator.agent.prompts import prompt_text
from conservator.agent.vlm.answers import ConditionAnswer, RefineAnswer, VerdictAnswer, plain_text
from conservator.policies.review import sources, strongest, treatable
from conservator.policies.situation import measured as measured_on
from conservator.policies.situation import untreated
from conservator.policies.strength import moved
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Finding,
    Kind,
    Level,
)
from conservator.restorers.prompts.amounts import rounded, written
from conservator.restorers.prompts.mofe import QUESTION as MOFE_QUESTION
from conservator.tools.look import Crop, Pixels, crops, overview
from conservator.tools.restore import arguments_schema, describe

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from pydantic import BaseModel

    from conservator.policies.attempt import Attempt
    from conservator.policies.situation import Situation
    from conservator.restorers.card import RestorerCard
    from conservator.restorers.prompts.model import RestorationPrompt

__all__ = [
    "COMPACT_VIEWS",
    "FULL_VIEWS",
    "Question",
    "Views",
    "condition_question",
    "guide_question",
    "ladder",
    "plan_question",
    "readings",
    "refine_question",
    "sentences_question",
    "tool_spec",
    "verdict_question",
    "views_of",
]

_QUOTED: Final = 200
_ANY: Final[Mapping[Kind, Mapping[str, Any]]] = {kind: {} for kind in Kind}
_ATTEMPTS: Final = 4


@dataclass(frozen=True)
class Views:
    """Which pictures a model gets of a photo.

    Attributes:
        overview_side: longest side of the whole photo, px.
        crop_side: side of the crops at native resolution, px.
        crops: how many of them.
        pair_crops: how many pairs of them for a verdict.
        steps: on the severity scale from what was measured, among which the strengths of a plan are chosen, for everything that is due; without
            any, a number within the policy's limits is written, and kinds are chosen, too. Models of a few million parameters do not repeat
            numbers, and forget.
    """

    overview_side: int
    crop_side: int
    crops: int
    pair_crops: int
    steps: tuple[float, ...] = ()


FULL_VIEWS: Final = Views(overview_side=768, crop_side=224, crops=4, pair_crops=2)
"""For models of billions of parameters."""

COMPACT_VIEWS: Final = Views(
    overview_side=128, crop_side=128, crops=4, pair_crops=2, steps=(-0.15, 0.0, 0.15)
)
"""For the embedded model."""


def views_of(model: BaseChatModel) -> Views:
    """The pictures a model wants: compact ones where its `metadata` says `{"views": "compact"}`."""
    return COMPACT_VIEWS if (model.metadata or {}).get("views") == "compact" else FULL_VIEWS


@dataclass(frozen=True)
class Question:
    """What is asked, and the form the answer must have.

    Attributes:
        name: name of its text under `agent/prompts`.
        messages: what the model is sent.
        schema: of the answer; None for tool calls and for plain sentences.
        tools: function specifications in OpenAI's form that may be called; empty for other answers.
    """

    name: str
    messages: tuple[BaseMessage, ...]
    schema: type[BaseModel] | None = None
    tools: tuple[dict[str, Any], ...] = ()

    def again(self, answer: BaseMessage, complaint: str) -> Question:
        """The same question after a refused answer, with the reason."""
        retry = HumanMessage(f"Refused: {complaint}. Answer again.")
        return replace(self, messages=(*self.messages, answer, retry))


def condition_question(
    pixels: Pixels, views: Views, report: ConditionReport | None = None
) -> Question:
    """Ask what the photo shows and which degradations it has.

    Args:
        pixels: (H, W, 3), float32, [0, 1].
        views: the pictures the model gets.
        report: the instruments' readings; None to let the model look on its own.
    """
    text = [] if report is None else [readings(report)]
    text += [ladder(), prompt_text("condition")]
    return Question("condition", _messages(_pictures(pixels, views), text), ConditionAnswer)


def plan_question(
    situation: Situation, pixels: Pixels, views: Views, cards: Mapping[str, RestorerCard]
) -> Question:
    """Ask for the next step as tool calls.

    Args:
        situation: the run so far.
        pixels: the input, (H, W, 3), float32, [0, 1].
        views: the pictures the model gets.
        cards: the restorers that may be called; see `conservator.policies.review.offered`.
    """
    text = [readings(situation.report)]
    if situation.report.scene:
        text.append(f"Scene: {_quoted(situation.report.scene)}")
    if situation.targets:
        text.append("Targets: " + ", ".join(str(target) for target in situation.targets))
    if situation.spared:
        text.append("Leave alone: " + ", ".join(sorted(situation.spared)))
    for attempt in situation.attempts[-_ATTEMPTS:]:
        said = attempt.error or (attempt.verdict.reason if attempt.verdict else "not judged")
        state = "accepted" if attempt.accepted else "refused"
        text.append(f"{attempt.id}: {attempt.call}: {state}: {_quoted(said)}")
    best = situation.best_attempt()
    if best is not None and best.measurement is not None:
        text.append(f"After {best.id}: {_lines(best.measurement.findings)}")
    text += [f"Best so far: {situation.best}", prompt_text("plan")]
    strengths = {
        kind: {} if finding is None else _strengths(finding, views.steps, best)
        for kind, finding in treatable(situation).items()
    }
    due = [f.kind for f in untreated(situation, situation.todo())] if views.steps else []
    tools = tuple(tool_spec(card, strengths, sources(situation), due) for card in cards.values())
    return Question("plan", _messages(_pictures(pixels, views), text), tools=tools)


def verdict_question(
    before: Pixels,
    after: Pixels,
    views: Views,
    *,
    treated: Mapping[Kind, float],
    found: Iterable[Finding] = (),
    left: Iterable[Finding] = (),
) -> Question:
    """Ask which of two pictures is better.

    Args:
        before: the picture before the treatment, (H, W, 3), float32, [0, 1].
        after: the picture after it, of the same shape or larger.
        views: the pictures the model gets.
        treated: what was treated, and how strongly.
        found: readings of `before`.
        left: readings of `after`.
    """
    places = crops(before, views.pair_crops, views.crop_side)
    pair = [
        *_looks(before, places, views, before.shape),
        *_looks(after, places, views, before.shape),
    ]
    asked = ", ".join(f"{kind.value} {written(kind, value)}" for kind, value in treated.items())
    text = [
        f"Treated: {asked or 'everything'}",
        f"Before: {_lines(found)}",
        f"After: {_lines(left)}",
        prompt_text("verdict"),
    ]
    return Question("verdict", _messages(pair, text), VerdictAnswer)


def refine_question(
    sentence: str, prompt: RestorationPrompt, report: ConditionReport | None = None
) -> Question:
    """Ask how a user's sentence changes a prompt; no pictures."""
    now = ", ".join(f"{kind.value} {written(kind, v)}" for kind, v in prompt.degradations.items())
    text = [] if report is None else [readings(report)]
    text += [
        f"Treated now: {now or 'nothing'}",
        f"The user says: {_quoted(sentence)}",
        prompt_text("refine"),
    ]
    return Question("refine", _messages([], text), RefineAnswer)


def sentences_question(pixels: Pixels, views: Views) -> Question:
    """LLMRA's three questions (lighting, rain streaks, Gaussian noise); the answer is sentences in its language."""
    pictures = _pictures(pixels, views)
    return Question("sentences", _messages(pictures, [prompt_text("sentences")]))


def guide_question(pixels: Pixels, views: Views) -> Question:
    """MoFE-IR's question; the answer is in its language, and its hidden states are the guide."""
    return Question("guide", _messages(_pictures(pixels, views), [MOFE_QUESTION]))


def readings(report: ConditionReport) -> str:
    """The degradations of a report in one line: `Readings: noise high sigma 30.0 (0.93); jpeg low quality 50 (0.60)`."""
    return f"Readings: {_lines(report.findings)}"


def ladder() -> str:
    """Every kind with its parameter at low, medium, high and very high."""
    kinds = [
        f"{kind.value} {p.name} {'/'.join(f'{a:g}' for a in p.anchors[1:])}"
        for kind, p in PARAMETERS.items()
    ]
    return "Kinds, value at low/medium/high/very high: " + "; ".join(kinds) + "."


def tool_spec(
    card: RestorerCard,
    strengths: Mapping[Kind, Mapping[str, Any]] = _ANY,
    sources: Sequence[str] = (),
    due: Collection[Kind] = (),
) -> dict[str, Any]:
    """A restorer as a function specification in OpenAI's form, so narrow that what it allows is allowed.

    Args:
        card: of the restorer.
        strengths: kinds that may be named -> what their property in the schema has in place of the kind's own bounds.
        sources: nodes that a call may start from; any text without.
        due: kinds that must be named where the restorer treats them.
    """
    fields = _properties(arguments_schema(card))
    properties = {
        kind.value: {**_bare(fields[kind.value]), **strengths[kind]}
        for kind in Kind
        if kind in strengths and kind.value in fields
    }
    properties |= {name: _bare(fields[name]) for name in ("source", "blend", "semantic")}
    if sources:
        properties["source"] |= {"enum": list(sources)}
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    if needed := [kind.value for kind in Kind if kind in due and kind.value in properties]:
        parameters["required"] = needed
    function = {"name": card.name, "description": describe(card), "parameters": parameters}
    return {"type": "function", "function": function}


def _strengths(finding: Finding, steps: Sequence[float], best: Attempt | None) -> dict[str, Any]:
    """What may be asked for a finding: one of the steps around it, or anything up to the policy's limit.

    What was treated and is still there is stepped up from the strength that was too weak.
    """
    kind, measured = finding.kind, finding.value
    if not steps:
        bound = "maximum" if PARAMETERS[kind].rising else "minimum"
        return {bound: strongest(kind, measured)}
    left = None if best is None else measured_on(best, kind)
    if best is not None and kind in best.treated and left is not None and left.level > Level.LOW:
        steps, measured = [step for step in steps if step > 0], best.treated[kind]
    chosen = dict.fromkeys(rounded(kind, moved(kind, measured, step)) for step in steps)
    # Grammars write whole numbers without a point.
    return {"enum": [int(x) if x.is_integer() else x for x in chosen]}


@cache
def _properties(arguments: type[BaseModel]) -> Mapping[str, Any]:
    """The properties of an argument schema; making them anew takes pydantic milliseconds."""
    properties: Mapping[str, Any] = arguments.model_json_schema()["properties"]
    return properties


def _bare(field: Mapping[str, Any]) -> dict[str, Any]:
    """A property without its title, its default and its null: what is optional is left out instead."""
    kept = {k: v for k, v in field.items() if k not in ("title", "default", "anyOf")}
    return {**(field["anyOf"][0] if "anyOf" in field else {}), **kept}


def _lines(findings: Iterable[Finding]) -> str:
    present = [
        f"{f.kind.value} {f.level.label} {PARAMETERS[f.kind].name} {written(f.kind, f.value)}"
        f" ({f.confidence:.2f})"
        for f in findings
        if f.level > Level.ABSENT
    ]
    return "; ".join(present) or "nothing"


def _quoted(text: str) -> str:
    """Foreign text on one line, in quotes and cut to size."""
    quoted = plain_text(text).replace('"', "'")
    return f'"{quoted[:_QUOTED]}"'


def _messages(
    pictures: Sequence[dict[str, Any]], text: Sequence[str]
) -> tuple[SystemMessage, HumanMessage]:
    asked = {"type": "text", "text": "\n".join(text)}
    return SystemMessage(prompt_text("system")), HumanMessage([*pictures, asked])


def _pictures(pixels: Pixels, views: Views) -> list[dict[str, Any]]:
    places = crops(pixels, views.crops, views.crop_side)
    return _looks(pixels, places, views, pixels.shape)


def _looks(
    pixels: Pixels, places: Iterable[Crop], views: Views, shape: tuple[int, ...]
) -> list[dict[str, Any]]:
    """The overview and the places, which are given in a picture of `shape`, as image blocks."""
    down, across = pixels.shape[0] / shape[0], pixels.shape[1] / shape[1]
    blocks = [_image(overview(pixels, views.overview_side))]
    for place in places:
        top, left = round(place.top * down), round(place.left * across)
        bottom = round((place.top + place.height) * down)
        right = round((place.left + place.width) * across)
        blocks.append(_image(pixels[top:bottom, left:right]))
    return blocks


def _image(pixels: Pixels) -> dict[str, Any]:
    from PIL import Image

    stream = BytesIO()
    samples = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(samples).save(stream, "PNG", compress_level=1)
    data = base64.b64encode(stream.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
