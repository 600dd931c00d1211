"""PSNR on a few fixed tiles while LM4LV trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.errors import UsageError
from conservator.restorers.lm4lv.config import ALL_TASKS, PROBES, MAEConfig
from conservator.restorers.lm4lv.mae import MAE, noisy
from conservator.restorers.lm4lv.network import LM4LV, Adapters, task_numbers
from conservator.restorers.lm4lv.pictures import probed, tiles
from conservator.restorers.training.loop import autocast
from conservator.restorers.training.validation import psnr

__all__ = ["middles", "pairs", "reconstruction", "restoration"]


def middles(folder: Path, side: int, count: int) -> list[Tensor]:
    """The middles (1, 3, side, side) of the first pictures of a folder that are large enough.

    Raises:
        UsageError: there are none.
    """
    import numpy as np
    from PIL import Image

    found: list[Tensor] = []
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".webp"})
    for path in paths:
        if len(found) == count:
            break
        with Image.open(path) as image:
            array = np.array(image.convert("RGB"))
        if min(array.shape[:2]) < side:
            continue
        top, left = ((n - side) // 2 for n in array.shape[:2])
        part = torch.from_numpy(array[top : top + side, left : left + side])
        found.append(part.permute(2, 0, 1)[None].float() / 255)
    if not found:
        raise UsageError(f"no pictures of {side} px in {folder} to validate on; give larger ones")
    return found


def pairs(pictures: list[Tensor], side: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Task -> degraded and wanted tiles (B, 3, side, side) of pictures, always the same; a probe turns each tile by itself."""
    made = {}
    for task in ALL_TASKS:
        clean = torch.cat([tiles(picture, side) for picture in pictures])
        if task in PROBES:
            made[task] = clean, probed(clean, task)
            continue
        degraded = []
        for number, picture in enumerate(pictures):
            draws = Recipe.parse(f"lm4lv:{task}").draw(number, *picture.shape[-2:])
            degraded.append(tiles(apply(picture, draws), side))
        made[task] = torch.cat(degraded), clean
    return made


def reconstruction(
    folder: Path, config: MAEConfig, device: torch.device, count: int = 8
) -> Callable[[nn.Module], dict[str, float]]:
    """A validation of the autoencoder: PSNR of its plain reconstruction, and with noise on the tokens."""
    clean = torch.cat([tiles(p, config.side) for p in middles(folder, 2 * config.side, count)])

    def figures(vision: nn.Module) -> dict[str, float]:
        assert isinstance(vision, MAE)
        with autocast(device), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            tokens = vision.encoder(clean.to(device)).float().cpu()
            shaken = noisy(tokens, config.token_noise)
            made = (vision.decoder(x.to(device)).float().cpu() for x in (tokens, shaken))
            plain, noise = (float(psnr(x, clean).mean()) for x in made)
        return {"psnr": plain, "psnr_noisy": noise}

    return figures


def restoration(
    folder: Path, network: LM4LV, device: torch.device, count: int = 3
) -> Callable[[nn.Module], dict[str, float]]:
    """A validation of the adapters: PSNR a task, and the mean gain of the restoring ones over the autoencoder alone (MAE-r)."""
    side = network.config.mae.side
    shown = pairs(middles(folder, 2 * side, count), side)

    @torch.no_grad()
    def restored(degraded: Tensor, task: str | None) -> Tensor:
        with autocast(device):
            tokens = network.mae.encoder(degraded.to(device)).float()
            if task is not None:
                numbers = task_numbers([task] * len(tokens)).to(device)
                tokens = network(tokens, numbers)
            return network.mae.decoder(tokens.float()).float().cpu()

    def figures(adapters: nn.Module) -> dict[str, float]:
        report, gains = {}, []
        with _using(network, adapters):
            for task, (degraded, wanted) in shown.items():
                report[task] = float(psnr(restored(degraded, task), wanted).mean())
                if task not in PROBES:
                    alone = float(psnr(restored(degraded, None), wanted).mean())
                    gains.append(report[task] - alone)
        return report | {"gain_over_mae": fmean(gains)}

    return figures


@contextmanager
def _using(network: LM4LV, adapters: nn.Module) -> Iterator[None]:
    """Let the network speak through other adapters."""
    assert isinstance(adapters, Adapters)
    own = network.adapters
    network.adapters = adapters
    try:
        yield
    finally:
        network.adapters = own
