"""What a vision-language model's opinion on a candidate may do: speak against it, never for it.

The policy, do no harm:

1. A candidate that the joint rule refused stays refused, whatever the model says.
2. An accepted one that the model finds worse than the input is refused: a veto.
3. An accepted one that the model cannot tell from the input is refused where the numbers are near a tie as well (`VlmRules.tie`):
   what nobody sees is not worth a change.
4. Neither veto counts where the gain network, which was taught by clean pictures, is sure of a gain (`VlmRules.doubt`).
5. Any other opinion is recorded and changes nothing, the gain included; so is every opinion where `VlmRules.veto` is off.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from conservator.policies.acceptance import Check, Verdict
from conservator.policies.preset import VlmRules
from conservator.restorers.degradations.vocabulary import Kind
from conservator.tools.gain import Gain

__all__ = ["Opinion", "with_opinion"]


class Opinion(BaseModel):
    """What a model says about a candidate, the input beside it.

    Attributes:
        better: which of the two.
        remaining: kinds it still sees.
        harm: what it finds broken.
        reason: in its own words.
        vetoed: whether it cost the candidate its acceptance.
    """

    model_config = ConfigDict(frozen=True)

    better: Literal["after", "before", "same"]
    remaining: tuple[Kind, ...] = ()
    harm: tuple[str, ...] = ()
    reason: str = ""
    vetoed: bool = False


def with_opinion(
    verdict: Verdict, opinion: Opinion, rules: VlmRules, estimate: Gain | None = None
) -> tuple[Verdict, Opinion]:
    """The verdict with the opinion among its checks, and the opinion with what came of it.

    Args:
        verdict: of the joint rule.
        opinion: the model's.
        rules: what it may do.
        estimate: the gain network's; where that is sure of a gain, the opinion is recorded only.
    """
    tie = opinion.better == "same" and verdict.gain < rules.tie
    sure = estimate is not None and estimate.sure(rules.doubt)
    against = rules.veto and not sure and (opinion.better == "before" or tie)
    says = _words(opinion)
    check = Check(
        name="opinion",
        passed=not against,
        value={"after": 1.0, "same": 0.0, "before": -1.0}[opinion.better],
        limit=0.0,
        says=says,
    )
    vetoed = verdict.accepted and against
    update: dict[str, object] = {"checks": (*verdict.checks, check)}
    if vetoed:
        # A tie did too little, a picture that looks worse too much.
        update |= {"accepted": False, "reason": says, "fault": "weak" if tie else "strong"}
    return (
        verdict.model_copy(update=update),
        opinion.model_copy(update={"vetoed": vetoed}),
    )


def _words(opinion: Opinion) -> str:
    found = {
        "after": "the vision-language model finds it better",
        "same": "the vision-language model sees no difference",
        "before": "the vision-language model finds it worse",
    }[opinion.better]
    why = ", ".join(opinion.harm) or opinion.reason
    return f"{found}: {why}" if why else found
