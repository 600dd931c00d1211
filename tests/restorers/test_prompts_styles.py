"""Every style renders and reads back, up to the precision that its module states."""

import random
import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, Level, value_of
from conservator.restorers.errors import PromptError
from conservator.restorers.prompts import llmra, lm4lv, mofe, parameters, spire
from conservator.restorers.prompts.amounts import DOMAINS
from conservator.restorers.prompts.model import RestorationPrompt

quick = settings(deadline=None, max_examples=60)


@st.composite
def strengths(draw, kinds=tuple(Kind), exact=False):
    chosen = draw(st.sets(st.sampled_from(kinds)))
    found = {}
    for kind in chosen:
        low, high = DOMAINS[kind]
        value = draw(st.floats(low, high))
        found[kind] = value if exact else round(value, PARAMETERS[kind].decimals)
    return found


def prompts(**options):
    return st.builds(
        lambda d, b: RestorationPrompt(degradations=d, blind=b), strengths(**options), st.booleans()
    )


levels = st.dictionaries(st.sampled_from(list(Kind)), st.sampled_from(list(Level)[1:])).map(
    lambda chosen: RestorationPrompt(degradations={k: value_of(k, v) for k, v in chosen.items()})
)


def without_identity(prompt):
    kept = {k: v for k, v in prompt.degradations.items() if v != PARAMETERS[k].identity}
    return RestorationPrompt(degradations=kept, blind=prompt.blind)


def disturbed(text, seed, separator):
    """The same text with its statements shuffled and case, spaces, quotes and full stops changed."""
    rng = random.Random(seed)
    pieces = [p.strip() for p in re.split(separator, text) if p.strip()]
    rng.shuffle(pieces)
    pieces = [rng.choice([str.upper, str.lower, str.title])(p) for p in pieces]
    pieces = [p.replace(" ", rng.choice([" ", "  ", "\t", "\u00a0"])) for p in pieces]
    pieces = [rng.choice(["{}", "\u201c{}\u201d", " {} ", "'{}'"]).format(p) for p in pieces]
    return rng.choice(["; ", "\n", ";;\n "]).join(pieces)


# ── LLMRA ───────────────────────────────────────────────────────────────────


def test_llmra_writes_the_papers_sentences():
    prompt = RestorationPrompt.at_level(noise="high")
    assert llmra.render(prompt, numbers=False) == (
        "The image is well lit. No rain streaks detected. "
        "The image has gaussian noise degradation and the noise level is high."
    )
    assert llmra.render(RestorationPrompt()) == (
        "The image is well lit. No rain streaks detected. No noise detected."
    )
    assert llmra.render(RestorationPrompt(blind=True)) == "Remove all degradation."


def test_llmra_orders_the_three_questions_first_then_the_vocabulary():
    prompt = RestorationPrompt.at_level(
        jpeg="low", noise="low", rain="low", low_light="low", haze="low"
    )
    text = llmra.render(prompt)
    words = ["dark and", "Rain", "gaussian", "Haze", "jpeg"]
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert "(0.20 stops)" in text and "(value 5)" in text and "(sigma 4.0)" in text


@quick
@given(prompts())
def test_llmra_round_trip(prompt):
    assert llmra.parse(llmra.render(prompt)) == without_identity(prompt)


@quick
@given(prompts(exact=True))
def test_llmra_round_trip_keeps_every_value_to_its_decimals(prompt):
    back = llmra.parse(llmra.render(prompt)).degradations
    for kind, value in prompt.degradations.items():
        half = 0.51 * 10 ** -PARAMETERS[kind].decimals
        assert abs(back.get(kind, PARAMETERS[kind].identity) - value) <= half


@quick
@given(levels)
def test_llmra_round_trip_without_numbers_gives_the_anchor(prompt):
    assert llmra.parse(llmra.render(prompt, numbers=False)) == prompt


@quick
@given(prompts(), st.integers(0, 10**6))
def test_llmra_tolerates_order_case_space_and_punctuation(prompt, seed):
    text = disturbed(llmra.render(prompt), seed, r"\.(?!\d)")
    assert llmra.parse(text) == without_identity(prompt)


def test_llmra_reports_what_it_cannot_read():
    prompt = llmra.parse("No noise detected. A cat sits on the roof. Haze detected (beta 99).")
    assert prompt == RestorationPrompt(
        unmapped=("A cat sits on the roof", "Haze detected (beta 99)")
    )


