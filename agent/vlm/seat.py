"""What a vision-language model is asked, and what becomes of its answers.

It is asked two things: to describe the photo (`describe`), and to choose tool calls (`propose`). Its answers are
validated against the same pydantic schemas the tools have, and then by the policy. An answer that is wrong twice, or a
model that fails, costs a line in the run's notes and nothing else: the deterministic planner goes on.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conservator.policies.attempt import ToolCall
from conservator.policies.budget import Spent
from conservator.policies.planner import Plan, Situation
from conservator.policies.review import review
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    Level,
    value_of,
)
from conservator.restorers.errors import ConservatorError, PromptError
from conservator.tools.look import Pixels, crops, overview
from conservator.tools.restore import RestoreArguments, arguments_schema, describe, validated

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["ConditionAnswer", "Description", "Proposal", "Seat"]

T = TypeVar("T")

_PROMPTS: Final = Path(__file__).parents[1] / "prompts"
_TRIES: Final = 2
_UNSURE: Final = 0.3
_OVERVIEW_SIDE: Final = 448
_CROP_SIDE: Final = 224
_CROPS: Final = 3


class SeenDegradation(BaseModel):
    """One degradation, as a vision-language model reports it."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    level: Literal["low", "medium", "high", "very high"]
    confidence: float = Field(default=0.5, ge=0, le=1)


class ConditionAnswer(BaseModel):
    """Report what the photo shows and which degradations it has."""

    model_config = ConfigDict(extra="forbid")

    scene: str = Field(
        default="", max_length=200, description="what the photo shows, in a few words"
    )
    degradations: list[SeenDegradation] = []


@dataclass(frozen=True)
class _Answer:
    calls: int = 0
    tokens: int = 0
    notes: tuple[str, ...] = ()

    def added_to(self, spent: Spent) -> Spent:
        """What the run spent, this answer included."""
        return spent.model_copy(
            update={
                "vlm_calls": spent.vlm_calls + self.calls,
                "vlm_tokens": spent.vlm_tokens + self.tokens,
            }
        )


@dataclass(frozen=True)
class Description(_Answer):
    """A condition report, with what the model added to it."""

    report: ConditionReport = field(default_factory=ConditionReport)


@dataclass(frozen=True)
class Proposal(_Answer):
    """The model's plan; None when it had none that holds."""

    plan: Plan | None = None


class Seat:
    """A chat model in the agent's service."""

    def __init__(self, model: BaseChatModel) -> None:
        """Seat `model`; it should understand images and call tools."""
        self._model = model

    def describe(self, report: ConditionReport, pixels: Pixels) -> Description:
        """Ask for a description; where the instruments are sure, their reading stands."""
        question = [
            SystemMessage(_prompt("describe")),
            HumanMessage([_text(_readings(report)), *_views(pixels)]),
        ]
        tool = {
            "name": "report_condition",
            "description": ConditionAnswer.__doc__ or "",
            "parameters": ConditionAnswer.model_json_schema(),
        }

        def understood(message: AIMessage) -> ConditionAnswer:
            for call in message.tool_calls:
                if call["name"] == "report_condition":
                    return ConditionAnswer.model_validate(call["args"])
            raise PromptError("call report_condition")

        answer, spent, notes = self._asked(question, [tool], understood)
        merged = report if answer is None else _merged(report, answer)
        return Description(spent[0], spent[1], notes, report=merged)

    def propose(self, situation: Situation, pixels: Pixels) -> Proposal:
        """Ask for the next step's tool calls."""
        question = [
            SystemMessage(_prompt("plan")),
            HumanMessage([_text(_briefing(situation)), *_views(pixels)]),
        ]
        tools = [
            {
                "name": name,
                "description": describe(card),
                "parameters": arguments_schema(card).model_json_schema(),
            }
            for name, card in situation.cards.items()
        ]

        def understood(message: AIMessage) -> Plan:
            if not message.tool_calls:
                raise PromptError("call at least one of the tools")
            calls = [_call(dict(call), situation) for call in message.tool_calls]
            for call in calls:
                complaint = review(call, situation)
                if complaint:
                    raise PromptError(complaint)
            words = message.text.strip() or "chosen by the vision-language model"
            room = int(min(len(calls), situation.room, situation.preset.candidates))
            return Plan(calls=tuple(calls[: max(1, room)]), reason=words[:200])

        plan, spent, notes = self._asked(question, tools, understood)
        return Proposal(spent[0], spent[1], notes, plan=plan)

    def _asked(
        self,
        question: Sequence[BaseMessage],
        tools: list[dict[str, Any]],
        understood: Callable[[AIMessage], T],
    ) -> tuple[T | None, tuple[int, int], tuple[str, ...]]:
        messages, calls, tokens, notes = list(question), 0, 0, []
        for _ in range(_TRIES):
            try:
                message = self._bound(tools).invoke(messages)
                calls += 1
            # Chat models raise whatever their servers and libraries do; none of it may cost the run.
            except Exception as error:
                first = (str(error).splitlines() or [""])[0]
                notes.append(f"the vision-language model failed: {type(error).__name__}: {first}")
                break
            if isinstance(message, AIMessage) and message.usage_metadata:
                tokens += message.usage_metadata["total_tokens"]
            try:
                if not isinstance(message, AIMessage):
                    raise PromptError(f"{type(message).__name__} is no answer")
                return understood(message), (calls, tokens), tuple(notes)
            except (ConservatorError, ValidationError) as error:
                complaint = _complaint(error)
                notes.append(f"the vision-language model's answer was refused: {complaint}")
                messages += [
                    _without_calls(message),
                    HumanMessage(f"Refused: {complaint}. Answer again."),
                ]
        return None, (calls, tokens), tuple(notes)

    def _bound(self, tools: list[dict[str, Any]]) -> Any:
        try:
            return self._model.bind_tools([{"type": "function", "function": t} for t in tools])
        except NotImplementedError:
            # Models without tool binding (the fakes of langchain-core) still answer with tool calls.
            return self._model


