"""What is expected of a treatment where the gain network is known to be blind."""

from __future__ import annotations

import pytest

from conservator.policies.attempt import ToolCall
from conservator.policies.expectation import expected
from conservator.policies.preferences import Preferences, load_preferences
from conservator.policies.preset import load_preset
from conservator.policies.situation import Situation
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    Level,
    level_of,
)
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.gain import Gain

SEEN = Gain(psnr=0.0, spread=1.2, ssim=0.0)
RECOGNISED = {"recognised": True}
MOVED = {Kind.MOTION_BLUR: 3.0}
TABLE = Preferences(
    lead="llmra",
    trusted={"classical-motion": 0.5},
    gains={
        Kind.MOTION_BLUR: {level_of(Kind.MOTION_BLUR, 3.0): {"classical-motion": 8.0, "llmra": 1.0}}
    },
)


def finding(kind: Kind, value: float, confidence: float = 0.9) -> Finding:
    return Finding(kind=kind, value=value, confidence=confidence, source="instrument")


def situation(*findings: Finding, preferences: Preferences = TABLE) -> Situation:
    return Situation(
        report=ConditionReport(findings=findings),
        preset=load_preset("balanced"),
        preferences=preferences,
        cards=catalog.cards(),
    )


def call(degradations: dict[Kind, float] = MOVED, **changes: object) -> ToolCall:
    prompt = RestorationPrompt(degradations=degradations)
    return ToolCall.model_validate({"restorer": "classical-motion", "prompt": prompt} | changes)


def test_where_it_works_alone_a_trusted_restorer_is_expected_to_do_what_it_did_before() -> None:
    gain = expected(SEEN, [call()], RECOGNISED, situation(finding(Kind.MOTION_BLUR, 3.0)))
    assert gain.psnr == pytest.approx(4.0)
    assert gain.known == 8.0


def test_a_blend_promises_its_share() -> None:
    gain = expected(SEEN, [call(blend=0.5)], RECOGNISED, situation(finding(Kind.MOTION_BLUR, 3.0)))
    assert gain.psnr == pytest.approx(2.0)


def test_where_record_and_network_differ_the_gain_is_not_sure_enough_to_overrule() -> None:
    here = situation(finding(Kind.MOTION_BLUR, 3.0))
    assert not expected(SEEN, [call()], RECOGNISED, here).sure(here.preset.sure_estimate)


def test_where_they_agree_it_is_as_sure_as_the_network() -> None:
    agreed = Gain(psnr=8.0, spread=1.2, ssim=0.0)
    assert (
        expected(agreed, [call()], RECOGNISED, situation(finding(Kind.MOTION_BLUR, 3.0))).psnr
        == 8.0
    )


@pytest.mark.parametrize("kind", [Kind.NOISE, Kind.JPEG, Kind.RAIN, Kind.SNOW, Kind.PEPPER_NOISE])
def test_what_a_deconvolution_amplifies_halves_what_is_expected(kind: Kind) -> None:
    worst = {Kind.NOISE: 30.0, Kind.JPEG: 15.0, Kind.RAIN: 80.0, Kind.SNOW: 0.9}.get(kind, 0.05)
    other = finding(kind, worst)
    assert other.level > Level.ABSENT
    gain = expected(SEEN, [call()], RECOGNISED, situation(finding(Kind.MOTION_BLUR, 3.0), other))
    assert gain.known == 4.0


@pytest.mark.parametrize("details", [{}, {"recognised": False}])
def test_what_was_not_recognised_is_not_trusted(details: dict[str, object]) -> None:
    assert expected(SEEN, [call()], details, situation(finding(Kind.MOTION_BLUR, 3.0))) == SEEN


def test_the_restorer_may_know_that_it_gains_less_here() -> None:
    details = {**RECOGNISED, "usual_db": 3.0}
    gain = expected(SEEN, [call()], details, situation(finding(Kind.MOTION_BLUR, 3.0)))
    assert gain.known == 3.0


def test_a_doubtful_hint_of_it_does_not() -> None:
    hint = finding(Kind.NOISE, 30.0, confidence=0.1)
    gain = expected(SEEN, [call()], RECOGNISED, situation(finding(Kind.MOTION_BLUR, 3.0), hint))
    assert gain.known == 8.0


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([call(restorer="llmra")], id="a restorer that is not trusted"),
        pytest.param([call(), call(restorer="llmra")], id="steps that follow"),
        pytest.param([call(source="1")], id="a treated picture"),
        pytest.param([call({**MOVED, Kind.LOW_LIGHT: 1.0})], id="two kinds at once"),
        pytest.param([call({Kind.MOTION_BLUR: 0.5})], id="a level that nobody measured"),
    ],
)
def test_elsewhere_the_network_alone_counts(steps: list[ToolCall]) -> None:
    assert expected(SEEN, steps, RECOGNISED, situation(finding(Kind.MOTION_BLUR, 3.0))) == SEEN


def test_the_shipped_table_trusts_only_what_it_measured() -> None:
    shipped = load_preferences()
    measured = {
        name for levels in shipped.gains.values() for some in levels.values() for name in some
    }
    assert set(shipped.trusted) <= measured
