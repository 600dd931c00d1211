"""Which instrument is believed for which kind.

The rule, in order:

1. What the file itself says (source `metadata`) is believed.
2. A reading that was counted rather than estimated (confidence 0.95 and more) of a kind in `COUNTED` is believed:
   quantisation steps, lost pixels, flat patches, white noise.
3. A kind in `LEARNED_FIRST` is left to the learned estimator where it gave an opinion.
4. Any other kind is the mean of both severities, weighted by `confidence ** 2`; its confidence is the weighted mean of
   both, less the distance between the severities.

A kind that only one of the two judged is taken from that one; without the learned estimator all are classical.
"""

from __future__ import annotations

from collections.abc import Mapping

from conservator.restorers.degradations.vocabulary import Finding, Kind, value_at

__all__ = ["COUNTED", "LEARNED_FIRST", "fused"]

COUNTED = frozenset({Kind.NOISE, Kind.JPEG, Kind.PEPPER_NOISE, Kind.MASK})
COUNTED_CONFIDENCE = 0.95

LEARNED_FIRST: frozenset[Kind] = frozenset()
"""Kinds where the learned estimator was measured to be better alone; see evals.instrument_accuracy."""


def fused(
    classical: Mapping[Kind, Finding], learned: Mapping[Kind, Finding]
) -> tuple[Finding, ...]:
    """One finding for each kind that either judged, in the order of `Kind`."""
    findings = []
    for kind in Kind:
        own, other = classical.get(kind), learned.get(kind)
        if own is not None and other is not None:
            findings.append(_chosen(own, other))
        else:
            findings += [finding for finding in (own, other) if finding is not None]
    return tuple(findings)


def _chosen(own: Finding, other: Finding) -> Finding:
    if own.source == "metadata":
        return own
    if own.kind in COUNTED and own.confidence >= COUNTED_CONFIDENCE and own.level > 0:
        return own
    if own.kind in LEARNED_FIRST:
        return other
    weights = own.confidence**2 + 1e-6, other.confidence**2 + 1e-6
    share = weights[0] / (weights[0] + weights[1])
    severity = share * own.severity + (1 - share) * other.severity
    agreed = share * own.confidence + (1 - share) * other.confidence
    apart = abs(own.severity - other.severity)
    return Finding(
        kind=own.kind,
        value=value_at(own.kind, severity),
        confidence=min(1.0, max(0.0, agreed - apart)),
        source="instrument",
    )
