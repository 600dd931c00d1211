"""LLMRA's language: three answered questions, then one sentence for each further degradation.

The paper (arXiv 2401.11401, section 3.1) asks an MLLM about lighting, rain streaks and Gaussian noise and encodes
the answers: "The image is well lit. No rain streaks detected. The image has gaussian noise degradation and the noise
level is high." Ours is the same language with two extensions: the measured parameter in parentheses, so that the
strength can be asked for with a number, and a sentence in the same manner for each of the vocabulary's other kinds.

Precision of the round trip: with numbers the parameter's own decimals (`PARAMETERS[kind].decimals`), without numbers
the anchor of the level. `semantic` and `unmapped` have no place in this language and are dropped. A value that
rounds to "nothing wrong" renders as the negative answer, so it reads back as a kind that is not named.

Up to three degradations stay within 75 tokens of `tokenise`, below CLIP's 77 with its start and end tokens.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Kind,
    Level,
    level_of,
)
from conservator.restorers.prompts.amounts import rounded, written
from conservator.restorers.prompts.claims import claimed, stated
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["BLIND", "VOCABULARY", "parse", "render", "tokenise"]

BLIND = "Remove all degradation."


@dataclass(frozen=True)
class _Sentence:
    """How one kind is said: `claim` and the <noun> is <level>."""

    claim: str
    noun: str
    denial: str | None = None


_SENTENCES: dict[Kind, _Sentence] = {
    Kind.LOW_LIGHT: _Sentence("The image is dark", "darkness level", "The image is well lit."),
    Kind.RAIN: _Sentence("Rain streaks detected", "rain level", "No rain streaks detected."),
    Kind.NOISE: _Sentence(
        "The image has gaussian noise degradation", "noise level", "No noise detected."
    ),
    Kind.DEFOCUS_BLUR: _Sentence("The image has defocus blur", "blur level"),
    Kind.MOTION_BLUR: _Sentence("The image has motion blur", "motion level"),
    Kind.HAZE: _Sentence("Haze detected", "haze level"),
    Kind.SNOW: _Sentence("Snow detected", "snow level"),
    Kind.JPEG: _Sentence("The image has jpeg compression artifacts", "compression level"),
    Kind.LOW_RESOLUTION: _Sentence("The image has low resolution", "resolution loss"),
    Kind.PEPPER_NOISE: _Sentence("Pepper noise detected", "pepper level"),
    Kind.MASK: _Sentence("Missing areas detected", "missing level"),
}
"""In the order of rendering: the paper's three questions, then the vocabulary's order."""


def _number(kind: Kind, value: float) -> str:
    text = written(kind, value)
    # The unit reads better behind a number of stops, and costs the same.
    return f"({text} stops)" if kind is Kind.LOW_LIGHT else f"({PARAMETERS[kind].name} {text})"


def render(prompt: RestorationPrompt, *, numbers: bool = True) -> str:
    """Write a prompt as LLMRA sentences.

    Args:
        prompt: what to undo; `semantic` and `unmapped` are not rendered.
        numbers: write the parameter in parentheses; False gives the paper's own form, levels only.

    Returns:
        The answers on lighting, rain and noise, always, then a sentence for each further kind; `BLIND` alone for a
        blind prompt that names nothing, at the end for one that does.

    Raises:
        PromptError: a strength that is physically impossible.
    """
    sentences = []
    for kind, sentence in _SENTENCES.items():
        value = prompt.degradations.get(kind)
        level = Level.ABSENT if value is None else level_of(kind, value)
        # With its number a strength below the first level is still said, so that a knob has no dead zone.
        named = value is not None and (
            rounded(kind, value) != PARAMETERS[kind].identity if numbers else level > Level.ABSENT
        )
        if value is None or not named:
            if sentence.denial is not None:
                sentences.append(sentence.denial)
            continue
        number = f" {_number(kind, value)}" if numbers else ""
        label = max(level, Level.LOW).label
        sentences.append(f"{sentence.claim} and the {sentence.noun} is {label}{number}.")
    if prompt.blind:
        return BLIND if not prompt.degradations else " ".join([*sentences, BLIND])
    return " ".join(sentences)


_LEVELS = "very high|high|medium|moderate|low"
_NUMBER = r"\d+(?:\.\d*)?|\.\d+"


def _claim_pattern(kind: Kind, sentence: _Sentence) -> re.Pattern[str]:
    claim = sentence.claim.lower()
    noun = sentence.noun
    name = PARAMETERS[kind].name
    number = rf"(?:{name} (?:of )?)?(?P<number>{_NUMBER})(?: stops)?"
    return re.compile(
        rf"{claim}(?: and)?(?: (?:the )?{noun} is(?: (?P<level>{_LEVELS}))?)?(?: {number})?"
    )


_CLAIMS = {kind: _claim_pattern(kind, sentence) for kind, sentence in _SENTENCES.items()}
_DENIALS = re.compile(
    r"(?:the )?image is (?:well|brightly|evenly) lit"
    r"|no (?:rain|rain streaks?|(?:gaussian )?noise|haze|snow|defocus blur|motion blur|blur"
    r"|(?:jpeg )?(?:compression )?artifacts|pepper noise|missing areas|degradation)"
    r"(?: (?:is|are|was|were))?(?: (?:detected|present|visible|found))?"
)
_BLIND = re.compile(r"remove all (?:the )?degradations?")


def _folded(text: str) -> str:
    """Lower case, plain ASCII punctuation, no parentheses, single spaces."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"[^\w\s.;!?]|_", " ", text)
    return " ".join(text.split())


