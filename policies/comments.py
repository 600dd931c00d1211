"""What a user says about a result, read by rule: "still too dark", "you removed the film grain", "less smoothing".

A comment is no request: "noise" asks for more denoising, "more noise" for less of it, and "you removed the noise" for none. So a clause is read
by what it names: a *defect* (noise, haze), a *treatment* (denoising, smoothing, sharpening) or a *quality* of the picture (bright, sharp,
detail), and by the words of direction around it. A clause without any of them is about the whole treatment ("too strong"), or a plain request
("remove the rain as well"), or it is reported as not understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from conservator.policies.refinement import Change
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts import plain
from conservator.restorers.prompts.lexicon import ascii_marks
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["Comment", "read_comment"]

_BLURS: Final = (Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR)


class Comment(BaseModel):
    """What a sentence asks to change.

    Attributes:
        changes: kind -> change.
        amount: factor on the size of a step: 0.5 for "a little", 2 for "much".
        unmapped: what was not understood, parts of the picture among it: a prompt is about the whole.
    """

    model_config = ConfigDict(frozen=True)

    changes: Mapping[Kind, Change] = {}
    amount: float = 1.0
    unmapped: tuple[str, ...] = ()


_TREATMENTS: Final[Mapping[str, tuple[Kind, ...]]] = {
    r"de-?nois\w+|de-?grain\w+|noise (?:reduction|removal|suppression|filter\w*)|grain (?:reduction|removal)": (
        Kind.NOISE,
    ),
    r"smooth(?:ing|ed)|smoothness|smear\w*|blurring": (Kind.NOISE, Kind.JPEG),
    r"motion de-?blur\w*": (Kind.MOTION_BLUR,),
    r"sharpen(?:ing|ed)?|de-?blur\w*|refocus\w*": _BLURS,
    r"brighten(?:ing|ed)|lighten(?:ing|ed)|exposure|brightness": (Kind.LOW_LIGHT,),
    r"de-?haz\w+|de-?fog\w+|haze removal|contrast": (Kind.HAZE,),
    r"de-?rain\w*|rain removal": (Kind.RAIN,),
    r"de-?snow\w*|snow removal": (Kind.SNOW,),
    r"de-?block\w+|de-?jpeg\w*|(?:jpeg|artifact|artefact|compression) (?:removal|reduction|correction)": (
        Kind.JPEG,
    ),
    r"up-?scal\w+|up-?sampl\w+|super-?resolution|enlarg\w+": (Kind.LOW_RESOLUTION,),
    r"in-?paint\w*|filling|fill in": (Kind.MASK,),
}
_DEFECTS: Final[Mapping[str, tuple[Kind, ...]]] = {
    r"(?:black |white )?(?:dots|specks|speckles)|(?:salt and )?pepper(?: noise)?|dead pixels": (
        Kind.PEPPER_NOISE,
    ),
    r"(?:(?:film|colou?r|chroma|iso|sensor|image|digital) )?(?:noise|noisy|noisiness|grain|grainy|graininess)": (
        Kind.NOISE,
    ),
    r"motion blur\w*|camera shake|shak(?:e|y|en)|motion": (Kind.MOTION_BLUR,),
    r"blur|blurry|blurred|blurriness|out of focus|unsharp|defocus\w*|fuzzy": _BLURS,
    r"dark|darkness|dim|dull light|under-?exposed|murky|gloomy|low light": (Kind.LOW_LIGHT,),
    r"haze|hazy|fog|foggy|mist|misty|smog|milky|washed[- ]out|veil": (Kind.HAZE,),
    r"rain|rainy|rain ?drops?|(?:rain )?streaks|drops": (Kind.RAIN,),
    r"snow|snowy|snow ?flakes|flakes": (Kind.SNOW,),
    r"(?:(?:jpe?g|compression) )?(?:artifacts|artefacts)|jpe?g|compression|compressed|blocks|blocky|blockiness|blocking|mosquito noise": (
        Kind.JPEG,
    ),
    r"low[- ]res(?:olution)?|pixelated|pixelation": (Kind.LOW_RESOLUTION,),
    r"holes?|gaps?|missing (?:areas?|parts?|pixels|pieces)|mask(?:ed)?": (Kind.MASK,),
}
_QUALITIES: Final[Mapping[str, tuple[tuple[Kind, ...], bool]]] = {
    r"bright(?:er)?|light(?:er)?|well lit": ((Kind.LOW_LIGHT,), True),
    r"darker|over-?exposed|blown(?:[- ]out)?|burnt(?:[- ]out)?": ((Kind.LOW_LIGHT,), False),
    r"sharp(?:er|ness)?|crisp(?:er|ness)?|in focus": (_BLURS, True),
    r"over-?sharpened|halos?|haloes|ringing|crunchy|softer": (_BLURS, False),
    r"clean(?:er)?|smooth(?:er)?": ((Kind.NOISE, Kind.JPEG), True),
    r"over-?smooth(?:ed)?|plastic\w*|waxy|painted|painting|watercolou?r\w*|mushy|smudged|smudgy|flat skin": (
        (Kind.NOISE, Kind.JPEG),
        False,
    ),
    r"(?:fine )?details?|textures?|hair|pores": ((Kind.NOISE, Kind.JPEG), False),
    r"clear(?:er)?": ((Kind.HAZE,), True),
    r"over-?saturated|saturated|contrasty|harsh": ((Kind.HAZE,), False),
}
"""Words -> kinds, and whether more of it takes more treatment."""

_MORE: Final = re.compile(
    r"\b(?:more|stronger|strongly|increase|raise|boost|higher|extra|further|harder|not (?:\w+ )?enough|isn't (?:\w+ )?enough"
    r"|too (?:little|weak)|needs?|want|make|could be|should be|insufficient|lacks?|lacking)\b"
)
_LESS: Final = re.compile(
    r"\b(?:less|weaker|reduce|lower|decrease|tone down|tone it down|dial (?:back|down)|gentler|too (?:much|strong|heavy|aggressive|bright"
    r"|light|sharp|crisp|clean|smooth)|over-?do\w*|overdone|excessive|fewer|not (?:so|as|that) (?:much|strong)|ease|back off|looks?)\b"
)
_OFF: Final = re.compile(
    r"\b(?:no|without|stop|don't|dont|do not|never|undo|skip|turn off|disable|drop|revert|remove the|not want)\b"
)
_LOST: Final = re.compile(
    r"\b(?:you(?: have|'ve)? (?:\w+ )?(?:remov\w+|took|taken|kill\w*|destroy\w*|eras\w+|delet\w+|lost|ruin\w*|wip\w+)"
    r"|(?:is|are|was|were|has|have|went) (?:all |been )?(?:gone|lost|missing|removed|destroyed|erased|taken)|gone|lost|losing|loses|disappeared|vanished"
    r"|where (?:is|did)|(?:bring|give|put|get|want)\b.*\bback|missing|keep|kept|leave|left alone|preserve|retain|restore"
    r"|(?:i )?(?:liked?|loved?|miss|prefer)|(?:don't|dont|do not|stop|never|not) (?:remov\w+|touch\w*|tak\w+|treat\w*|chang\w+|eras\w+|want it removed)"
    r"|belongs|on purpose|intentional|part of)\b"
)
_NOT_THERE: Final = r"\b(?:not|isn't|wasn't|aren't|never was|there (?:is|was) no)\b(?: (?:too|very|really|so|at all|any))? (?:{word})\b(?! enough)"
_SOME: Final = re.compile(r"\b(?:some|a bit|a little|a touch|partly|slightly)\b")
_LITTLE: Final = re.compile(
    r"\b(?:a (?:little|bit|touch|tad)|little bit|slightly|somewhat|marginally)\b"
)
_MUCH: Final = re.compile(
    r"\b(?:(?<!too )(?<!so )much (?:more|less|too|stronger|weaker|brighter|darker|sharper|smoother|cleaner)|a lot|lots|far|way|really|very|significantly"
    r"|considerably|extremely|heavily|strongly|twice|double)\b"
)
_REGION: Final = re.compile(
    r"\b(?:on|in|around|at|over|for) (?:the |his |her |my |their |its )?(?:left|right|top|bottom|upper|lower|back)?\s?"
    r"(?:face|faces|skin|sky|background|foreground|corners?|eyes?|hair|edges?|shadows?|highlights?|trees?|water|clothes|wall|side|half|middle|cent(?:er|re))\b"
)
_STRONG: Final = re.compile(
    r"\b(?:too (?:strong|much|heavy|aggressive|far)|over-?(?:done|processed|treated|cooked)|artificial|unnatural|fake|weaker|gentler|milder|tone it down"
    r"|less (?:strong|aggressive|treatment|processing)|less|softly|dial it (?:back|down)|subtler|more subtle|more natural)\b"
)
_WEAK: Final = re.compile(
    r"\b(?:too (?:weak|little|timid|subtle)|not (?:strong )?enough|stronger|more (?:strength|treatment|processing)|more|harder|go further|barely|hardly"
    r"|no (?:change|difference|effect)|same as before|can't see)\b"
)
_FINE: Final = re.compile(
    r"\b(?:perfect|great|good|fine|nice|love it|like it|thanks|thank you|well done|ok|okay|beautiful|excellent)\b"
)
_CLAUSES: Final = re.compile(r"[.;!?\n]+|,|\bbut\b|\band\b|\bthough\b|\bhowever\b|\balso\b")


def read_comment(sentence: str, prompt: RestorationPrompt) -> Comment:
    """Read a comment on a treatment.

    Args:
        sentence: the user's words.
        prompt: the treatment: "too strong" is about all that it names, "less smoothing" about what in it smooths.
    """
    text = " ".join(ascii_marks(sentence).lower().split())
    unmapped = [match.group() for match in _REGION.finditer(text)]
    text = _REGION.sub(" ", text)
    changes: dict[Kind, Change] = {}
    for clause in _CLAUSES.split(text):
        clause = " ".join(clause.split())
        if not clause:
            continue
        found = _named(clause, prompt) or _whole(clause, prompt) or _request(clause, prompt)
        changes |= found
        if not found and not _FINE.search(clause) and re.search(r"\w{3}", clause):
            unmapped.append(clause)
    amount = 0.5 if _LITTLE.search(text) else 2.0 if _MUCH.search(text) else 1.0
    return Comment(changes=changes, amount=amount, unmapped=tuple(unmapped))


def _named(clause: str, prompt: RestorationPrompt) -> dict[Kind, Change]:
    """What a clause says about the defects, treatments and qualities that it names; each word is read once."""
    changes: dict[Kind, Change] = {}
    rest = clause
    for pattern, kinds in _TREATMENTS.items():
        if (match := re.search(rf"\b(?:{pattern})\b", rest)) is not None:
            rest = rest.replace(match.group(), "_")
            changes |= _each(kinds, _of_treatment(rest), prompt)
    for pattern, (kinds, wanted) in _QUALITIES.items():
        if (match := re.search(rf"\b(?:{pattern})\b", rest)) is not None:
            word = match.group()
            if change := _of_quality(rest, word, wanted=wanted):
                rest = rest.replace(word, "_")
                changes |= _each(kinds, change, prompt)
    for pattern, kinds in _DEFECTS.items():
        if (match := re.search(rf"\b(?:{pattern})\b", rest)) is not None:
            change = _of_defect(rest, match.group())
            rest = rest.replace(match.group(), "_")
            changes |= _each(kinds, change, prompt)
    return changes


def _each(kinds: tuple[Kind, ...], change: Change, prompt: RestorationPrompt) -> dict[Kind, Change]:
    """A change for those of the kinds that are treated, for the first where none is."""
    treated = [kind for kind in kinds if kind in prompt.degradations]
    if treated:
        return dict.fromkeys(treated, change)
    return {kinds[0]: "add" if change == "more" else change}


def _of_treatment(clause: str) -> Change:
    if re.search(r"not (?:\w+ )?enough|too (?:little|weak)|isn't (?:\w+ )?enough", clause):
        return "more"
    if _LESS.search(clause):
        return "less"
    return "off" if _OFF.search(clause) else "more"


def _of_quality(clause: str, word: str, *, wanted: bool) -> Change | None:
    """More of a wanted quality takes more treatment; "too sharp" takes less, and so does what was lost."""
    near = re.escape(word)
    if not wanted:
        lacking = re.search(rf"(?:less|too|not so|over) (?:\w+ )?{near}", clause)
        more = re.search(rf"(?:not|isn't) {near} enough", clause)
        return "more" if more and not lacking else "less"
    if re.search(rf"\b(?:don't|dont|do not|stop) {near}", clause):
        return "less"
    if re.search(rf"\bnot (?:\w+ )?{near}|{near} enough|isn't (?:\w+ )?{near}", clause):
        return "more"
    if re.search(rf"\b(?:too|overly|so|less|unnaturally|way too) {near}\b", clause):
        return "less"
    if word.endswith(("er", "ness")) or _MORE.search(clause):
        return "more"
    return None


def _of_defect(clause: str, word: str) -> Change:
    more = rf"(?<!remove )(?<!reduce )(?<!out )(?<!off )\bmore (?:of the )?{re.escape(word)}\b"
    if re.search(more, clause):
        return "less"
    if re.search(_NOT_THERE.format(word=re.escape(word)), clause):
        return "off"
    if _LOST.search(clause):
        return "less" if _SOME.search(clause) else "off"
    return "more"


def _whole(clause: str, prompt: RestorationPrompt) -> dict[Kind, Change]:
    """A clause about the treatment as such."""
    change: Change | None = None
    if _WEAK.search(clause) and not re.search(r"more (?:subtle|natural)", clause):
        change = "more"
    elif _STRONG.search(clause):
        change = "less"
    return {} if change is None else dict.fromkeys(prompt.degradations, change)


def _request(clause: str, prompt: RestorationPrompt) -> dict[Kind, Change]:
    reading = plain.read(clause)
    changes: dict[Kind, Change] = dict.fromkeys(reading.denied, "off")
    for kind in reading.strengths:
        changes[kind] = "more" if kind in prompt.degradations else "add"
    return changes
