"""First part of the training: the vision tower alone learns to see every kind of degradation and its level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conservator.agent.vlm.embedded.pictures import Studio, overviews_of, random_crops
from conservator.agent.vlm.embedded.tower import Sight
from conservator.restorers.degradations.vocabulary import PARAMETERS, Kind, level_of, severity_of
from conservator.restorers.training.data import CropBank
from conservator.restorers.training.loop import Budget, Trainer, autocast

__all__ = ["GLOBAL", "fit_head", "labels_of", "loss_of", "scores", "train_tower"]

GLOBAL: tuple[Kind, ...] = (
    Kind.HAZE,
    Kind.LOW_LIGHT,
    Kind.RAIN,
    Kind.SNOW,
    Kind.PEPPER_NOISE,
    Kind.MASK,
)
"""Kinds that a reduced picture still shows."""

_SIDE = 256
_CROPS = 3


def labels_of(present: list[dict[Kind, float]]) -> tuple[Tensor, Tensor]:
    """Presence (B, kinds) and levels (B, kinds, 5), each severity shared between the two rungs around it."""
    there = torch.zeros(len(present), len(Kind))
    levels = torch.zeros(len(present), len(Kind), 5)
    for i, kinds in enumerate(present):
        for j, kind in enumerate(Kind):
            value = kinds.get(kind, PARAMETERS[kind].identity)
            there[i, j] = float(level_of(kind, value) > 0)
            place = severity_of(kind, value) * 4
            low = min(int(place), 3)
            levels[i, j, low], levels[i, j, low + 1] = 1 - (place - low), place - low
    return there, levels


def loss_of(read: Tensor, there: Tensor, levels: Tensor) -> Tensor:
    """Of each kind: read (..., kinds, 6) against presence (..., kinds) and levels (..., kinds, 5)."""
    read = read.float()
    presence = F.binary_cross_entropy_with_logits(read[..., 0], there, reduction="none")
    severity = -(levels * read[..., 1:].log_softmax(-1)).sum(-1)
    return presence + severity


def train_tower(
    visual: nn.Module,
    width: int,
    bank: CropBank,
    out: Path,
    *,
    minutes: float,
    device: torch.device,
    resume: bool = False,
    batch: int = 16,
    lr: float = 1.5e-3,
    seed: int = 0,
    compiled: bool = False,
    on_checkpoint: Callable[[Sight], None] = lambda sight: None,
    say: Callable[[str], None] = lambda text: None,
) -> Sight:
    """Train transformers' tower on single views; the returned network holds its averaged weights.

    Args:
        visual: the tower, changed in place.
        width: of its outputs.
        bank: clean pictures.
        out: folder of checkpoint and log.
        minutes: wall time, resumed parts included.
        device: where to compute.
        resume: continue from the checkpoint in `out`.
        batch: pictures a step; four views each.
        lr: peak learning rate.
        seed: of patches and degradations.
        compiled: fuse the tower's operations first; worth it for more than a few minutes, and needs a C++ compiler.
        on_checkpoint: receives the averaged network.
        say: receives progress.
    """
    sight = Sight(visual, width).to(device)
    if compiled:
        sight.compile_tower()

    def keep(ema: nn.Module) -> None:
        assert isinstance(ema, Sight)
        on_checkpoint(ema)

    trainer = Trainer(
        sight,
        Budget(minutes=minutes, lr=lr, warmup=60, weight_decay=0.02, ema=0.998),
        out,
        on_checkpoint=keep,
        say=say,
    )
    if resume:
        trainer.resume()
    studio = Studio(bank, seed=seed + trainer.step, device=str(device))
    seen_far = torch.tensor([kind in GLOBAL for kind in Kind], device=device).float()

    def loss() -> Tensor:
        taken = studio.take(batch, _SIDE)
        crops = random_crops(taken.degraded, _CROPS, studio.rng)
        there, levels = (x.to(device) for x in labels_of(taken.present))
        with autocast(device):
            near, far, whole = sight(crops, overviews_of(taken.degraded))
        apart = loss_of(
            near, there[:, None].expand(near.shape[:3]), levels[:, None].expand(-1, _CROPS, -1, -1)
        )
        seen = loss_of(far, there, levels) * seen_far
        return apart.mean() + 0.5 * seen.mean() + loss_of(whole, there, levels).mean()

    def losses() -> Iterator[Callable[[], Tensor]]:
        while True:
            yield loss

    if trainer.progress < 1:
        trainer.run(losses())
    ema: Any = trainer.ema
    return ema  # type: ignore[no-any-return]


def fit_head(
    sight: Sight, pooled: Tensor, present: list[dict[Kind, float]], *, steps: int = 300
) -> None:
    """Give a tower whose heads were thrown away its `whole_head` again; the tower stays.

    Args:
        sight: changed in place, and left in evaluation.
        pooled: (N, 2, width), each picture's mean features: of its crops together, and of its overview.
        present: kind -> parameter of each picture.
        steps: of AdamW, on all pictures at once.
    """
    there, levels = labels_of(present)
    sight.near.train(), sight.far.train()
    parts = (*sight.near.parameters(), *sight.far.parameters(), *sight.whole_head.parameters())
    optimiser = torch.optim.AdamW(parts, 5e-3, weight_decay=0.1)
    for _ in range(steps):
        both = torch.cat([sight.near(pooled[:, 0]), sight.far(pooled[:, 1])], dim=1)
        read = sight.whole_head(both).view(-1, len(Kind), 6)
        optimiser.zero_grad()
        torch.autograd.backward(loss_of(read, there, levels).mean())
        optimiser.step()
    sight.eval()


@torch.inference_mode()
def scores(
    sight: Sight, studio: Studio, device: torch.device, count: int = 256
) -> dict[str, float]:
    """F1 of presence and share of right levels of each kind, read off `count` fresh pictures."""
    hits, alarms, misses, right = (torch.zeros(len(Kind)) for _ in range(4))
    for _ in range(count // 32):
        taken = studio.take(32, _SIDE)
        there, _levels = labels_of(taken.present)
        true = torch.tensor(
            [
                [int(level_of(k, p.get(k, PARAMETERS[k].identity))) for k in Kind]
                for p in taken.present
            ]
        )
        with autocast(device):
            crops = random_crops(taken.degraded, 4, studio.rng)
            read = sight(crops, overviews_of(taken.degraded))[2].float().cpu()
        seen = read[..., 0] > 0
        steps = read[..., 1:].softmax(-1) @ torch.arange(5.0)
        level = torch.where(seen, steps.round().clamp(min=1), torch.zeros_like(steps))
        hits += (seen & (there > 0)).sum(0)
        alarms += (seen & (there == 0)).sum(0)
        misses += (~seen & (there > 0)).sum(0)
        right += ((level == true) & (there > 0)).sum(0)
    f1 = 2 * hits / (2 * hits + alarms + misses).clamp(min=1)
    level_share = right / (hits + misses).clamp(min=1)
    figures = {f"f1_{kind.value}": float(f1[i]) for i, kind in enumerate(Kind)}
    figures |= {f"level_{kind.value}": float(level_share[i]) for i, kind in enumerate(Kind)}
    return figures | {"f1": float(f1.mean()), "level": float(level_share.mean())}
