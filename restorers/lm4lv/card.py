"""LM4LV's data sheet."""

from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["CARD"]

_WEIGHTS = "lm4lv/weights/compact.safetensors"
_SHA256 = "4daa425efa470e1a6ffb3f3d10fd59ea81cebfb76f999ba22d06c69407192f1d"

CARD = RestorerCard(
    name="lm4lv",
    title="LM4LV: a frozen language model restores visual tokens; a research path, low-frequency restoration only",
    treats=(
        Kind.NOISE,
        Kind.DEFOCUS_BLUR,
        Kind.MOTION_BLUR,
        Kind.RAIN,
        Kind.PEPPER_NOISE,
        Kind.MASK,
    ),
    prompt_style="lm4lv",
    precision="bfloat16",
    understands_strength=False,
    multiple=8,
    tile=512,
    overlap=32,
    min_side=224,
    seconds_per_mp=51.0,
    licence="Apache-2.0",
    commercial_use=False,
    paper="arXiv 2405.15734",
    configurations={
        "compact": Configuration(parameters_m=5.0, weights=_WEIGHTS, sha256=_SHA256),
        "residual": Configuration(parameters_m=5.0, weights=_WEIGHTS, sha256=_SHA256),
        "mae-r": Configuration(parameters_m=4.8, weights=_WEIGHTS, sha256=_SHA256),
        "paper": Configuration(parameters_m=337.9),
    },
)
"""`residual` and `mae-r` are the compact size too: with the detail of the input where nothing was restored, and the autoencoder alone."""
