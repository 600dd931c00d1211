"""Whether SPIRE's numbers mean how much: the same noise and the same blur, undone as strongly as each number asks.

    python -m conservator.evals.spire_strength --images DIR --out spire-strength.json [--weights W] [--limit N] [--seed N]

The middles (240 px) of the pictures get noise of 0.06 of full scale, or a Gaussian blur of 1.5 px. Noise left is what a wavelet estimate
(Donoho and Johnstone, 1994; scikit-image) reads; detail and sharpness are the mean Sobel gradient of the luma. A prompt for the wrong task
("Dejpeg ...") stands beside the numbers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from conservator.evals.fidelity import psnr
from conservator.evals.provenance import provenance
from conservator.evals.sources import source
from conservator.restorers import catalog
from conservator.restorers.base import Restorer
from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.spire.card import CARD
from conservator.restorers.spire.explain import DENOISE
from conservator.restorers.weights import PACKAGED, checksum
from conservator.tools.look import Pixels

__all__ = ["DEBLUR", "main", "measured", "summary"]

NOISE: Final = 0.06
"""Of full scale."""
BLUR: Final = 1.5
"""Sigma, px."""
DEBLUR: Final = (0.0, 0.75, 1.5, 3.0, 5.0)
"""Sigma, px."""
SIDE: Final = 240
"""Of the middles, px."""

Row = Mapping[str, float]


def measured(restorer: Restorer, clean: Tensor, *, seed: int = 0) -> dict[str, list[Row]]:
    """`denoise` and `deblur`: a row a number, `input` and `wrong task` a row each, of the middle of (1, 3, H, W), [0, 1]."""
    top, left = ((n - min(n, SIDE)) // 2 for n in clean.shape[-2:])
    clean = clean[..., top : top + SIDE, left : left + SIDE]
    generator = torch.Generator().manual_seed(seed)
    noisy = synthesis.quantise8(synthesis.gaussian_noise(clean, [255 * NOISE], generator))
    soft = synthesis.quantise8(synthesis.gaussian_blur(clean, [BLUR]))

    def row(degraded: Tensor, asked: dict[Kind, float]) -> Row:
        prompt = RestorationPrompt(degradations=asked)
        return _row(restorer.restore(degraded, prompt, seed=seed).image, clean)

    return {
        "denoise": [row(noisy, {Kind.NOISE: 255 * number}) for number in DENOISE],
        "deblur": [row(soft, {Kind.DEFOCUS_BLUR: 2 * number}) for number in DEBLUR],
        "noisy input": [_row(noisy, clean)],
        "soft input": [_row(soft, clean)],
        "wrong task": [row(noisy, {Kind.JPEG: 20.0})],
    }


def summary(pictures: Sequence[Mapping[str, Sequence[Row]]]) -> dict[str, Any]:
    """Means over pictures, and in how many of them each step of the numbers went the right way: noise and detail down, sharpness up."""
    means = {
        name: [
            {key: round(fmean(one[name][i][key] for one in pictures), 4) for key in row}
            for i, row in enumerate(rows)
        ]
        for name, rows in pictures[0].items()
    }

    def right(name: str, key: str, sign: int) -> list[float]:
        steps = range(len(pictures[0][name]) - 1)
        return [
            round(fmean(sign * (p[name][i + 1][key] - p[name][i][key]) > 0 for p in pictures), 3)
            for i in steps
        ]

    def monotonic(name: str, key: str, sign: int) -> bool:
        return all(sign * (b[key] - a[key]) > 0 for a, b in pairwise(means[name]))

    checks = {
        "noise falls": ("denoise", "noise_255", -1),
        "detail falls": ("denoise", "gradient", -1),
        "sharpness rises": ("deblur", "gradient", 1),
    }
    return {
        "pictures": len(pictures),
        "numbers": {"denoise": DENOISE, "deblur": DEBLUR},
        "means": means,
        "monotonic": {name: monotonic(*check) for name, check in checks.items()},
        "share_of_pictures_a_step": {name: right(*check) for name, check in checks.items()},
    }


def _row(image: Tensor, truth: Tensor) -> Row:
    from skimage.restoration import estimate_sigma

    pixels, clean = _pixels(image), _pixels(truth)
    sigma: Any = estimate_sigma(pixels, channel_axis=2, average_sigmas=True)
    return {
        "noise_255": 255 * float(sigma),
        "gradient": _gradient(pixels),
        "psnr": psnr(pixels, clean),
    }


def _pixels(x: Tensor) -> Pixels:
    return np.ascontiguousarray(x[0].permute(1, 2, 0).float().clamp(0, 1).cpu().numpy())


def _gradient(pixels: Pixels) -> float:
    """Mean Sobel gradient of the luma, of 255."""
    from skimage.filters import sobel

    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    edges: Any = sobel(luma)
    return 255 * float(edges.mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="clean images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="in place of the shipped ones")
    parser.add_argument("--limit", type=int, help="pictures")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    from conservator.tools.image_io import load

    restorer = catalog.load("spire", device="cpu", weights_path=options.weights)
    paths = [entry.picture for entry in source(options.images, "clean").entries][: options.limit]
    pictures = []
    for number, path in enumerate(paths):
        pixels = load(path).pixels
        clean = torch.from_numpy(np.array(pixels, np.float32)).permute(2, 0, 1)[None]
        pictures.append(measured(restorer, clean, seed=options.seed + number))
        sys.stderr.write(f"{path.stem}\n")
    weights = checksum(options.weights or PACKAGED / str(CARD.configurations["compact"].weights))
    found = {**summary(pictures), "weights": weights, "measured": provenance()}
    part = options.out.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(options.out)
    sys.stdout.write(json.dumps(found["monotonic"]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
