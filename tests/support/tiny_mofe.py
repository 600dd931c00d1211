"""MoFE-IR small enough for a test to train, and a guide of the embedded model's architecture that nobody trained."""

from pathlib import Path

import pytest
import torch

from conservator.restorers.guides.qwen import fingerprint
from conservator.restorers.mofe_ir.config import CONFIGS, MoFEConfig
from conservator.restorers.mofe_ir.network import MoFEIR
from conservator.restorers.mofe_ir.restorer import GUIDES
from conservator.restorers.weights import save_weights

TINY = MoFEConfig(
    channels=(8, 16, 16, 16),
    blocks=(1, 1, 1, 1),
    heads=(1, 2, 2, 2),
    kinds=("residual", "residual", "residual", "transformer"),
    refinement=1,
    unshuffle=2,
    reduce_last=True,
    tone=True,
    gain=True,
    guide_width=256,
    experts=3,
)

_TEXT = "Readings: high gaussian noise (sigma 30.0), low rain (value 5). low light haze snow none."


def write_guide(folder: Path, *, seed: int = 0) -> Path:
    """Write the embedded model as it is before training; returns the folder."""
    from conservator.agent.vlm.embedded.build import build_model, write_directory
    from conservator.agent.vlm.embedded.language import fixed_texts, tokenizer_of

    return write_directory(
        build_model(seed), tokenizer_of([_TEXT] * 8, 1024, fixed_texts()), folder
    )


def write_weights(path: Path, guide: Path, patch: pytest.MonkeyPatch) -> Path:
    """Weights of a tiny network whose every part speaks, and the names `compact` changed to mean it and its guide."""
    patch.setitem(CONFIGS, "compact", TINY)
    patch.setitem(GUIDES, "compact", guide)
    torch.manual_seed(0)
    model = MoFEIR(TINY)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.05)
    save_weights(model, path, {"guide_sha256": fingerprint(guide)})
    return path
