"""Sizes of MoFE-IR: `paper` as published, `compact` as shipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conservator.restorers.layers.unet import COMPACT, UNetConfig

__all__ = ["CONFIGS", "MoFEConfig"]

Embedding = Literal["image", "joint"]


@dataclass(frozen=True)
class MoFEConfig(UNetConfig):
    """One size of MoFE-IR (arXiv 2605.11444); the switches are those of Tables 4, 5 and S1.

    Attributes:
        guide_width: width of the guide's embeddings; 2048 is Qwen2.5-VL 3B.
        encoder_guide: the embedding that MGFB injects into the encoder; None leaves MGFB out there.
        decoder_guide: the same for the decoder.
        use_mofe: False leaves the frequency experts out.
        experts: N of them.
        low_band: the experts also see the low-pass band (Table S1).
        domain: `frequency` is the paper; `spatial` gives the experts the resized image itself (Table 5b).
    """

    guide_width: int = 2048
    encoder_guide: Embedding | None = "image"
    decoder_guide: Embedding | None = "joint"
    use_mofe: bool = True
    experts: int = 8
    low_band: bool = False
    domain: Literal["frequency", "spatial"] = "frequency"


CONFIGS: dict[str, MoFEConfig] = {
    "paper": MoFEConfig(),
    "compact": MoFEConfig(**vars(COMPACT), guide_width=256),
}
