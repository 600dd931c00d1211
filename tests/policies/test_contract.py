"""A contract: what a caller and a policy ask for together, and what it holds candidates to."""

from dataclasses import dataclass

import pytest

from conservator.policies.acceptance import Measurement, judge
from conservator.policies.contract import Contract, Terms, contract_of, terms_of
from conservator.policies.preset import Preset, load_preset
from conservator.restorers.degradations.vocabulary import Finding, Kind
from conservator.restorers.errors import PromptError, UnknownNameError
from conservator.tools.compare import Guards
from conservator.tools.gain import Gain

METRICS = ("piqe", "niqe", "quality")
BALANCED = load_preset("balanced")


def terms(preset: Preset = BALANCED, **asked: object) -> Terms:
    return terms_of(preset, metrics=METRICS, **asked)  # type: ignore[arg-type]


def contract(**asked: object) -> Contract:
    return contract_of(terms(**asked), width=300, height=200, metrics=METRICS)


def policy(**fields: object) -> Preset:
    return BALANCED.model_copy(update=fields)


@dataclass(frozen=True)
class Seen:
    """A measured picture in a few numbers."""

    noise: float = 20.0
    blur: float = 0.0
    ssim: float | None = None
    colour: float = 0.0
    confidence: float = 0.9

    def measured(self) -> Measurement:
        values = {Kind.NOISE: self.noise, Kind.DEFOCUS_BLUR: self.blur, Kind.JPEG: 20.0}
        return Measurement(
            findings=tuple(
                Finding(kind=kind, value=value, confidence=self.confidence, source="instrument")
                for kind, value in values.items()
            ),
            guards=Guards(
                structure=0.95, colour=self.colour, lowpass=0, residual=10, ssim=self.ssim
            ),
        )


def test_nothing_asked_for_is_nothing() -> None:
    assert not terms()
    empty = contract()
    assert empty == Contract()
    assert empty.leaving(BALANCED) is BALANCED
    assert empty.checks(Seen().measured(), Seen().measured(), BALANCED.guards) == ()


def test_a_policys_contract_and_a_callers() -> None:
    own = policy(targets=("noise<=low,piqe<=40",), protect=("face",), keep=("the bokeh",))
    both = terms(own, targets="noise<=medium", protect=["face", "1%,1%,9%,9%"], keep="the colours")
    assert both.targets == "noise<=medium,piqe<=40"
    assert both.protect == ("face", "1%,1%,9%,9%")
    assert both.keep == ("the bokeh", "the colours")


def test_terms_read_back_as_the_same_contract() -> None:
    asked = terms(targets="noise<=low,ssim_to_input>=0.8", protect="10,10,50,50", keep="the fog")
    again = Terms.model_validate_json(asked.model_dump_json())
    read = contract_of(again, width=300, height=200, metrics=METRICS)
    assert read == contract_of(asked, width=300, height=200, metrics=METRICS)
    assert read.needs_ssim
    assert read.kept == {Kind.HAZE}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"targets": "noise<=low", "keep": "the grain"}, "noise<=low and keep 'the grain'"),
        ({"targets": "low_light<=low", "keep": "the mood"}, "contradict each other"),
        ({"targets": "motion_blur<=low", "keep": ["the fog", "the bokeh"]}, "keep 'the bokeh'"),
        ({"targets": "noise"}, "does not parse"),
        ({"keep": "the vibe"}, "cannot read"),
    ],
)
def test_wrong_and_contradictory_terms(asked: dict[str, object], named: str) -> None:
    with pytest.raises(PromptError, match=named) as caught:
        terms(**asked)
    assert "\n" not in str(caught.value)


def test_a_policy_and_a_caller_may_contradict_each_other() -> None:
    with pytest.raises(PromptError, match="contradict"):
        terms(policy(keep=("the grain",)), targets="noise<=low")


def test_a_policys_own_mistakes_name_it() -> None:
    with pytest.raises(PromptError, match=r"policy 'balanced': target 'noise'"):
        terms(policy(targets=("noise",)))
    with pytest.raises(UnknownNameError, match="'pique'"):
        terms(targets="pique<=3")


