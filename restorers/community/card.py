"""The data sheet of a checkpoint that the user brings; what it treats is known only when it is loaded."""

from __future__ import annotations

from conservator.restorers.card import Configuration, RestorerCard

__all__ = ["CARD"]

CARD = RestorerCard(
    name="community",
    title="A checkpoint of your own, in any architecture that spandrel knows (NAFNet, SwinIR, SCUNet, ...)",
    treats=(),
    understands_strength=False,
    licence="NOASSERTION",
    commercial_use=False,
    configurations={"compact": Configuration()},
)
