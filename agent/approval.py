"""A person's say before tools are called: the question that is put, and the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from conservator.policies.attempt import ORIGINAL, DecidedBy, ToolCall
from conservator.policies.review import review
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Kind,
    kind_named,
)
from conservator.restorers.errors import ConservatorError, PromptError, UnknownNameError, UsageError
from conservator.restorers.prompts.language import render
from conservator.tools.restore import validated

if TYPE_CHECKING:
    from conservator.policies.situation import Situation
    from conservator.restorers.card import RestorerCard

__all__ = [
    "ANSWERS",
    "Answer",
    "Approve",
    "Approver",
    "Asking",
    "Question",
    "answer_from",
    "changed",
    "checked_approve",
    "prompt_of",
]

Approve = Literal["never", "plan", "each"]
"""When a person is asked: never, before the first call of the first plan, before each call."""

ANSWERS: Final = 'yes, skip, stop, a change (noise=20, with RESTORER), or words ("less smoothing")'
"""What can be answered, for people."""

_LAST: Final = 20
"""Answers in a row that cannot be read before the approver is taken to be broken."""
_YES: Final = frozenset(
    {"yes", "y", "yes please", "ok", "okay", "approve", "go", "go on", "go ahead", "do it"}
    | {"continue", "proceed", "sure", "fine"}
)
_SKIP: Final = frozenset(
    {"skip", "skip it", "skip this", "skip this call", "no", "n", "not this", "not this one"}
)
_STOP: Final = frozenset(
    {"stop", "stop here", "quit", "exit", "q", "enough", "that is enough", "that's enough", "end"}
)
_CHANGE: Final = re.compile(r"(?:with|use|using|by) \S+|.*=.*")
_PART: Final = re.compile(
    r"(?P<kind>[\w-]+)=(?P<value>\S+)|(?:with|use|using|by) (?P<restorer>\S+)|and\b"
)


class Question(BaseModel):
    """What a person is asked before a call.

    Attributes:
        scope: `plan`, asked once for all that follows, or `each`, about the first of the calls only.
        report: what was found on the photo.
        calls: what is planned for this step, next first; the others are its rivals.
        prompts: what the restorers would be told, one a call.
        reason: why the plan is as it is.
        decided_by: who made it.
        best: the node that is the result if the run stopped here.
        replies: what became of the previous answer, line by line; empty for a new question.
    """

    model_config = ConfigDict(frozen=True)

    scope: Literal["plan", "each"]
    report: ConditionReport
    calls: tuple[ToolCall, ...]
    prompts: tuple[str, ...]
    reason: str = ""
    decided_by: DecidedBy = "policy"
    best: str = ORIGINAL
    replies: tuple[str, ...] = ()

    @property
    def call(self) -> ToolCall:
        """The call that is made next."""
        return self.calls[0]


class Answer(BaseModel):
    """What a person says to it.

    Attributes:
        what: `approve`; `skip` this call and plan another way; `change` this call and make it; `stop` here with the best so far;
            `say` what is wanted in words, and be asked again.
        strengths: for `change`: kind -> strength in the kind's own unit; other kinds stay as they are.
        restorer: for `change`: who does it instead.
        words: for `say`: "less smoothing", "keep the grain".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: Literal["approve", "skip", "change", "stop", "say"]
    strengths: Mapping[Kind, float] = {}
    restorer: str = ""
    words: str = ""

    @model_validator(mode="after")
    def _belongs_together(self) -> Answer:
        if (self.what == "change") != bool(self.strengths or self.restorer):
            raise ValueError("a change, and only a change, names strengths or a restorer")
        if (self.what == "say") != bool(self.words.strip()):
            raise ValueError("words are for what='say', which needs some")
        return self


Approver = Callable[[Question], Answer | str]
"""Asks a person; called in the thread of the run, whose budget does not count the wait."""


def checked_approve(name: str) -> Approve:
    """When to ask.

    Raises:
        UnknownNameError: neither `never`, `plan` nor `each`.
    """
    if name not in get_args(Approve):
        raise UnknownNameError("approval", name, get_args(Approve))
    return cast("Approve", name)


class Asking:
    """Puts questions to an approver until it gives an answer that reads."""

    def __init__(self, approver: Approver | None, first: Answer | str | None = None) -> None:
        """Ask `approver`; `first` is the answer to the first question, given beforehand."""
        self._approver = approver
        self._first = None if first is None else answer_from(first)

    def __call__(self, question: Question) -> Answer | None:
        """The answer; None where there is nobody to ask.

        Raises:
            UsageError: the approver answers with something that is no answer, again and again.
        """
        if self._first is not None:
            answer, self._first = self._first, None
            return answer
        if self._approver is None:
            return None
        for _ in range(_LAST):
            try:
                return answer_from(self._approver(question))
            except PromptError as error:
                question = question.model_copy(update={"replies": (str(error),)})
        raise UsageError(f"{_LAST} answers in a row cannot be read; {question.replies[-1]}")


