"""Training of the estimator on synthetic degradations of the training crops."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, level_of, severity_of
from conservator.restorers.training.data import CropBank, Mixture
from conservator.restorers.training.loop import Budget, Trainer, autocast, choose_device
from conservator.restorers.training.validation import psnr
from conservator.restorers.weights import apply_weights, load_weights, save_weights
from conservator.tools.instruments.calibrate import WholePhotos, handled
from conservator.tools.instruments.estimator.network import CROP, THUMBNAIL, Estimator

__all__ = ["quality_of", "train"]

VIEW = 256
"""Side of the synthetic whole picture, px: a crop of CROP and a thumbnail are taken from it."""

MIXTURE = Mixture(
    weights=dict.fromkeys(Kind, 1.0) | {Kind.NOISE: 1.6, Kind.JPEG: 1.4, Kind.LOW_RESOLUTION: 0.8},
    counts=(0.2, 0.4, 0.25, 0.15),
    partial=0.0,
)


def quality_of(image: Tensor, clean: Tensor) -> Tensor:
    """The quality to learn, in [0, 1]: mean of a local structure similarity and PSNR from 10 to 45 dB; (B,)."""
    x, y = image.mean(1, keepdim=True), clean.mean(1, keepdim=True)

    def local(t: Tensor) -> Tensor:
        return F.avg_pool2d(t, 8, 4)

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
    similarity = ((2 * mx * my + 1e-4) * (2 * cov + 9e-4)) / (
        (mx * mx + my * my + 1e-4) * (vx + vy + 9e-4)
    )
    fidelity = ((psnr(image, clean) - 10) / 35).clamp(0, 1)
    return 0.5 * similarity.mean(dim=(1, 2, 3)).clamp(0, 1) + 0.5 * fidelity


def _varied(clean: Tensor, rng: random.Random) -> Tensor:
    """Harmless differences that a clean photo may have: exposure within taste, contrast, high-quality JPEG."""
    out = clean.clone()
    for i in range(len(out)):
        if rng.random() < 0.5:
            gain, gamma = rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.15)
            out[i] = (out[i] ** gamma * gain).clamp(0, 1)
    return out


def _stored(image: Tensor, present: list[dict[Kind, float]], rng: random.Random) -> None:
    """Some pictures, in place, as they reach us: edited a little, saved as JPEG of a usual quality."""
    for i, kinds in enumerate(present):
        if rng.random() < 0.15:
            image[i : i + 1] = handled(image[i : i + 1], rng)
        if Kind.JPEG not in kinds and rng.random() < 0.25:
            quality = float(rng.randint(60, 95))
            image[i : i + 1] = synthesis.jpeg(image[i : i + 1], [quality])
            kinds[Kind.JPEG] = quality


def train(
    data: Path,
    out: Path,
    *,
    minutes: float = 30,
    device: str = "auto",
    resume: bool = False,
    weights: Path | None = None,
    batch: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    restore: Callable[[Tensor, list[dict[Kind, float]]], Tensor] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train and return the path of the fp16 weights.

    Args:
        data: folder of clean images.
        out: folder of the checkpoint, the log and the weights.
        minutes: wall time to spend, resumed parts included.
        device: `auto`, `cpu`, `cuda`, ...
        resume: continue from the checkpoint in `out`.
        weights: start from these.
        batch: pictures a step.
        lr: peak learning rate.
        seed: of weights, patches and degradations.
        say: receives progress, a line at a time.
        restore: given, a quarter of each batch is restored before it is read, so that quality is also learned on what
            restorers leave behind; the kinds that were treated are then not scored.

    Raises:
        UsageError: no images in `data`.
        WeightsError: the checkpoint or `weights` do not fit.
    """
    torch.manual_seed(seed)
    where = choose_device(device)
    model = Estimator().to(where).to(memory_format=torch.channels_last)
    if weights is not None:
        apply_weights(model, load_weights(weights))
    result = out / "estimator.safetensors"

    def keep(ema: nn.Module) -> None:
        save_weights(ema, result, {"instrument": "estimator"})

    trainer = Trainer(
        model,
        Budget(minutes=minutes, lr=lr, weight_decay=1e-3),
        out,
        on_checkpoint=keep,
        say=say,
    )
    if resume:
        trainer.resume()
    bank = CropBank(data)
    maker = WholePhotos(MIXTURE, seed=seed + trainer.step, device=str(where))
    kinds = list(Kind)

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            yield loss

    def loss() -> Tensor:
        clean = _varied(bank.patches(batch, VIEW, maker.rng).to(where), maker.rng)
        pairs = maker.pairs(clean)
        image = synthesis.quantise8(pairs.degraded)
        _stored(image, pairs.present, maker.rng)
        severity = torch.tensor(
            [[severity_of(k, p[k]) if k in p else 0.0 for k in kinds] for p in pairs.present]
        ).to(where)
        present = torch.tensor(
            [[float(k in p and level_of(k, p[k]) > 0) for k in kinds] for p in pairs.present]
        ).to(where)
        scored = torch.ones_like(present)
        if restore is not None:
            n = batch // 4
            image[:n] = synthesis.quantise8(restore(image[:n], pairs.asked[:n]))
            scored[:n] = 1 - present[:n]
        top, left = maker.rng.randrange(VIEW - CROP), maker.rng.randrange(VIEW - CROP)
        crops = image[:, None, :, top : top + CROP, left : left + CROP]
        thumbnail = synthesis.downsample(image, VIEW / THUMBNAIL, "bilinear")
        with autocast(where):
            reading = model(crops, thumbnail)
        presence = F.binary_cross_entropy_with_logits(
            reading.presence.float(), present, reduction="none"
        )
        off = F.smooth_l1_loss(reading.severity.float(), severity, beta=0.05, reduction="none")
        quality = F.smooth_l1_loss(
            reading.quality.float(), quality_of(image, pairs.clean), beta=0.05
        )
        # How bad an absent kind is, nobody asks.
        off = off * (0.1 + 0.9 * present)
        return ((presence + 4 * off) * scored).mean() + quality

    trainer.run(losses())
    return result


def parameters_m(model: nn.Module) -> float:
    """Millions of parameters."""
    return sum(p.numel() for p in model.parameters()) / 1e6
