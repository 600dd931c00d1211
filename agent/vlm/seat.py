"""The seat of the vision-language model: what it is asked, and what becomes of its answers.

It describes the photo (`describe`), chooses tool calls (`propose`), compares a candidate with the input (`compare`) and reads what a user says
(`refine`). Its answers are validated against pydantic schemas, the tools' own among them, and then by the policy. An answer that is wrong
twice, late, or not there costs a line in the run's record and nothing else: the deterministic policy goes on. A model that was late once, or
failed twice in a row, is not asked again in this session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from langchain_core.messages import AIMessage

from conservator.agent.vlm.answers import (
    ConditionAnswer,
    RefineAnswer,
    VerdictAnswer,
    plain_text,
    sentences_answer,
)
from conservator.agent.vlm.asked import Asked
from conservator.agent.vlm.exchange import Allowance, Exchange, ask, data_of
from conservator.agent.vlm.questions import (
    Question,
    Views,
    condition_question,
    plan_question,
    refine_question,
    sentences_question,
    verdict_question,
    views_of,
)
from conservator.policies.attempt import ToolCall
from conservator.policies.comments import Comment, read_comment
from conservator.policies.condition import joined
from conservator.policies.opinion import Opinion
from conservator.policies.planner import Plan
from conservator.policies.refinement import refined
from conservator.policies.review import offered, review
from conservator.policies.situation import Situation
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.look import Pixels
from conservator.tools.restore import RestoreArguments, validated

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from pydantic import BaseModel

    from conservator.restorers.card import RestorerCard

__all__ = [
    "Description",
    "Judgement",
    "Proposal",
    "Refinement",
    "Seat",
    "model_name",
    "refine_by_rule",
]

T = TypeVar("T")
A = TypeVar("A", bound="BaseModel")

_FAILURES: Final = 2
_SEMANTIC: Final = 120


@dataclass(frozen=True)
class Description:
    """The condition report after the model was asked; the instruments' own where it gave none."""

    report: ConditionReport
    asked: Asked


@dataclass(frozen=True)
class Proposal:
    """The model's plan; None when it had none that holds."""

    plan: Plan | None
    asked: Asked


@dataclass(frozen=True)
class Judgement:
    """The model's opinion on a candidate; None when it had none."""

    opinion: Opinion | None
    asked: Asked


@dataclass(frozen=True)
class Refinement:
    """A prompt as a user's sentence changes it.

    Attributes:
        prompt: the changed prompt.
        comment: the changes, and what of the sentence was not understood.
        decided_by: `vlm`, or `policy` where the sentence was read by rule.
    """

    prompt: RestorationPrompt
    comment: Comment
    decided_by: str
    asked: Asked | None = None


