"""The deterministic planner on hand-made trees: composed first, then blends, strength, other restorers, redo."""

import pytest

from conservator.policies.acceptance import Check, Measurement, Verdict
from conservator.policies.attempt import ORIGINAL, Attempt, ToolCall
from conservator.policies.planner import plan
from conservator.policies.preferences import Preferences
from conservator.policies.preset import load_preset
from conservator.policies.review import review
from conservator.policies.situation import Situation
from conservator.policies.stopping import conclude
from conservator.policies.targets import TargetCheck, parse_targets
from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind, Level


def card(**facts) -> RestorerCard:
    """A restorer that needs no weights."""
    return RestorerCard(configurations={"compact": Configuration()}, **facts)


CARDS = {
    "classical-nlm": card(name="classical-nlm", title="nlm", treats=(Kind.NOISE,)),
    "classical-wavelet": card(name="classical-wavelet", title="w", treats=(Kind.NOISE,)),
    "classical-dehaze": card(name="classical-dehaze", title="d", treats=(Kind.HAZE,)),
    "llmra": card(name="llmra", title="lead", treats=tuple(Kind), prompt_style="llmra"),
}
TABLE = Preferences(
    lead="llmra",
    gains={
        Kind.NOISE: {Level.HIGH: {"llmra": 8, "classical-nlm": 6, "classical-wavelet": 5}},
        Kind.JPEG: {Level.HIGH: {"llmra": 1}},
        Kind.HAZE: {Level.HIGH: {"llmra": 4, "classical-dehaze": 6}},
    },
)
NOISE, JPEG, HAZE = (
    Finding(kind=kind, value=value, confidence=0.9, source="instrument")
    for kind, value in ((Kind.NOISE, 30.0), (Kind.JPEG, 20.0), (Kind.HAZE, 1.2))
)


ONE_BY_ONE = load_preset("balanced").model_copy(update={"candidates": 1})
"""Without rivals, so that the order of the ways shows."""


def situation(*findings: Finding, **changes) -> Situation:
    preset = changes.pop("preset", ONE_BY_ONE)
    given = {"preferences": TABLE, "cards": CARDS} | changes
    return Situation(report=ConditionReport(findings=findings), preset=preset, **given)


def attempt(
    name: str,
    call: ToolCall,
    *,
    accepted: bool,
    fault: str = "none",
    left: tuple[Finding, ...] = (),
    gain: float = 0.5,
) -> Attempt:
    check = Check(name="x", passed=accepted, value=0, limit=0, says="because")
    return Attempt(
        id=name,
        call=call,
        status="judged",
        artifact="f" * 64,
        treated=dict(call.prompt.degradations),
        measurement=Measurement(findings=left),
        verdict=Verdict(
            accepted=accepted, checks=(check,), gain=gain, fault=fault, reason="because"
        ),
    )


def gone(finding: Finding, value: float) -> Finding:
    return finding.model_copy(update={"value": value})


def test_nothing_found_nothing_planned() -> None:
    assert plan(situation()).calls == ()
    unsure = NOISE.model_copy(update={"confidence": 0.2})
    assert plan(situation(unsure)).calls == ()


def test_darkness_alone_may_be_meant_and_is_treated_when_asked_for() -> None:
    dark = Finding(kind=Kind.LOW_LIGHT, value=1.1, confidence=0.8, source="instrument")
    left = plan(situation(dark))
    assert not left.calls
    assert "--target low_light<=low" in left.reason
    asked = situation(dark, targets=parse_targets("low_light<=low", metrics=()))
    assert Kind.LOW_LIGHT in plan(asked).calls[0].prompt.degradations
    assert Kind.LOW_LIGHT in plan(situation(dark, NOISE)).calls[0].prompt.degradations
    outcome = conclude(situation(dark), TargetCheck(met=True), plan_reason=left.reason)
    assert outcome.outcome == "unchanged"
    assert "may be meant" in outcome.reason


