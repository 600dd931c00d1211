"""SPIRE's data sheet."""

from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["CARD"]

_WEIGHTS = "spire/weights/compact.safetensors"
_SHA256 = "0d385726c651de3efd4b16124a641b0d9ca54757ed92f6335bd4b813a6b92032"

CARD = RestorerCard(
    name="spire",
    title="SPIRE: noise, blur, JPEG and lost resolution, told with numbers; draws detail anew with a diffusion prior; pays where several lie on each other, else LLMRA stays closer",
    treats=(Kind.NOISE, Kind.DEFOCUS_BLUR, Kind.JPEG, Kind.LOW_RESOLUTION),
    prompt_style="spire",
    precision="bfloat16",
    understands_strength=True,
    multiple=16,
    tile=512,
    overlap=64,
    seconds_per_mp=8.0,
    licence="Apache-2.0",
    commercial_use=False,
    paper="arXiv 2312.11595",
    configurations={
        "compact": Configuration(parameters_m=13.7, weights=_WEIGHTS, sha256=_SHA256),
        "full": Configuration(parameters_m=13.7, weights=_WEIGHTS, sha256=_SHA256),
        "paper": Configuration(parameters_m=1131.0),
    },
)
"""`full` is the compact size drawn in the paper's 50 steps; the compact one takes 8."""
