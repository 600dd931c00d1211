"""What a run knows between two nodes: small, typed, serialisable. Pixels stay in the run folder, named by their hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

from pydantic import BaseModel

from conservator.agent.vlm.asked import Asked
from conservator.agent.wishes import Said
from conservator.policies.acceptance import Check, Measurement, Verdict
from conservator.policies.attempt import Attempt, DecidedBy, ToolCall
from conservator.policies.budget import Limit, Spent
from conservator.policies.opinion import Opinion
from conservator.policies.stopping import Conclusion
from conservator.policies.targets import Clause
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind, Level
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.compare import Guards
from conservator.tools.gain import Gain

if TYPE_CHECKING:
    from conservator.agent.hearing import Heard

__all__ = ["SERIALISED_TYPES", "RunState", "added", "first_state", "heard", "told", "upserted"]


def upserted(old: Sequence[Attempt], new: Sequence[Attempt]) -> tuple[Attempt, ...]:
    """Attempts in the order of making; a newer version of an attempt takes the place of the older one."""
    merged = {attempt.id: attempt for attempt in old}
    merged.update({attempt.id: attempt for attempt in new})
    return tuple(merged.values())


def added(old: Mapping[str, float], new: Mapping[str, float]) -> dict[str, float]:
    """Sums by name."""
    return {name: old.get(name, 0.0) + new.get(name, 0.0) for name in {**old, **new}}


class RunState(TypedDict):
    """The channels of the graph.

    Attributes:
        report: what the inspection of the original found; None before it.
        baseline: the original, measured in the same way as candidates are.
        attempts: the tree, in the order of making.
        queue: candidates of this step that are still to be made.
        best: node that is the result if the run ended now.
        spent: what the run took so far.
        timing: seconds by node and by what took them; see `RunContext.timed`.
        plan_reason: why the last plan is as it is.
        decided_by: who made the last plan.
        asked: questions to the vision-language model, in order.
        notes: what went otherwise than planned, one line each.
        dry_run: plan once, make nothing.
        limit: the budget that ended the search.
        conclusion: how the run ended; None while it goes on.
        said: words of the user's that count, in the order of saying.
        exhausted: the last plan was empty, and nothing was said since.
        approved: the queue may be made without asking.
        replies: what came of the answer to the last question, for the next one.
    """

    report: ConditionReport | None
    baseline: Measurement | None
    attempts: Annotated[tuple[Attempt, ...], upserted]
    queue: tuple[ToolCall, ...]
    best: str
    spent: Spent
    timing: Annotated[dict[str, float], added]
    plan_reason: str
    decided_by: DecidedBy
    asked: tuple[Asked, ...]
    notes: tuple[str, ...]
    dry_run: bool
    limit: Limit | None
    conclusion: Conclusion | None
    said: tuple[Said, ...]
    exhausted: bool
    approved: bool
    replies: tuple[str, ...]


def first_state(*, dry_run: bool = False) -> RunState:
    """The state of a run that has not looked at its picture yet."""
    return RunState(
        report=None,
        baseline=None,
        attempts=(),
        queue=(),
        best="original",
        spent=Spent(),
        timing={},
        plan_reason="",
        decided_by="policy",
        asked=(),
        notes=(),
        dry_run=dry_run,
        limit=None,
        conclusion=None,
        said=(),
        exhausted=False,
        approved=False,
        replies=(),
    )


def told(state: RunState, asked: Asked) -> dict[str, Any]:
    """The update after a question to the vision-language model: its line, its notes, and what it took."""
    spent = state["spent"]
    return {
        "asked": (*state.get("asked", ()), asked),
        "notes": (*state["notes"], *(note for note in asked.notes if note not in state["notes"])),
        "spent": spent.model_copy(
            update={
                "vlm_calls": spent.vlm_calls + asked.calls,
                "vlm_tokens": spent.vlm_tokens + asked.tokens,
            }
        ),
    }


def heard(state: RunState, words: str, answer: Heard) -> dict[str, Any]:
    """The update after words of the user's: what follows from them, and a note of what does not."""
    update = dict(answer.update)
    notes = state["notes"]
    for asked in answer.asked:
        update |= told({**state, **update}, asked)  # type: ignore[typeddict-item]
        notes = update["notes"]
    if not answer.understood:
        notes = (*notes, *(f"{words.strip()!r}: {line}" for line in answer.lines))
    return {**update, "notes": notes}


SERIALISED_TYPES: Final[tuple[type[BaseModel] | type[Kind] | type[Level], ...]] = (
    Asked,
    Attempt,
    Check,
    Clause,
    Conclusion,
    ConditionReport,
    Finding,
    Gain,
    Guards,
    Kind,
    Level,
    Measurement,
    Opinion,
    RestorationPrompt,
    Said,
    Spent,
    ToolCall,
    Verdict,
)
"""The only types of our own that a checkpoint may hold; anything else in the file is refused when it is read."""