@pytest.mark.parametrize(
    ("other", "treated"),
    [
        (Finding(kind=Kind.RAIN, value=85.0, confidence=0.5, source="instrument"), True),
        (Finding(kind=Kind.RAIN, value=85.0, confidence=0.4, source="instrument"), False),
        (Finding(kind=Kind.RAIN, value=30.0, confidence=0.5, source="instrument"), False),
        (Finding(kind=Kind.LOW_RESOLUTION, value=4.0, confidence=0.5, source="instrument"), False),
    ],
)
def test_darkness_beside_other_damage_is_not_meant_even_if_that_is_half_certain(
    other: Finding, treated: bool
) -> None:
    dark = Finding(kind=Kind.LOW_LIGHT, value=1.1, confidence=0.8, source="instrument")
    calls = plan(situation(dark, other)).calls
    assert bool(calls) is treated
    if treated:
        assert all(Kind.LOW_LIGHT in call.prompt.degradations for call in calls)
    slight = dark.model_copy(update={"value": 0.5})
    assert not plan(situation(slight, other)).calls


def test_one_composed_call_names_everything_from_the_original() -> None:
    (call,) = plan(situation(NOISE, JPEG)).calls
    assert (call.restorer, call.source) == ("llmra", ORIGINAL)
    assert call.prompt.degradations == {Kind.NOISE: 30.0, Kind.JPEG: 20.0}


def test_a_specialist_that_measured_better_takes_its_kind() -> None:
    (call,) = plan(situation(HAZE)).calls
    assert call.restorer == "classical-dehaze"
    preset = ONE_BY_ONE.model_copy(update={"specialist_margin": 2.5})
    (call,) = plan(situation(HAZE, preset=preset)).calls
    assert call.restorer == "llmra"


def test_kinds_that_stand_together_go_to_the_lead_unless_a_specialist_is_far_better() -> None:
    (call,) = plan(situation(NOISE, HAZE)).calls
    assert (call.restorer, set(call.kinds)) == ("llmra", {Kind.NOISE, Kind.HAZE})
    preset = ONE_BY_ONE.model_copy(update={"composite_margin": 0.1})
    (first,) = plan(situation(NOISE, HAZE, preset=preset)).calls
    assert (first.restorer, first.kinds) == ("llmra", (Kind.NOISE,))
    done = attempt("a1", first, accepted=True, left=(gone(NOISE, 2), HAZE))
    (second,) = plan(situation(NOISE, HAZE, attempts=(done,), best="a1", preset=preset)).calls
    assert (second.restorer, second.source) == ("classical-dehaze", "a1")


def test_a_restorer_measured_harmful_is_never_called() -> None:
    table = Preferences(lead="llmra", gains={Kind.NOISE: {Level.HIGH: dict.fromkeys(CARDS, -0.5)}})
    assert plan(situation(NOISE, preferences=table)).calls == ()


def test_an_upscaler_is_not_called_unasked() -> None:
    cards = {
        "x2": card(name="x2", title="twice", treats=(Kind.NOISE,), scale=2),
        "same": card(name="same", title="as large", treats=(Kind.NOISE,)),
    }
    table = Preferences(lead="x2", gains={Kind.NOISE: {Level.HIGH: {"x2": 5, "same": 1}}})
    (call,) = plan(situation(NOISE, preferences=table, cards=cards)).calls
    assert call.restorer == "same"
    alone = {"x2": cards["x2"]}
    assert plan(situation(NOISE, preferences=table, cards=alone)).calls == ()
    assert plan(situation(NOISE, preferences=Preferences(lead="x2"), cards=alone)).calls == ()


def test_too_strong_is_blended_without_a_tool_call() -> None:
    (call,) = plan(situation(NOISE)).calls
    refused = attempt("a1", call, accepted=False, fault="strong")
    (blend,) = plan(situation(NOISE, attempts=(refused,))).calls
    assert (blend.reuses, blend.blend, blend.calls_tool) == ("a1", 0.6, False)
    again = attempt("a2", blend, accepted=False, fault="strong")
    (other,) = plan(situation(NOISE, attempts=(refused, again))).calls
    assert other.restorer == "classical-nlm"


