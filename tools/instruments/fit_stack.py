"""Fit the stack: `python -m conservator.tools.instruments.fit_stack FOLDER [EXAMPLES]`.

Clean crops are degraded by known amounts and read by the classical instruments and by the learned estimator; a small ensemble of perceptrons learns to
correct the calibration by both. Each member leaves out a quarter of the crops, on which it is then read: what pictures of a level are read
as (`Stack.medians`) comes from readings of pictures that the member has not learned.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.training.data import CropBank
from conservator.restorers.weights import checksum
from conservator.tools.instruments import estimator
from conservator.tools.instruments.calibrate import examples, labels_of
from conservator.tools.instruments.learned import learned_estimate
from conservator.tools.instruments.readings import examine
from conservator.tools.instruments.sample import sample_of
from conservator.tools.instruments.stacking import WEIGHTS, inputs_of

__all__ = ["MEMBERS", "fit", "main"]

MEMBERS = 4
_HIDDEN = 128
_PRIOR = 5 * len(Kind)
_LEAST = 1e-3

Array = npt.NDArray[np.float32]


class _Member(nn.Module):
    """softmax(share * log prior + correction); at the start the prior itself."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(inputs, _HIDDEN), nn.ReLU(), nn.Dropout(0.4), nn.Linear(_HIDDEN, _PRIOR)
        )
        self.share = nn.Parameter(torch.ones(len(Kind), 1))
        for last in self.net[-1].parameters():
            nn.init.zeros_(last)

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:
        correction: Tensor = self.net(x)
        return self.share * prior + correction.view(-1, len(Kind), 5)


def fit(
    inputs: Array, labels: Array, crops: npt.NDArray[np.int64], *, epochs: int = 40
) -> dict[str, npt.NDArray[Any]]:
    """Fit the ensemble.

    Args:
        inputs: (n, i), of `stacking.inputs_of`.
        labels: (n, kinds, 5), of `calibrate.labels_of`.
        crops: (n,) number of the crop that an example was made from.
        epochs: passes over the examples.

    Returns:
        The arrays that `stacking.stack` reads, without the estimator's checksum.
    """
    middle, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    x = torch.from_numpy(np.clip((inputs - middle) / spread, -5, 5).astype(np.float32))
    prior = torch.from_numpy(inputs[:, :_PRIOR]).view(-1, len(Kind), 5)
    y = torch.from_numpy(labels)
    read = np.zeros((len(x), len(Kind)), np.float32)
    members = []
    for fold in range(MEMBERS):
        kept = torch.from_numpy(crops % MEMBERS != fold)
        member = _fitted(x[kept], prior[kept], y[kept], epochs, fold)
        members.append(member)
        with torch.no_grad():
            levels = member(x[~kept], prior[~kept]).softmax(-1)[..., 1:]
        mean = (levels * torch.arange(1.0, 5)).sum(-1) / levels.sum(-1)
        read[~kept.numpy()] = mean.numpy()
    arrays: dict[str, npt.NDArray[Any]] = {
        "middle": middle.astype(np.float32),
        "spread": spread.astype(np.float32),
        "share": np.stack([member.share.detach().numpy() for member in members]),
        "medians": _medians(read, labels),
    }
    for place, index in enumerate((0, 3)):
        layers: list[Any] = [member.net[index] for member in members]
        arrays[f"weight_{place}"] = np.stack([x.weight.detach().numpy() for x in layers]).astype(
            np.float16
        )
        arrays[f"bias_{place}"] = np.stack([x.bias.detach().numpy() for x in layers])
    return arrays


def _fitted(x: Tensor, prior: Tensor, y: Tensor, epochs: int, seed: int) -> _Member:
    torch.manual_seed(seed)
    member, batch = _Member(x.shape[1]), 256
    steps = epochs * max(1, len(x) // batch)
    optimiser = torch.optim.AdamW(member.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.5e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (batch,))
        seen = F.dropout(x[rows] + 0.1 * torch.randn(batch, x.shape[1]), 0.2)
        loss = -(y[rows] * member(seen, prior[rows]).log_softmax(-1)).sum(-1).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return member.eval()


def _medians(read: Array, labels: Array) -> Array:
    """(kinds, 4): the level that pictures of the levels 1 to 4 are read as, rising."""
    true = (labels * np.arange(5)).sum(-1)
    medians = np.empty((len(Kind), 4), np.float32)
    for row in range(len(Kind)):
        for level in range(1, 5):
            those = read[np.abs(true[:, row] - level) < 0.3, row]
            medians[row, level - 1] = np.median(those) if len(those) else level
    steps = _LEAST * np.arange(4, dtype=np.float32)
    rising: Array = np.maximum.accumulate(medians - steps, axis=1) + steps
    return rising


def main(arguments: list[str] | None = None) -> int:
    """Fit on a folder of clean crops and write the stack; returns an exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if not 1 <= len(given) <= 2 or not Path(given[0]).is_dir():
        sys.stderr.write(
            "usage: python -m conservator.tools.instruments.fit_stack FOLDER [EXAMPLES]\n"
        )
        return 2
    count = int(given[1]) if len(given) == 2 else 10_000
    rows, labels, crops = [], [], []
    for image, present, number in examples(CropBank(Path(given[0])), count, seed=11):
        estimate = learned_estimate(image)
        assert estimate is not None and estimate.seen is not None, "the estimator is not there"
        rows.append(inputs_of(examine(sample_of(image)), estimate.seen))
        labels.append(labels_of(present))
        crops.append(number)
    arrays = fit(np.stack(rows), np.stack(labels), np.array(crops))
    arrays["estimator_sha256"] = np.array(checksum(estimator.WEIGHTS))
    np.savez_compressed(WEIGHTS, allow_pickle=False, **arrays)
    sys.stdout.write(f"{count} examples -> {WEIGHTS} ({WEIGHTS.stat().st_size} bytes)\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
