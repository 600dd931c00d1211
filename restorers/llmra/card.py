"""LLMRA's data sheet."""

from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["CARD"]

CARD = RestorerCard(
    name="llmra",
    title="LLMRA: all kinds at once, told in words; leaves alone what the words do not name",
    treats=tuple(Kind),
    prompt_style="llmra",
    precision="bfloat16",
    understands_strength=True,
    multiple=16,
    tile=512,
    overlap=48,
    min_side=32,
    seconds_per_mp=1.0,
    licence="Apache-2.0",
    commercial_use=False,
    paper="arXiv 2401.11401",
    configurations={
        "compact": Configuration(
            parameters_m=8.6,
            weights="llmra/weights/compact.safetensors",
            sha256="4a3dc447472fb15defb2f236324e8bb6691adee8af2b0da68f9d87cc9a93dc5d",
        ),
        "paper": Configuration(parameters_m=0.0),
    },
)
