"""What a vision-language model may call, and what it is refused."""

from collections.abc import Mapping

import pytest

from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import Attempt, ToolCall
from conservator.policies.planner import Plan
from conservator.policies.preferences import Preferences
from conservator.policies.preset import VlmRules, load_preset
from conservator.policies.review import beside, offered, review, treatable
from conservator.policies.situation import Situation
from conservator.policies.targets import parse_targets
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind, Level
from conservator.restorers.prompts.model import RestorationPrompt

GAINS = {
    Kind.NOISE: {"classical-nlm": 3.0, "classical-dct": 2.0, "classical-median": -1.0},
    Kind.HAZE: {"classical-dehaze": 4.0},
}


def found(kind: Kind, value: float, confidence: float = 0.9) -> Finding:
    return Finding(kind=kind, value=value, confidence=confidence, source="instrument")


def situation(*findings: Finding, **facts: object) -> Situation:
    levels: dict[Kind, Mapping[Level, Mapping[str, float]]] = {
        kind: {level: {**dict.fromkeys(catalog.cards(), -9.0), **gains} for level in Level}
        for kind, gains in GAINS.items()
    }
    return Situation.model_validate(
        {
            "report": ConditionReport(findings=findings),
            "preset": load_preset("balanced"),
            "preferences": Preferences(lead="classical-nlm", gains=levels),
            "cards": catalog.cards(),
            **facts,
        }
    )


def call(restorer: str = "classical-nlm", source: str = "original", **asked: float) -> ToolCall:
    strengths = {Kind(name): value for name, value in asked.items()}
    return ToolCall(
        restorer=restorer, prompt=RestorationPrompt(degradations=strengths), source=source
    )


def attempt(
    name: str, asked: ToolCall, *findings: Finding, accepted: bool = True, status: str = "judged"
) -> Attempt:
    return Attempt.model_validate(
        {
            "id": name,
            "call": asked,
            "status": status,
            "treated": asked.prompt.degradations,
            "measurement": Measurement(findings=findings),
            "verdict": Verdict(accepted=accepted, checks=(), gain=1.0),
        }
    )


def test_only_what_measured_well_is_offered() -> None:
    assert list(offered(situation(found(Kind.NOISE, 25)))) == ["classical-nlm", "classical-dct"]
    both = offered(situation(found(Kind.NOISE, 25), found(Kind.HAZE, 1.0)))
    assert "classical-dehaze" in both
    assert "classical-median" not in both


def test_what_failed_is_not_offered_again() -> None:
    failed = attempt("a1", call(noise=25), status="failed", accepted=False)
    left = offered(situation(found(Kind.NOISE, 25), attempts=(failed,)))
    assert list(left) == ["classical-dct"]


def test_no_more_than_a_handful_is_offered() -> None:
    everything = situation(*(found(kind, 1.0) for kind in Kind))
    assert len(offered(everything, 3)) == 3


def test_a_fair_call_may_run() -> None:
    assert review(call(noise=30), situation(found(Kind.NOISE, 25))) == ""


@pytest.mark.parametrize(
    ("measured", "asked", "fine"),
    [(25, 40, True), (4, 12, True), (4, 31, False), (25, 46, False), (60, 60, True), (60, 61, False)],
)  # fmt: skip
def test_two_levels_more_and_no_further(measured: float, asked: float, fine: bool) -> None:
    complaint = review(call(noise=asked), situation(found(Kind.NOISE, measured)))
    assert (complaint == "") is fine
    assert fine or "far beyond" in complaint


def test_falling_parameters_are_bounded_the_other_way() -> None:
    jpeg = situation(found(Kind.JPEG, 40))
    assert review(call("classical-deblock", jpeg=20), jpeg) == ""
    assert "far beyond" in review(call("classical-deblock", jpeg=5), jpeg)


def test_what_nobody_found_is_refused_unless_a_target_names_it() -> None:
    assert "rain was not found" in review(call(rain=60), situation(found(Kind.NOISE, 25)))
    asked = situation(found(Kind.NOISE, 25), targets=parse_targets("rain<=low", metrics={}))
    assert review(call(rain=60), asked) == ""


def test_what_the_policy_leaves_or_hardly_anybody_believes_is_refused() -> None:
    assert "mask was not found" in review(call(mask=0.1), situation(found(Kind.MASK, 0.1)))
    doubtful = situation(found(Kind.NOISE, 25, confidence=0.2))
    assert "noise was not found" in review(call(noise=25), doubtful)
    asked = situation(found(Kind.MASK, 0.1), targets=parse_targets("mask<=low", metrics={}))
    assert review(call(mask=0.1), asked) == ""


def test_the_policys_own_candidate_is_tried_beside_another_one() -> None:
    state = situation(found(Kind.NOISE, 25), found(Kind.HAZE, 1.0))
    own = Plan(calls=(call(noise=25, haze=1.0), call("classical-dct", noise=25)), reason="own")

    def tried(*calls: ToolCall, **facts: object) -> list[str]:
        there = state.model_copy(update=facts)
        return [str(c) for c in beside(Plan(calls=calls, reason="vlm"), own, there).calls]

    other = call("classical-dct", noise=25)
    assert tried(other) == [str(own.calls[0]), str(other)]
    # As good as the same: nothing is tried twice, and the model's stands for both.
    near = call(noise=27, haze=1.05)
    assert tried(other, near) == [str(near), str(other)]
    strong = call(noise=45, haze=1.0)
    assert tried(strong) == [str(own.calls[0]), str(strong), str(own.calls[1])]
    few = state.preset.model_copy(update={"candidates": 1})
    assert tried(strong, preset=few) == [str(own.calls[0]), str(strong)]
    alone = state.preset.model_copy(update={"vlm": VlmRules(beside=False)})
    assert tried(other, preset=alone) == [str(other)]


def test_sources_exist_and_were_not_refused() -> None:
    refused = attempt("a1", call(noise=25), accepted=False)
    state = situation(found(Kind.NOISE, 25), attempts=(refused,))
    assert "was refused" in review(call(noise=30, source="a1"), state)
    assert "is not a node" in review(call(noise=30, source="a9"), state)
    assert "tried already" in review(call(noise=25), state)


def test_what_a_treatment_brought_to_light_may_be_treated() -> None:
    first = attempt("a1", call(haze=1.0), found(Kind.RAIN, 75), found(Kind.HAZE, 0.1))
    state = situation(found(Kind.HAZE, 1.0), found(Kind.RAIN, 0), attempts=(first,), best="a1")
    assert Kind.RAIN in treatable(state)
    assert review(call(rain=75, source="a1"), state) == ""
