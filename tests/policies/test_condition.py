"""Instruments and a vision-language model: one report, sources kept."""

import pytest

from conservator.policies.condition import joined
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    ConditionReport,
    Finding,
    Kind,
    Level,
    Source,
)


def finding(kind: Kind, value: float, confidence: float, source: Source = "instrument") -> Finding:
    return Finding(kind=kind, value=value, confidence=confidence, source=source)


def absent(kind: Kind, confidence: float) -> Finding:
    return finding(kind, PARAMETERS[kind].identity, confidence)


def said(kind: Kind, value: float, confidence: float) -> Finding:
    return finding(kind, value, confidence, "vlm")


TRUST = dict.fromkeys(Kind, 0.5)


def only(measured: Finding, *seen: Finding) -> Finding:
    report = joined(ConditionReport(findings=(measured,)), seen, trust=TRUST)
    found = report.finding(measured.kind)
    assert found is not None
    return found


def test_a_sure_instrument_stands_against_silence_and_denial() -> None:
    sure = finding(Kind.NOISE, 25, 0.95)
    kept = only(sure)
    assert (kept.value, kept.source) == (25, "instrument")
    assert kept.confidence < 0.95
    assert only(absent(Kind.RAIN, 0.97), said(Kind.RAIN, 75, 0.95)).level is Level.ABSENT


def test_an_unsure_instrument_is_overruled_and_the_source_says_so() -> None:
    appeared = only(absent(Kind.RAIN, 0.55), said(Kind.RAIN, 75, 0.9))
    assert (appeared.value, appeared.source) == (75, "vlm")
    gone = only(finding(Kind.HAZE, 0.6, 0.52))
    assert (gone.level, gone.source) == (Level.ABSENT, "vlm")


def test_a_finding_of_unsure_level_is_still_there() -> None:
    unsure = finding(Kind.LOW_LIGHT, 0.5, 0.35)
    report = ConditionReport(findings=(unsure,))
    assert joined(report, [], trust={}).finding(Kind.LOW_LIGHT) == unsure
    little = joined(report, [], trust={Kind.LOW_LIGHT: 0.25}).finding(Kind.LOW_LIGHT)
    assert little == unsure
    much = joined(report, [], trust={Kind.LOW_LIGHT: 1.0}).finding(Kind.LOW_LIGHT)
    assert much is not None and much.level is Level.ABSENT


def test_where_both_see_it_the_instruments_measure_and_both_are_surer() -> None:
    both = only(finding(Kind.NOISE, 25, 0.7), said(Kind.NOISE, 45, 0.9))
    assert (both.value, both.source) == (25, "instrument")
    assert both.confidence > 0.7


def test_what_the_file_or_the_user_says_stands() -> None:
    for source in ("metadata", "user"):
        told = finding(Kind.JPEG, 20, 0.6, source)  # type: ignore[arg-type]
        assert only(told, said(Kind.JPEG, 50, 0.99)) == told
        assert only(told) == told


def test_kinds_nobody_measured_are_the_models() -> None:
    report = joined(ConditionReport(quality=0.4), [said(Kind.SNOW, 0.1, 0.8)], scene="a street")
    assert report.finding(Kind.SNOW) == said(Kind.SNOW, 0.1, 0.8)
    assert (report.scene, report.quality) == ("a street", 0.4)


def test_no_trust_no_word() -> None:
    measured = ConditionReport(findings=(finding(Kind.HAZE, 0.6, 0.52), absent(Kind.RAIN, 0.51)))
    seen = [said(Kind.RAIN, 75, 0.98), said(Kind.SNOW, 0.1, 0.98)]
    none = joined(measured, seen, trust={})
    assert [(f.kind, f.value, f.source) for f in none.findings] == [
        (f.kind, f.value, f.source)
        for f in sorted(measured.findings, key=lambda f: list(Kind).index(f.kind))
    ]


@pytest.mark.parametrize("own", [0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_the_surer_the_model_the_surer_the_report(own: float) -> None:
    def presence(confidence: float) -> float:
        blur = Kind.DEFOCUS_BLUR
        found = only(finding(blur, 3, own), said(blur, 3, confidence))
        return found.confidence if found.level > 0 else 1 - found.confidence

    chances = [presence(c / 10) for c in range(11)]
    assert chances == sorted(chances)
    assert all(0 <= chance <= 1 for chance in chances)


def test_kinds_whose_level_the_model_tells_better() -> None:
    measured = ConditionReport(findings=(finding(Kind.NOISE, 25, 0.7),))
    seen = [said(Kind.NOISE, 45, 0.9)]
    found = joined(measured, seen, trust=TRUST, told={Kind.NOISE}).finding(Kind.NOISE)
    assert found is not None
    assert (found.value, found.source) == (45, "vlm")
    silent = joined(measured, [], trust={}, told={Kind.NOISE}).finding(Kind.NOISE)
    assert silent is not None
    assert (silent.value, silent.source) == (25, "instrument")
