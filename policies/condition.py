"""How the instruments' readings and a vision-language model's findings become one condition report.

The rule, kind by kind:

1. What the file itself says, and what the user says, stands (sources `metadata` and `user`).
2. Presence is a logarithmic opinion pool (Genest and Zidek, 1986): the log-odds of both add up, the model's weighted by how far it is
   trusted about that kind; with no trust the reading stands as it is. A reading's confidence is that of what it says, so `absent, 0.9` are
   odds of 1 to 9; one that says a kind is there is at least `SEEN` sure of that, its confidence is in the level too. Naming nothing is a weak
   denial, and none where the trust is below `HEEDED`: a model leaves things out.
3. The parameter is that of whoever saw the kind; where both did, the instruments', because they measure, except for the kinds in
   `TOLD`, whose level the model was measured to tell better.

Every finding keeps the source that its parameter comes from. An instrument's finding that the pool turns down becomes absent with the source
`vlm`: it was the model that spoke against it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Finding,
    Kind,
    Level,
)

__all__ = ["HEEDED", "SEEN", "SILENCE", "TOLD", "TRUST", "joined"]

TRUST: Mapping[Kind, float] = dict.fromkeys(Kind, 0.25)
"""Weight of the model's log-odds; 0 ignores it, 1 counts it like the instruments. `evals.trust` measures it.

These are the embedded model's, measured on four photos of Kodak and two of McMaster: a quarter helps with rain and changes nothing else; more costs,
because it overlooks what the instruments see."""

TOLD: frozenset[Kind] = frozenset()
"""Kinds whose parameter is the model's where both see them; see `evals.trust`."""

SILENCE = 0.3
"""Probability that a kind is there which the model did not name."""

HEEDED = 0.5
"""Trust from which a model's silence counts; a kind that it overlooks more often than not has less."""

SEEN = 0.6
"""Least probability that a kind is there which the instruments see."""

_CLIP = 0.02
"""Nobody is surer than this: 1 to 49."""


def joined(
    measured: ConditionReport,
    seen: Iterable[Finding],
    *,
    scene: str = "",
    trust: Mapping[Kind, float] = TRUST,
    told: Collection[Kind] = TOLD,
) -> ConditionReport:
    """The instruments' report with a model's findings worked in.

    Args:
        measured: what the instruments say; kinds they did not judge are the model's alone.
        seen: what the model named, at most one finding a kind.
        scene: what the photo shows, as the model says; "" keeps the report's.
        trust: kind -> weight of the model's log-odds; 0 where a kind is not in it.
        told: kinds whose parameter is the model's where both see them.
    """
    named = {finding.kind: finding for finding in seen if finding.level > Level.ABSENT}
    findings = []
    for kind in Kind:
        own, other = measured.finding(kind), named.get(kind)
        if own is not None:
            findings.append(_pooled(own, other, trust.get(kind, 0.0), told=kind in told))
        elif other is not None and trust.get(kind, 0.0) > 0:
            findings.append(other)
    return measured.model_copy(
        update={"findings": tuple(findings), "scene": scene or measured.scene}
    )


def _pooled(own: Finding, other: Finding | None, trust: float, *, told: bool) -> Finding:
    heard = trust > 0 if other is not None else trust >= HEEDED
    if own.source in ("metadata", "user") or not heard:
        return own
    said = max(own.confidence, SEEN) if own.level > Level.ABSENT else 1 - own.confidence
    word = SILENCE if other is None else other.confidence
    there = _probability(_log_odds(said) + trust * _log_odds(word))
    if there >= 0.5:
        measured = own.level > Level.ABSENT and not told
        chosen = own if measured or other is None else other
        if chosen.level > Level.ABSENT:
            return chosen.model_copy(update={"confidence": round(there, 4)})
        return own
    if own.level is Level.ABSENT:
        return own.model_copy(update={"confidence": round(1 - there, 4)})
    return Finding(
        kind=own.kind,
        value=PARAMETERS[own.kind].identity,
        confidence=round(1 - there, 4),
        source="vlm",
    )


def _log_odds(probability: float) -> float:
    p = min(max(probability, _CLIP), 1 - _CLIP)
    return math.log(p / (1 - p))


def _probability(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))
