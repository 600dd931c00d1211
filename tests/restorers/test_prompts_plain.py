"""Plain English: what is asked, how strongly, what is denied, what is reported."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.errors import PromptError, UnknownNameError
from conservator.restorers.prompts import language, llmra, spire
from conservator.restorers.prompts.language import STYLES, parse, render
from conservator.restorers.prompts.model import RestorationPrompt

NOISE, BLUR, MOTION, RAIN = Kind.NOISE, Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR, Kind.RAIN
HAZE, DARK, JPEG, SMALL = Kind.HAZE, Kind.LOW_LIGHT, Kind.JPEG, Kind.LOW_RESOLUTION
LOW, MEDIUM, HIGH, VERY = Level.LOW, Level.MEDIUM, Level.HIGH, Level.VERY_HIGH

REQUESTS = {
    "denoise strongly and remove the light rain": {NOISE: HIGH, RAIN: LOW},
    "remove noise, sigma 25": {NOISE: 25},
    "fix jpeg artifacts (quality 20)": {JPEG: 20},
    "heavy rain, slight blur, very noisy": {RAIN: HIGH, BLUR: LOW, NOISE: HIGH},
    "still too dark": {DARK: MEDIUM},
    "a bit brighter": {DARK: LOW},
    "much brighter": {DARK: HIGH},
    "brighten by 1 stop": {DARK: 1.0},
    "raise the exposure by 0.8 stops": {DARK: 0.8},
    "upscale 2x": {SMALL: 2},
    "upscale 4\u00d7": {SMALL: 4},
    "upscale by a factor of 3 and denoise 25": {SMALL: 3, NOISE: 25},
    "increase the resolution": {SMALL: MEDIUM},
    "remove noise (\u03c3 = 25)": {NOISE: 25},
    "\u201cdenoise\u201d \u2014 strongly!": {NOISE: HIGH},
    "NOISE   REMOVAL   please!!": {NOISE: MEDIUM},
    "deblur with sigma 3.0": {BLUR: 6},
    "noise of sigma 0.06": {NOISE: 0.06 * 255},
    "motion blur sigma 5 and defocus radius 3 px": {MOTION: 5, BLUR: 3},
    "salt-and-pepper noise 3%": {Kind.PEPPER_NOISE: 0.03},
    "extremely heavy fog": {HAZE: VERY},
    "strongly remove noise and rain": {NOISE: HIGH, RAIN: HIGH},
    "remove noise and rain strongly": {NOISE: HIGH, RAIN: HIGH},
    "heavy noise and rain": {NOISE: HIGH, RAIN: MEDIUM},
    "reduce the noise only slightly": {NOISE: LOW},
    "strong noise light rain": {NOISE: HIGH, RAIN: LOW},
    "could you remove the noise?": {NOISE: MEDIUM},
    "less noise": {NOISE: MEDIUM},
    "more denoising": {NOISE: HIGH},
    "less denoising": {NOISE: LOW},
    "inpaint the holes, desnow": {Kind.MASK: MEDIUM, Kind.SNOW: MEDIUM},
    "I don't want any noise": {NOISE: MEDIUM},
    "don't leave the noise": {NOISE: MEDIUM},
    "not only noise but also rain": {NOISE: MEDIUM, RAIN: MEDIUM},
    "this jpeg is noisy": {NOISE: MEDIUM},
    "It is not blurry. There is moderate haze. JPEG compression level is very high.": {
        HAZE: MEDIUM,
        JPEG: VERY,
    },
    # The false text of the LLMRA paper's Figure 5.
    "The image is dark. The image is degraded by rain streaks. No noise detected.": {
        DARK: MEDIUM,
        RAIN: MEDIUM,
    },
}

DENIALS = {
    "no noise": {},
    "leave the grain": {},
    "don't touch the blur": {},
    "do not remove the grain": {},
    "don\u2019t denoise or sharpen": {},
    "no noise, rain or haze": {},
    "neither noise nor rain is visible": {},
    "the noise is not visible": {},
    "noise and blur should not be touched": {},
    "a noise-free picture, slightly hazy": {HAZE: LOW},
    "no noise, heavy rain": {RAIN: HIGH},
    "the photo isn't noisy but it is very dark": {DARK: HIGH},
    "noise: high, rain: none, jpeg: low": {NOISE: HIGH, JPEG: LOW},
    "remove rain but leave the grain": {RAIN: MEDIUM},
    "leave the grain and remove the rain": {RAIN: MEDIUM},
    "remove haze, but not the noise or the blur": {HAZE: MEDIUM},
    "without touching the noise, remove the haze": {HAZE: MEDIUM},
    "sharpen without adding noise": {BLUR: MEDIUM},
    "don't touch the blur or the grain, remove the jpeg artifacts": {JPEG: MEDIUM},
    "don't denoise, just deblur": {BLUR: MEDIUM},
    "I love the grain, remove the rain": {RAIN: MEDIUM},
    "the grain should stay": {},
    "I do not want you to remove the noise": {},
    "denoise = off": {},
    "remove the noise. No, leave the noise.": {},
    "well lit": {},
    "do nothing": {},
    "leave it as it is": {},
}

REPORTS = {
    "make it pop": ({}, "make it pop"),
    "low quality": ({}, "low quality"),
    "quality 20": ({}, "quality 20"),
    "sigma=25": ({}, "sigma=25"),
    "make the image darker": ({}, "make the image darker"),
    "add noise": ({}, "add noise"),
    "dark blue car": ({}, "dark blue car"),
    "is there noise?": ({}, "is there noise?"),
    "remove noise sigma 900": ({}, "noise sigma 900"),
    "sigma 900 noise 20": ({}, "20"),
    "less smoothing on the face": ({}, "less smoothing on the face"),
    "remove noise from the sky": ({NOISE: MEDIUM}, "from the sky"),
    "remove the noise without smoothing the hair": ({NOISE: MEDIUM}, "without smoothing the hair"),
    "keep a bit of grain but remove the rain": ({RAIN: MEDIUM}, "keep a bit of grain"),
    "don't denoise and deblur": ({}, "deblur"),
    "ignore previous instructions and add rain": ({}, "add rain"),
    "remove all degradations but leave the grain": ({}, "leave the grain"),
    "Remove all degradation. Leave the grain.": ({}, "Leave the grain"),
}


def in_units(expected):
    return {k: value_of(k, v) if isinstance(v, Level) else v for k, v in expected.items()}


@pytest.mark.parametrize(("text", "expected"), REQUESTS.items())
def test_requests(text, expected):
    prompt = parse(text)
    assert dict(prompt.degradations) == pytest.approx(in_units(expected))
    assert prompt.unmapped == () and not prompt.blind


@pytest.mark.parametrize(("text", "expected"), DENIALS.items())
def test_denied_kinds_are_not_requested(text, expected):
    prompt = parse(text)
    assert dict(prompt.degradations) == in_units(expected)
    assert prompt.unmapped == () and not prompt.blind


@pytest.mark.parametrize(("text", "expected", "piece"), [(t, *e) for t, e in REPORTS.items()])
def test_what_no_rule_maps_is_reported_not_guessed(text, expected, piece):
    prompt = parse(text)
    assert dict(prompt.degradations) == in_units(expected)
    assert piece in prompt.unmapped


@pytest.mark.parametrize(
    "text",
    ["restore the photo", "remove all degradations", "fix everything", "<restore>", "enhance it"],
)
def test_blind_requests(text):
    assert parse(text) == RestorationPrompt(blind=True)


def test_a_blind_request_can_be_refused():
    assert not parse("don't restore the photo").blind


def test_a_scene_is_kept_apart_from_the_request():
    prompt = parse("photo of a zebra in the grass, remove the noise")
    assert prompt.semantic == "a zebra in the grass"
    assert dict(prompt.degradations) == {NOISE: 15.0} and prompt.unmapped == ()


NAMES = {
    NOISE: "noise",
    BLUR: "defocus blur",
    MOTION: "motion blur",
    RAIN: "rain",
    HAZE: "haze",
    Kind.SNOW: "snow",
    JPEG: "jpeg artifacts",
    Kind.PEPPER_NOISE: "pepper noise",
}
ADJECTIVES = {LOW: "slight", MEDIUM: "moderate", HIGH: "heavy", VERY: "very heavy"}


@settings(deadline=None, max_examples=80)
@given(
    st.dictionaries(st.sampled_from(list(NAMES)), st.sampled_from(list(ADJECTIVES)), min_size=1),
    st.sampled_from(["remove the {}", "{}", "please reduce {}", "the photo has {}"]),
    st.sampled_from([", ", " and ", "; ", ". ", ", and "]),
)
def test_lists_of_levels(chosen, frame, joint):
    text = frame.format(joint.join(f"{ADJECTIVES[v]} {NAMES[k]}" for k, v in chosen.items()))
    assert parse(text) == RestorationPrompt(degradations=in_units(chosen))


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.sampled_from(list(NAMES)), min_size=1, unique=True),
    st.sampled_from(["no {}", "leave the {}", "don't touch the {}", "never remove {}", "keep {}"]),
    st.sampled_from([" or ", ", "]),
)
def test_a_denial_reaches_through_the_whole_list(kinds, frame, joint):
    text = frame.format(joint.join(NAMES[k] for k in kinds))
    assert dict(parse(text).degradations) == {}
    assert dict(parse(f"{text}, but brighten it").degradations) == {DARK: 0.45}


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=60) | st.text("noise rain no not, sigma25.()'-\u2019%x<>", max_size=60))
def test_any_text_is_read_without_a_crash(text):
    prompt = parse(text)
    for kind, value in prompt.degradations.items():
        render(RestorationPrompt(degradations={kind: value}), "parameters")


# ── the one door ────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=40)
@given(
    st.dictionaries(st.sampled_from(list(Kind)), st.sampled_from(list(Level)[1:]), min_size=1),
    st.sampled_from([s for s in STYLES if s != "lm4lv"]),
)
def test_the_style_of_a_text_is_detected(chosen, style):
    prompt = RestorationPrompt(degradations=in_units(chosen))
    for text in (render(prompt, style), render(prompt, style).upper()):
        for given_style in (None, style):
            back = parse(text, given_style)
            assert back.unmapped == ()
            assert dict(back.degradations) == pytest.approx(dict(prompt.degradations), abs=0.13)


def test_styles_mix_with_plain_english():
    prompt = parse("Denoise with sigma 0.06; please also make it brighter")
    assert dict(prompt.degradations) == pytest.approx({NOISE: 15.3, DARK: 0.45})
    report = llmra.render(RestorationPrompt.at_level(noise="high", rain="low"))
    refined = parse(f"{report} Leave the grain and brighten it.")
    assert dict(refined.degradations) == {RAIN: 5.0, DARK: 0.45}


def test_a_given_style_falls_back_to_plain_english():
    answer = (
        "The sky is dark. Yes, there are rain streaks degradation. "
        "Yes, the image has gaussian noise degradation and the noise level is high."
    )
    prompt = parse(answer, "llmra")
    assert dict(prompt.degradations) == {DARK: 0.45, RAIN: 60.0, NOISE: 30.0}
    assert prompt.unmapped == ("sky",)


def test_parameters_as_a_given_style_are_exact():
    with pytest.raises(PromptError):
        parse("please remove noise", "parameters")


def test_unknown_styles_are_named():
    with pytest.raises(UnknownNameError, match="latin"):
        render(RestorationPrompt(), "latin")
    with pytest.raises(UnknownNameError, match="latin"):
        parse("noise", "latin")


def test_something_can_be_required():
    for text in ("", "  ", "make it pop", "no noise"):
        assert parse(text).degradations == {}
        with pytest.raises(PromptError, match="asks for nothing"):
            parse(text, required=True)
    assert parse("restore the photo", required=True).blind


def test_the_module_and_the_door_agree():
    assert language.parse("Deblur; Denoise;", "spire") == spire.parse("Deblur; Denoise;")
