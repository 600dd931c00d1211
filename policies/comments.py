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
    r"de-?nois\w+|de-?grain\w+": (Kind.NOISE,),
    r"smooth(?:ing|ed)|smear\w*|blurring": (Kind.NOISE, Kind.JPEG),
    r"(?:motion|shake) (?:de-?blur\w*|correction|reduction|removal)|de-?blur(?:ring)? the motion|stabili[sz]\w+": (
        Kind.MOTION_BLUR,
    ),
    r"sharpen(?:ing|ed)?|de-?blur\w*|refocus\w*|focus correction": _BLURS,
    r"brighten(?:ing|ed)?|lighten(?:ing|ed)?|exposure|brightness|(?:more|less|the|much) light(?! (?:rain|snow|haze|noise|grain|fog|blur|mist))": (
        Kind.LOW_LIGHT,
    ),
    r"de-?haz\w+|de-?fog\w+|contrast": (Kind.HAZE,),
    r"de-?rain\w*": (Kind.RAIN,),
    r"de-?snow\w*": (Kind.SNOW,),
    r"de-?block\w+|de-?jpeg\w*": (Kind.JPEG,),
    r"up-?scal\w+|up-?sampl\w+|super-?resolution|enlarg\w+": (Kind.LOW_RESOLUTION,),
    r"in-?paint\w*|filling|fill in": (Kind.MASK,),
}
_DEFECTS: Final[Mapping[str, tuple[Kind, ...]]] = {
    r"(?:black |white )?(?:dots?|specks?|specked|points)|(?:salt and )?pepper(?: noise)?|dead pixels": (
        Kind.PEPPER_NOISE,
    ),
    r"(?:(?:film|colou?r|chroma|iso|sensor|image|digital) )?(?:noise|noisy|noisiness|grain|grainy|graininess|speckled?)": (
        Kind.NOISE,
    ),
    r"(?:motion|movement) blur\w*|blurred by motion|camera shake|shak(?:e|y|en)|motion|movement": (
        Kind.MOTION_BLUR,
    ),
    r"bokeh|(?:blurry|blurred|soft|out[- ]of[- ]focus) background|background blur|shallow focus|depth of field": (
        Kind.DEFOCUS_BLUR,
    ),
    r"blur|blurry|blurred|blurriness|out of focus|unsharp|not sharp|de-?focus\w*|fuzzy|soft|softness": _BLURS,
    r"dark|darkness|dim|black|dull light|under-?expos(?:ed|ure)|murky|gloomy|low light": (
        Kind.LOW_LIGHT,
    ),
    r"haze|hazy|fog|foggy|mist|misty|smog|milky|washed[- ]out|veil": (Kind.HAZE,),
    r"rain|rainy|rain ?drops?|(?:rain )?streaks?|streaky|drops": (Kind.RAIN,),
    r"snow|snowy|snowfall|snow ?flakes?|flakes?": (Kind.SNOW,),
    r"(?:(?:jpe?g|compression) )?(?:artifacts?|artefacts?)|jpe?g|compression|compressed|(?:pixel )?blocks|blocky|blockiness|blocking|mosquito noise": (
        Kind.JPEG,
    ),
    r"low[- ]res(?:olution)?|missing resolution|pixelated|pixelation|pixels?(?: look)?": (
        Kind.LOW_RESOLUTION,
    ),
    r"holes?|gaps?|missing (?:areas?|parts?|pixels|pieces)|mask(?:ed)?|scratch(?:es|ed)?|torn|damaged?(?: spots)?": (
        Kind.MASK,
    ),
}
_DEED: Final = (
    r"(?:removal|reduction|correction|suppression|cleaning|cleanup|filter\w*|repair|treatment)"
)
_QUALITIES: Final[Mapping[str, tuple[tuple[Kind, ...], bool]]] = {
    r"bright(?:er)?|light(?:er)?|well lit": ((Kind.LOW_LIGHT,), True),
    r"darker|over-?exposed|blown(?:[- ]out)?|burnt(?:[- ]out)?|highlights": (
        (Kind.LOW_LIGHT,),
        False,
    ),
    r"sharp(?:er|ness)?|crisp(?:er|ness)?|in focus": (_BLURS, True),
    r"steady|steadier": ((Kind.MOTION_BLUR,), True),
    r"over-?sharpened|halos?|haloes|ringing|crunchy|softer": (_BLURS, False),
    r"clean(?:er)?(?: up)?|smooth(?:er)?": ((Kind.NOISE, Kind.JPEG), True),
    r"over-?smooth(?:ed)?|plastic\w*|wax\w*|painted|painting|watercolou?r\w*|mushy|smudged|smudgy|flat skin": (
        (Kind.NOISE, Kind.JPEG),
        False,
    ),
    r"high[- ]res(?:olution)?|detailed": ((Kind.LOW_RESOLUTION,), True),
    r"(?:fine )?details?|textures?|hair|pores": ((Kind.NOISE, Kind.JPEG), False),
    r"clear(?:er)?": ((Kind.HAZE,), True),
    r"dry|drier": ((Kind.RAIN,), True),
    r"over-?saturated|saturated|contrasty|harsh": ((Kind.HAZE,), False),
}
"""Words -> kinds, and whether more of it takes more treatment."""

