"""Which instrument is believed for which kind.

The rule, in order:

1. What the file itself says (source `metadata`) is believed.
2. A classical reading that was counted rather than estimated (confidence 0.95 and more) of a kind in `COUNTED` is believed:
   quantisation steps, lost pixels, flat patches. Faint noise is not among them: fine texture reads the same.
3. The rest of what is estimated is read jointly (`stacking.py`), but for the presence of lost resolution, which needs both instruments and one
   of them sure (`SOFT`), or classical ones that see it clearly (`CLEAR`): soft photos look enlarged.
4. Darkness that is less likely than not is lost pixels where there are any: they are black.

Without a joint reading (JPEG, lost pixels, masks, pictures below `SMALL_PX`) a kind is there when the classical instruments see it, one in `EITHER` also
when the learned estimator alone is sure (`SURE`). The parameter is the classical one where they see the kind too, else the learned one; for
noise the mean of both, nearer to the surer one.

A kind that only one of the two judged is taken from that one; without the learned estimator all are classical.
"""

from __future__ import annotations

from collections.abc import Mapping

from conservator.restorers.degradations.vocabulary import PARAMETERS, Finding, Kind, Level, value_at

__all__ = ["COUNTED", "EITHER", "SMALL_PX", "fused"]

COUNTED = frozenset({Kind.NOISE, Kind.JPEG, Kind.PEPPER_NOISE, Kind.MASK})
COUNTED_CONFIDENCE = 0.95

LOST = (Kind.PEPPER_NOISE, Kind.MASK)

EITHER: dict[Kind, Level] = {
    Kind.NOISE: Level.MEDIUM,
    Kind.JPEG: Level.MEDIUM,
    Kind.HAZE: Level.MEDIUM,
    Kind.RAIN: Level.MEDIUM,
    Kind.SNOW: Level.LOW,
    Kind.LOW_LIGHT: Level.LOW,
    Kind.PEPPER_NOISE: Level.LOW,
}
"""Kinds that hide from the classical instruments in real photos -> the level from which on the learned estimator alone is enough.

Noise that was resized, a JPEG that was resized or saved again. For noise it holds both ways round, see rule 2.
"""

SURE: dict[Kind, float] = dict.fromkeys(EITHER, 0.6) | {Kind.LOW_LIGHT: 0.3}
"""Confidence from which one alone is enough."""
CLEAR = 0.92
"""Confidence from which the classical instruments alone see lost resolution: soft lenses look a little enlarged to them."""
SOFT = 0.9
"""Confidence that one of both must have that resolution is lost; chosen on Kodak24 and McMaster, where it leaves 8 of 35 false alarms."""
SMALL_PX = 160


def fused(
    classical: Mapping[Kind, Finding],
    learned: Mapping[Kind, Finding],
    joint: Mapping[Kind, Finding] | None = None,
    *,
    small: bool = False,
) -> tuple[Finding, ...]:
    """One finding for each kind that either judged, in the order of `Kind`.

    Args:
        classical: of the classical instruments.
        learned: of the estimator; empty without one.
        joint: what both say together, see `stacking`; for kinds that both judged.
        small: the picture is smaller than what the estimator was trained on (`SMALL_PX`): both must see a kind. Rain in a
            picture of 125 px reads as noise to either.
    """
    found: dict[Kind, Finding] = {}
    for kind in Kind:
        own, other = classical.get(kind), learned.get(kind)
        if own is not None and other is not None:
            found[kind] = _chosen(own, other, (joint or {}).get(kind), small=small)
        elif one := own or other:
            found[kind] = one
    dark = found.get(Kind.LOW_LIGHT)
    lost = any(kind in found and found[kind].level > 0 for kind in LOST)
    if dark is not None and dark.level > 0 and dark.confidence < 0.5 and lost:
        none = {"value": PARAMETERS[dark.kind].identity, "confidence": 1 - dark.confidence}
        found[dark.kind] = dark.model_copy(update=none)
    return tuple(found.values())


def _chosen(
    own: Finding, other: Finding, joint: Finding | None = None, *, small: bool = False
) -> Finding:
    if own.source == "metadata":
        return own
    faint = own.kind is Kind.NOISE and own.level < Level.MEDIUM
    if own.kind in COUNTED and own.confidence >= COUNTED_CONFIDENCE and own.level > 0 and not faint:
        return own
    if joint is not None and own.kind is not Kind.LOW_RESOLUTION:
        return joint
    chosen = _either(own, other, small=small)
    if own.kind is Kind.LOW_RESOLUTION and chosen.level > 0 and chosen.confidence < SOFT:
        none = {"value": PARAMETERS[own.kind].identity, "confidence": 1 - chosen.confidence}
        return chosen.model_copy(update=none)
    if joint is not None and joint.level > 0 and chosen.level > 0:
        return chosen.model_copy(update={"value": joint.value})
    return chosen


def _either(own: Finding, other: Finding, *, small: bool) -> Finding:
    """What to believe of two opinions without a joint one."""
    if own.level > 0 and other.level > 0:
        surer = max(own.confidence, other.confidence)
        value = _between(own, other) if own.kind is Kind.NOISE else own.value
        return own.model_copy(update={"value": value, "confidence": surer})
    if small and own.kind in EITHER and (own.level > 0) != (other.level > 0):
        return other if own.level > 0 else own
    if own.kind is Kind.LOW_RESOLUTION and own.confidence < CLEAR:
        return other if own.level > 0 else own
    if own.level > 0 and own.kind is not Kind.NOISE:
        return own
    if own.kind in EITHER:
        seen, denies = (own, other) if own.level > 0 else (other, own)
        sure = seen.level >= EITHER[own.kind] and seen.confidence >= SURE[own.kind]
        return seen if sure else denies
    return own


def _between(own: Finding, other: Finding) -> float:
    """Nearer to the surer one: noise that was resized or compressed fools the classical estimate, which expects it white."""
    weights = own.confidence**2 + 1e-6, other.confidence**2 + 1e-6
    share = weights[0] / (weights[0] + weights[1])
    return value_at(own.kind, share * own.severity + (1 - share) * other.severity)
