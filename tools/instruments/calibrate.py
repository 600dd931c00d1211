"""Fit the calibration: `python -m conservator.tools.instruments.calibrate FOLDER`.

Clean crops are degraded by known amounts, examined, and a small ensemble of perceptrons is fitted from the readings
to each kind's level on the ladder. A severity between two anchors is a label shared between both, so the fitted distribution's
mean reads as a severity and its mass as a probability.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, severity_of
from conservator.restorers.training.data import CropBank, Mixture, Synthesiser
from conservator.tools.instruments.calibration import WEIGHTS
from conservator.tools.instruments.readings import examine
from conservator.tools.instruments.sample import FloatArray, sample_of

__all__ = ["MIXTURE", "WholePhotos", "examples", "fit", "handled", "labels_of", "main"]

MIXTURE = Mixture(
    weights={
        Kind.NOISE: 1.4,
        Kind.JPEG: 1.2,
        Kind.LOW_LIGHT: 1.2,
        Kind.RAIN: 1.2,
        Kind.HAZE: 1.2,
        Kind.DEFOCUS_BLUR: 1.2,
        Kind.MOTION_BLUR: 1.2,
        Kind.LOW_RESOLUTION: 1.2,
        Kind.SNOW: 0.8,
        Kind.PEPPER_NOISE: 0.6,
        Kind.MASK: 0.6,
    },
    counts=(0.22, 0.42, 0.24, 0.12),
    partial=0.0,
)
_SIZES = (224, 256, 288, 320)
_OWN_QUALITY = 92.0


class WholePhotos(Synthesiser):
    """Haze as a whole photo shows it: from the camera's feet to the farthest depth."""

    def _degrade(
        self, x: Tensor, kind: Kind, values: list[float], seed: int, scene: Tensor
    ) -> Tensor:
        if kind is not Kind.HAZE:
            return super()._degrade(x, kind, values, seed, scene)
        generator = self.generator.manual_seed(seed)
        depth = synthesis.pseudo_depth(len(x), x.shape[-2], x.shape[-1], generator)
        light = torch.tensor([[self.rng.uniform(0.6, 1.0)] for _ in values])
        tint = torch.tensor([[self.rng.uniform(-0.03, 0.03) for _ in range(3)] for _ in values])
        return synthesis.haze(x, values, (light + tint).clamp(0, 1), depth)

    def _noise(self, x: Tensor, values: list[float], generator: torch.Generator) -> Tensor:
        # What cameras and the web make of noise is seldom white any more: demosaiced, smoothed, resized.
        if self.rng.random() < 0.35:
            correlation = [self.rng.uniform(0.2, 1.2) for _ in values]
            return synthesis.gaussian_noise(x, values, generator, correlation=correlation)
        return super()._noise(x, values, generator)


def examples(
    bank: CropBank, count: int, seed: int
) -> Iterator[tuple[FloatArray, dict[Kind, float], int]]:
    """Degrade `count` crops: ((H, W, 3) float32 in [0, 1], kind -> parameter, number of the crop)."""
    rng = random.Random(seed)
    degrader = WholePhotos(MIXTURE, seed=seed)
    for _ in range(count):
        number = rng.randrange(len(bank.images))
        size = rng.choice(_SIZES)
        own = rng.random() < 0.4
        crop = bank.images[number : number + 1].float() / 255
        if own:
            top, left = (rng.randrange(0, crop.shape[-1] - size + 1) for _ in range(2))
            crop = crop[..., top : top + size, left : left + size]
        else:
            crop = synthesis.quantise8(synthesis.downsample(crop, rng.uniform(320 / size, 1.9)))
        if rng.random() < 0.5:
            crop = crop.flip(-1)
        grey = rng.random()
        if grey < 0.06:
            crop = _grey(crop)
        present = degrader.draw()
        pairs = degrader.apply(crop, [present], [present])
        if own and Kind.JPEG not in present:
            present = {**present, Kind.JPEG: _OWN_QUALITY}
        degraded = pairs.degraded
        if rng.random() < 0.2:
            degraded = handled(degraded, rng)
        if grey < 0.03 and Kind.NOISE not in present:
            degraded = _grey(degraded)
        yield degraded[0].permute(1, 2, 0).contiguous().numpy(), present, number


