"""What is expected after cases, and whom a step tries for it."""

import pytest

from conservator.policies.attempt import Attempt
from conservator.policies.cases import Case, Condition, Seen, Step
from conservator.policies.experience import (
    SHIPPED,
    Expected,
    Experience,
    load_experience,
    shortlist,
    tallied,
)
from conservator.policies.planner import plan
from conservator.policies.preferences import Preferences
from conservator.policies.preset import load_preset
from conservator.policies.situation import Situation
from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind, Level

FILTER, NETWORK = (
    (Step("classical-dehaze", ((Kind.HAZE, 1.2),)),),
    (Step("llmra", ((Kind.HAZE, 1.2),)),),
)


def hazy(severity: float = 0.75, *more: Seen) -> Condition:
    return Condition((Seen(Kind.HAZE, severity, 0.9), *more), 320)


def cases(
    photos: int = 20, *, better: float = 2.0, error: float = 0.0, **seen: float
) -> list[Case]:
    """Photos of different luck, in all of which the filter gains `better` dB more than the network."""
    found = []
    for number in range(photos):
        condition, luck = hazy(**seen), 4.0 * (number % 5)
        found.append(Case(condition, FILTER, luck + better - 6, error))
        found.append(Case(condition, NETWORK, luck - 6, error))
    return found


def advantage(experience: Experience, condition: Condition) -> float:
    filtered, network = experience.expected(condition, [FILTER, NETWORK])
    return filtered.gain - network.gain


def test_what_gained_more_on_each_photo_is_expected_to_gain_more() -> None:
    filtered, network = Experience(cases()).expected(hazy(), [FILTER, NETWORK])
    # Gains differ by 16 dB from photo to photo and by 2 within each.
    assert filtered.gain - network.gain == pytest.approx(2.0, abs=0.5)
    assert (filtered.gain + network.gain) / 2 == pytest.approx(3.0, abs=0.5)
    assert filtered.cases == pytest.approx(20, abs=0.1)
    assert filtered.doubt < 0.6


def test_few_cases_say_little() -> None:
    many, few = Experience(cases(40)), Experience(cases(2))
    assert 0 < advantage(few, hazy()) < 0.6 * advantage(many, hazy())
    assert few.expected(hazy(), [FILTER])[0].doubt > many.expected(hazy(), [FILTER])[0].doubt


def test_a_case_counts_as_far_as_its_condition_is_like_this_one() -> None:
    experience = Experience(cases(6))
    far = hazy(0.2, Seen(Kind.NOISE, 1.0, 1.0), Seen(Kind.RAIN, 1.0, 1.0))
    near = hazy(0.65)
    assert advantage(experience, near) > 4 * advantage(experience, far) >= 0
    assert experience.expected(far, [FILTER])[0].cases < 0.5
    small = Condition(hazy().seen, 40)
    assert advantage(experience, small) < 0.2 * advantage(experience, hazy())


def test_the_nearer_of_two_contrary_experiences_counts() -> None:
    both = [*cases(15, better=3.0, severity=1.0), *cases(15, better=-3.0, severity=0.2)]
    experience = Experience(both)
    assert advantage(experience, hazy(1.0)) > 1
    assert advantage(experience, hazy(0.2)) < -1


def test_a_treatment_counts_as_far_as_it_asks_for_the_same() -> None:
    experience = Experience(cases())
    weak = (Step("classical-dehaze", ((Kind.HAZE, 0.3),)),)
    more = (Step("classical-dehaze", ((Kind.HAZE, 1.2), (Kind.NOISE, 30.0))),)
    counts = [one.cases for one in experience.expected(hazy(), [FILTER, weak, more])]
    assert counts[0] > 2 * counts[1]
    assert counts[0] > 5 * counts[2]


def test_an_estimated_gain_counts_for_less_than_a_true_one() -> None:
    true, told = Experience(cases(6)), Experience(cases(6, error=1.5))
    assert 0 < advantage(told, hazy()) < 0.8 * advantage(true, hazy())


def test_who_was_never_seen_is_expected_to_do_as_others_did() -> None:
    experience = Experience(cases())
    stranger = (Step("spire", ((Kind.HAZE, 1.2),)),)
    filtered, network, other = experience.expected(hazy(), [FILTER, NETWORK, stranger])
    assert network.gain < other.gain < filtered.gain
    assert other.cases == 0
    assert other.doubt > 2 * filtered.doubt


def test_runs_in_which_one_thing_was_tried_teach_too() -> None:
    single = [Case(hazy(), FILTER, 5.0) for _ in range(10)]
    single += [Case(hazy(), NETWORK, 1.0) for _ in range(10)]
    assert advantage(Experience(single), hazy()) > 0.5


def test_no_cases_no_difference() -> None:
    one, other = Experience([]).expected(hazy(), [FILTER, NETWORK])
    assert one == other
    assert one.gain == one.cases == 0


def expected(*pairs: tuple[float, float]) -> list[Expected]:
    return [Expected(gain, doubt, 10.0) for gain, doubt in pairs]