@pytest.mark.parametrize("place", ["0,0,300,200", "0%,0%,100%,100%"])
def test_a_photo_protected_as_a_whole_is_refused(place: str) -> None:
    with pytest.raises(PromptError, match="nothing would be restored"):
        contract(protect=place)


def test_what_is_kept_is_left_alone() -> None:
    preset = contract(keep=["the grain", "the bokeh"]).leaving(BALANCED)
    assert set(preset.leave) == {
        *BALANCED.leave,
        Kind.NOISE,
        Kind.DEFOCUS_BLUR,
        Kind.MOTION_BLUR,
    }


def checks(asked: Contract, before: Seen, after: Seen) -> dict[str, bool]:
    found = asked.checks(before.measured(), after.measured(), BALANCED.guards)
    return {check.says: check.passed for check in found}


def test_kept_grain_may_not_fall() -> None:
    asked = contract(keep="the grain")
    fell = "keep the grain: noise fell, from medium (20) to low (5)"
    assert checks(asked, Seen(), Seen(noise=5)) == {fell: False}
    stays = "keep the grain: noise stays, from medium (20) to medium (17)"
    assert checks(asked, Seen(), Seen(noise=17)) == {stays: True}
    # Half of it gone is a fall as well, though both are medium.
    assert list(checks(asked, Seen(noise=22), Seen(noise=11)).values()) == [False]
    assert list(checks(asked, Seen(), Seen(noise=30)).values()) == [True]


def test_what_was_never_there_cannot_fall() -> None:
    asked = contract(keep="the grain")
    assert checks(asked, Seen(noise=0), Seen(noise=0)) == {}
    assert checks(asked, Seen(confidence=0.1), Seen(noise=0)) == {}


def test_kept_colours_have_no_allowance() -> None:
    asked = contract(keep="the colours")
    limit = BALANCED.guards.colour
    assert list(checks(asked, Seen(), Seen(colour=limit - 0.01)).values()) == [True]
    assert list(checks(asked, Seen(), Seen(colour=limit + 0.01)).values()) == [False]


def test_bounds_to_the_input_bind_and_goals_do_not() -> None:
    asked = contract(targets="jpeg<=low,piqe<=3,ssim_to_input>=0.8,change<=9")
    assert checks(asked, Seen(), Seen(ssim=0.85)) == {
        "ssim_to_input>=0.8: ssim_to_input is 0.85": True,
        "change<=9: change is 10": False,
    }


def test_the_joint_rule_refuses_as_too_strong_what_breaks_the_contract() -> None:
    before, after = Seen().measured(), Seen(noise=2, ssim=0.6).measured()
    preset = BALANCED.model_copy(update={"votes": {}})
    sure = after.model_copy(update={"gain": Gain(psnr=9.0, spread=0.5, ssim=0.1)})
    asked = contract(targets="ssim_to_input>=0.8").checks(before, sure, preset.guards)
    facts = {"treated": {Kind.NOISE: 20.0}, "preset": preset, "directions": {}}
    assert judge(before, sure, **facts).accepted
    verdict = judge(before, sure, **facts, asked=asked)
    assert not verdict.accepted
    assert verdict.fault == "strong"
    assert verdict.reason == "ssim_to_input>=0.8: ssim_to_input is 0.6"


def test_what_came_of_the_intents() -> None:
    asked = contract(keep=["the grain", "the colours"])
    before, after = Seen().measured(), Seen(noise=18, colour=0.004).measured()
    grain, colours = asked.kept_clauses(before, after, BALANCED.guards)
    assert (grain.text, grain.met) == ("keep the grain", True)
    assert grain.says == "noise stays, from medium (20) to medium (18)"
    assert colours.value == pytest.approx(0.004)
    untouched = asked.kept_clauses(before, None, BALANCED.guards)
    assert all(clause.met and clause.says == "as it came in" for clause in untouched)
