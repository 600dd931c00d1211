"""The target grammar, what blocks a target, and what each one measured."""

import pytest

from conservator.policies.preset import load_preset
from conservator.policies.targets import (
    KindTarget,
    MetricTarget,
    binding,
    check_targets,
    default_targets,
    parse_targets,
    render_targets,
)
from conservator.restorers.degradations.vocabulary import Finding, Kind, Level
from conservator.restorers.errors import PromptError, UnknownNameError

METRICS = ("piqe", "niqe", "quality")


def finding(kind: Kind, value: float, confidence: float = 0.9) -> Finding:
    return Finding(kind=kind, value=value, confidence=confidence, source="instrument")


def test_reads_kinds_guards_and_changes() -> None:
    text = "noise<=low, JPEG <= very high,fidelity>=0.9,piqe-=5,quality+=0.1"
    assert parse_targets(text, metrics=METRICS) == (
        KindTarget(kind=Kind.NOISE, level=Level.LOW),
        KindTarget(kind=Kind.JPEG, level=Level.VERY_HIGH),
        MetricTarget(metric="fidelity", operator=">=", value=0.9),
        MetricTarget(metric="piqe", operator="-=", value=5),
        MetricTarget(metric="quality", operator="+=", value=0.1),
    )


@pytest.mark.parametrize(
    "text",
    [
        "noise<=low",
        "low_light<=very-high,piqe<=30",
        "defocus_blur<=absent,fidelity>=0.95,niqe-=0.5",
        "ssim_to_input>=0.8,psnr_to_input>=30,change<=12,residual<=12,colour<=0.02,lowpass<=0.1",
    ],
)
def test_rendered_targets_read_back(text: str) -> None:
    targets = parse_targets(text, metrics=METRICS)
    assert parse_targets(render_targets(targets), metrics=METRICS) == targets
    assert render_targets(targets) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no target"),
        (",,", "no target"),
        ("noise", "'noise' does not parse"),
        ("noise<=low,noise<=high", "noise twice"),
        ("noise>=low", "bounded from above"),
        ("piqe<=low", "'low' is not a number"),
        ("piqe<=nan", "not a finite number"),
        ("fidelity-=0.1", "compares with the input"),
        ("ssim_to_input<=0.9", "bounded from below; use >="),
        ("change>=3", "bounded from above; use <="),
        ("ssim_to_input>=1.5", "between 0 and 1"),
        ("psnr_to_input>=120", "between 0 and 80"),
        ("piqe-=-5", "a change is above 0"),
        ("noise<low", "does not parse"),
    ],
)
def test_refuses_with_the_value_and_the_remedy(text: str, named: str) -> None:
    with pytest.raises(PromptError, match=named):
        parse_targets(text, metrics=METRICS)


@pytest.mark.parametrize(("text", "named"), [("nois<=low", "'nois'"), ("noise<=tiny", "'tiny'")])
def test_unknown_names_list_the_known_ones(text: str, named: str) -> None:
    with pytest.raises(UnknownNameError, match=named) as caught:
        parse_targets(text, metrics=METRICS)
    assert "noise" in str(caught.value) or "low" in str(caught.value)


def test_lists_may_run_over_lines() -> None:
    text = "noise<=low; jpeg<=low\nfidelity>=0.9"
    assert render_targets(parse_targets(text, metrics=METRICS)) == (
        "noise<=low,jpeg<=low,fidelity>=0.9"
    )


def check(text: str, **facts: object):
    given = {"findings": (), "scores": {}, "scores_before": {}, "guards": {}} | facts
    return check_targets(parse_targets(text, metrics=METRICS), **given)


def test_names_the_kind_that_blocks() -> None:
    outcome = check(
        "noise<=low,jpeg<=low",
        findings=(finding(Kind.NOISE, 20), finding(Kind.JPEG, 80)),
    )
    assert not outcome.met
    assert outcome.kinds == (Kind.NOISE,)
    assert outcome.blocking == ("noise<=low: noise is medium (20)",)