@pytest.mark.parametrize(
    ("pairs", "chosen"),
    [
        # The planner's first choice stays unless another is expected to gain clearly more.
        ([(3.0, 0.5), (3.2, 0.5)], (0, 1)),
        ([(3.0, 0.5), (3.4, 0.5)], (1, 0)),
        # A sure loser is left out, a doubtful one tried.
        ([(3.0, 0.1), (2.5, 0.1)], (0,)),
        ([(3.0, 0.1), (2.5, 0.8)], (0, 1)),
        # The likeliest rivals first, as many as there is room for.
        ([(3.0, 1.0), (2.2, 1.0), (2.8, 1.0), (2.5, 1.0)], (0, 2, 3)),
        ([(3.0, 0.5)], (0,)),
    ],
)
def test_whom_a_step_tries(pairs: list[tuple[float, float]], chosen: tuple[int, ...]) -> None:
    whole = [True] * len(pairs)
    assert shortlist(expected(*pairs), whole=whole, margin=0.3, doubt=1.0, count=3) == chosen


def test_a_step_among_several_is_tried_and_not_put_first() -> None:
    rivals = expected((3.0, 0.5), (5.0, 0.5), (4.0, 0.5))
    tried = shortlist(rivals, whole=[False, False, True], margin=0.3, doubt=1.0, count=3)
    assert tried == (2, 1)
    assert shortlist(rivals[:2], whole=[False, False], margin=0.3, doubt=1.0, count=3) == (0, 1)


def test_tallies() -> None:
    rain = Condition((Seen(Kind.RAIN, 0.5, 0.9), Seen(Kind.JPEG, 0.9, 0.3)), 320)
    tried = [*cases(4), Case(rain, NETWORK, 1.0, accepted=True), Case(rain, NETWORK, 2.0)]
    first, second, third = tallied(tried)
    assert (first.kinds, first.treatment, first.cases) == (
        (Kind.HAZE,),
        "classical-dehaze(haze)",
        4,
    )
    assert first.gain == pytest.approx(2.0)
    assert second.treatment == "llmra(haze)"
    assert (third.kinds, third.accepted, third.spread) == ((Kind.RAIN,), 1.0, 0.5)
    assert third.as_dict()["kinds"] == ["rain"]


def test_the_shipped_file_knows_what_the_table_does_not() -> None:
    experience = load_experience([SHIPPED])
    assert experience.cases > 4000
    assert SHIPPED.stat().st_size < 1_000_000
    dark = Condition((Seen(Kind.LOW_LIGHT, 0.9, 0.9),), 320)
    network, looking = experience.expected(
        dark,
        [
            (Step("llmra", ((Kind.LOW_LIGHT, 1.1),)),),
            (Step("classical-clahe", ((Kind.LOW_LIGHT, 1.1),)),),
        ],
    )
    assert network.cases > 3
    assert network.gain > 3
    assert abs(network.gain - looking.gain) < 6


def card(name: str) -> RestorerCard:
    """A restorer that needs no weights."""
    return RestorerCard(
        name=name, title=name, treats=(Kind.HAZE,), configurations={"compact": Configuration()}
    )


def situation(experience: Experience | None, **changes: object) -> Situation:
    """Haze, the network ranked before the filter, and a third that is last."""
    names = ("llmra", "classical-dehaze", "classical-gamma")
    table = Preferences(
        lead="llmra",
        gains={Kind.HAZE: {Level.HIGH: dict(zip(names, (5.0, 4.0, 3.0), strict=True))}},
    )
    finding = Finding(kind=Kind.HAZE, value=1.2, confidence=0.9, source="instrument")
    given = {
        "report": ConditionReport(findings=(finding,)),
        "preset": load_preset("balanced").model_copy(update={"candidates": 3}),
        "preferences": table,
        "cards": {name: card(name) for name in names},
        "experience": experience,
        "side": 320,
    }
    return Situation.model_validate(given | changes)


def planned(experience: Experience | None, **changes: object) -> list[str]:
    return [call.restorer for call in plan(situation(experience, **changes)).calls]


def test_experience_puts_first_what_gained_more_and_says_so() -> None:
    assert planned(None) == ["llmra", "classical-dehaze", "classical-gamma"]
    first, *_ = plan(situation(Experience(cases(40)))).calls
    assert first.restorer == "classical-dehaze"
    assert "experience expects +" in first.rationale
    assert "(40 cases)" in first.rationale


def test_a_small_advantage_leaves_the_planners_first_choice() -> None:
    assert planned(Experience(cases(40, better=0.2)))[0] == "llmra"


def test_experience_leaves_a_sure_loser_untried() -> None:
    lost = cases(60)
    worst = (Step("classical-gamma", ((Kind.HAZE, 1.2),)),)
    lost += [Case(case.condition, worst, case.gain - 5) for case in lost[::2]]
    calls = plan(situation(Experience(lost))).calls
    assert "classical-gamma" not in [call.restorer for call in calls]
    assert calls[0].rationale.endswith("untried")


def test_without_cases_like_it_the_order_stays() -> None:
    elsewhere = [
        Case(Condition((Seen(Kind.NOISE, 1.0, 1.0),)), case.steps, case.gain) for case in cases(40)
    ]
    assert planned(Experience(elsewhere)) == planned(None)
    assert planned(Experience([])) == planned(None)


def test_experience_is_of_first_steps_only() -> None:
    (first, *_) = plan(situation(None)).calls
    done = Attempt(id="a1", call=first, status="judged", treated={})
    later = {"attempts": (done,), "best": "a1"}
    plain = plan(situation(None, **later))
    assert plain.calls
    assert plan(situation(Experience(cases(40)), **later)) == plain
