"""The joint rule: each condition alone refuses a candidate, and every verdict carries its numbers."""

from collections.abc import Mapping

import pytest

from conservator.policies.acceptance import Measurement, guard_limits, judge
from conservator.policies.preset import load_preset
from conservator.restorers.degradations.vocabulary import Finding, Kind
from conservator.tools.compare import Guards
from conservator.tools.gain import Gain

PRESET = load_preset("balanced")
DIRECTIONS = {"piqe": "lower", "niqe": "lower", "quality": "higher"}
CLEAN = {
    Kind.NOISE: 0.0,
    Kind.JPEG: 100.0,
    Kind.HAZE: 0.0,
    Kind.DEFOCUS_BLUR: 0.0,
    Kind.LOW_LIGHT: 0.0,
}
SAME = Guards(structure=0.97, colour=0.005, lowpass=0.005, residual=3)


def measured(
    changed: Mapping[Kind, float], scores: Mapping[str, float] | None = None, guards=None
) -> Measurement:
    values = CLEAN | dict(changed)
    return Measurement(
        findings=tuple(
            Finding(kind=kind, value=value, confidence=0.9, source="instrument")
            for kind, value in values.items()
        ),
        scores=scores or {"piqe": 40.0, "niqe": 5.0, "quality": 0.5},
        guards=guards,
    )


NOISY = measured({Kind.NOISE: 25})
BETTER = {"piqe": 25.0, "niqe": 4.0, "quality": 0.7}


def verdict(before: Measurement, after: Measurement, treated: Mapping[Kind, float]):
    return judge(before, after, treated=treated, preset=PRESET, directions=DIRECTIONS)


def test_accepts_what_helps() -> None:
    result = verdict(NOISY, measured({Kind.NOISE: 3}, BETTER, SAME), {Kind.NOISE: 25})
    assert result.accepted
    assert result.fault == "none"
    assert result.gain > 0.1
    assert result.votes == {"quality": 1, "niqe": 1, "piqe": 1}
    assert result.reason == "noise 25 -> 3"


def test_refuses_as_weak_what_did_not_fall() -> None:
    result = verdict(NOISY, measured({Kind.NOISE: 24}, BETTER, SAME), {Kind.NOISE: 25})
    assert not result.accepted
    assert result.fault == "weak"
    assert [check.name for check in result.failed()] == ["treated_fell"]


def expecting(after: Measurement, psnr: float) -> Measurement:
    return after.model_copy(update={"gain": Gain(psnr=psnr, spread=1.0, ssim=0.0)})


def test_a_clear_expected_gain_overrules_instruments_and_votes_but_no_guard() -> None:
    blurred = measured({Kind.NOISE: 24, Kind.DEFOCUS_BLUR: 3}, {"piqe": 60.0}, SAME)
    treated = {Kind.NOISE: 25.0}
    result = verdict(NOISY, expecting(blurred, 2.5), treated)
    assert result.accepted
    assert [c.name for c in result.checks if c.overruled] == ["treated_fell", "rose", "votes"]
    assert result.failed() == ()
    assert result.reason == "estimated gain +2.5 dB, give or take 1.0"
    assert "(overruled)" in result.checks[0].line
    assert not verdict(NOISY, expecting(blurred, 0.5), treated).accepted
    moved = blurred.model_copy(update={"guards": SAME.model_copy(update={"colour": 0.5})})
    refused = verdict(NOISY, expecting(moved, 2.5), treated)
    assert [c.name for c in refused.failed()] == ["colour"]


def test_an_expected_loss_refuses_what_instruments_like() -> None:
    better = measured({Kind.NOISE: 3}, BETTER, SAME)
    result = verdict(NOISY, expecting(better, -0.8), {Kind.NOISE: 25})
    assert (result.accepted, result.fault) == (False, "strong")
    assert result.reason == "estimated gain -0.8 dB, give or take 1.0 (limit >= +0.1)"
    assert verdict(NOISY, expecting(better, 3.0), {Kind.NOISE: 25}).gain > 2.5


def test_a_certain_gain_that_is_too_small_is_refused_with_its_own_words() -> None:
    moved = Guards(structure=0.0, colour=1.0, lowpass=1.0, residual=255)
    after = measured({Kind.NOISE: 25}, {"piqe": 60.0}, moved)
    after = after.model_copy(update={"gain": Gain(psnr=0.05, spread=0.01, ssim=0.0)})
    result = verdict(NOISY, after, {Kind.NOISE: 25})
    assert {check.name for check in result.failed()} == {
        "structure", "colour", "lowpass", "residual", "gain",
    }  # fmt: skip
    assert "estimated gain +0.1 dB" in result.reason