_ENOUGH: Final = re.compile(
    r"\b(?:not|isn't) (?:\w+ )?enough\b|\btoo (?:little|weak)\b|\bneeds? more\b"
)
_MORE: Final = re.compile(
    r"\b(?:more|stronger|strongly|increase|raise|boost|higher|extra|further|harder|needs?|want|make|could be|should be|insufficient|lacks?)\b"
)
_LESS: Final = re.compile(
    r"\b(?:less|half(?! an? stop)|weaker|softer|reduce|lower|decrease|tone down|tone it down|dial (?:back|down)|gentler|milder|too (?:much|strong|heavy|aggressive|far)"
    r"|over-?d(?:o|id|one|oing)|excessive|fewer|not (?:so|as|that) (?:much|strong)|ease|back off|looks?|hurts?|eats?|(?:don't|do not) (?:\w+ ){1,3}so much)\b"
)
_OFF: Final = re.compile(
    r"\b(?:no|without|(?<!a )stop|don't|dont|do not|never|undo|skip|turn off|disable|drop|revert|remove the|not want|unnecessary|not needed|needless)\b"
)
_LOST: Final = re.compile(
    r"\byou(?: have|'ve)? (?:\w+ )?(?:removed|took|taken|killed|destroyed|erased|deleted|lost|ruined|wiped|cleaned)\b"
    r"|\b(?:gone|lost|losing|loses|disappeared|vanished|where (?:is|did)|(?:bring|give|put|get|want)\b.*\bback|keep|kept|leave|left alone|preserve|retain"
    r"|restore|i (?:really )?(?:like|liked|loved?|miss|prefer)|belongs|on purpose|intend(?:ed|tional)|intentional|meant|artistic|wanted|part of"
    r"|(?:may|should|can|must) (?:stay|remain|look so)|(?:don't|dont|do not) mind"
    r"|(?:don't|dont|do not|stop|never|not) (?:remov\w+|touch\w*|tak\w+|treat\w*|chang\w+|eras\w+|clean\w*|undo|fix\w*|repair\w*|fill\w*|want it removed))\b"
)
_WITH: Final = r"\b(?:gone|lost|vanished|disappeared) with\b"
_NOT_THERE: Final = r"\b(?:not|isn't|wasn't|aren't|never was|there (?:is|was) no)\b(?: (?:too|very|really|so|at all|any))? (?:{word})\b(?! enough)"
_SOME: Final = re.compile(r"\b(?:some|a bit|a little|a touch|partly|slightly)\b")
_LITTLE: Final = re.compile(
    r"\b(?:a (?:little|bit|touch|tad)|little bit|slightly|somewhat|marginally)\b"
)
_MUCH: Final = re.compile(
    r"\b(?:(?<!too )(?<!so )much (?:more|less|too|stronger|weaker|brighter|darker|sharper|smoother|cleaner)|a lot|lots|way|really|very|significantly"
    r"|considerably|extremely|heavily|twice|double)\b"
)
_REGION: Final = re.compile(
    r"\b(?:on|in|around|at|over|for) (?:the |his |her |my |their |its )?(?:left|right|top|bottom|upper|lower|back)?\s?"
    r"(?:left|right|face|faces|skin|sky|background|foreground|corners?|eyes?|hair|edges?|shadows?|highlights?|trees?|water|clothes|wall|side|half|middle"
    r"|cent(?:er|re))\b"
)
_STRONG: Final = re.compile(
    r"\b(?:too (?:strong|much|heavy|aggressive|far)|over-?(?:do|did|done|processed|treated|cooked)|artificial|unnatural|fake|not (?:so|as|that) (?:much|strong)|weaker|gentler|milder|tone it down"
    r"|less|softly|dial it (?:back|down)|subtler|more subtle|more natural|exaggerated)\b"
)
_WEAK: Final = re.compile(
    r"\b(?:too (?:weak|little|timid|subtle)|not (?:strong )?enough|stronger|more|harder|go further|barely|hardly"
    r"|no (?:change|difference|effect)|same as before|can't see)\b"
)
_PLAIN: Final = frozenset(
    re.findall(
        r"\w+",
        "a all and any anything are as at be been before bit can change could did difference do done effect everything far for from further go hard harder i in "
        "is it its just less little look looks lot made make me more much no not now of on overall picture please photo image processing result restoration see "
        "should slightly so some still strength strong stronger subtle natural than that the there thing this to too treat treatment treated very was way weak "
        "weaker whole with would you your enough same over timid aggressive heavy back down tone dial gentler milder",
    )
)
"""Words beside which a clause may be about the treatment as a whole."""
_FINE: Final = re.compile(
    r"\bi (?:really )?(?:like|love)$|\b(?:perfect|great|good|fine|nice|love it|like it|thanks|thank you|well|ok|okay|beautiful|excellent|sorry|hm|please)\b"
)
_AS_NOW: Final = re.compile(
    r"\b(?:keep|leave|like|love)\b(?!.*\b(?:more|less|too|not|but)\b).*\b(?:light|brightness|exposure|contrast|sharpness"
    r"|sharpening|denoising|smoothing|brightening|dehazing|deblurring)\b"
)
"""Content with a treatment or a quality as it is now."""
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
        if not clause or _AS_NOW.search(clause):
            continue
        found = _named(clause, prompt) or _whole(clause, prompt) or _request(clause, prompt)
        changes |= found
        if not found and not _FINE.search(clause) and re.search(r"\w{3}", clause):
            unmapped.append(clause)
    amount = 0.5 if _LITTLE.search(text) else 2.0 if _MUCH.search(text) else 1.0
    return Comment(changes=changes, amount=amount, unmapped=tuple(unmapped))