def answer_from(given: Answer | str) -> Answer:
    """An answer from words: "yes", "skip", "stop", "noise=20, jpeg=30", "with llmra", "less smoothing".

    Raises:
        PromptError: an empty line, or a change that does not read.
        UsageError: not an answer at all.
    """
    if isinstance(given, Answer):
        return given
    if not isinstance(given, str):
        raise UsageError(f"an approver gives an Answer or words, not {type(given).__name__}")
    text = " ".join(given.split())
    plain = text.lower().replace("\u2019", "'").rstrip(".!? ")
    simple: dict[frozenset[str], Literal["approve", "skip", "stop"]]
    simple = {_YES: "approve", _SKIP: "skip", _STOP: "stop"}
    for words, what in simple.items():
        if plain in words:
            return Answer(what=what)
    if not plain:
        raise PromptError(f"say {ANSWERS}")
    tight = re.sub(r"\s*=\s*", "=", text)
    if _CHANGE.fullmatch(tight.lower()):
        return _change(tight)
    return Answer(what="say", words=text)


def _change(text: str) -> Answer:
    strengths: dict[Kind, float] = {}
    restorer = ""
    rest = text.replace(",", " ").strip()
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise PromptError(f"cannot read {rest!r}; say for example noise=20, or with llmra")
        if match["kind"]:
            try:
                strengths[kind_named(match["kind"])] = float(match["value"])
            except UnknownNameError as error:
                raise PromptError(str(error)) from error
            except ValueError as error:
                raise PromptError(f"{match['value']!r} is no number; say noise=20") from error
        restorer = match["restorer"] or restorer
        rest = rest[match.end() :].strip()
    try:
        return Answer(what="change", strengths=strengths, restorer=restorer)
    except ValidationError as error:
        raise PromptError(f"cannot read {text!r}; say for example noise=20") from error


def prompt_of(call: ToolCall, cards: Mapping[str, RestorerCard]) -> str:
    """What the restorer of a call would be told, in its own language."""
    if not call.calls_tool:
        return f"{call.blend:.0%} of {call.reuses}, the rest {call.source}"
    style = cards[call.restorer].prompt_style
    if style == "parameters":
        # All digits are for machines.
        named = [(PARAMETERS[kind], kind, v) for kind, v in call.prompt.degradations.items()]
        return ", ".join(f"{kind}: {p.name}={v:.{p.decimals}f}" for p, kind, v in named)
    plain = call.prompt.model_copy(update={"blind": False})
    try:
        return render(plain if style == "llmra" else call.prompt, style)
    except ConservatorError:
        return call.words


def changed(call: ToolCall, answer: Answer, situation: Situation) -> ToolCall:
    """A planned call as a person changes it; the policy checks it like a vision-language model's proposal.

    Another restorer takes over what it treats of the call; the rest is planned afterwards.

    Raises:
        PromptError: why it must not run.
    """
    name = answer.restorer or call.restorer
    card = situation.cards.get(name)
    if card is None:
        known = ", ".join(sorted(situation.cards))
        raise PromptError(f"unknown restorer {name!r}; known: {known}")
    if any(a.call.restorer == name for a in situation.attempts if a.status == "failed"):
        raise PromptError(f"{name} failed in this run; choose another restorer")
    if card.scale != 1:
        raise PromptError(f"{name} changes the picture's size; a run keeps it")
    taken = {k: v for k, v in call.prompt.degradations.items() if k in card.treats}
    strengths = {**taken, **answer.strengths}
    beyond = [kind.value for kind in answer.strengths if kind not in card.treats]
    if beyond or not strengths:
        kinds = ", ".join(kind.value for kind in card.treats)
        asked = ", ".join(beyond or (kind.value for kind in call.kinds))
        raise PromptError(f"{name} does not treat {asked}; it treats {kinds}")
    validated(card, {kind.value: value for kind, value in strengths.items()})
    sizes, wanted = card.configurations, situation.preset.configuration
    size = wanted if wanted in sizes or not sizes else next(iter(sizes))
    prompt = call.prompt.model_copy(
        update={
            "degradations": {kind: strengths[kind] for kind in Kind if kind in strengths},
            "blind": call.prompt.blind and card.looks,
        }
    )
    new = call.model_copy(
        update={
            "restorer": name,
            "prompt": prompt,
            "configuration": call.configuration if name == call.restorer else size,
            "reuses": "",
        }
    )
    if new == call:
        return call
    if complaint := review(new, situation):
        raise PromptError(complaint)
    rationale = f"changed by you, from {call.words}"
    return new.model_copy(update={"decided_by": "user", "rationale": rationale, "trial": ""})