def test_brightening_needs_more_certainty() -> None:
    dark, bright = measured({Kind.LOW_LIGHT: 1.0}), measured({}, BETTER, SAME)
    treated = {Kind.LOW_LIGHT: 1.0}
    assert verdict(dark, expecting(bright, 2.5), treated).accepted
    refused = verdict(dark, expecting(bright, 1.5), treated)
    assert [check.name for check in refused.failed()] == ["gain"]
    noisy = measured({Kind.NOISE: 3}, BETTER, SAME)
    assert verdict(NOISY, expecting(noisy, 1.8), {Kind.NOISE: 25}).accepted


def test_refuses_as_strong_when_another_kind_rises() -> None:
    blurred = measured({Kind.NOISE: 2, Kind.DEFOCUS_BLUR: 3}, BETTER, SAME)
    result = verdict(NOISY, blurred, {Kind.NOISE: 25})
    (rise,) = result.failed()
    assert (rise.name, rise.kind, result.fault) == ("rose", Kind.DEFOCUS_BLUR, "strong")
    assert "defocus_blur rose from absent" in result.reason


def test_brightening_may_uncover_noise() -> None:
    dark = measured({Kind.LOW_LIGHT: 1.0})
    bright = measured({Kind.NOISE: 8}, BETTER, SAME)
    assert verdict(dark, bright, {Kind.LOW_LIGHT: 1.0}).accepted
    noisier = measured({Kind.NOISE: 40}, BETTER, SAME)
    assert not verdict(dark, noisier, {Kind.LOW_LIGHT: 1.0}).accepted


@pytest.mark.parametrize(
    ("name", "value"), [("structure", 0.5), ("colour", 0.3), ("lowpass", 0.3), ("residual", 90.0)]
)
def test_each_guard_refuses(name: str, value: float) -> None:
    guards = SAME.model_copy(update={name: value})
    result = verdict(NOISY, measured({Kind.NOISE: 3}, BETTER, guards), {Kind.NOISE: 25})
    assert [check.name for check in result.failed()] == [name]
    assert result.failed()[0].value == value


def test_a_vote_against_refuses() -> None:
    worse = {"piqe": 60.0, "niqe": 7.0, "quality": 0.3}
    result = verdict(NOISY, measured({Kind.NOISE: 3}, worse, SAME), {Kind.NOISE: 25})
    assert [check.name for check in result.failed()] == ["votes"]
    assert result.votes == {"quality": -1, "niqe": -1, "piqe": -1}


def test_small_changes_abstain_and_one_voice_does_not_decide() -> None:
    divided = {"piqe": 60.0, "niqe": 5.1, "quality": 0.505}
    result = verdict(NOISY, measured({Kind.NOISE: 3}, divided, SAME), {Kind.NOISE: 25})
    assert result.votes == {"quality": 0, "niqe": 0, "piqe": -1}
    assert result.accepted


def test_without_metrics_the_instruments_decide() -> None:
    before = NOISY.model_copy(update={"scores": {}})
    after = measured({Kind.NOISE: 3}, BETTER, SAME)
    assert verdict(before, after, {Kind.NOISE: 25}).accepted


def test_what_no_instrument_sees_needs_the_votes() -> None:
    before, after = measured({}), measured({}, BETTER, SAME)
    treated = {Kind.RAIN: 60.0}
    assert verdict(before, after, treated).accepted
    same_scores = measured({}, None, SAME)
    assert not verdict(before, same_scores, treated).accepted


def test_limits_widen_with_what_is_asked_for() -> None:
    nothing = guard_limits(PRESET.guards, {})
    little = guard_limits(PRESET.guards, {Kind.NOISE: 4})
    much = guard_limits(PRESET.guards, {Kind.NOISE: 45})
    both = guard_limits(PRESET.guards, {Kind.NOISE: 45, Kind.HAZE: 1.2})
    assert nothing["structure"] == PRESET.guards.structure
    for narrow, wide in ((nothing, little), (little, much), (much, both)):
        assert wide["structure"] < narrow["structure"]
        assert wide["colour"] > narrow["colour"]
        assert wide["lowpass"] > narrow["lowpass"]
        assert wide["residual"] > narrow["residual"]


def test_gain_ranks_the_cleaner_result_first() -> None:
    partly = verdict(NOISY, measured({Kind.NOISE: 10}, BETTER, SAME), {Kind.NOISE: 25})
    wholly = verdict(NOISY, measured({Kind.NOISE: 1}, BETTER, SAME), {Kind.NOISE: 25})
    assert wholly.gain > partly.gain
