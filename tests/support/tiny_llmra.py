"""LLMRA small enough for a test to train."""

from conservator.restorers.llmra.config import LLMRAConfig

TINY = LLMRAConfig(
    channels=(8, 16, 16, 16),
    blocks=(1, 1, 1, 1),
    heads=(1, 2, 2, 2),
    kinds=("residual", "residual", "residual", "transformer"),
    refinement=1,
    unshuffle=2,
    reduce_last=True,
    text="small",
    text_width=32,
    text_depth=1,
    cem_unshuffle=4,
    cem_channels=16,
)
