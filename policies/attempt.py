"""What was asked of a tool and what came of it: the nodes of a run's tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.opinion import Opinion
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["ORIGINAL", "Attempt", "DecidedBy", "ToolCall", "chain_of", "find_attempt"]

ORIGINAL: Final = "original"
"""The tree's root: the untouched input, always a candidate."""

DecidedBy = Literal["policy", "vlm", "user"]


class ToolCall(BaseModel):
    """One planned step.

    Attributes:
        restorer: name of the tool.
        prompt: what to undo and how strongly.
        source: node of the tree to start from, `original` or an attempt's id.
        blend: share of the treated picture in the result; the rest is the source.
        reuses: attempt whose treated picture is blended instead of calling the tool again, "" to call it.
        seed: for restorers that draw.
        configuration: size of the restorer.
        decided_by: who chose it.
        rationale: one line for people.
        replaces: accepted attempt whose place it takes where it is accepted itself, whatever the gain: the user asked for the
            change; "" otherwise.
        trial: what was expected of it and of its rivals on a piece of the photo; "" where it had none.
        then: steps that were tried on the piece after it, from whatever node, and are expected to be worth it together: where it is refused
            by itself, they are made on it and judged with it.
    """

    model_config = ConfigDict(frozen=True)

    restorer: str
    prompt: RestorationPrompt
    source: str = ORIGINAL
    blend: float = Field(default=1.0, gt=0, le=1)
    reuses: str = ""
    seed: int = 0
    configuration: str = "compact"
    decided_by: DecidedBy = "policy"
    rationale: str = ""
    replaces: str = ""
    trial: str = ""
    then: tuple[ToolCall, ...] = ()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What it treats."""
        return tuple(self.prompt.degradations)

    @property
    def calls_tool(self) -> bool:
        """False for blends of a picture that is there already."""
        return not self.reuses

    def same_treatment(self, other: ToolCall) -> bool:
        """The same tool for the same kinds on the same picture, at whatever strength; told or left to look for the others."""
        return (
            self.restorer == other.restorer
            and self.source == other.source
            and set(self.kinds) == set(other.kinds)
            and self.prompt.blind == other.prompt.blind
        )

    def __str__(self) -> str:
        """For people: `llmra(noise=25, jpeg=20) on original`."""
        share = "" if self.blend == 1 else f", {self.blend:.0%} blended"
        return f"{self.words} on {self.source}{share}"

    @property
    def words(self) -> str:
        """What is done, wherever: `llmra(noise=25, jpeg=20)`."""
        named = [f"{k.value}={v:.4g}" for k, v in self.prompt.degradations.items()]
        asked = ", ".join([*named, "others"] if named and self.prompt.blind else named)
        return f"{self.restorer}({asked or 'everything'})"


class Attempt(BaseModel):
    """A node of the tree: a call, its result, its measurements and its verdict.

    Attributes:
        id: `a1`, `a2`, ... in the order of making.
        status: `made` before it is judged, `judged`, `failed` when the tool gave an error, or `skipped`, never made, when the
            user did not want it.
        artifact: content hash of the candidate's pixels in the run folder, "" when there are none.
        treated: kind -> strength over the whole chain from the original.
        opinion: a vision-language model's, where one was asked.
        error: one line, "" unless failed or skipped.
        seconds: what the tool took.
        rendered_prompt: what the tool really saw.
        details: the restorer's own record (device, tiles, weights sha256).
    """

    model_config = ConfigDict(frozen=True)

    id: str
    call: ToolCall
    status: Literal["made", "judged", "failed", "skipped"]
    artifact: str = ""
    treated: Mapping[Kind, float] = {}
    measurement: Measurement | None = None
    verdict: Verdict | None = None
    opinion: Opinion | None = None
    error: str = ""
    seconds: float = 0.0
    rendered_prompt: str = ""
    details: Mapping[str, Any] = {}

    @property
    def accepted(self) -> bool:
        """Whether the joint rule let it through."""
        return self.verdict is not None and self.verdict.accepted

    @property
    def gain(self) -> float:
        """Its gain over the untouched input, 0 before it is judged."""
        return 0.0 if self.verdict is None else self.verdict.gain


def find_attempt(attempts: Sequence[Attempt], node: str) -> Attempt | None:
    """The attempt with this id; None for the original.

    Raises:
        KeyError: no such node.
    """
    if node == ORIGINAL:
        return None
    for attempt in attempts:
        if attempt.id == node:
            return attempt
    raise KeyError(f"no attempt {node!r}; known: {[a.id for a in attempts]}")


def chain_of(attempts: Sequence[Attempt], node: str) -> tuple[Attempt, ...]:
    """The attempts that lead from the original to `node`, first made first."""
    chain: list[Attempt] = []
    while (attempt := find_attempt(attempts, node)) is not None:
        chain.append(attempt)
        node = attempt.call.source
    return tuple(reversed(chain))