def test_uncertain_findings_do_not_block() -> None:
    unsure = (finding(Kind.NOISE, 40, confidence=0.2),)
    assert check("noise<=low", findings=unsure, confidence=0.5).met
    assert not check("noise<=low", findings=unsure, confidence=0.1).met


def test_changes_are_held_against_the_input() -> None:
    before = {"piqe": 40.0}
    assert check("piqe-=5", scores={"piqe": 34.0}, scores_before=before).met
    blocked = check("piqe-=5", scores={"piqe": 36.0}, scores_before=before)
    assert blocked.blocking == ("piqe-=5: piqe went from 40 to 36",)


def test_what_was_not_measured_blocks() -> None:
    assert "could not be measured" in check("piqe<=30").blocking[0]
    assert "of the input" in check("piqe-=3", scores={"piqe": 3.0}).blocking[0]


def test_fidelity_is_the_structure_guard() -> None:
    assert check("fidelity>=0.9", guards={"structure": 0.95}).met
    assert not check("fidelity>=0.9", guards={"structure": 0.85}).met


def test_default_targets_are_what_the_preset_acts_on() -> None:
    preset = load_preset("balanced")
    findings = (
        finding(Kind.NOISE, 25),
        finding(Kind.HAZE, 1.2, confidence=0.1),
        finding(Kind.RAIN, 0),
    )
    assert default_targets(findings, preset) == (
        KindTarget(kind=Kind.NOISE, level=preset.target_level),
    )


@pytest.mark.parametrize(
    ("text", "met", "says"),
    [
        ("structure>=0.9", True, "structure is 0.93"),
        ("ssim_to_input>=0.8", False, "ssim_to_input is 0.71"),
        ("psnr_to_input>=28", True, "psnr_to_input is 28.13"),
        ("psnr_to_input>=29", False, "psnr_to_input is 28.13"),
        ("change<=9", False, "change is 10"),
        ("residual<=10", True, "residual is 10"),
        ("colour<=0.02", True, "colour is 0.01"),
        ("lowpass<=0.02", False, "lowpass is 0.03"),
    ],
)
def test_what_compares_with_the_input(text: str, met: bool, says: str) -> None:
    guards = {"structure": 0.93, "ssim": 0.71, "residual": 10.0, "colour": 0.01, "lowpass": 0.03}
    (clause,) = check(text, guards=guards).clauses
    assert (clause.met, clause.says) == (met, says)
    assert clause.value == pytest.approx(float(says.split()[-1]), abs=0.01)


def test_the_input_is_like_itself() -> None:
    guards = {"structure": 1.0, "ssim": 1.0, "residual": 0.0, "colour": 0.0, "lowpass": 0.0}
    text = "fidelity>=1,ssim_to_input>=1,psnr_to_input>=80,change<=0"
    assert check(text, guards=guards).met


def test_a_near_miss_reads_as_one() -> None:
    (clause,) = check("ssim_to_input>=0.9", guards={"ssim": 0.8999996}).clauses
    assert not clause.met
    assert clause.says == "ssim_to_input is 0.8999996"


def test_every_target_keeps_its_number() -> None:
    outcome = check(
        "noise<=low,jpeg<=low,piqe-=5",
        findings=(finding(Kind.NOISE, 20), finding(Kind.JPEG, 5, confidence=0.1)),
        scores={"piqe": 30.0},
        scores_before={"piqe": 40.0},
        confidence=0.25,
    )
    noise, jpeg, piqe = outcome.clauses
    assert (noise.met, noise.value) == (False, 20)
    assert (jpeg.met, jpeg.value) == (True, 5)
    assert "guess (confidence 0.10)" in jpeg.says
    assert (piqe.met, piqe.before, piqe.value) == (True, 40, 30)
    assert outcome.blocking == (str(noise),)


def test_only_the_distance_to_the_input_binds_candidates() -> None:
    targets = parse_targets("noise<=low,piqe<=30,ssim_to_input>=0.8,change<=9", metrics=METRICS)
    assert [t.name for t in binding(targets)] == ["ssim_to_input", "change"]