def _grey(x: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return synthesis.quantise8((x * weights).sum(1, keepdim=True)).expand(-1, 3, -1, -1)


def handled(x: Tensor, rng: random.Random) -> Tensor:
    """Touch a picture slightly, as an editor does: what is wrong stays wrong, exact traces are wiped out."""
    way = rng.randrange(3)
    if way == 0:
        x = synthesis.gaussian_blur(x, [rng.uniform(0.35, 0.6)])
    elif way == 1:
        x = ((x - 0.5) * rng.uniform(0.9, 1.1) + 0.5 + rng.uniform(-0.02, 0.02)).clamp(0, 1)
    else:
        x = (x + (torch.rand(x.shape) - 0.5) * rng.uniform(2, 6) / 255).clamp(0, 1)
    return synthesis.quantise8(x)


def labels_of(present: dict[Kind, float]) -> npt.NDArray[np.float32]:
    """Soft labels (kinds, 5): each kind's severity shared between the two anchors around it."""
    labels = np.zeros((len(Kind), 5), np.float32)
    for row, kind in enumerate(Kind):
        place = severity_of(kind, present.get(kind, PARAMETERS[kind].identity)) * 4
        low = min(int(place), 3)
        labels[row, low], labels[row, low + 1] = 1 - (place - low), place - low
    return labels


def fit(
    readings: npt.NDArray[np.float32],
    labels: npt.NDArray[np.float32],
    *,
    epochs: int = 40,
    members: int = 4,
) -> dict[str, npt.NDArray[Any]]:
    """Fit an ensemble of perceptrons that differ in their first weights and the order of their batches.

    Args:
        readings: (n, r).
        labels: (n, kinds, 5), from `labels_of`.
        epochs: passes over the examples.
        members: of the ensemble.

    Returns:
        The arrays that `calibration.Calibration` reads, without the names.
    """
    middle = readings.mean(axis=0)
    spread = readings.std(axis=0) + 1e-3
    x = torch.from_numpy(np.clip((readings - middle) / spread, -5, 5))
    y = torch.from_numpy(labels)
    fitted = [_member(x, y, epochs, seed) for seed in range(members)]
    arrays: dict[str, npt.NDArray[Any]] = {"middle": middle, "spread": spread}
    for index in range(3):
        layers = [[m for m in net if isinstance(m, nn.Linear)][index] for net in fitted]
        weights = [layer.weight.detach().numpy() for layer in layers]
        biases = [layer.bias.detach().numpy() for layer in layers]
        arrays[f"weight_{index}"] = np.stack(weights).astype(np.float16)
        arrays[f"bias_{index}"] = np.stack(biases).astype(np.float32)
    return arrays


def _member(x: Tensor, y: Tensor, epochs: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    kinds, batch = y.shape[1], 256
    net = nn.Sequential(
        nn.Linear(x.shape[1], 128), nn.ReLU(), nn.Dropout(0.15),
        nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.1),
        nn.Linear(64, kinds * 5),
    )  # fmt: skip
    steps = epochs * max(1, len(x) // batch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,))
        noisy = x[rows] + 0.05 * torch.randn(batch, x.shape[1])
        logits = net(noisy).view(batch, kinds, 5).log_softmax(-1)
        loss = -(y[rows] * logits).sum(-1).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return net


def main(arguments: list[str] | None = None) -> int:
    """Fit on a folder of clean crops and write the calibration; returns an exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if not 1 <= len(given) <= 2 or not Path(given[0]).is_dir():
        sys.stderr.write(
            "usage: python -m conservator.tools.instruments.calibrate FOLDER [EXAMPLES]\n"
        )
        return 2
    count = int(given[1]) if len(given) == 2 else 30_000
    bank = CropBank(Path(given[0]))
    rows, labels, names = [], [], []
    for image, present, _ in examples(bank, count, seed=1):
        values = examine(sample_of(image)).values
        names = list(values)
        rows.append(list(values.values()))
        labels.append(labels_of(present))
    arrays = fit(np.array(rows, np.float32), np.stack(labels))
    arrays["names"] = np.array(names)
    np.savez_compressed(WEIGHTS, allow_pickle=False, **arrays)
    sys.stdout.write(f"{count} examples -> {WEIGHTS} ({WEIGHTS.stat().st_size} bytes)\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
