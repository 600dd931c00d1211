"""One restorer on one picture."""

from __future__ import annotations

import numpy as np
import torch

from conservator.evals.sample import Image
from conservator.restorers import catalog
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["called"]


def called(
    restorer: str,
    image: Image,
    prompt: RestorationPrompt,
    seed: int = 0,
    weights: str = "",
    size: str = "compact",
) -> Image:
    """What a restorer makes of a picture, (H, W, 3) in [0, 1].

    Args:
        restorer: its name.
        image: the picture.
        prompt: what it is told.
        seed: of a restorer that draws.
        weights: a file in place of the shipped weights.
        size: the configuration.

    Raises:
        RestorerError: it cannot.
    """
    x = torch.from_numpy(np.array(image, np.float32)).permute(2, 0, 1)[None]
    loaded = catalog.load(restorer, size, weights_path=weights or None)
    y = loaded.restore(x, prompt, seed=seed).image
    return np.ascontiguousarray(y[0].permute(1, 2, 0).numpy())
