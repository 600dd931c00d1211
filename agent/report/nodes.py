"""The tree of attempts as a page shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from conservator.agent.report.pictures import Shown
from conservator.agent.report.table import Table
from conservator.agent.report.tables import Tone, arrows, checks_table
from conservator.policies.attempt import ORIGINAL, Attempt, chain_of
from conservator.policies.front import Standing, pareto_front
from conservator.policies.opinion import Opinion
from conservator.restorers.degradations.vocabulary import Finding
from conservator.tools.gain import Gain

__all__ = ["Fact", "Node", "attempt_nodes", "gain_words", "label", "state_of", "who"]

Fact = tuple[str, str]
"""A name, and what is said under it."""


@dataclass(frozen=True)
class Node:
    """One node of a tree.

    Attributes:
        anchor: id in the page.
        id: of the node.
        depth: steps from the root.
        title: the call, or the words.
        state: what became of it, in words.
        tone: of the state.
        kept: whether the result comes of it.
        thumbnail: None without a picture.
        facts: name and text, in order.
        checks: the verdict's numbers, None where nobody judged.
    """

    anchor: str
    id: str
    depth: int
    title: str
    state: str
    tone: Tone
    kept: bool
    thumbnail: Shown | None
    facts: tuple[Fact, ...] = ()
    checks: Table | None = None


def label(node: str, attempts: Sequence[Attempt], best: str) -> str:
    """What a node's picture is called."""
    if node == ORIGINAL:
        return "input"
    attempt = next(one for one in attempts if one.id == node)
    return f"{node}, {state_of(attempt, attempts, best)[0]}"


def state_of(attempt: Attempt, attempts: Sequence[Attempt], best: str) -> tuple[str, Tone]:
    """What became of an attempt, and whether that is good."""
    if attempt.id == best:
        return "the result", "good"
    if attempt in chain_of(attempts, best):
        return "on the way to the result", "good"
    if attempt.status in ("failed", "skipped"):
        return attempt.status, "bad"
    if attempt.verdict is None:
        return "not judged", ""
    return ("accepted, another was better", "") if attempt.accepted else ("refused", "bad")


def attempt_nodes(
    attempts: Sequence[Attempt],
    best: str,
    thumbnails: Mapping[str, Shown],
    *,
    before: Sequence[Finding] = (),
    prefix: str = "",
) -> tuple[Node, ...]:
    """A run's attempts below the untouched input, each before those that start from it.

    Args:
        attempts: in the order of making.
        best: the node that is the result.
        thumbnails: node -> picture.
        before: found on the input.
        prefix: of the anchors, where a page holds more than one run.
    """
    kept = {ORIGINAL, *(attempt.id for attempt in chain_of(attempts, best))}
    untouched = best == ORIGINAL
    front = {one.node: one for one in pareto_front(before, attempts)}
    root = Node(
        anchor=f"node-{prefix}{ORIGINAL}",
        id=ORIGINAL,
        depth=0,
        title="the untouched input",
        state="the result" if untouched else "",
        tone="good" if untouched else "",
        kept=True,
        thumbnail=thumbnails.get(ORIGINAL),
    )

    def below(source: str, depth: int) -> Iterator[Node]:
        for attempt in attempts:
            if attempt.call.source != source:
                continue
            state, tone = state_of(attempt, attempts, best)
            yield Node(
                anchor=f"node-{prefix}{attempt.id}",
                id=attempt.id,
                depth=depth,
                title=attempt.call.words,
                state=state,
                tone=tone,
                kept=attempt.id in kept,
                thumbnail=thumbnails.get(attempt.id),
                facts=(*_facts(attempt), *_standing(front.get(attempt.id), len(front))),
                checks=None if attempt.verdict is None else checks_table(attempt.verdict),
            )
            yield from below(attempt.id, depth + 1)

    return (root, *below(ORIGINAL, 1))


def gain_words(gain: Gain) -> str:
    """What is expected."""
    return f"{gain.words}; SSIM {gain.ssim:+.3f}"


def who(names: str) -> str:
    """`policy+vlm` in words."""
    words = {
        "instruments": "the instruments",
        "policy": "the policy",
        "vlm": "the vision-language model",
        "user": "you",
    }
    return " and ".join(words.get(name, name) for name in names.split("+"))


def _facts(attempt: Attempt) -> Iterator[Fact]:
    call = attempt.call
    if attempt.error:
        yield attempt.status, attempt.error
    source = "the untouched input" if call.source == ORIGINAL else call.source
    yield "works on", source
    if call.blend < 1 or call.reuses:
        made = f"what {call.reuses} made" if call.reuses else "what it makes"
        yield "blended", f"{call.blend:.0%} of {made}, the rest of {source}"
    if attempt.rendered_prompt:
        yield "prompt", attempt.rendered_prompt
    why = f": {arrows(call.rationale)}" if call.rationale else ""
    yield "planned by", f"{who(call.decided_by)}{why}"
    if call.trial:
        yield "trial", arrows(call.trial)
    if attempt.measurement is not None and attempt.measurement.gain is not None:
        yield "expected gain", gain_words(attempt.measurement.gain)
    if verdict := attempt.verdict:
        held = "accepted" if verdict.accepted else "refused"
        reason = arrows(verdict.reason)
        yield "verdict", f"{held}, gain on the whole {verdict.gain:+.2f}: {reason}"
    if attempt.opinion is not None:
        yield "the model's opinion", _opinion(attempt.opinion)
    if attempt.status in ("made", "judged"):
        yield "took", f"{attempt.seconds:.1f} s"


def _standing(standing: Standing | None, count: int) -> Iterator[Fact]:
    """A word on the front, where there is a choice beside the input."""
    if standing is not None and count > 2:
        numbers = (
            f"severity taken off {standing.removal:.2f}, structure kept {standing.fidelity:.3f}"
        )
        yield (
            "Pareto front",
            f"nothing that was accepted takes off more and stays nearer: {numbers}",
        )


def _opinion(opinion: Opinion) -> str:
    found = {
        "after": "better than the input",
        "same": "no different from the input",
        "before": "worse than the input",
    }[opinion.better]
    parts = [found, *opinion.harm, opinion.reason]
    if opinion.remaining:
        parts.append(f"still sees {', '.join(opinion.remaining)}")
    if opinion.vetoed:
        parts.append("a veto")
    return "; ".join(part for part in parts if part)
