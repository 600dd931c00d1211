"""What users say about a result, and what becomes of the prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conservator.policies.comments import read_comment
from conservator.policies.refinement import Change, refined
from conservator.restorers.degradations.vocabulary import (
    ConditionReport,
    Finding,
    Kind,
    severity_of,
)
from conservator.restorers.prompts.amounts import checked
from conservator.restorers.prompts.model import RestorationPrompt

PROMPT = RestorationPrompt(
    degradations={Kind.NOISE: 25, Kind.LOW_LIGHT: 0.5, Kind.JPEG: 30}, semantic="a cat"
)
SMOOTH = {"noise": "less"}
ALL_LESS = {"noise": "less", "low_light": "less", "jpeg": "less"}
ALL_MORE = dict.fromkeys(ALL_LESS, "more")

SAID: dict[str, dict[str, str]] = {
    "still too dark": {"low_light": "more"},
    "make it a bit brighter": {"low_light": "more"},
    "not bright enough": {"low_light": "more"},
    "more light, please": {"low_light": "more"},
    "it's much too bright now": {"low_light": "less"},
    "it is overexposed": {"low_light": "less"},
    "undo the brightening": {"low_light": "off"},
    "you removed the film grain": {"noise": "off"},
    "keep the grain": {"noise": "off"},
    "I liked the grain": {"noise": "off"},
    "the grain is gone": {"noise": "off"},
    "don't remove the grain": {"noise": "off"},
    "bring back some grain": {"noise": "less"},
    "more grain": {"noise": "less"},
    "remove more noise": {"noise": "more"},
    "less noise": {"noise": "more"},
    "still noisy": {"noise": "more"},
    "too much noise left": {"noise": "more"},
    "more denoising": {"noise": "more"},
    "less denoising": {"noise": "less"},
    "no denoising": {"noise": "off"},
    "less smoothing": SMOOTH,
    "less smoothing on the face": SMOOTH,
    "it looks like plastic": SMOOTH,
    "you lost the fine details": SMOOTH,
    "don't smooth it so much": SMOOTH,
    "more texture": SMOOTH,
    "still blocky": {"jpeg": "more"},
    "I can still see JPEG artifacts": {"jpeg": "more"},
    "not sharp enough": {"defocus_blur": "add"},
    "it is still a little blurry": {"defocus_blur": "add"},
    "too sharp": {"defocus_blur": "less"},
    "halos around the edges": {"defocus_blur": "less"},
    "remove the haze as well": {"haze": "add"},
    "it was not hazy": {"haze": "off"},
    "too much contrast": {"haze": "less"},
    "please remove the rain, but keep the grain": {"rain": "add", "noise": "off"},
    "the black dots are still there": {"pepper_noise": "add"},
    "leave the snow": {"snow": "off"},
    "too strong": ALL_LESS,
    "overdone, tone it down": ALL_LESS,
    "weaker": ALL_LESS,
    "stronger": ALL_MORE,
    "not enough": ALL_MORE,
    "I see no difference": ALL_MORE,
    "perfect": {},
    "what is the weather like": {},
    "delete all my files": {},
}


@pytest.mark.parametrize("sentence", SAID)
def test_common_phrases(sentence: str) -> None:
    comment = read_comment(sentence, PROMPT)
    assert {kind.value: change for kind, change in comment.changes.items()} == SAID[sentence]


def test_what_is_not_understood_is_said() -> None:
    assert read_comment("delete all my files", PROMPT).unmapped == ("delete all my files",)
    assert read_comment("less smoothing on the face", PROMPT).unmapped == ("on the face",)
    assert read_comment("perfect, but a little less smoothing", PROMPT).unmapped == ()


def test_blur_is_the_one_that_is_treated() -> None:
    moving = RestorationPrompt(degradations={Kind.MOTION_BLUR: 3})
    assert read_comment("not sharp enough", moving).changes == {Kind.MOTION_BLUR: "more"}


@pytest.mark.parametrize(
    ("words", "amount"),
    [("brighter", 1.0), ("a bit brighter", 0.5), ("slightly brighter", 0.5), ("a lot brighter", 2)],
)
def test_amounts(words: str, amount: float) -> None:
    assert read_comment(words, PROMPT).amount == amount


def test_changes_by_hand() -> None:
    changes: dict[Kind, Change] = {
        Kind.NOISE: "less",
        Kind.JPEG: "off",
        Kind.LOW_LIGHT: "more",
        Kind.RAIN: "add",
        Kind.SNOW: "less",
    }
    after = refined(PROMPT, changes)
    # Noise 25 is at severity 2.667 / 4; 0.2 less is 1.867 / 4, so 15 - 0.133 * 11.
    assert after.degradations[Kind.NOISE] == pytest.approx(13.53, abs=0.01)
    assert after.degradations[Kind.LOW_LIGHT] > 0.5
    assert after.degradations[Kind.RAIN] == 60
    assert set(after.degradations) == {Kind.NOISE, Kind.LOW_LIGHT, Kind.RAIN}
    assert after.semantic == "a cat"


def test_added_kinds_take_the_measured_strength() -> None:
    report = ConditionReport(
        findings=(Finding(kind=Kind.HAZE, value=1.1, confidence=0.3, source="instrument"),)
    )
    assert refined(PROMPT, {Kind.HAZE: "add"}, report).degradations[Kind.HAZE] == 1.1
    assert refined(PROMPT, {Kind.HAZE: "more"}, report).degradations[Kind.HAZE] == 1.1


def test_a_blind_prompt_becomes_a_list_before_it_excepts() -> None:
    report = ConditionReport(
        findings=(
            Finding(kind=Kind.NOISE, value=25, confidence=0.9, source="instrument"),
            Finding(kind=Kind.RAIN, value=60, confidence=0.9, source="instrument"),
        )
    )
    after = refined(RestorationPrompt(blind=True), {Kind.NOISE: "off"}, report)
    assert (after.blind, after.degradations) == (False, {Kind.RAIN: 60})


@given(
    kind=st.sampled_from(list(Kind)),
    severity=st.floats(0.1, 1),
    change=st.sampled_from(["more", "less", "off", "add"]),
    amount=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_strengths_stay_possible_and_move_the_right_way(
    kind: Kind, severity: float, change: Change, amount: float
) -> None:
    from conservator.restorers.degradations.vocabulary import PARAMETERS, value_at

    value = value_at(kind, severity)
    prompt = RestorationPrompt(degradations={kind: value})
    after = refined(prompt, {kind: change}, amount=amount).degradations.get(kind)
    if change == "off":
        assert after is None
        return
    if change == "less":
        assert after is None or severity_of(kind, after) < severity_of(kind, value)
        return
    assert after is not None
    checked(kind, after)
    rising = PARAMETERS[kind].rising
    assert after >= value - 1e-3 if rising else after <= value + 1e-3


def test_bokeh_and_half_a_stop() -> None:
    assert read_comment("keep the bokeh", PROMPT).changes == {Kind.DEFOCUS_BLUR: "off"}
    assert read_comment("brighten by half a stop", PROMPT).changes == {Kind.LOW_LIGHT: "more"}
    assert set(read_comment("not so strong", PROMPT).changes.values()) == {"less"}
    assert read_comment("remove the light rain", PROMPT).changes == {Kind.RAIN: "add"}
    assert read_comment("keep the light as it is", PROMPT).changes == {}


def test_more_and_less_beyond_the_ladder_are_each_other_s_reverse() -> None:
    bright = RestorationPrompt(degradations={Kind.LOW_LIGHT: 1.1})
    more = refined(bright, {Kind.LOW_LIGHT: "more"})
    assert more.degradations[Kind.LOW_LIGHT] > 1.3
    back = refined(more, {Kind.LOW_LIGHT: "less"})
    assert back.degradations[Kind.LOW_LIGHT] == pytest.approx(1.1, abs=0.01)
