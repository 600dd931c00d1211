"""Training of the gain network on treated pictures."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.training.data import CropBank
from conservator.restorers.training.loop import Budget, Trainer, choose_device
from conservator.restorers.weights import apply_weights, checksum, load_weights, save_weights
from conservator.tools.gain.candidates import Candidates, gather, read
from conservator.tools.gain.network import GainNetwork, GainReading, Look, differences, seen
from conservator.tools.instruments import estimator
from conservator.tools.instruments.estimator.network import Estimator
from conservator.tools.instruments.estimator.predictor import thumbnail_of

__all__ = ["features_of", "loss_of", "train"]

MOST = 12.0
"""Gains beyond this many dB, up or down, are learned as this many."""
_SSIM = 4.0
_ORDER = 0.5
_JITTER = 0.05


def train(
    data: Path,
    out: Path,
    *,
    minutes: float = 5,
    device: str = "auto",
    resume: bool = False,
    weights: Path | None = None,
    pictures: int = 1300,
    batch: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train and return the path of the fp16 weights.

    Args:
        data: folder of clean images.
        out: folder of the treated pictures, the checkpoint, the log and the weights.
        minutes: wall time to spend on the perceptrons, resumed parts included; treating the pictures comes on top.
        device: `auto`, `cpu`, `cuda`, ...
        resume: continue from the checkpoint in `out`.
        weights: start from these.
        pictures: to treat, four ways each.
        batch: pictures a step.
        lr: peak learning rate.
        seed: of weights, pictures, degradations and treatments.
        say: receives progress, a line at a time.

    Raises:
        UsageError: no images in `data`.
        WeightsError: the checkpoint or `weights` do not fit, or a restorer's weights are damaged.
    """
    torch.manual_seed(seed)
    where = choose_device(device)
    gather(CropBank(data), out / "candidates", pictures, seed=seed, say=say)
    taught = read(out / "candidates")
    features = features_of(taught, estimator.load().model.to(where), where)
    gains = taught.gains.to(where)
    model = GainNetwork(features.shape[-1]).to(where)
    model.standardise(features.flatten(0, 1))
    if weights is not None:
        apply_weights(model, load_weights(weights))
    result = out / "gain.safetensors"
    facts = {"tool": "gain", "estimator_sha256": checksum(estimator.WEIGHTS)}

    def keep(ema: nn.Module) -> None:
        save_weights(ema, result, facts)

    budget = Budget(minutes=minutes, lr=lr, weight_decay=0.05)
    trainer = Trainer(model, budget, out, on_checkpoint=keep, say=say)
    if resume:
        trainer.resume()
    rng = random.Random(seed + trainer.step)

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            yield loss

    def loss() -> Tensor:
        rows = torch.tensor([rng.randrange(len(features)) for _ in range(batch)])
        ways = torch.tensor([rng.sample(range(features.shape[1]), 2) for _ in rows]).T
        taken = torch.cat([features[rows, way] for way in ways])
        truth = torch.cat([gains[rows, way] for way in ways])
        noise = _JITTER * model.scale * torch.randn_like(taken)
        return torch.stack([loss_of(r, truth) for r in model.each(taken + noise)]).sum()

    trainer.run(losses())
    return result


@torch.inference_mode()
def features_of(taught: Candidates, eyes: Estimator, where: torch.device) -> Tensor:
    """(N, W, F): what the network learns from, of every treatment of every picture."""
    rows = []
    for before, after in zip(taught.before, taught.after, strict=True):
        first = _look(before[None].to(where))
        known = seen(eyes, first)
        rows.append(
            torch.cat([differences(eyes, first, _look(x[None].to(where)), known) for x in after])
        )
    return torch.stack(rows).clone()


def _look(picture: Tensor) -> Look:
    """The whole of (1, 3, S, S), uint8, as one crop."""
    image = picture.float() / 255
    return Look(image[:, None], thumbnail_of(image))


def loss_of(reading: GainReading, gains: Tensor) -> Tensor:
    """Laplacian likelihood of the gain in dB, distance of the gain in SSIM, and the order of two treatments of a picture.

    Args:
        reading: of 2B pairs; pair i and pair B + i treat the same picture.
        gains: (2B, 2), dB and SSIM.
    """
    psnr, ssim = gains[:, 0].clamp(-MOST, MOST), gains[:, 1]
    off = (reading.psnr - psnr).abs()
    likely = off / reading.spread + reading.spread.log()
    half = len(gains) // 2
    apart = psnr[:half] - psnr[half:]
    said = reading.psnr[:half] - reading.psnr[half:]
    order = F.softplus(-said * apart.sign()) * apart.abs().clamp(max=1)
    return likely.mean() + _SSIM * (reading.ssim - ssim).abs().mean() + _ORDER * order.mean()
