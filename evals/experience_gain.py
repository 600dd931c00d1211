"""What learned experience is worth: the agent with it and without, on the same pictures, with the same budget.

    python -m conservator.evals.experience_gain --images DIR [DIR ...] --rows FILE.jsonl --out experience.json [--limit N] [--side N] [--seed N]

The middles of the pictures get mio16's combinations in turn. Rows are written one by one; a run that was stopped goes on with the next one. Only pictures
that the experience was not learned from tell anything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from conservator.agent.api import restore
from conservator.evals.fidelity import psnr, sized_as
from conservator.evals.provenance import provenance
from conservator.evals.sources import source
from conservator.evals.statistics import estimate, paired
from conservator.policies.preset import Preset, load_preset
from conservator.restorers.degradations.pipelines import mio16
from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.tools.image_io import load
from conservator.tools.look import Pixels

__all__ = ["main", "measured", "summary"]

WITHOUT: Final = "none"
WORSE: Final = -0.01
"""A gain below this many dB is a harm, not a rounding."""

Row = dict[str, Any]


def measured(
    clean: Pixels, recipe: str, *, seed: int, policy: str | Preset, experience: str
) -> Row:
    """One picture: what the agent gains without experience, and with it.

    Args:
        clean: (H, W, 3), float32, [0, 1].
        recipe: what is done to it.
        seed: of that.
        policy: of both runs.
        experience: of the second.
    """
    x = torch.from_numpy(clean.copy()).permute(2, 0, 1)[None]
    made = apply(x, Recipe.parse(recipe).draw(seed, *x.shape[-2:]))
    degraded = made[0].permute(1, 2, 0).contiguous().numpy()
    given = np.rint(degraded * 255).astype(np.uint8)
    start = psnr(sized_as(degraded, clean), clean)
    row: Row = {}
    for name, which in (("without", WITHOUT), ("with", experience)):
        result = restore(given, policy=policy, experience=which, vlm=None)
        row[name] = {
            "gain": round(psnr(sized_as(result.array, clean), clean) - start, 4),
            "tools": result.spent.tools,
            "trials": result.spent.trials,
            "outcome": result.outcome,
            "steps": [str(step.call) for step in result.steps],
        }
    return row


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means with intervals of both, and what the pairs say.

    `calls` are restorer calls, those on a piece of the photo included; `gain_per_call` is the ratio of the means.
    """
    found: dict[str, Any] = {"pictures": len(rows)}
    for name in ("without", "with"):
        runs = [row[name] for row in rows]
        gains = [run["gain"] for run in runs]
        calls = [run["tools"] + run["trials"] for run in runs]
        found[name] = {
            "gain": estimate(gains).as_data(3),
            "tools": round(float(np.mean([run["tools"] for run in runs])), 3),
            "trials": round(float(np.mean([run["trials"] for run in runs])), 3),
            "calls": round(float(np.mean(calls)), 3),
            "gain_per_call": round(float(np.sum(gains) / max(1, np.sum(calls))), 3),
            "made_worse": round(float(np.mean([gain < WORSE for gain in gains])), 3),
        }
    first, second = ([row[name]["gain"] for row in rows] for name in ("without", "with"))
    calls = [[row[n]["tools"] + row[n]["trials"] for row in rows] for n in ("without", "with")]
    found["gain_with_minus_without"] = paired(first, second, higher_is_better=True).as_data(3)
    found["calls_with_minus_without"] = paired(*calls, higher_is_better=False).as_data(3)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, nargs="+", required=True, help="clean images")
    parser.add_argument("--rows", type=Path, required=True, help="what was measured so far")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=6, help="pictures a combination")
    parser.add_argument("--side", type=int, default=320, help="of the middles, px")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--candidates", type=int, help="rivals, in place of the policy's")
    parser.add_argument("--experience", default="auto")
    options = parser.parse_args(arguments)
    policy = load_preset(options.policy)
    if options.candidates:
        policy = policy.model_copy(update={"candidates": options.candidates})
    paths = [e.picture for folder in options.images for e in source(folder, "clean").entries]
    rows: list[Row] = []
    if options.rows.is_file():
        rows = [json.loads(line) for line in options.rows.read_text("utf-8").splitlines()]
    with options.rows.open("a", encoding="utf-8") as stream:
        for number in range(len(rows), options.limit * len(mio16.VARIANTS)):
            # Each combination meets other pictures, and all pictures come before one comes again.
            path, variant = paths[number % len(paths)], mio16.VARIANTS[number % len(mio16.VARIANTS)]
            row = measured(
                _middle(load(path).pixels, options.side),
                f"mio16:{variant}",
                seed=options.seed + number,
                policy=policy,
                experience=options.experience,
            )
            rows.append({"picture": path.stem, "recipe": variant, **row})
            stream.write(json.dumps(rows[-1]) + "\n")
            stream.flush()
            sys.stderr.write(
                f"{number + 1} {path.stem} {variant}: {row['without']} {row['with']}\n"
            )
    found = {
        **summary(rows),
        "command": "python -m conservator.evals.experience_gain " + _shown(options),
        "measured": provenance(),
    }
    part = options.out.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    part.replace(options.out)
    sys.stdout.write(json.dumps(summary(rows)) + "\n")
    return 0


def _middle(pixels: Pixels, side: int) -> Pixels:
    height, width = (min(n, side) // 8 * 8 for n in pixels.shape[:2])
    top, left = ((n - m) // 2 for n, m in zip(pixels.shape, (height, width), strict=False))
    return pixels[top : top + height, left : left + width]


def _shown(options: argparse.Namespace) -> str:
    """The arguments that decide the result, without this machine's folders."""
    images = " ".join(folder.name for folder in options.images)
    more = f" --candidates {options.candidates}" if options.candidates else ""
    return (
        f"--images {images} --limit {options.limit} --side {options.side} --seed {options.seed} "
        f"--policy {options.policy} --experience {Path(options.experience).name}{more}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