def _call(call: Mapping[str, Any], situation: Situation) -> ToolCall:
    card = situation.cards.get(call["name"])
    if card is None:
        raise PromptError(f"no tool {call['name']!r}; known: {', '.join(situation.cards)}")
    given: RestoreArguments = validated(card, call["args"])
    sizes = card.configurations
    wanted = situation.preset.configuration
    return ToolCall(
        restorer=card.name,
        prompt=given.prompt(),
        source=given.source,
        blend=given.blend,
        seed=given.seed or situation.seed,
        configuration=wanted if wanted in sizes or not sizes else next(iter(sizes)),
        decided_by="vlm",
        rationale="chosen by the vision-language model",
    )


def _merged(report: ConditionReport, answer: ConditionAnswer) -> ConditionReport:
    findings = {finding.kind: finding for finding in report.findings}
    for seen in answer.degradations:
        known = findings.get(seen.kind)
        if known is None or known.confidence < _UNSURE:
            findings[seen.kind] = Finding(
                kind=seen.kind,
                value=value_of(seen.kind, Level.parse(seen.level)),
                confidence=seen.confidence,
                source="vlm",
            )
    return ConditionReport(
        findings=tuple(findings.values()),
        scene=answer.scene or report.scene,
        quality=report.quality,
    )


def _readings(report: ConditionReport) -> str:
    lines = [
        f"- {f.kind.value}: {f.level.label} ({f.value:.3g}), confidence {f.confidence:.2f}"
        for f in report.findings
    ]
    return "Instrument readings:\n" + ("\n".join(lines) or "none")


def _briefing(situation: Situation) -> str:
    lines = [_readings(situation.report)]
    if situation.report.scene:
        lines.append(f"Scene: {situation.report.scene}")
    for attempt in situation.attempts:
        verdict = attempt.error or (attempt.verdict.reason if attempt.verdict else "not judged")
        state = "accepted" if attempt.accepted else "refused"
        lines.append(f"Attempt {attempt.id}: {attempt.call}: {state}: {verdict}")
    lines.append(f"Leading now: {situation.best}")
    if situation.targets:
        lines.append("Targets: " + ", ".join(str(target) for target in situation.targets))
    return "\n".join(lines)


def _views(pixels: Pixels) -> list[dict[str, Any]]:
    """The overview and native-resolution crops, as image blocks."""
    blocks = [_text("The whole photo, reduced:"), _image(overview(pixels, _OVERVIEW_SIDE))]
    for crop in crops(pixels, _CROPS, _CROP_SIDE):
        blocks += [_text(f"Native resolution, {crop.reason}:"), _image(crop.of(pixels))]
    return blocks


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(pixels: Pixels) -> dict[str, Any]:
    from PIL import Image

    stream = BytesIO()
    samples = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(samples).save(stream, "PNG", compress_level=1)
    data = base64.b64encode(stream.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _prompt(name: str) -> str:
    return (_PROMPTS / f"{name}.txt").read_text(encoding="utf-8")


def _complaint(error: ConservatorError | ValidationError) -> str:
    if isinstance(error, ValidationError):
        detail = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
    return str(error)


def _without_calls(message: BaseMessage) -> AIMessage:
    """The refused answer as text: servers reject a history in which tool calls have no results."""
    calls = getattr(message, "tool_calls", [])
    return AIMessage(message.text or f"(called {[call['name'] for call in calls]})")
