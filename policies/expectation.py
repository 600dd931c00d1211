"""What is expected of a treatment: as the gain network sees it, and where that is known to be blind, as it was measured over many photos.

The network was taught on small pictures, where a deconvolution with the wrong kernel was frequent, and expects nothing of the right one either: on
photos that only moved, `classical-motion` gains 5 dB and 0 are expected. So a restorer may have a share of trust in `preferences.yaml`. It holds
where the restorer recognised in the photo what it was asked to undo (`recognised` in the record of its call), and works alone on that one kind. Where
something else was found that a deconvolution amplifies, it has gained half as much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conservator.policies.attempt import ORIGINAL, ToolCall
from conservator.policies.situation import Situation
from conservator.restorers.degradations.vocabulary import Kind, Level, level_of
from conservator.tools.gain import Gain

__all__ = ["expected"]

_SMOOTH = frozenset(
    {Kind.MOTION_BLUR, Kind.DEFOCUS_BLUR, Kind.LOW_RESOLUTION, Kind.LOW_LIGHT, Kind.HAZE}
)
"""Kinds that leave nothing behind for a deconvolution to amplify."""
_HALF = 0.5


def expected(
    seen: Gain, calls: Sequence[ToolCall], details: Mapping[str, Any], situation: Situation
) -> Gain:
    """What is expected of calls that follow each other, over the node that the first starts from.

    Args:
        seen: what the gain network expects.
        calls: the steps.
        details: the restorer's record of the first; `usual_db` in it bounds what was measured over many photos.
        situation: what was found, and what was measured over many photos.
    """
    if len(calls) != 1 or calls[0].source != ORIGINAL or len(calls[0].kinds) != 1:
        return seen
    call = calls[0]
    (kind,) = call.kinds
    trust = situation.preferences.trusted.get(call.restorer, 0.0)
    level = level_of(kind, call.prompt.degradations[kind])
    known = situation.preferences.gain(call.restorer, kind, level)
    if not trust or known is None or not details.get("recognised", False):
        return seen
    usual = min(known, float(details.get("usual_db", known)))
    measured = usual * call.blend * (_HALF if _disturbed(situation) else 1.0)
    psnr = (1 - trust) * seen.psnr + trust * measured
    # Where the two differ, neither is certain: the other conditions of acceptance are not overruled then.
    spread = max(seen.spread, abs(measured - seen.psnr) / 2)
    return Gain(
        psnr=round(psnr, 4), spread=round(spread, 4), ssim=seen.ssim, known=round(measured, 4)
    )


def _disturbed(situation: Situation) -> bool:
    least = situation.preset.hint_confidence
    return any(
        finding.kind not in _SMOOTH and finding.level > Level.ABSENT and finding.confidence >= least
        for finding in situation.report.findings
    )
