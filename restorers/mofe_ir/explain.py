"""What MoFE-IR did to a picture: each expert's part in it, and how pictures are routed (the paper's figures 6 and 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from conservator.restorers.errors import UsageError
from conservator.restorers.mofe_ir.network import guided_loss, similarity
from conservator.restorers.mofe_ir.restorer import MoFEIRRestorer
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["Experts", "Routing", "experts", "projected", "routing"]

_SIDE = 1024
"""Longest side of the part that is drawn, px: its centre, so that it stays at native resolution."""


@dataclass(frozen=True, eq=False)
class Experts:
    """What the experts did to the middle of a picture.

    Attributes:
        degraded: (1, 3, H, W), [0, 1].
        restored: the same, by all of them.
        weights: S, N of them, (0, 1).
        maps: (N, H, W): mean absolute difference of the channels when one expert's weight is set to 0.
    """

    degraded: Tensor
    restored: Tensor
    weights: tuple[float, ...]
    maps: Tensor


@torch.inference_mode()
def experts(restorer: MoFEIRRestorer, image: Tensor, prompt: RestorationPrompt) -> Experts:
    """Take the experts away one by one.

    Args:
        restorer: on the CPU or where it was moved to.
        image: (1, 3, H, W), [0, 1]; the guide looks at all of it.
        prompt: as for a restoration.

    Raises:
        UsageError: the network has no experts, or the picture is smaller than the network takes.
    """
    if not restorer.model.config.use_mofe:
        raise UsageError("this network was built without experts; there is nothing to explain")
    multiple = restorer.model.multiple
    guidance = restorer.prepare(image, prompt, seed=0)
    height, width = (min(n, _SIDE) // multiple * multiple for n in image.shape[-2:])
    if min(height, width) < restorer.card.min_side:
        raise UsageError(
            f"a picture of {image.shape[-1]}x{image.shape[-2]} px is too small to explain; give one of at least "
            f"{restorer.card.min_side} px a side"
        )
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    part = image[..., top : top + height, left : left + width].to(guidance.weights.device)

    def restored(weights: Tensor) -> Tensor:
        output = restorer.model(part, guidance.embeddings, guidance.curve, weights)
        return output.float().clamp(0, 1)

    whole = restored(guidance.weights)
    maps = []
    for i in range(guidance.weights.shape[1]):
        without = guidance.weights.clone()
        without[:, i] = 0
        maps.append((restored(without) - whole).abs().mean(dim=(0, 1)).cpu())
    return Experts(
        part.cpu(),
        whole.cpu(),
        tuple(float(w) for w in guidance.weights[0]),
        torch.stack(maps),
    )


@dataclass(frozen=True, eq=False)
class Routing:
    """How pictures are routed.

    Attributes:
        answers: E_Answer, (P, D).
        weights: S, (P, N).
        difference: Eq. 7 on them: mean absolute difference of their cosine similarities; 0 where they agree.
        correlation: of these similarities, over pairs of pictures; nan where one of them does not vary.
    """

    answers: Tensor
    weights: Tensor
    difference: float
    correlation: float


@torch.inference_mode()
def routing(
    restorer: MoFEIRRestorer, images: Iterable[Tensor], prompt: RestorationPrompt
) -> Routing:
    """Let the guide look at pictures (1, 3, H, W), [0, 1]; nothing is restored.

    Raises:
        UsageError: fewer than three pictures, or a network without experts.
    """
    if not restorer.model.config.use_mofe:
        raise UsageError("this network was built without experts; nothing is routed")
    text = restorer.render(prompt)
    answers = [restorer.guide.embed(image, text).answer for image in images]
    if len(answers) < 3:
        raise UsageError(f"{len(answers)} pictures show no relations; give at least three")
    answer = torch.cat(answers).to(next(restorer.model.parameters()).device)
    weights = restorer.model.route(answer)
    pairs = torch.triu_indices(len(answer), len(answer), 1)
    one, other = (similarity(x).cpu()[pairs[0], pairs[1]] for x in (answer, weights))
    correlation = float(torch.corrcoef(torch.stack([one, other]))[0, 1])
    return Routing(
        answer.float().cpu(),
        weights.float().cpu(),
        float(guided_loss(answer, weights)),
        correlation,
    )


def projected(vectors: Tensor) -> npt.NDArray[np.float64]:
    """The two directions in which (P, D) vary most, (P, 2); principal components by a singular value decomposition."""
    centred = vectors.double() - vectors.double().mean(dim=0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    flat = (left * values)[:, :2]
    # A vector of one number varies in one direction.
    flat = torch.nn.functional.pad(flat, (0, 2 - flat.shape[1]))
    return np.asarray(flat.numpy(), np.float64)
