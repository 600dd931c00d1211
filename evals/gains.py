"""How well the gain network tells what a treatment gained: against the truth, on treatments that the policy would plan.

    python -m conservator.evals.gains --images DIR [DIR ...] --out gains.json [--limit N] [--seed N]

The middles of the pictures are degraded by mio16's combinations, inspected, and treated by every rival that the planner has for the first step,
each also blended with the input. Only pictures that the network never saw tell anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import torch
from scipy.stats import spearmanr

from conservator.evals.fidelity import psnr, sized_as
from conservator.evals.provenance import provenance
from conservator.evals.sources import source
from conservator.policies.planner import plan
from conservator.policies.preferences import load_preferences
from conservator.policies.preset import load_preset
from conservator.policies.situation import Situation
from conservator.restorers import catalog
from conservator.restorers.degradations.pipelines import mio16
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.tools.gain import estimate_gain
from conservator.tools.instruments.measuring import measure
from conservator.tools.look import Pixels
from conservator.tools.restore import blended, from_restored, to_restorer

__all__ = ["Told", "main", "summary", "told"]

MOST: Final = 12.0
"""Gains beyond this many dB count as this many, as the network was taught."""


@dataclass(frozen=True)
class Told:
    """One treatment of one picture.

    Attributes:
        picture: of which it is.
        call: what was done.
        true: dB gained.
        said: dB, as estimated.
        spread: the expected error of that.
    """

    picture: str
    call: str
    true: float
    said: float
    spread: float


def told(clean: Pixels, name: str, recipe: str, *, seed: int, rivals: int = 5) -> Iterator[Told]:
    """Degrade a picture, treat it as the policy would, and compare what is said with what is true.

    Args:
        clean: (H, W, 3), float32, [0, 1].
        name: of the picture.
        recipe: what is done to it.
        seed: of that.
        rivals: treatments, at most.
    """
    height, width = clean.shape[:2]
    draws = Recipe.parse(recipe).draw(seed, height, width)
    made = apply(torch.from_numpy(clean.copy()).permute(2, 0, 1)[None], draws)
    before = made[0].permute(1, 2, 0).contiguous().numpy()
    preset = load_preset("balanced").model_copy(update={"candidates": rivals, "max_attempts": 99})
    cards = {name: card for name, card in catalog.cards().items() if card.ready()}
    situation = Situation(
        report=ConditionReport(findings=measure(before)),
        preset=preset,
        preferences=load_preferences(),
        cards=cards,
    )
    start = psnr(sized_as(before, clean), clean)
    for call in plan(situation).calls:
        restorer = catalog.load(call.restorer, call.configuration, device="cpu")
        whole = from_restored(restorer.restore(to_restorer(before), call.prompt).image)
        if whole.shape != before.shape:
            continue
        for share in (1.0, 0.6):
            after = (np.rint(blended(before, whole, share) * 255) / 255).astype(np.float32)
            gain = estimate_gain(before, after)
            true = psnr(sized_as(after, clean), clean) - start
            yield Told(f"{name} {recipe}", f"{call.words} {share:g}", true, gain.psnr, gain.spread)


def summary(rows: Sequence[Told]) -> dict[str, float]:
    """Rank correlation, mean error, the stated error, share of right signs; and what choosing by the estimate gains, first and best beside it."""
    true = np.clip([row.true for row in rows], -MOST, MOST)
    said = np.array([row.said for row in rows])
    pictures: dict[str, list[Told]] = {}
    for row in rows:
        pictures.setdefault(row.picture, []).append(row)
    chosen = [max(some, key=lambda row: row.said) for some in pictures.values()]
    return {
        "treatments": len(rows),
        "pictures": len(pictures),
        "spearman": round(float(spearmanr(said, true).statistic), 3),
        "mean_error_db": round(float(np.abs(said - true).mean()), 3),
        "stated_error_db": round(fmean(row.spread for row in rows), 3),
        "right_signs": round(float(np.mean((said > 0) == (true > 0))), 3),
        "gain_first_planned": round(fmean(some[0].true for some in pictures.values()), 3),
        "gain_chosen": round(fmean(row.true if row.said > 0 else 0.0 for row in chosen), 3),
        "gain_best": round(
            fmean(max(0.0, *(row.true for row in some)) for some in pictures.values()), 3
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="clean images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=3, help="pictures a combination")
    parser.add_argument("--side", type=int, default=320, help="of the middles, px")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    from conservator.tools.image_io import load

    paths = [e.picture for folder in options.images for e in source(folder, "clean").entries]
    rows: list[Told] = []
    for number in range(options.limit * len(mio16.VARIANTS)):
        # Each combination meets other pictures, and all pictures come before one comes again.
        path, variant = paths[number % len(paths)], mio16.VARIANTS[number % len(mio16.VARIANTS)]
        pixels = load(path).pixels
        height, width = (min(n, options.side) // 8 * 8 for n in pixels.shape[:2])
        top, left = ((n - m) // 2 for n, m in zip(pixels.shape, (height, width), strict=False))
        middle = pixels[top : top + height, left : left + width]
        rows += told(middle, path.stem, f"mio16:{variant}", seed=options.seed + number)
        sys.stderr.write(f"{path.stem} {variant}: {len(rows)} treatments\n")
    found: dict[str, Any] = {**summary(rows), "measured": provenance()}
    part = options.out.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(options.out)
    sys.stdout.write(json.dumps(summary(rows)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
