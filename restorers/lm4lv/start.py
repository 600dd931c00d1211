"""A start for the compact size, without a gradient: on a CPU the steps are few.

The autoencoder begins with a picture's principal components, through layers that the blocks leave alone at first. Transformers learn what a patch is slowly. So the linear layers begin with what is known: a token carries the
strongest principal components of its patch, each by the inverse fourth root of its variance, which is the best that a linear code can do
for numbers that all get the same noise; the last number is a constant, so that the norm behind it does not lose the contrast. What
the decoder makes of them is solved by least squares. The blocks begin as the identity and learn the rest.

The adapters begin with tokens at right angles to each other in the language model, and with the best linear reading of what it makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.lm4lv.mae import MAE, Block, noisy
from conservator.restorers.lm4lv.network import LM4LV

__all__ = ["free_directions", "start_from_components", "start_reading"]

_CONTRAST = 10.0
"""The constant number, of the RMS of the others: of 1 to 16 the best under the noise of training."""
_RIDGE = 1e-3
_READING_RIDGE = 1e-5
_PAST = 0.5
_FLAT = 0.01
_ERROR = 0.5
"""Most error of what the answer has said so far, of a token's RMS, while the reading is solved."""


def free_directions(places: Tensor, count: int) -> Tensor:
    """(count, width): orthonormal, and at right angles to all codes (patches, width) of places."""
    directions = torch.linalg.svd(places.double(), full_matrices=True).Vh
    # Singular vectors come strongest first: the last ones are those that no place uses.
    return directions[-count:].float()


def _silence(blocks: nn.ModuleList) -> None:
    for block in blocks:
        assert isinstance(block, Block)
        for layer in (block.project, block.mlp[2]):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)


@torch.no_grad()
def start_from_components(vision: MAE, pictures: Tensor) -> None:
    """Set the weights of an autoencoder with narrow tokens.

    Args:
        vision: set in place.
        pictures: some hundred clean ones (B, 3, side, side), [0, 1], on its device.
    """
    config, encoder, decoder = vision.config, vision.encoder, vision.decoder
    assert encoder.narrow is not None
    patch, tokens = config.patch, config.visual_width
    kept = tokens - 1
    normed = (pictures - encoder.mean) / encoder.deviation
    patches = (
        F.unfold(normed, patch, stride=patch).transpose(1, 2).flatten(0, 1)
    )  # (n, 3 * patch**2)
    mean = patches.mean(dim=0)
    variance, components = torch.linalg.eigh((patches - mean).T.cov().double())
    order = variance.argsort(descending=True)[:kept]
    gain = variance[order].clamp(min=1e-8).pow(-0.25)
    code = (components[:, order] * gain).T.float()  # (kept, 3 * patch**2)
    code = code / ((patches - mean) @ code.T).square().mean().sqrt()

    rows = free_directions(encoder.places, kept)  # (kept, width)
    weight = rows.T @ code  # (width, 3 * patch**2)
    encoder.patches.weight.copy_(weight.view_as(encoder.patches.weight))
    assert encoder.patches.bias is not None
    encoder.patches.bias.copy_(-weight @ mean)
    nn.init.zeros_(encoder.narrow.weight)
    nn.init.zeros_(encoder.narrow.bias)
    encoder.narrow.weight[:kept] = rows
    encoder.narrow.bias[kept:] = _CONTRAST
    nn.init.zeros_(decoder.embed.bias)
    decoder.embed.weight.copy_(free_directions(decoder.places, tokens).T)
    for blocks in (encoder.blocks, decoder.blocks):
        _silence(blocks)

    seen = noisy(encoder(pictures), config.token_noise)
    hidden = decoder.norm(decoder.embed(seen) + F.pad(decoder.places, (0, 0, 1, 0)))[:, 1:]
    # A patch's numbers lie as in MAE: rows, columns, channels.
    wanted = patches.view(-1, 3, patch**2).transpose(1, 2).flatten(1)
    sums = _Sums()
    sums.add(hidden.flatten(0, 1), wanted)
    weight, bias = sums.solved(_RIDGE)
    decoder.pixels.weight.copy_(weight)
    decoder.pixels.bias.copy_(bias)


class _Raw(nn.Module):
    """In place of a reading: the hidden states themselves."""

    def forward(self, hidden: Tensor, numbers: Tensor) -> Tensor:
        return hidden


@torch.no_grad()
def start_reading(network: LM4LV, samples: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]]) -> None:
    """Set the adapters.

    A token counts as much as its patch has contrast, since all tokens have the same RMS and flat patches show their errors less.

    Args:
        network: its adapters are set in place.
        samples: degraded and true tokens (B, N, W), tasks (B,), true pictures (B, 3, side, side).
    """
    adapters, config = network.adapters, network.config
    width, tokens = adapters.inward.weight.shape
    basis = nn.init.orthogonal_(adapters.inward.weight.new_empty(width, 2 * tokens))
    # The answer's own past errs, so it is half as loud as what it is made from.
    adapters.inward.weight.copy_(_PAST * basis[:, :tokens])
    if adapters.beside is not None:
        adapters.beside.weight.copy_(basis[:, tokens:])
    reading = adapters.outward
    sums = [_Sums() for _ in reading.weight]
    adapters.outward = _Raw()  # type: ignore[assignment]
    try:
        for given, true, numbers, pictures in samples:
            if config.generates:
                states, _ = network.teacher_forced(given, numbers, noisy(true, _ERROR))
            else:
                states = network(given, numbers)
            weights = _contrast(pictures, config.mae.patch)
            for task, own in enumerate(sums):
                rows = slice(None) if len(sums) == 1 else numbers == task
                own.add(states[rows].flatten(0, 1), true[rows].flatten(0, 1), weights[rows])
    finally:
        adapters.outward = reading
    for task, own in enumerate(sums):
        if own.count:
            reading.weight[task], reading.bias[task] = own.solved(_READING_RIDGE)


def _contrast(pictures: Tensor, patch: int) -> Tensor:
    """(B, 1 + patches): standard deviation in each patch of (B, 3, S, S), above a floor, which is what the class token has."""
    cut = F.unfold(pictures.mean(dim=1, keepdim=True), patch, stride=patch)
    return F.pad(cut.std(dim=1), (1, 0)) + _FLAT


class _Sums:
    """Weighted least squares of outputs on inputs and a one, from sums over batches."""

    def __init__(self) -> None:
        self.count = 0
        self.moment: Tensor | float = 0.0
        self.product: Tensor | float = 0.0

    def add(self, seen: Tensor, wanted: Tensor, weights: Tensor | None = None) -> None:
        """Take inputs (n, in), outputs (n, out) and weights of n numbers into account."""
        with_one = F.pad(seen, (0, 1), value=1.0).double()
        weighted = with_one if weights is None else with_one * weights.flatten()[:, None]
        self.count += len(seen)
        self.moment = self.moment + weighted.T @ with_one
        self.product = self.product + weighted.T @ wanted.double()

    def solved(self, ridge: float) -> tuple[Tensor, Tensor]:
        """Weight (out, in) and bias (out,) of a linear layer; `ridge` is relative to the inputs' mean square."""
        assert isinstance(self.moment, Tensor)
        damped = self.moment.clone()
        damped.diagonal().add_(ridge * float(damped.diagonal().mean()))
        found = torch.linalg.solve(damped, self.product).float()
        return found[:-1].T, found[-1]