@pytest.mark.parametrize("count", [1, 2, 3])
def test_llmra_stays_short_enough_for_clip(count):
    longest = 0
    for chosen in combinations(Kind, count):
        worst = {kind: max(value_of(kind, Level.VERY_HIGH), 10.0) for kind in chosen}
        worst = {kind: min(value, DOMAINS[kind][1]) for kind, value in worst.items()}
        text = llmra.render(RestorationPrompt(degradations=worst))
        longest = max(longest, len(llmra.tokenise(text)))
    assert longest + 2 <= 77


@quick
@given(prompts(exact=True))
def test_llmra_vocabulary_holds_every_word_it_writes(prompt):
    for numbers in (True, False):
        assert set(llmra.tokenise(llmra.render(prompt, numbers=numbers))) <= set(llmra.VOCABULARY)


def test_llmra_vocabulary_is_a_set_of_single_tokens():
    assert len(set(llmra.VOCABULARY)) == len(llmra.VOCABULARY)
    assert all(llmra.tokenise(word) == [word] for word in llmra.VOCABULARY)
    # Weights index it by position, so the beginning may never change.
    assert llmra.VOCABULARY[:6] == (".", ",", "(", ")", "0", "1")


def test_tokenise_splits_digits_and_marks_and_folds_quotes():
    assert llmra.tokenise("Sigma 30.5, DON\u2019T (now)") == [
        *["sigma", "3", "0", ".", "5", ",", "don't", "(", "now", ")"]
    ]


# ── SPIRE ───────────────────────────────────────────────────────────────────


def test_spire_writes_the_papers_instructions():
    prompt = RestorationPrompt(
        degradations={
            Kind.DEFOCUS_BLUR: 6.0,
            Kind.LOW_RESOLUTION: 4.0,
            Kind.NOISE: 0.06 * 255,
            Kind.JPEG: 20,
        }
    )
    assert spire.render(prompt) == (
        "Deblur with sigma 3.0; Upsample to 4.0x; Denoise with sigma 0.06; Dejpeg with quality 20;"
    )
    assert spire.render(prompt, numbers=False) == "Deblur; Upsample; Denoise; Dejpeg;"
    assert spire.render(RestorationPrompt(blind=True)) == "Remove all degradation"
    assert spire.render(RestorationPrompt()) == ""


def test_spire_reads_the_papers_examples():
    assert spire.parse("deblur with sigma 3.0").degradations == {Kind.DEFOCUS_BLUR: 6.0}
    assert spire.parse("Deblur 0.6").degradations == {Kind.DEFOCUS_BLUR: 1.2}
    assert spire.parse("Denoise with sigma 0.24;").degradations == {Kind.NOISE: 61.2}
    assert spire.parse("Denoise").degradations == {Kind.NOISE: 15.0}
    assert spire.parse("remove all degradations").blind


def test_spire_reads_a_noise_sigma_above_one_as_of_255():
    assert spire.parse("Denoise with sigma 25").degradations == {Kind.NOISE: 25.0}


@quick
@given(prompts(exact=True))
def test_spire_round_trip_to_its_precision(prompt):
    back = spire.parse(spire.render(prompt))
    assert back.blind == prompt.blind and not back.unmapped
    for kind, value in prompt.degradations.items():
        half = {Kind.NOISE: 0.0005 * 255, Kind.DEFOCUS_BLUR: 0.001}.get(
            kind, 0.5 * 10 ** -PARAMETERS[kind].decimals
        )
        assert abs(back.degradations.get(kind, PARAMETERS[kind].identity) - value) <= 1.02 * half


@quick
@given(prompts(kinds=tuple(k for k in Kind if k is not Kind.NOISE)), st.integers(0, 10**6))
def test_spire_tolerates_order_case_space_and_punctuation(prompt, seed):
    assert spire.parse(disturbed(spire.render(prompt), seed, ";")) == without_identity(prompt)


def test_spire_stronger_number_means_stronger_request():
    texts = [f"Denoise with sigma {s};" for s in (0.06, 0.12, 0.24)]
    values = [spire.parse(text).degradations[Kind.NOISE] for text in texts]
    assert values == sorted(values) and values[2] == pytest.approx(4 * values[0])