def test_the_share_of_a_blend_is_searched_for_up_to_the_taste() -> None:
    def shares(searches: int, best: float) -> list[float]:
        """The blends that are planned where `best` gains most."""
        changes = {"blend_searches": searches, "blends": (0.5,), "max_attempts": 40}
        preset = ONE_BY_ONE.model_copy(update=changes)
        (first,) = plan(situation(NOISE, preset=preset)).calls
        made = [attempt("a1", first, accepted=False, fault="strong")]
        here = ORIGINAL
        while True:
            planned = plan(situation(NOISE, attempts=tuple(made), best=here, preset=preset)).calls
            if not planned or planned[0].calls_tool:
                return [one.call.blend for one in made[1:]]
            name, gain = f"a{len(made) + 1}", 1 - abs(planned[0].blend - best)
            accepted = planned[0].blend < 0.9
            fault = "none" if accepted else "strong"
            left = (gone(NOISE, 5),)
            done = attempt(name, planned[0], accepted=accepted, fault=fault, gain=gain, left=left)
            now = next((one for one in made if one.id == here), None)
            if accepted and gain > (0 if now is None else now.gain):
                here = name
            made.append(done)

    # Archival and balanced stay under; perceptual goes as far as it is better.
    assert shares(0, 0.8) == [0.5]
    assert shares(2, 0.8) == [0.5, 0.809, 0.927]
    assert shares(2, 0.5) == [0.5, 0.809, 0.691]
    assert shares(50, 0.5)[-1] == pytest.approx(0.5, abs=0.05)
    assert len(shares(50, 0.5)) < 10
    assert load_preset("archival").blend_searches == 0 < load_preset("perceptual").blend_searches


def test_a_blend_that_is_too_weak_gives_way_to_the_next() -> None:
    (call,) = plan(situation(NOISE)).calls
    strong = attempt("a1", call, accepted=False, fault="strong")
    (blend,) = plan(situation(NOISE, attempts=(strong,))).calls
    weak = attempt("a2", blend, accepted=False, fault="weak")
    (other,) = plan(situation(NOISE, attempts=(strong, weak))).calls
    assert (other.restorer, other.calls_tool) == ("classical-nlm", True)


def test_too_weak_is_asked_for_more_then_replaced() -> None:
    (call,) = plan(situation(NOISE)).calls
    weak = attempt("a1", call, accepted=False, fault="weak")
    (stronger,) = plan(situation(NOISE, attempts=(weak,))).calls
    assert stronger.restorer == "llmra"
    assert stronger.prompt.degradations[Kind.NOISE] > 30
    still = attempt("a2", stronger, accepted=False, fault="weak")
    (other,) = plan(situation(NOISE, attempts=(weak, still))).calls
    assert other.restorer == "classical-nlm"


def test_a_failed_tool_gives_way_to_the_next() -> None:
    (call,) = plan(situation(NOISE)).calls
    failed = Attempt(id="a1", call=call, status="failed", error="no weights")
    (other,) = plan(situation(NOISE, attempts=(failed,))).calls
    assert other.restorer == "classical-nlm"
    # It is not asked again for another kind either, and does not count among the attempts.
    one = load_preset("fast")
    (first,) = plan(situation(NOISE, JPEG, preset=one, attempts=(failed,))).calls
    assert first.restorer == "classical-nlm"


def test_a_refused_composite_falls_back_to_one_kind_at_a_time() -> None:
    preset = ONE_BY_ONE.model_copy(update={"blends": ()})
    (call,) = plan(situation(NOISE, JPEG, preset=preset)).calls
    refused = attempt("a1", call, accepted=False, fault="strong")
    (other,) = plan(situation(NOISE, JPEG, preset=preset, attempts=(refused,))).calls
    assert (other.restorer, other.kinds) == ("classical-nlm", (Kind.NOISE,))


