"""Sizes of LLMRA: `paper` as published, `compact` as shipped."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONFIGS", "LLMRAConfig"]


@dataclass(frozen=True)
class LLMRAConfig:
    """One size of LLMRA (arXiv 2401.11401).

    Attributes:
        channels: width of levels 1, 2, 3 and the latent level.
        blocks: blocks of levels 1, 2, 3 and latent, encoder and decoder alike.
        heads: attention heads a level.
        kinds: block a level, `transformer` (Restormer's) or `residual` (two dense 3x3 convolutions).
        refinement: blocks after the last decoder level.
        expansion: of GDFN.
        unshuffle: the image is folded by this factor before level 1; 1 is the paper's plain convolution.
        reduce_last: False leaves the concatenated skip of level 1 unreduced, as Restormer does.
        text: `clip` (open_clip ViT-B/32, frozen) or `small` (trained along, closed vocabulary).
        tokens: length of T_fea and Z.
        text_width: width of T_fea and Z.
        text_depth: layers of the small text tower.
        cem_unshuffle: fold of the image before CEM's ResBlock.
        cem_channels: width of CEM's image feature.
        use_cem: False is the ablation of Table 5.
        dmm_levels: levels (0 is level 1) that have a DMM; the paper has all four.
        gain: the output also has a gain a pixel, image * (1 + gain) + residual; False is the paper's plain residual.
        use_dmm: False is the ablation of Table 6: stacked cross attention without CAFF.
    """

    channels: tuple[int, int, int, int] = (48, 96, 192, 384)
    blocks: tuple[int, int, int, int] = (4, 6, 6, 8)
    heads: tuple[int, int, int, int] = (1, 2, 4, 8)
    kinds: tuple[str, str, str, str] = ("transformer",) * 4
    refinement: int = 4
    expansion: float = 2.66
    unshuffle: int = 1
    reduce_last: bool = False
    text: str = "clip"
    tokens: int = 77
    text_width: int = 512
    text_depth: int = 12
    cem_unshuffle: int = 1
    cem_channels: int = 48
    use_cem: bool = True
    dmm_levels: tuple[int, ...] = (0, 1, 2, 3)
    use_dmm: bool = True
    gain: bool = False


CONFIGS: dict[str, LLMRAConfig] = {
    "paper": LLMRAConfig(),
    "compact": LLMRAConfig(
        channels=(48, 96, 128, 192),
        blocks=(2, 3, 3, 3),
        heads=(1, 3, 4, 4),
        kinds=("residual", "residual", "residual", "transformer"),
        refinement=1,
        expansion=2.0,
        unshuffle=2,
        reduce_last=True,
        text="small",
        text_width=128,
        text_depth=2,
        cem_unshuffle=4,
        cem_channels=64,
        dmm_levels=(2, 3),
        gain=True,
    ),
}