# ── MoFE-IR ─────────────────────────────────────────────────────────────────


def test_mofe_asks_and_answers():
    prompt = RestorationPrompt(degradations={Kind.NOISE: 30, Kind.RAIN: 5})
    assert mofe.render(prompt) == (
        "What kinds of degradation in this image? "
        "high gaussian noise (sigma 30.0), low rain (value 5)."
    )
    assert mofe.render(RestorationPrompt(blind=True)) == mofe.QUESTION
    assert mofe.parse(mofe.QUESTION).blind
    assert mofe.parse("noise, haze and low light") == RestorationPrompt.at_level(
        noise="medium", haze="medium", low_light="medium"
    )


@quick
@given(prompts())
def test_mofe_round_trip(prompt):
    expected = without_identity(prompt)
    assert mofe.parse(mofe.render(prompt)) == expected


@quick
@given(levels)
def test_mofe_round_trip_without_numbers(prompt):
    assert mofe.parse(mofe.render(prompt, numbers=False)) == prompt


# ── LM4LV ───────────────────────────────────────────────────────────────────


@quick
@given(st.sets(st.sampled_from(list(lm4lv.TASKS.values()))))
def test_lm4lv_round_trip_of_the_kinds(kinds):
    prompt = RestorationPrompt(degradations={k: value_of(k, Level.MEDIUM) for k in kinds})
    text = lm4lv.render(prompt)
    assert lm4lv.parse(text) == prompt
    assert lm4lv.parse(lm4lv.SEQUENCE.format(task=text.upper())) == prompt


def test_lm4lv_merges_both_blurs_into_one_task():
    both = RestorationPrompt.at_level(motion_blur="high", defocus_blur="high")
    assert lm4lv.render(both) == "<deblur>"


def test_lm4lv_knows_no_probes_and_no_other_kinds():
    assert lm4lv.parse("<rotate><denoise> now").unmapped == ("<rotate>", "now")
    with pytest.raises(PromptError, match="haze"):
        lm4lv.render(RestorationPrompt.at_level(haze="high"))
    with pytest.raises(PromptError, match="blind"):
        lm4lv.render(RestorationPrompt(blind=True))


# ── parameters ──────────────────────────────────────────────────────────────


@quick
@given(prompts(exact=True))
def test_parameters_round_trip_is_exact(prompt):
    assert parameters.parse(parameters.render(prompt)) == without_identity(prompt)


def test_parameters_short_forms():
    expected = RestorationPrompt(degradations={Kind.NOISE: 30, Kind.JPEG: 20})
    for text in (
        "noise:sigma=30+jpeg:quality=20",
        " JPEG : Quality = 20 , Noise : sigma = 30",
        "noise:high+jpeg:20",
        "noise:level=high;jpeg:high",
    ):
        assert parameters.parse(text) == expected
    assert parameters.parse("low-light").degradations == {Kind.LOW_LIGHT: 0.45}
    assert parameters.parse("blind") == RestorationPrompt(blind=True)
    assert parameters.parse("noise:4+blind").blind


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nois:sigma=25", "nois"),
        ("noise:radius=25", "radius"),
        ("noise:sigma=many", "many"),
        ("noise:sigma=-5", "-5"),
        ("noise:sigma=nan", "nan"),
        ("jpeg:quality=0", "quality=0"),
        ("noise:sigma=", "noise:sigma="),
        ("noise++jpeg", "noise++jpeg"),
        ("noise+noise", "twice"),
        ("", "empty"),
        ("noise:sigma=25+", "empty"),
    ],
)
def test_parameters_say_what_is_wrong(text, named):
    with pytest.raises(PromptError, match=re.escape(named)):
        parameters.parse(text)


@pytest.mark.parametrize("module", [llmra, spire, mofe, parameters])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e9])
def test_impossible_strengths_are_refused(module, value):
    with pytest.raises(PromptError, match="noise"):
        module.render(RestorationPrompt(degradations={Kind.NOISE: value}))


@quick
@given(st.text(max_size=80))
def test_styles_never_crash_on_any_text(text):
    for module in (llmra, spire, mofe, lm4lv):
        module.parse(text)
    try:
        parameters.parse(text)
    except PromptError as error:
        assert "\n" not in str(error) or "\n" in text