def test_incomplete_is_redone_from_the_original_once() -> None:
    (call,) = plan(situation(NOISE, JPEG)).calls
    done = attempt("a1", call, accepted=True, left=(gone(NOISE, 15), gone(JPEG, 90)))
    (redo,) = plan(situation(NOISE, JPEG, attempts=(done,), best="a1")).calls
    assert redo.source == ORIGINAL
    assert redo.prompt.degradations[Kind.NOISE] > 30
    assert redo.prompt.degradations[Kind.JPEG] == 20
    again = attempt("a2", redo, accepted=True, left=(gone(NOISE, 15), gone(JPEG, 90)), gain=0.6)
    assert plan(situation(NOISE, JPEG, attempts=(done, again), best="a2")).calls == ()


def test_complete_is_left_alone() -> None:
    (call,) = plan(situation(NOISE)).calls
    done = attempt("a1", call, accepted=True, left=(gone(NOISE, 2),))
    result = plan(situation(NOISE, attempts=(done,), best="a1"))
    assert result.calls == ()
    assert result.reason == "what was found is treated"


LOOKS = card(name="mofe-ir", title="looks", treats=tuple(Kind), prompt_style="mofe", looks=True)
RIVALS = ONE_BY_ONE.model_copy(update={"candidates": 4})


def test_rivals_are_other_ways_the_likeliest_first() -> None:
    (first, second) = plan(
        situation(NOISE, preset=ONE_BY_ONE.model_copy(update={"candidates": 2}))
    ).calls
    assert [first.restorer, second.restorer] == ["llmra", "classical-nlm"]


def test_what_was_hinted_at_is_treated_by_a_rival_and_one_that_looks_is_another() -> None:
    hint = HAZE.model_copy(update={"confidence": 0.4})
    cards = {**CARDS, "mofe-ir": LOOKS}
    calls = plan(situation(NOISE, hint, preset=RIVALS, cards=cards)).calls
    assert [str(call) for call in calls] == [
        "llmra(noise=30) on original",
        "llmra(noise=30, haze=1.2) on original",
        "mofe-ir(noise=30, others) on original",
        "classical-nlm(noise=30) on original",
    ]
    assert [call.prompt.blind for call in calls] == [False, False, True, False]


@pytest.mark.parametrize(
    "hint",
    [
        HAZE.model_copy(update={"confidence": 0.2}),
        NOISE.model_copy(update={"kind": Kind.RAIN, "value": 25.0, "confidence": 0.4}),
        NOISE.model_copy(update={"kind": Kind.MASK, "value": 0.1, "confidence": 0.4}),
    ],
)
def test_a_hint_that_nobody_believes_or_minds_or_that_is_left_alone_makes_no_rival(
    hint: Finding,
) -> None:
    named = {kind for c in plan(situation(NOISE, hint, preset=RIVALS)).calls for kind in c.kinds}
    assert named == {Kind.NOISE}


def test_a_hint_alone_is_no_reason_to_treat() -> None:
    assert plan(situation(HAZE.model_copy(update={"confidence": 0.4}), preset=RIVALS)).calls == ()


def test_rivals_that_lost_on_a_piece_come_back_when_the_winner_is_refused() -> None:
    calls = plan(situation(NOISE, preset=RIVALS)).calls
    preset = RIVALS.model_copy(update={"blends": ()})
    refused = attempt("a1", calls[1], accepted=False, fault="strong")
    again = plan(situation(NOISE, preset=preset, attempts=(refused,))).calls
    assert calls[0] in again
    assert not any(call.same_treatment(calls[1]) for call in again)


def test_what_there_is_no_room_for_is_planned_so_that_the_limit_shows() -> None:
    assert len(plan(situation(NOISE, room=0)).calls) == 1