def _named(clause: str, prompt: RestorationPrompt) -> dict[Kind, Change]:
    """What a clause says about the treatments, qualities and defects that it names; each word is read once."""
    changes: dict[Kind, Change] = {}
    rest = clause

    def found(pattern: str) -> str:
        nonlocal rest
        match = re.search(rf"\b(?:{pattern})\b", rest)
        if match is None:
            return ""
        rest = f"{rest[: match.start()]}_{rest[match.end() :]}"
        return match.group()

    treatments = {
        **{rf"(?:{pattern}) {_DEED}": kinds for pattern, kinds in _DEFECTS.items()},
        **_TREATMENTS,
    }
    for pattern, kinds in treatments.items():
        if found(pattern):
            changes |= _each(kinds, _of_treatment(clause), prompt)
    if changes:
        rest = rest.replace("softer", "_")
    for pattern, (kinds, wanted) in _QUALITIES.items():
        before = rest
        if word := found(pattern):
            change = _of_quality(before, word, wanted=wanted)
            if change is None:
                rest = before
            elif not re.search(_WITH, before):
                changes |= _each(kinds, change, prompt)
    for pattern, kinds in _DEFECTS.items():
        before = rest
        if word := found(pattern):
            changes |= _each(kinds, _of_defect(before, word), prompt)
    return changes


def _each(kinds: tuple[Kind, ...], change: Change, prompt: RestorationPrompt) -> dict[Kind, Change]:
    """A change for the first of the kinds that is treated, for both blurs where both are; for the first where none is."""
    treated = [kind for kind in kinds if kind in prompt.degradations]
    if treated:
        return dict.fromkeys(treated if kinds == _BLURS else treated[:1], change)
    return {kinds[0]: "add" if change == "more" else change}


def _of_treatment(clause: str) -> Change:
    if _ENOUGH.search(clause):
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
    if re.search(rf"\b(?:don't|dont|do not|stop|never) {near}", clause):
        return "less" if re.search(r"\bso\b", clause) else "off"
    if re.search(rf"\bnot (?:\w+ )?{near}|{near} enough|isn't (?:\w+ )?{near}", clause):
        return "more"
    if re.search(rf"\b(?:too|overly|so|less|unnaturally|way too) {near}\b", clause):
        return "less"
    if word.endswith(("er", "ness", " up")) or _MORE.search(clause) or clause.startswith(word):
        return "more"
    return None


def _of_defect(clause: str, word: str) -> Change:
    near = re.escape(word)
    more = rf"(?<!remove )(?<!reduce )(?<!out )(?<!off )(?<!no )\bmore (?:of the )?{near}\b"
    if re.search(more, clause):
        return "less"
    if re.search(
        rf"\b(?:don't|dont|do not|never) (?:like|want|need) (?:the |any |this )?{near}", clause
    ):
        return "more"
    if re.search(_NOT_THERE.format(word=near), clause):
        return "off"
    if re.search(_WITH, clause):
        return "less"
    if _LOST.search(clause):
        return "less" if _SOME.search(clause) else "off"
    if re.search(rf"\b(?:skip|stop|undo) (?:the )?{near}$", clause):
        return "off"
    return "more"


def _whole(clause: str, prompt: RestorationPrompt) -> dict[Kind, Change]:
    """A clause about the treatment as such: it names nothing else."""
    change: Change | None = None
    if _WEAK.search(clause) and not re.search(r"more (?:subtle|natural)", clause):
        change = "more"
    elif _STRONG.search(clause):
        change = "less"
    rest = _STRONG.sub(" ", _WEAK.sub(" ", clause))
    if change is None or any(word not in _PLAIN for word in re.findall(r"[a-z]+", rest)):
        return {}
    return dict.fromkeys(prompt.degradations, change)


def _request(clause: str, prompt: RestorationPrompt) -> dict[Kind, Change]:
    reading = plain.read(clause)
    changes: dict[Kind, Change] = dict.fromkeys(reading.denied, "off")
    for kind in reading.strengths:
        changes[kind] = "more" if kind in prompt.degradations else "add"
    return changes