def parse(text: str) -> RestorationPrompt:
    """Read LLMRA sentences back, in any order, case and punctuation.

    A sentence without a number gives the anchor of its level; without a level, *medium*. What is not this language
    goes to `unmapped`.
    """
    strengths: dict[Kind, float] = {}
    blind = False
    unmapped = []
    for raw in re.split(r"(?:(?<!\d)\.|\.(?!\d)|[;!?\n])+", text):
        sentence = _folded(raw)
        if not sentence or _DENIALS.fullmatch(sentence):
            continue
        if _BLIND.fullmatch(sentence):
            blind = True
            continue
        claim = claimed(sentence, _CLAIMS, stated)
        if claim is None:
            unmapped.append(raw.strip())
        else:
            strengths[claim[0]] = claim[1]
    return RestorationPrompt(degradations=strengths, blind=blind, unmapped=tuple(unmapped))


_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|\d|[^\w\s]")


def tokenise(text: str) -> list[str]:
    """Split into the compact encoder's tokens: lower-case words, single digits, single punctuation marks."""
    text = unicodedata.normalize("NFKC", text).lower()
    return _TOKEN.findall(text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}))


_WRITTEN = """
. , ( ) 0 1 2 3 4 5 6 7 8 9 the image is has and level well lit dark darkness no rain streaks
detected gaussian noise degradation low medium high very defocus blur motion haze snow jpeg
compression artifacts resolution loss pepper missing areas remove all stops value sigma radius
beta coverage quality factor fraction
"""
_SPOKEN = """
; : - / % ! ? ' " = + a an of in on to it its this that with without not but or for from at by as
be are was there some any photo picture photograph scene please make keep leave don't do touch
only also still too more less most bit little lot much slightly slight light lightly strongly
strong heavy heavily severe severely mild moderate moderately weak weaker stronger extreme
extremely absent present visible none clean clear clearly almost hardly noticeable reduce removing
removed denoise derain dehaze desnow deblur dejpeg upscale upsample upscaling enlarge inpaint fill
restore restoration improve enhance fix repair correct undo brighten brighter lighten darken
darker dim underexposed exposure bright lighting lights shadows shadow night contrast rainy
raining raindrops drops drop streak wet weather storm foggy fog mist misty hazy smoke snowy
snowflakes flakes flake white noisy grain grainy poisson speckle speckles random iso blurry
blurred unsharp sharp sharpen sharper focus soft shake shaken moving camera direction blocky
blocks block blocking compressed ringing pixelated pixels pixel small tiny bigger larger size
double detail details smooth smoothing smoother salt dots black spots spot holes hole masked mask
covered damaged lost scratches area region regions face sky background foreground texture edges
edge color colour over under same degraded degradations overall half twice increase decrease
artifact artefacts evenly brightly illuminated lower raise stop raindrop dense thick thin fine
coarse strength amount
"""

VOCABULARY: tuple[str, ...] = tuple((_WRITTEN + _SPOKEN).split())
"""The compact encoder's words: first all that `render` can write, then how people and VLMs speak of the same things.

Weights index it by position: append, never reorder or remove.
"""