def test_a_refused_second_candidate_is_not_polished_when_the_first_won() -> None:
    calls = plan(situation(NOISE, preset=RIVALS)).calls
    won = attempt("a1", calls[0], accepted=True, left=(gone(NOISE, 2),))
    lost = attempt("a2", calls[1], accepted=False, fault="strong")
    state = situation(NOISE, preset=RIVALS, attempts=(won, lost), best="a1")
    assert plan(state).calls == ()


def test_attempts_run_out() -> None:
    preset = load_preset("fast")
    (call,) = plan(situation(NOISE, preset=preset)).calls
    weak = attempt("a1", call, accepted=False, fault="weak")
    result = plan(situation(NOISE, preset=preset, attempts=(weak,)))
    assert result.calls == ()
    assert "1 attempts" in result.reason


def test_a_target_of_the_users_makes_an_unsure_finding_count() -> None:
    unsure = NOISE.model_copy(update={"confidence": 0.4})
    targets = parse_targets("noise<=low", metrics=())
    (call,) = plan(situation(unsure, targets=targets)).calls
    assert call.kinds == (Kind.NOISE,)
    assert plan(situation(gone(unsure, 4), targets=targets)).calls == ()


def test_what_the_user_skipped_is_not_planned_again_and_is_nobodys_fault() -> None:
    preset = load_preset("fast")
    (call,) = plan(situation(NOISE, preset=preset)).calls
    skipped = Attempt(id="a1", call=call, status="skipped", error="skipped by you")
    after = situation(NOISE, preset=preset, attempts=(skipped,))
    (other,) = plan(after).calls
    assert not other.same_treatment(call)
    # It counts neither as an attempt nor as a restorer that fails, and the user may still ask for it.
    assert preset.max_attempts == 1
    assert review(call, after) == ""
    assert conclude(after, UNMET).reason == "what was planned was skipped by you"


def test_what_the_user_settled_is_not_asked_for_more_strongly() -> None:
    (call,) = plan(situation(NOISE)).calls
    weak = attempt("a1", call, accepted=False, fault="weak")
    (stronger,) = plan(situation(NOISE, attempts=(weak,))).calls
    assert stronger.same_treatment(call)
    settled = situation(NOISE, attempts=(weak,), settled=frozenset({Kind.NOISE}))
    assert not any(c.same_treatment(call) for c in plan(settled).calls)
    left = attempt("a1", call, accepted=True, left=(gone(NOISE, 15),))
    again = situation(NOISE, attempts=(left,), best="a1")
    assert plan(again).calls != ()
    assert plan(again.model_copy(update={"settled": frozenset({Kind.NOISE})})).calls == ()


def test_what_the_user_sees_is_treated_whatever_the_instruments_say() -> None:
    seen = HAZE.model_copy(update={"source": "user", "confidence": 1.0})
    (call,) = plan(situation(NOISE)).calls
    done = attempt("a1", call, accepted=True, left=(gone(NOISE, 3), gone(HAZE, 0.0)))
    (hazy,) = plan(situation(NOISE, seen, attempts=(done,), best="a1")).calls
    assert hazy.kinds == (Kind.HAZE,)
    assert plan(situation(NOISE, HAZE, attempts=(done,), best="a1")).calls == ()


MET, UNMET = TargetCheck(met=True), TargetCheck(met=False, blocking=("noise<=low: noise is high",))


