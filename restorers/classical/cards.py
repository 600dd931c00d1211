"""The data sheets of the classical tools; importing this pulls neither torch, OpenCV nor scikit-image.

`seconds_per_mp` is the processor time of one thread for a photo of 1024x1024 at high severity, on a busy Zen 4 core.
"""

from __future__ import annotations

from typing import Any

from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import Kind

__all__ = [
    "BILATERAL",
    "CLAHE",
    "DCT",
    "DEBLOCK",
    "DEBLUR",
    "DEHAZE",
    "GAMMA",
    "INPAINT",
    "MEDIAN",
    "MOTION",
    "NLM",
    "RAIN",
    "RESIZE",
    "SNOW",
    "UPSCALE_X2",
    "UPSCALE_X4",
    "WAVELET",
]


def _card(name: str, title: str, kind: Kind, *ways: str, **rest: Any) -> RestorerCard:
    """A card; `ways` are configurations beside `compact`, which chooses among them."""
    return RestorerCard(
        name=f"classical-{name}",
        title=title,
        treats=(kind,),
        prompt_style="parameters",
        cpu_only=True,
        configurations={way: Configuration() for way in ("compact", *ways)},
        **rest,
    )


NLM = _card(
    "nlm",
    "Non-local means: averages similar patches; best on flat areas and repeated texture",
    Kind.NOISE,
    overlap=48,
    min_side=8,
    seconds_per_mp=1.6,
    paper="Buades, Coll and Morel, CVPR 2005",
)
WAVELET = _card(
    "wavelet",
    "Undecimated Haar wavelets with local Wiener shrinkage: light, keeps fine grain of texture",
    Kind.NOISE,
    overlap=96,
    min_side=32,
    seconds_per_mp=1.0,
    paper="Coifman and Donoho 1995; Mihcak, Kozintsev and Ramchandran, ICASSP 1999",
)
DCT = _card(
    "dct",
    "Sliding DCT shrinkage in two passes: the strongest classical denoiser here",
    Kind.NOISE,
    overlap=64,
    min_side=16,
    seconds_per_mp=2.6,
    paper="Yu and Sapiro, IPOL 2011",
)
BILATERAL = _card(
    "bilateral",
    "Bilateral filter: fast, keeps strong edges, softens texture",
    Kind.NOISE,
    overlap=32,
    min_side=8,
    seconds_per_mp=0.15,
    paper="Tomasi and Manduchi, ICCV 1998",
)
GAMMA = _card(
    "gamma",
    "Tone curve that gives back the lost stops, curve chosen from the highlights",
    Kind.LOW_LIGHT,
    "gamma",
    "shift",
    "exposure",
    tile=1024,
    overlap=0,
    seconds_per_mp=0.2,
)
CLAHE = _card(
    "clahe",
    "Gives back the lost stops, then raises local contrast (CLAHE); livelier and less faithful than gamma",
    Kind.LOW_LIGHT,
    tile=1024,
    overlap=0,
    seconds_per_mp=0.5,
    paper="Zuiderveld, Graphics Gems IV, 1994",
)
DEHAZE = _card(
    "dehaze",
    "Dark channel prior with guided filter; over-darkens skies and white objects",
    Kind.HAZE,
    tile=1024,
    overlap=96,
    seconds_per_mp=0.35,
    paper="He, Sun and Tang, CVPR 2009; He and Sun, arXiv 1505.00996",
)
DEBLUR = _card(
    "deblur",
    "Regularised Wiener deconvolution of a disk: needs a radius that is right within half a pixel",
    Kind.DEFOCUS_BLUR,
    tile=1024,
    overlap=128,
    min_side=16,
    seconds_per_mp=0.3,
    paper="Wiener 1949; Hunt 1973",
)
MOTION = _card(
    "motion",
    "Regularised Wiener deconvolution of a straight motion, its angle and course found in the photo; one motion for the whole photo",
    Kind.MOTION_BLUR,
    tile=1024,
    overlap=128,
    min_side=16,
    seconds_per_mp=0.4,
    paper="Wiener 1949; Hunt 1973",
)
MEDIAN = _card(
    "median",
    "Replaces isolated black or white pixels from their neighbours; all others stay bit-identical",
    Kind.PEPPER_NOISE,
    overlap=96,
    min_side=8,
    seconds_per_mp=0.65,
)
DEBLOCK = _card(
    "deblock",
    "JPEG deblocking: mean of shifted re-encodings and of sliding DCT shrinkage",
    Kind.JPEG,
    overlap=64,
    multiple=16,
    min_side=16,
    seconds_per_mp=1.3,
    paper="Nosratinia, J. VLSI Signal Processing 2001; Foi, Katkovnik and Egiazarian, IEEE TIP 2007",
)
RESIZE = _card(
    "resize",
    "Sharpens what was shrunk and enlarged again, at the same size",
    Kind.LOW_RESOLUTION,
    tile=1024,
    overlap=128,
    min_side=16,
    seconds_per_mp=0.3,
)
UPSCALE_X2 = _card(
    "upscale-x2",
    "Lanczos enlargement to twice the size, mildly sharpened",
    Kind.LOW_RESOLUTION,
    overlap=32,
    min_side=8,
    scale=2,
    seconds_per_mp=0.2,
)
UPSCALE_X4 = _card(
    "upscale-x4",
    "Lanczos enlargement to four times the size, mildly sharpened",
    Kind.LOW_RESOLUTION,
    overlap=32,
    min_side=8,
    scale=4,
    seconds_per_mp=1.1,
)
INPAINT = _card(
    "inpaint",
    "Finds flat blocks, strokes and scratches of one tone and fills them from their rim (Telea)",
    Kind.MASK,
    tile=1024,
    overlap=128,
    seconds_per_mp=0.2,
    paper="Telea, Journal of Graphics Tools 2004",
)
RAIN = _card(
    "rain",
    "Subtracts thin bright streaks of the dominant direction by morphology, less so in texture",
    Kind.RAIN,
    tile=768,
    overlap=160,
    min_side=16,
    seconds_per_mp=0.25,
)
SNOW = _card(
    "snow",
    "Removes small white flakes by morphology; also takes small white details at high strength",
    Kind.SNOW,
    tile=768,
    overlap=160,
    min_side=16,
    seconds_per_mp=0.25,
)
