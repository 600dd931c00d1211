"""What was tried, once more: blended or asked for more strongly where it was refused, redone where damage is left."""

from __future__ import annotations

from collections.abc import Sequence

from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall, chain_of
from conservator.policies.situation import Situation, measured
from conservator.policies.strength import shifted

__all__ = ["between", "redo", "retry"]

_GOLDEN = (5**0.5 - 1) / 2
_LEAST_SHARE = 0.03
"""Between two blends, below which nobody sees a difference."""


def retry(situation: Situation) -> ToolCall | None:
    """A refused candidate once more: blended when too strong, more strongly when too weak."""
    last = _last_judged(situation)
    if last is None or last.verdict is None or last.accepted:
        return None
    family = [a for a in situation.attempts if a.call.same_treatment(last.call)]
    # Another candidate for this step made it, or this one was a redo of something that did.
    if situation.best != last.call.source:
        return None
    if last.verdict.fault == "strong":
        return _weaker(situation, last, family)
    return _stronger(situation, last, family)


def _last_judged(situation: Situation) -> Attempt | None:
    return situation.attempts[-1] if situation.attempts else None


def _weaker(situation: Situation, last: Attempt, family: Sequence[Attempt]) -> ToolCall | None:
    tried = {a.call.blend for a in family if a.call.blend < 1}
    whole = next((a for a in reversed(family) if a.call.calls_tool and a.artifact), None)
    share = next((s for s in situation.preset.blends if s not in tried), None)
    if whole is None or share is None:
        return None
    reason = last.verdict.reason if last.verdict else ""
    return whole.call.model_copy(
        update={
            "blend": share,
            "reuses": whole.id,
            "then": (),
            "rationale": f"too strong ({reason}): blend {share:.0%} of it with its source",
        }
    )


def between(situation: Situation) -> ToolCall | None:
    """A golden section (Kiefer, 1953) from the blend that is the best so far towards the next one that was worse, or too strong."""
    best, last = situation.best_attempt(), _last_judged(situation)
    if best is None or last is None or best.call.calls_tool:
        return None
    family = [a for a in situation.attempts if a.call.reuses == best.call.reuses]
    searched = [a for a in family if a.call.blend not in situation.preset.blends]
    if last not in family or len(searched) >= situation.preset.blend_searches:
        return None
    low = best.call.blend
    high = min((a.call.blend for a in family if a.call.blend > low), default=1.0)
    share = round(low + _GOLDEN * (high - low), 3)
    if high - low < _LEAST_SHARE:
        return None
    reason = f"{low:.0%} held, {high:.0%} did not do better: blend {share:.0%}"
    return best.call.model_copy(update={"blend": share, "then": (), "rationale": reason})


def _stronger(situation: Situation, last: Attempt, family: Sequence[Attempt]) -> ToolCall | None:
    card = situation.cards.get(last.call.restorer)
    repeated = sum(1 for a in family if a.call.calls_tool) > 1 or not last.call.calls_tool
    settled = not situation.settled.isdisjoint(last.call.kinds)
    if card is None or not card.understands_strength or repeated or settled:
        return None
    prompt = shifted(last.call.prompt, last.call.kinds, situation.preset.strength_step)
    if prompt == last.call.prompt:
        return None
    return last.call.model_copy(
        update={"prompt": prompt, "then": (), "rationale": "too weak: ask for more strength"}
    )


def redo(situation: Situation) -> ToolCall | None:
    """From the original once more, asking more strongly for what is still there."""
    best = situation.best_attempt()
    if best is None or best.call.source != ORIGINAL:
        return None
    card = situation.cards.get(best.call.restorer)
    if card is None or not card.understands_strength:
        return None
    bounds = situation.bounds()
    left_over = [
        f.kind
        for kind in best.treated
        if kind not in situation.settled
        and (f := measured(best, kind)) is not None
        and f.level > bounds.get(kind, situation.preset.target_level)
        and f.confidence >= situation.preset.confidence_needed(kind)
    ]
    redone = sum(
        1 for a in situation.attempts if a.call.same_treatment(best.call) and a.call.calls_tool
    )
    if not left_over or redone > situation.preset.max_redos:
        return None
    if len(chain_of(situation.attempts, best.id)) > 1:
        return None
    prompt = shifted(best.call.prompt, left_over, situation.preset.strength_step)
    if prompt == best.call.prompt:
        return None
    names = ", ".join(kind.value for kind in left_over)
    return best.call.model_copy(
        update={
            "prompt": prompt,
            "source": ORIGINAL,
            "blend": 1.0,
            "reuses": "",
            "then": (),
            "rationale": f"{names} still there: redo from the original, more strongly",
        }
    )
