"""Sizes of LM4LV: `paper` as published, `compact` as we train it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from conservator.restorers.prompts.lm4lv import TASKS

__all__ = ["ALL_TASKS", "CONFIGS", "PROBES", "LM4LVConfig", "MAEConfig"]

PROBES: tuple[str, ...] = ("rotate", "flip")
"""What restores nothing and shows what the language model can do: a quarter turn to the left, and left for right."""

ALL_TASKS: tuple[str, ...] = (*TASKS, *PROBES)
"""Table 2; a task's place here is that of its trained tokens."""


@dataclass(frozen=True)
class MAEConfig:
    """One masked autoencoder; the defaults are ViT-MAE-Large (arXiv 2111.06377).

    Attributes:
        side: of a picture, px.
        patch: side of a patch, px.
        width: of the encoder.
        depth: of the encoder, blocks.
        heads: of the encoder.
        token_width: of a visual token; None is the encoder's own width.
        token_noise: most noise on the tokens in training, of their own RMS; what it drowns is not worth a token's room.
        decoder_width: of the decoder.
        decoder_depth: of the decoder, blocks.
        decoder_heads: of the decoder.
        convolutions: channels of the decoder's convolutional head at the picture's own size; 0 has only MAE's linear one.
        epsilon: of the layer norms.
    """

    side: int = 224
    patch: int = 16
    width: int = 1024
    depth: int = 24
    heads: int = 16
    token_width: int | None = None
    token_noise: float = 0.0
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    convolutions: int = 0
    epsilon: float = 1e-12

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.side // self.patch

    @property
    def tokens(self) -> int:
        """Of a picture, the class token included."""
        return self.grid**2 + 1

    @property
    def visual_width(self) -> int:
        """Numbers in a visual token."""
        return self.token_width or self.width


@dataclass(frozen=True)
class LM4LVConfig:
    """One size of LM4LV (arXiv 2405.15734); the switches are its control experiments.

    Attributes:
        mae: the vision module.
        llm_width: of the language model's embeddings; 4096 is Llama 2 7B.
        task_tokens: trained tokens a task.
        loudness: size of what the adapters give the language model, of the size of its words.
        beside: the degraded token that an answer's token is made from is given once more at its place, through an adapter of its own.
        body: what stands between the adapters: the language model; one of its architecture with `random` weights; `none` (linear
            layers only); a trained two-layer `mlp` on each token; a trained `transformer` of two blocks.
        generation: `auto-regressive`, or `single-pass`, which reads the answer off the degraded tokens' own places.
        readings: a linear layer out for each task instead of one for all.
        text_loss: weight of the answer's tags beside the visual tokens.
        picture_loss: weight of the L1 distance of the decoded answer beside the visual tokens.
    """

    mae: MAEConfig = field(default_factory=MAEConfig)
    llm_width: int = 4096
    task_tokens: int = 10
    loudness: float = 1.0
    beside: bool = False
    readings: bool = False
    body: Literal["llm", "random", "none", "mlp", "transformer"] = "llm"
    generation: Literal["auto-regressive", "single-pass"] = "auto-regressive"
    text_loss: float = 1.0
    picture_loss: float = 0.0

    @property
    def speaks(self) -> bool:
        """Whether a language model stands between the adapters."""
        return self.body in ("llm", "random")

    @property
    def generates(self) -> bool:
        """Whether it does so token by token."""
        return self.speaks and self.generation == "auto-regressive"


CONFIGS: dict[str, LM4LVConfig] = {
    "paper": LM4LVConfig(),
    "compact": LM4LVConfig(
        mae=MAEConfig(
            side=112,
            patch=8,
            width=192,
            depth=5,
            heads=4,
            token_width=64,
            token_noise=0.3,
            decoder_width=192,
            decoder_depth=4,
            decoder_heads=4,
            convolutions=20,
            epsilon=1e-6,
        ),
        llm_width=256,
        loudness=200.0,
        beside=True,
        readings=True,
        text_loss=0.02,
        picture_loss=5.0,
    ),
}