def test_conclusions() -> None:
    (call,) = plan(situation(NOISE)).calls
    won = attempt("a1", call, accepted=True)
    lost = attempt("a1", call, accepted=False, fault="weak")
    kept = situation(NOISE, attempts=(won,), best="a1")
    assert conclude(kept, MET).outcome == "met"
    assert conclude(kept, UNMET).outcome == "not_met"
    assert conclude(kept, UNMET).blocking == UNMET.blocking
    assert conclude(kept, UNMET, limit="tools").outcome == "limit"
    assert conclude(kept, MET, limit="tools").outcome == "met"
    refused = conclude(situation(NOISE, attempts=(lost,)), UNMET)
    assert refused.outcome == "unchanged"
    assert "because" in refused.reason
    assert conclude(situation(), MET).reason == "nothing found that needs treatment"
    assert conclude(situation(), MET, limit="seconds").outcome == "unchanged"
    assert conclude(kept, MET, broken="cancelled").outcome == "cancelled"
    assert conclude(kept, MET, broken="stopped").reason == "stopped by you; kept a1"
    assert conclude(kept, MET, broken="waiting").outcome == "waiting"
    asked = situation(NOISE, targets=parse_targets("noise<=low", metrics=()))
    assert conclude(asked, UNMET).outcome == "not_met"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, ""),
        ({"source": "a9"}, "not a node"),
        ({"source": "a1"}, "was refused"),
        ({"prompt": {"degradations": {"rain": 60.0}}}, "rain was not found"),
    ],
)
def test_proposals_are_reviewed(changes: dict, complaint: str) -> None:
    (call,) = plan(situation(NOISE)).calls
    refused = attempt("a1", call, accepted=False, fault="weak")
    data = call.model_dump() | {"restorer": "classical-nlm"} | changes
    said = review(ToolCall.model_validate(data), situation(NOISE, attempts=(refused,)))
    assert complaint in said if complaint else said == ""


def test_a_repeated_proposal_is_refused() -> None:
    (call,) = plan(situation(NOISE)).calls
    refused = attempt("a1", call, accepted=False, fault="weak")
    assert "tried already" in review(call, situation(NOISE, attempts=(refused,)))


RAIN = Finding(kind=Kind.RAIN, value=70, confidence=0.9, source="instrument")


def test_what_a_treatment_brings_to_light_is_treated_next() -> None:
    (first,) = plan(situation(HAZE)).calls
    done = attempt("a1", first, accepted=True, left=(gone(HAZE, 0), RAIN))
    (second,) = plan(situation(HAZE, attempts=(done,), best="a1")).calls
    assert (second.source, second.kinds) == ("a1", (Kind.RAIN,))
    assert second.prompt.degradations[Kind.RAIN] == 70


def test_what_a_treatment_does_itself_is_not_treated() -> None:
    (first,) = plan(situation(HAZE)).calls
    blur = Finding(kind=Kind.DEFOCUS_BLUR, value=4, confidence=0.95, source="instrument")
    unsure = RAIN.model_copy(update={"confidence": 0.4})
    done = attempt("a1", first, accepted=True, left=(gone(HAZE, 0), blur, unsure))
    assert plan(situation(HAZE, attempts=(done,), best="a1")).calls == ()


def test_what_was_hinted_at_before_needs_less_certainty() -> None:
    (first,) = plan(situation(HAZE)).calls
    seen = RAIN.model_copy(update={"confidence": 0.55})
    done = attempt("a1", first, accepted=True, left=(gone(HAZE, 0), seen))
    assert plan(situation(HAZE, attempts=(done,), best="a1")).calls == ()
    hint = RAIN.model_copy(update={"value": 31, "confidence": 0.45})
    (second,) = plan(situation(HAZE, hint, attempts=(done,), best="a1")).calls
    assert second.kinds == (Kind.RAIN,)


def test_what_is_to_be_left_alone_stays_when_it_comes_to_light() -> None:
    """Even where it was hinted at before: somebody said to leave it."""
    (first,) = plan(situation(HAZE)).calls
    seen = RAIN.model_copy(update={"confidence": 0.55})
    done = attempt("a1", first, accepted=True, left=(gone(HAZE, 0), seen))
    hint = RAIN.model_copy(update={"value": 31, "confidence": 0.45})
    there = {"attempts": (done,), "best": "a1"}
    assert plan(situation(HAZE, hint, **there)).calls
    preset = load_preset("balanced")
    preset = preset.model_copy(update={"leave": (*preset.leave, Kind.RAIN)})
    assert not plan(situation(HAZE, hint, preset=preset, **there)).calls
