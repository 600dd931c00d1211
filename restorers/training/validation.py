"""PSNR and SSIM per degradation on a few fixed crops while a network trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.training.data import Synthesiser

__all__ = ["CASES", "psnr", "validation_pairs", "validator"]

CASES: dict[str, dict[Kind, float]] = {
    "noise15": {Kind.NOISE: 15},
    "noise25": {Kind.NOISE: 25},
    "noise50": {Kind.NOISE: 50},
    "jpeg20": {Kind.JPEG: 20},
    "rain": {Kind.RAIN: 75},
    "haze": {Kind.HAZE: 1.2},
    "low_light": {Kind.LOW_LIGHT: 1.0},
    "defocus": {Kind.DEFOCUS_BLUR: 3},
    "motion": {Kind.MOTION_BLUR: 3},
    "low_resolution": {Kind.LOW_RESOLUTION: 2},
    "pepper": {Kind.PEPPER_NOISE: 0.05},
    "mask": {Kind.MASK: 0.05},
    "snow": {Kind.SNOW: 0.05},
    "dark+noise": {Kind.LOW_LIGHT: 0.8, Kind.NOISE: 25},
    "rain+haze": {Kind.RAIN: 75, Kind.HAZE: 1.2},
    "blur+jpeg": {Kind.DEFOCUS_BLUR: 3, Kind.JPEG: 20},
    "clean": {},
}


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """PSNR in dB of each sample of (B, 3, H, W), [0, 1]; 100 where they are equal."""
    error = (a.clamp(0, 1) - b.clamp(0, 1)).square().mean(dim=(1, 2, 3))
    return -10 * torch.log10(error.clamp(min=1e-10))


def validation_pairs(
    folder: Path, crops: int = 6, side: int = 256
) -> dict[str, tuple[Tensor, Tensor]]:
    """Case name to (degraded, clean), each (crops, 3, side, side), always the same."""
    from PIL import Image

    clean = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg"})[:crops]:
        with Image.open(path) as image:
            array = np.array(image.convert("RGB"))
        top, left = ((n - side) // 2 for n in array.shape[:2])
        clean.append(array[top : top + side, left : left + side])
    stack = torch.from_numpy(np.stack(clean)).permute(0, 3, 1, 2).float() / 255
    pairs = {}
    for i, (name, kinds) in enumerate(CASES.items()):
        maker = Synthesiser(seed=1000 + i)
        degraded = maker.apply(stack, [kinds] * len(stack), [kinds] * len(stack)).degraded
        pairs[name] = (synthesis.quantise8(degraded), stack)
    return pairs


def validator(
    folder: Path,
    restore: Callable[[torch.nn.Module, Tensor, dict[Kind, float]], Tensor],
    device: torch.device,
) -> Callable[[torch.nn.Module], dict[str, float]]:
    """A validation that reports `<case>` = mean PSNR of the restored crops, and its mean gain over the input."""
    pairs = validation_pairs(folder)

    def figures(model: torch.nn.Module) -> dict[str, float]:
        report = {}
        gains = []
        for name, (degraded, clean) in pairs.items():
            output = restore(model, degraded.to(device), CASES[name]).float().cpu()
            report[name] = float(psnr(output, clean).mean())
            if CASES[name]:
                gains.append(report[name] - float(psnr(degraded, clean).mean()))
        report["mean_gain"] = sum(gains) / len(gains)
        return report

    return figures