class Seat:
    """A chat model in the agent's service."""

    def __init__(self, model: BaseChatModel, *, views: Views | None = None) -> None:
        """Seat `model`; it should understand images and call tools. `views` overrides the pictures it gets."""
        self._model = model
        self._views = views or views_of(model)
        self._failures = 0

    @property
    def name(self) -> str:
        """The model's name, for the record."""
        return model_name(self._model)

    @property
    def silent(self) -> bool:
        """Whether the model is not asked any more."""
        return self._failures >= _FAILURES

    def describe(
        self,
        report: ConditionReport,
        pixels: Pixels,
        allowance: Allowance = Allowance(),  # noqa: B008
        *,
        alone: bool = False,
    ) -> Description:
        """Ask what is wrong with a photo, and work the answer into the instruments' report.

        Args:
            report: the instruments' readings; they are shown to the model.
            pixels: (H, W, 3), float32, [0, 1].
            allowance: what the question may take.
            alone: show and use no readings: what the model sees on its own.
        """
        question = condition_question(pixels, self._views, None if alone else report)
        exchange = self._asked(question, _schema(ConditionAnswer), allowance)
        answer = exchange.answer
        if answer is None:
            return Description(report, exchange.asked)
        seen = answer.findings()
        merged = (
            ConditionReport(findings=seen, scene=answer.scene)
            if alone
            else joined(report, seen, scene=answer.scene)
        )
        return Description(merged, exchange.asked)

    def propose(
        self,
        situation: Situation,
        pixels: Pixels,
        allowance: Allowance = Allowance(),  # noqa: B008
    ) -> Proposal:
        """Ask for the next step's tool calls."""
        cards = offered(situation)

        def understood(message: AIMessage) -> Plan:
            if not message.tool_calls:
                raise PromptError(f"call at least one of the tools: {', '.join(cards)}")
            calls: list[ToolCall] = []
            for given in message.tool_calls:
                call = _call(given["name"], given["args"], situation, cards)
                if complaint := review(call, situation):
                    raise PromptError(complaint)
                if not any(call == other for other in calls):
                    calls.append(call)
            room = int(min(len(calls), situation.room, situation.preset.candidates))
            words = plain_text(message.text)[:200] or "chosen by the vision-language model"
            return Plan(calls=tuple(calls[: max(1, room)]), reason=words)

        question = plan_question(situation, pixels, self._views, cards)
        exchange = self._asked(question, understood, allowance)
        plan, asked = exchange.answer, exchange.asked
        if plan is not None:
            asked = asked.model_copy(update={"answer": {"calls": [str(c) for c in plan.calls]}})
        return Proposal(plan, asked)

    def compare(
        self,
        before: Pixels,
        after: Pixels,
        *,
        attempt: str,
        treated: Mapping[Kind, float],
        found: Iterable[Finding] = (),
        left: Iterable[Finding] = (),
        allowance: Allowance = Allowance(),  # noqa: B008
    ) -> Judgement:
        """Ask which of two pictures is better.

        Args:
            before: the input, (H, W, 3), float32, [0, 1].
            after: the candidate, as it would be saved.
            attempt: its id, for the record.
            treated: what was treated, and how strongly.
            found: readings of the input.
            left: readings of the candidate.
            allowance: what the question may take.
        """
        question = verdict_question(
            before, after, self._views, treated=treated, found=found, left=left
        )
        exchange = self._asked(question, _schema(VerdictAnswer), allowance, about=attempt)
        answer = exchange.answer
        opinion = None
        if answer is not None:
            opinion = Opinion(
                better=answer.better,
                remaining=tuple(answer.remaining),
                harm=tuple(harm.value for harm in answer.harm),
                reason=answer.reason,
            )
        return Judgement(opinion, exchange.asked)

    def refine(
        self,
        sentence: str,
        prompt: RestorationPrompt,
        report: ConditionReport | None = None,
        allowance: Allowance = Allowance(),  # noqa: B008
    ) -> Refinement:
        """A prompt as a user's sentence changes it; read by rule where the model gives no answer that holds.

        Args:
            sentence: the user's words: "still too dark", "you removed the film grain", "less smoothing".
            prompt: the treatment that they are about.
            report: what was found on the input, for strengths of kinds that are added.
            allowance: what the question may take.
        """
        question = refine_question(sentence, prompt, report)
        exchange = self._asked(question, _schema(RefineAnswer), allowance)
        by_rule = read_comment(sentence, prompt)
        if exchange.answer is None:
            changed = refined(prompt, by_rule.changes, report, amount=by_rule.amount)
            return Refinement(changed, by_rule, "policy", exchange.asked)
        changes = {item.kind: item.change for item in exchange.answer.changes}
        # How much is in the words "a little" and "much", which the answer has no place for.
        comment = Comment(changes=changes, amount=by_rule.amount)
        changed = refined(prompt, changes, report, amount=by_rule.amount)
        return Refinement(changed, comment, "vlm", exchange.asked)

    def sentences(
        self,
        pixels: Pixels,
        allowance: Allowance = Allowance(),  # noqa: B008
    ) -> tuple[str, Asked]:
        """The model's own answers to LLMRA's three questions, as text; "" when it gave none that reads."""

        def understood(message: AIMessage) -> str:
            text = plain_text(message.text)[:600]
            sentences_answer(text)
            return text

        exchange = self._asked(sentences_question(pixels, self._views), understood, allowance)
        return exchange.answer or "", exchange.asked

    def _asked(
        self,
        question: Question,
        understood: Callable[[AIMessage], T],
        allowance: Allowance,
        *,
        about: str = "",
    ) -> Exchange[T]:
        if self.silent:
            return Exchange(None, Asked(question=question.name, about=about, status="skipped"))
        exchange = ask(self._model, question, understood, allowance, about=about)
        status = exchange.asked.status
        if status == "late":
            self._failures = _FAILURES
        else:
            self._failures = self._failures + 1 if status == "failed" else 0
        return exchange


def _schema(answer: type[A]) -> Callable[[AIMessage], A]:
    """Reads an answer of this schema."""
    return lambda message: answer.model_validate(data_of(message))


def _call(
    name: str, args: Mapping[str, Any], situation: Situation, cards: Mapping[str, RestorerCard]
) -> ToolCall:
    card = cards.get(name)
    if card is None:
        raise PromptError(f"no tool {plain_text(name)[:60]!r}; known: {', '.join(cards)}")
    given: RestoreArguments = validated(card, args)
    prompt = given.prompt()
    semantic = plain_text(prompt.semantic)[:_SEMANTIC]
    wanted, sizes = situation.preset.configuration, card.configurations
    return ToolCall(
        restorer=card.name,
        prompt=prompt.model_copy(update={"semantic": semantic}),
        source=given.source,
        blend=given.blend,
        seed=given.seed or situation.seed,
        configuration=wanted if wanted in sizes or not sizes else next(iter(sizes)),
        decided_by="vlm",
        rationale="chosen by the vision-language model",
    )


def model_name(model: BaseChatModel) -> str:
    """The name a model goes by: its `model_name` or `model`, else its class."""
    for attribute in ("model_name", "model"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


def refine_by_rule(
    sentence: str, prompt: RestorationPrompt, report: ConditionReport | None = None
) -> Refinement:
    """`Seat.refine` without a model."""
    comment = read_comment(sentence, prompt)
    changed = refined(prompt, comment.changes, report, amount=comment.amount)
    return Refinement(changed, comment, "policy")
