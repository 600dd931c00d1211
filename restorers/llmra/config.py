"""Sizes of LLMRA: `paper` as published, `compact` as shipped."""

from __future__ import annotations

from dataclasses import dataclass

from conservator.restorers.layers.unet import COMPACT, UNetConfig

__all__ = ["CONFIGS", "LLMRAConfig"]


@dataclass(frozen=True)
class LLMRAConfig(UNetConfig):
    """One size of LLMRA (arXiv 2401.11401).

    Attributes:
        text: `clip` (open_clip ViT-B/32, frozen) or `small` (trained along, closed vocabulary).
        tokens: length of T_fea and Z.
        text_width: width of T_fea and Z.
        text_depth: layers of the small text tower.
        cem_unshuffle: fold of the image before CEM's ResBlock.
        cem_channels: width of CEM's image feature.
        use_cem: False is the ablation of Table 5.
        dmm_levels: levels (0 is level 1) that have a DMM; the paper has all four.
        use_dmm: False is the ablation of Table 6: stacked cross attention without CAFF.
    """

    text: str = "clip"
    tokens: int = 77
    text_width: int = 512
    text_depth: int = 12
    cem_unshuffle: int = 1
    cem_channels: int = 48
    use_cem: bool = True
    dmm_levels: tuple[int, ...] = (0, 1, 2, 3)
    use_dmm: bool = True


CONFIGS: dict[str, LLMRAConfig] = {
    "paper": LLMRAConfig(),
    "compact": LLMRAConfig(
        **vars(COMPACT),
        text="small",
        text_width=128,
        text_depth=2,
        cem_unshuffle=4,
        cem_channels=64,
        dmm_levels=(2, 3),
    ),
}
