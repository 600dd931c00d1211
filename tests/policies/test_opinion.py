"""Do no harm: an opinion speaks against a candidate or changes nothing."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conservator.policies.acceptance import Check, Verdict
from conservator.policies.opinion import Opinion, with_opinion
from conservator.policies.preset import VlmRules
from conservator.tools.gain import Gain

RULES = VlmRules(tie=0.1)
HELD = Check(name="treated_fell", passed=True, value=0.5, limit=0.1, says="noise 25 -> 3")
Better = Literal["after", "before", "same"]


def verdict(gain: float, *, accepted: bool = True) -> Verdict:
    check = HELD.model_copy(update={"passed": accepted})
    fault = "none" if accepted else "weak"
    return Verdict(accepted=accepted, checks=(check,), gain=gain, reason="so", fault=fault)


@pytest.mark.parametrize(
    ("better", "gain", "accepted", "fault"),
    [
        ("after", 0.5, True, "none"),
        ("after", 0.01, True, "none"),
        ("before", 0.5, False, "strong"),
        ("before", 5.0, False, "strong"),
        ("same", 0.5, True, "none"),
        ("same", 0.05, False, "weak"),
    ],
)
def test_vetoes(better: Better, gain: float, accepted: bool, fault: str) -> None:
    after, opinion = with_opinion(verdict(gain), Opinion(better=better, harm=("halos",)), RULES)
    assert (after.accepted, after.fault, opinion.vetoed) == (accepted, fault, not accepted)
    assert after.gain == gain
    assert [check.name for check in after.checks] == ["treated_fell", "opinion"]
    assert ("halos" in after.reason) is not accepted


@pytest.mark.parametrize("better", ["after", "before", "same"])
def test_without_the_veto_it_is_recorded_only(better: Better) -> None:
    silent = VlmRules(veto=False, tie=10)
    after, opinion = with_opinion(verdict(0.5), Opinion(better=better), silent)
    assert after.accepted
    assert not opinion.vetoed
    assert after.checks[-1].name == "opinion"


@pytest.mark.parametrize(("psnr", "vetoed"), [(3.0, False), (1.5, True), (-2.0, True)])
def test_a_sure_estimate_outvotes_it(psnr: float, vetoed: bool) -> None:
    rules = VlmRules(doubt=2.0)
    estimate = Gain(psnr=psnr, spread=1.0, ssim=0.0)
    after, opinion = with_opinion(verdict(0.5), Opinion(better="before"), rules, estimate)
    assert (after.accepted, opinion.vetoed) == (not vetoed, vetoed)
    assert after.checks[-1].name == "opinion"


@given(
    better=st.sampled_from(["after", "before", "same"]),
    gain=st.floats(-10, 10),
    tie=st.floats(0, 10),
)
def test_it_never_accepts_what_the_joint_rule_refused(
    better: Better, gain: float, tie: float
) -> None:
    refused = verdict(gain, accepted=False)
    after, opinion = with_opinion(refused, Opinion(better=better), VlmRules(tie=tie))
    assert not after.accepted
    assert not opinion.vetoed
    assert (after.reason, after.fault, after.gain) == (refused.reason, refused.fault, gain)
