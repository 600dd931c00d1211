"""The words of plain English that the prompt language understands, and how text is cut into them.

Only data and cutting live here; `plain` gives the words their grammar.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto

from conservator.restorers.degradations.vocabulary import Kind, Level

__all__ = ["PARAMETER_WORDS", "UNITS", "Role", "Word", "ascii_marks", "sentences", "words"]


class Role(Enum):
    """What a word does in a request."""

    THING = auto()
    """Something to take away: *noise*, *dark*."""
    ACTION = auto()
    """A treatment: *denoise*, *brighter*."""
    PROPERTY = auto()
    """Something there should be more of: *sharpness*."""
    LEVEL = auto()
    VERY = auto()
    """Raises the level beside it; alone it means *high*."""
    NEGATION = auto()
    KEEP = auto()
    FREE = auto()
    """*noise-free*."""
    TREAT = auto()
    IMPROVE = auto()
    """A verb that treats a thing and raises a property: *fix the blur*, *improve the lighting*."""
    MORE = auto()
    LESS = auto()
    SOME = auto()
    """A part of it: *leave a bit of grain*."""
    PREDICATE = auto()
    """*is*, *has*: a new statement."""
    AND = auto()
    OR = auto()
    COMMA = auto()
    BUT = auto()
    PARAMETER = auto()
    UNIT = auto()
    NUMBER = auto()
    FILLER = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Word:
    """One word or fixed phrase.

    Attributes:
        kinds: for things, actions and properties; the first is meant by a request, all of them by "leave it alone".
        level: for levels.
        number: for numbers.
        start: offset in the sentence.
        end: offset behind the last character.
    """

    role: Role
    text: str
    start: int
    end: int
    kinds: tuple[Kind, ...] = ()
    level: Level | None = None
    number: float = 0.0


_THINGS: dict[tuple[Kind, ...], str] = {
    (Kind.NOISE,): (
        "noise, noisy, noisiness, grain, grainy, graininess, gaussian noise, poisson noise, shot noise, iso noise, "
        "sensor noise, colour noise, color noise, chroma noise, luminance noise, film grain, image noise"
    ),
    (
        Kind.DEFOCUS_BLUR,
        Kind.MOTION_BLUR,
    ): "blur, blurs, blurry, blurred, blurriness, unsharp, not sharp, not sharp enough",
    (Kind.DEFOCUS_BLUR,): (
        "defocus, defocused, defocus blur, out of focus, out of focus blur, not in focus, lens blur, gaussian blur, "
        "focus blur, soft focus"
    ),
    (
        Kind.MOTION_BLUR,
    ): "motion blur, motion blurred, motion, camera shake, shake, shaky, movement blur",
    (
        Kind.RAIN,
    ): "rain, rainy, rain streak, rain streaks, raindrops, raindrop, rain drops, rainfall",
    (Kind.HAZE,): "haze, hazy, fog, foggy, mist, misty, smog",
    (Kind.SNOW,): "snow, snowy, snowflake, snowflakes, snow flakes, snowfall",
    (Kind.LOW_LIGHT,): (
        "dark, darkness, low light, lowlight, underexposed, under exposed, underexposure, dim, poorly lit, badly lit, "
        "poor lighting, bad lighting, not bright enough, not enough light, too little light, dark areas, dark regions"
    ),
    (Kind.JPEG,): (
        "jpeg, jpg, jpeg artifacts, jpeg artefacts, jpg artifacts, jpg artefacts, compression, compressed, jpeg noise, "
        "compression artifacts, compression artefacts, jpeg compression, jpeg compression artifacts, "
        "jpeg compression artefacts, blocky, blockiness, blocking, blocking artifacts, blocking artefacts, "
        "block artifacts, block artefacts"
    ),
    (Kind.LOW_RESOLUTION,): (
        "low resolution, low res, lowres, lower resolution, pixelated, pixelation, pixelated look, downsampled"
    ),
    (Kind.PEPPER_NOISE,): (
        "pepper, pepper noise, salt and pepper, salt and pepper noise, salt & pepper, salt & pepper noise, "
        "impulse noise, black dots, black specks"
    ),
    (Kind.MASK,): (
        "mask, masks, masked, masked areas, masked regions, missing areas, missing area, missing regions, "
        "missing parts, missing pixels, hole, holes, covered areas, missing blocks"
    ),
}
_ACTIONS: dict[tuple[Kind, ...], str] = {
    (Kind.NOISE,): "denoise, denoising, denoised, de noise, degrain",
    (Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR): "deblur, deblurring, deblurred, de blur",
    (Kind.DEFOCUS_BLUR,): "sharpen, sharpening, sharper, refocus",
    (Kind.MOTION_BLUR,): "motion deblur, motion deblurring, deblur motion",
    (Kind.RAIN,): "derain, deraining, de rain",
    (Kind.HAZE,): "dehaze, dehazing, de haze, defog, defogging",
    (Kind.SNOW,): "desnow, desnowing, de snow",
    (
        Kind.LOW_LIGHT,
    ): "brighten, brighten up, brightening, brighter, lighten, lighten up, lightening, lighter, "
    "brighten shadows",
    (Kind.JPEG,): "dejpeg, de jpeg, deblock, deblocking, decompress",
    (Kind.LOW_RESOLUTION,): (
        "upscale, upscaling, upscaled, upsample, upsampling, super resolution, superresolution, super resolve, "
        "enlarge, enlarging, bigger, larger"
    ),
    (Kind.PEPPER_NOISE,): "depepper, de pepper",
    (Kind.MASK,): "inpaint, inpainting, unmask, fill in, fill",
}
_PROPERTIES: dict[Kind, str] = {
    Kind.DEFOCUS_BLUR: "sharpness",
    Kind.LOW_LIGHT: "brightness, exposure, lighting, illumination, light",
    Kind.LOW_RESOLUTION: "resolution",
}
_LEVELS: dict[Level, str] = {
    Level.LOW: (
        "low, slight, slightly, light, lightly, mild, mildly, weak, weakly, weaker, gentle, gently, subtle, subtly, "
        "faint, faintly, minor, small, little"
    ),
    Level.MEDIUM: "medium, moderate, moderately, average",
    Level.HIGH: (
        "high, strong, strongly, stronger, heavy, heavily, severe, severely, serious, seriously, badly, significant, "
        "significantly, considerable, considerably, intense, intensely, thick, dense, much, a lot, a lot of, lots of, "
        "plenty of, aggressive, aggressively, thoroughly"
    ),
    Level.VERY_HIGH: (
        "very high, extreme, extremely, terrible, terribly, maximum, maximally, strongest, as much as possible, "
        "as strongly as possible, completely, massive, massively"
    ),
}
_ROLES: dict[Role, str] = {
    Role.VERY: "very, really, super, highly",
    Role.NEGATION: (
        "no, not, never, without, none, neither, nor, n't, zero, absent, don't, dont, do not, doesn't, doesnt, isn't, "
        "isnt, aren't, arent, wasn't, weren't, shouldn't, mustn't, won't, can't, cannot, couldn't, haven't, hasn't, off, turn off, disable, disabled, don't want, do not want, dont want, "
        "free of, free from, hardly, hardly any, barely, barely any, lack of, lacks, instead of, rather than, "
        "except, except for, apart from, other than"
    ),
    Role.KEEP: (
        "keep, keeping, kept, leave, leaving, be left, left alone, left as is, left in, preserve, preserving, preserved, retain, retained, ignore, ignored, "
        "skip, skipped, spare, untouched, avoid, avoiding, stay, stays, is fine, are fine, looks fine, "
        "is ok, is good, is nice, i like, i love, love"
    ),
    Role.FREE: "free",
    Role.TREAT: (
        "remove, removing, removed, reduce, reducing, reduced, clean, clean up, clear, suppress, eliminate, erase, "
        "get rid of, take out, take away, minimise, minimize, cut, kill, wipe, filter, lower, decrease, undo, "
        "treat, handle, attenuate, touch, change, affect, treated, touched, touching, changed, changing, altered, suppressed, eliminated"
    ),
    Role.IMPROVE: (
        "fix, fixing, fixed, repair, correct, corrected, improve, enhance, restore, recover, address, lift"
    ),
    Role.MORE: "more, add, adding, increase, boost, raise, higher, better, additional, extra",
    Role.LESS: "less, fewer",
    Role.SOME: "a bit, a bit of, a little, a little bit, a little bit of, some, a touch, a touch of, slightly less",
    Role.PREDICATE: "is, are, was, were, has, have, contains, shows, suffers, there's, it's, seems, looks, appears",
    Role.AND: "and, &, +, plus, then, and then, also, and also, as well as, /",
    Role.OR: "or",
    Role.COMMA: ",",
    Role.BUT: "but, however, yet, though, although, while, whereas, only, just, instead",
    Role.FILLER: (
        "( ) [ ] { } : = . ? \" ' * _ ~ - < > # the a an this that these those it its i we you my your me please kindly "
        "thanks thank think feel believe opinion time degraded affected can could would should will shall may must need needs needed want wants to of in on at by for "
        "from with be been being as image photo photograph picture shot scan yes ok okay hi hello still any all "
        "level levels amount strength severity degradation degradations degree effect effects problem problems issue "
        "issues removal reduction correction detected visible present noticeable found too quite rather pretty "
        "fairly somewhat bit lot do does did make makes making get try let apply use using i'd i'll i'm let's give "
        "there here which what where if so about around approximately roughly exactly up down out away much-needed "
        "artifacts artefacts artifact artefact streaks areas regions clearly overall both"
    ).replace(" ", ", "),
}

PARAMETER_WORDS: dict[str, tuple[Kind, ...]] = {
    "sigma": (Kind.NOISE, Kind.MOTION_BLUR, Kind.DEFOCUS_BLUR),
    "std": (Kind.NOISE,),
    "radius": (Kind.DEFOCUS_BLUR,),
    "value": (Kind.RAIN,),
    "beta": (Kind.HAZE,),
    "coverage": (Kind.SNOW,),
    "quality": (Kind.JPEG,),
    "factor": (Kind.LOW_RESOLUTION,),
    "scale": (Kind.LOW_RESOLUTION,),
    "fraction": (Kind.PEPPER_NOISE, Kind.MASK),
}
"""Parameter name -> the kinds it can belong to."""

UNITS: dict[str, tuple[Kind, ...]] = {
    "stop": (Kind.LOW_LIGHT,),
    "stops": (Kind.LOW_LIGHT,),
    "ev": (Kind.LOW_LIGHT,),
    "x": (Kind.LOW_RESOLUTION,),
    "times": (Kind.LOW_RESOLUTION,),
    "px": (Kind.DEFOCUS_BLUR,),
    "pixels": (Kind.DEFOCUS_BLUR,),
    "%": (Kind.SNOW, Kind.PEPPER_NOISE, Kind.MASK),
    "percent": (Kind.SNOW, Kind.PEPPER_NOISE, Kind.MASK),
}
"""Unit -> the kinds whose parameter is given in it."""


@dataclass(frozen=True)
class _Meaning:
    role: Role
    kinds: tuple[Kind, ...] = ()
    level: Level | None = None


def _phrases() -> dict[tuple[str, ...], _Meaning]:
    table: dict[tuple[str, ...], _Meaning] = {}

    def add(phrases: str, meaning: _Meaning) -> None:
        for phrase in phrases.split(", ") if phrases != "," else [","]:
            # Things come first and stay: "lighting" is a property, "poor lighting" a thing.
            table.setdefault(tuple(phrase.split()), meaning)

    for kinds, phrases in _THINGS.items():
        add(phrases, _Meaning(Role.THING, kinds))
        for noun in ("removal", "reduction", "correction", "suppression"):
            add(
                ", ".join(f"{phrase} {noun}" for phrase in phrases.split(", ")),
                _Meaning(Role.ACTION, kinds),
            )
    for kinds, phrases in _ACTIONS.items():
        add(phrases, _Meaning(Role.ACTION, kinds))
    add("i would like, would like, i'd like, i need, i want", _Meaning(Role.FILLER))
    add("not only, not just, don't just, do not just", _Meaning(Role.FILLER))
    # A file's format is no complaint about its compression.
    add(
        "this jpeg, this jpg, a jpeg, a jpg, as jpeg, jpeg file, jpg file, jpeg image",
        _Meaning(Role.FILLER),
    )
    for level, phrases in _LEVELS.items():
        add(phrases, _Meaning(Role.LEVEL, level=level))
    for kind, phrases in _PROPERTIES.items():
        add(phrases, _Meaning(Role.PROPERTY, (kind,)))
    for role, phrases in _ROLES.items():
        add(phrases, _Meaning(role))
    for name, kinds in PARAMETER_WORDS.items():
        add(name, _Meaning(Role.PARAMETER, kinds))
    for name, kinds in UNITS.items():
        add(name, _Meaning(Role.UNIT, kinds))
    return table


_PHRASES = _phrases()
_LONGEST = max(len(phrase) for phrase in _PHRASES)
_PIECE = re.compile(
    r"(?P<number>(?<![\w.])-?(?:\d+(?:\.\d+)?|\.\d+)|\d+(?:\.\d+)?)|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)?)|(?P<mark>[^\w\s])"
)
_MARKS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u0060\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u00d7": "x",
        "\u03c3": "sigma",
        "\u03b2": "beta",
    }
)


def ascii_marks(text: str) -> str:
    """Fold unicode forms, quotes, dashes and the multiplication sign to ASCII; keep case and line ends."""
    return unicodedata.normalize("NFKC", text).translate(_MARKS)


def sentences(text: str) -> list[str]:
    """Cut at full stops that are no decimal points, at `;`, `!`, `?` (kept) and line ends; blank ones are dropped."""
    pieces = re.split(r"(?:(?<!\d)\.|\.(?!\d)|[;!\n])+|(?<=\?)", ascii_marks(text))
    return [piece.strip() for piece in pieces if piece.strip(" \t\r\n.?\"'")]


def words(sentence: str) -> list[Word]:
    """Cut a sentence (after `ascii_marks`) into words and fixed phrases, the longest match first.

    Hyphens between letters separate words, so that "low-light" and "low light" are one.
    """
    pieces = [m for m in _PIECE.finditer(sentence) if m.group() != "-"]
    texts = [m.group().lower() for m in pieces]
    found: list[Word] = []
    i = 0
    while i < len(pieces):
        if pieces[i].lastgroup == "number":
            m = pieces[i]
            number = float(texts[i])
            found.append(Word(Role.NUMBER, texts[i], m.start(), m.end(), number=number))
            i += 1
            continue
        for length in range(min(_LONGEST, len(pieces) - i), 0, -1):
            meaning = _PHRASES.get(tuple(texts[i : i + length]))
            if meaning is not None:
                break
        else:
            length, meaning = 1, _Meaning(Role.UNKNOWN)
        start, end = pieces[i].start(), pieces[i + length - 1].end()
        found.append(
            Word(
                meaning.role,
                " ".join(texts[i : i + length]),
                start,
                end,
                meaning.kinds,
                meaning.level,
            )
        )
        i += length
    return found
