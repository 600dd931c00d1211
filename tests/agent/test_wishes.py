"""What a person said, worked into plans."""

import pytest

from conservator.agent.dialogue.tree import Wish
from conservator.agent.wishes import Said, as_said, as_wished, planned_as_said
from conservator.policies.attempt import Attempt, ToolCall
from conservator.policies.planner import plan
from conservator.policies.preferences import Preferences
from conservator.policies.preset import load_preset
from conservator.policies.situation import Situation
from conservator.policies.targets import parse_targets
from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind, Level
from conservator.restorers.prompts.model import RestorationPrompt

NOISE, JPEG = (
    Finding(kind=kind, value=value, confidence=0.9, source="instrument")
    for kind, value in ((Kind.NOISE, 30.0), (Kind.JPEG, 20.0))
)


def card(name: str, *kinds: Kind, **facts) -> RestorerCard:
    sizes = {"compact": Configuration()}
    return RestorerCard(name=name, title=name, treats=kinds, configurations=sizes, **facts)


CARDS = {
    one.name: one
    for one in (
        card("denoiser", Kind.NOISE),
        card("smoother", Kind.NOISE, understands_strength=False),
        card("looker", Kind.NOISE, Kind.JPEG, prompt_style="mofe", looks=True),
        card("brightener", Kind.LOW_LIGHT),
    )
}


def situation(**changes) -> Situation:
    given = {
        "report": ConditionReport(findings=(NOISE, JPEG)),
        "preset": load_preset("balanced"),
        "preferences": Preferences(lead="looker", gains={}),
        "cards": CARDS,
    }
    return Situation(**{**given, **changes})


def call(restorer: str, blind: bool = False, **strengths: float) -> ToolCall:
    asked = {Kind(name): value for name, value in strengths.items()}
    return ToolCall(
        restorer=restorer, prompt=RestorationPrompt(degradations=asked, blind=blind), trial="so far"
    )


def less(dose: float = -0.2, since: int = 0) -> Said:
    wish = Wish(changes={Kind.NOISE: "less"}, doses={Kind.NOISE: dose})
    return Said(words="less denoising", wishes=(wish,), since=since)


KEEP = Said(words="keep the grain", wishes=(Wish(changes={Kind.NOISE: "off"}),))
GIVEN = Said(words="noise sigma 12", wishes=(Wish(values={Kind.NOISE: 12.0}),))
DARK = Said(
    words="too dark",
    wishes=(Wish(changes={Kind.LOW_LIGHT: "add"}, doses={Kind.LOW_LIGHT: 0.5}),),
    fresh={Kind.LOW_LIGHT: 1.0},
)


def noise_of(one: ToolCall | None) -> float | None:
    return None if one is None else one.prompt.degradations.get(Kind.NOISE)


def test_a_strength_moves_and_the_call_is_the_users() -> None:
    new = as_wished(call("denoiser", noise=30), (less(),), situation())
    assert new is not None
    assert noise_of(new) < 30
    assert (new.decided_by, new.trial) == ("user", "")
    assert new.rationale.endswith("as you said: less denoising")
    assert noise_of(as_wished(call("denoiser", noise=30), (GIVEN,), situation())) == 12


def test_a_restorer_that_ignores_strengths_is_mixed_with_its_source() -> None:
    new = as_wished(call("smoother", noise=30), (less(),), situation())
    assert new is not None
    assert (new.blend, noise_of(new)) == (0.8, 30)
    assert as_wished(call("smoother", noise=30), (less(-0.99),), situation()) is None


def test_what_is_no_longer_asked_for_falls_away() -> None:
    assert as_wished(call("denoiser", noise=30), (KEEP,), situation()) is None
    both = as_wished(call("looker", noise=30, jpeg=20), (KEEP,), situation())
    assert both is not None and both.kinds == (Kind.JPEG,)
    other = call("brightener", low_light=1.0)
    assert as_wished(other, (KEEP, less()), situation()) is other


def test_a_restorer_that_looks_for_itself_is_told_what_to_do_where_something_is_to_be_kept() -> (
    None
):
    after = as_said(situation(), (KEEP,))
    (kept,), notes = planned_as_said((call("looker", blind=True, jpeg=20),), after, (KEEP,))
    assert (kept.kinds, kept.prompt.blind, notes) == ((Kind.JPEG,), False, ())
    (free,), _ = planned_as_said((call("looker", blind=True),), situation(), ())
    assert free.prompt.blind


def test_words_count_for_calls_planned_after_them_once() -> None:
    first = call("denoiser", noise=30)
    tried = Attempt(id="a1", call=first, status="judged")
    stronger = call("denoiser", noise=36)
    state = situation(attempts=(tried,))
    # Said before the attempt: its strength has the words in it, and so has what is derived from it.
    (same,), _ = planned_as_said((stronger,), state, (less(since=0),))
    assert noise_of(same) == 36
    (moved,), _ = planned_as_said((stronger,), state, (less(since=1),))
    assert noise_of(moved) < 36


def test_the_last_word_on_a_kind_counts() -> None:
    again = Said(
        words="remove the noise",
        wishes=(Wish(changes={Kind.NOISE: "add"}, doses={Kind.NOISE: 0.6}),),
        fresh={Kind.NOISE: 25.0},
    )
    said = (less(), KEEP, again)
    after = as_said(situation(), said)
    assert Kind.NOISE not in after.preset.leave and not after.spared
    (planned,), _ = planned_as_said((call("denoiser", noise=25),), after, said)
    assert noise_of(planned) == 25
    back = as_said(situation(), (*said, KEEP))
    assert planned_as_said((call("denoiser", noise=25),), back, (*said, KEEP)) == ((), ())


def test_a_change_that_the_policy_refuses_is_not_made() -> None:
    (kept,), (note,) = planned_as_said((call("denoiser", noise=30),), situation(), (less(0.9),))
    assert noise_of(kept) == 30
    assert "far beyond" in note


def test_what_the_planner_sees() -> None:
    plain = situation(targets=parse_targets("noise<=low,jpeg<=low", metrics=()))
    assert as_said(plain, ()) is plain
    kept = as_said(plain, (KEEP,))
    assert Kind.NOISE in kept.preset.leave and kept.spared == {Kind.NOISE}
    assert [target.name for target in kept.targets] == ["jpeg"]
    assert all(Kind.NOISE not in one.kinds for one in plan(kept).calls)
    dark = as_said(plain, (DARK,))
    seen = dark.report.finding(Kind.LOW_LIGHT)
    assert seen == Finding(kind=Kind.LOW_LIGHT, value=1.0, confidence=1.0, source="user")
    assert dark.settled == {Kind.LOW_LIGHT}
    assert dark.preset.acts_on(seen)


@pytest.mark.parametrize("level", [Level.HIGH, Level.VERY_HIGH])
def test_a_kind_asked_for_in_words_needs_no_level(level: Level) -> None:
    cautious = load_preset("archival").model_copy(update={"level": {Kind.LOW_LIGHT: level}})
    dark = as_said(situation(preset=cautious), (DARK,))
    seen = dark.report.finding(Kind.LOW_LIGHT)
    assert seen is not None and dark.preset.acts_on(seen)
