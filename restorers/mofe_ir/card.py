"""MoFE-IR's data sheet."""

from conservator.restorers.card import Configuration, RestorerCard
from conservator.restorers.degradations.vocabulary import Kind

__all__ = ["CARD"]

CARD = RestorerCard(
    name="mofe-ir",
    title="MoFE-IR: all kinds at once and their mixtures; a vision-language model looks and guides",
    treats=tuple(Kind),
    prompt_style="mofe",
    looks=True,
    precision="bfloat16",
    understands_strength=True,
    multiple=16,
    tile=512,
    overlap=48,
    min_side=32,
    seconds_per_mp=2.0,
    licence="Apache-2.0",
    commercial_use=False,
    paper="arXiv 2605.11444",
    configurations={
        "compact": Configuration(
            parameters_m=8.7,
            weights="mofe_ir/weights/compact.safetensors",
            sha256="be63b992ff61ecc4fc82c3fe9e005182bfd01c9baed9e3d6fe05269687b8b325",
        ),
        "paper": Configuration(parameters_m=37.5),
    },
)
