"""The composite benchmark of BENCHMARK.md: sixteen combinations over a folder of clean images.

    python -m conservator.evals.mio16 --images DIR --out evals/results/mio16.json [--limit N] [--policy balanced]

Systems: `untouched`; `llmra`, one call on the true kinds; `inspected`, one call on what the inspection found, nothing refused;
`agent`. A group's score is the mean of its combinations' means; the worsening rate is the share of images whose PSNR falls
below the untouched input's. Quarter-size pictures are enlarged by bicubic interpolation before scoring.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from conservator.agent.api import restore
from conservator.evals.cases import image_paths, read_rgb
from conservator.evals.fidelity import fidelity
from conservator.evals.restorer_table import machine
from conservator.restorers import catalog
from conservator.restorers.degradations.pipelines.mio16 import COMBINATIONS
from conservator.restorers.degradations.recipe import Draws, Recipe, apply
from conservator.restorers.degradations.synthesis import upsample
from conservator.restorers.degradations.vocabulary import Kind, Level
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.instruments import measure

__all__ = ["SYSTEMS", "summary"]

Image = npt.NDArray[np.float32]
SYSTEMS = ("untouched", "llmra", "inspected", "agent")


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def _array(image: torch.Tensor) -> Image:
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())


def _once(image: Image, prompt: RestorationPrompt) -> Image:
    if not prompt.degradations:
        return image
    return _array(catalog.load("llmra").restore(_tensor(image), prompt).image)


def _truth(draws: Draws) -> RestorationPrompt:
    kinds = dict(draws.truth().degradations)
    kinds.pop(Kind.LOW_RESOLUTION, None)
    return RestorationPrompt(degradations=kinds)


def _inspected(image: Image) -> RestorationPrompt:
    found = [f for f in measure(image) if f.level > Level.ABSENT and f.confidence >= 0.5]
    return RestorationPrompt.from_findings(found)


def _scored(image: Image, clean: Image) -> dict[str, float]:
    if image.shape != clean.shape:
        image = _array(upsample(_tensor(image), (clean.shape[0], clean.shape[1])))
    found = fidelity(image, clean)
    return {"psnr": found.psnr, "ssim": found.ssim}


def run_sample(path: Path, combination: str, policy: str, seed: int) -> dict[str, Any]:
    """Degrade one picture and let every system restore it."""
    clean = read_rgb(path)
    recipe = Recipe.parse(f"mio16:{combination}")
    own = zlib.crc32(f"{seed}/{combination}/{path.name}".encode())
    draws = recipe.draw(own, clean.shape[0], clean.shape[1])
    degraded = _array(apply(_tensor(clean), draws))
    row: dict[str, Any] = {"image": path.name, "combination": combination, "seed": own}
    systems: dict[str, Callable[[], Image]] = {
        "untouched": lambda: degraded,
        "llmra": lambda: _once(degraded, _truth(draws)),
        "inspected": lambda: _once(degraded, _inspected(degraded)),
    }
    for name, system in systems.items():
        row[name] = _scored(system(), clean)
    started = time.perf_counter()
    result = restore(np.round(degraded * 255).astype(np.uint8), policy=policy)
    row["agent"] = _scored(result.array, clean) | {
        "seconds": round(time.perf_counter() - started, 2),
        "overhead": round(result.timing.overhead, 3),
        "tools": result.spent.tools,
        "outcome": result.outcome,
        "found": [f"{f.kind}:{f.value:.3g}@{f.confidence:.2f}" for f in result.before.present()],
        "steps": [str(attempt.call) for attempt in result.steps],
    }
    return row


def summary(rows: Sequence[dict[str, Any]], systems: Sequence[str] = SYSTEMS) -> dict[str, Any]:
    """Group means of combination means, worsening rates, cost of the agent."""
    groups: dict[str, Any] = {}
    for group in "ABC":
        combos = [
            c for c in COMBINATIONS if c[0] == group and any(r["combination"] == c for r in rows)
        ]
        if not combos:
            continue
        groups[group] = {}
        for system in systems:
            means = [
                [
                    np.mean([r[system][m] for r in rows if r["combination"] == c])
                    for m in ("psnr", "ssim")
                ]
                for c in combos
            ]
            psnr, ssim = np.mean(means, axis=0)
            groups[group][system] = {"psnr": round(float(psnr), 2), "ssim": round(float(ssim), 4)}
    worse = {
        s: round(float(np.mean([r[s]["psnr"] < r["untouched"]["psnr"] - 1e-9 for r in rows])), 4)
        for s in systems
        if s != "untouched"
    }
    return {
        "groups": groups,
        "worsening_rate": worse,
        "images": len(rows),
        "agent_seconds": round(float(np.mean([r["agent"]["seconds"] for r in rows])), 2),
        "agent_tools": round(float(np.mean([r["agent"]["tools"] for r in rows])), 2),
        "agent_overhead": round(float(np.mean([r["agent"]["overhead"] for r in rows])), 3),
        "unchanged": round(float(np.mean([r["agent"]["outcome"] == "unchanged" for r in rows])), 3),
    }


def main() -> int:
    """Run, write the JSON, print the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--policy", default="balanced")
    parser.add_argument("--combination", action="append", choices=list(COMBINATIONS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for combination in options.combination or COMBINATIONS:
        for path in image_paths(options.images)[: options.limit]:
            rows.append(run_sample(path, combination, options.policy, options.seed))
            sys.stderr.write(json.dumps(rows[-1]) + "\n")
            if options.out:
                record = {"machine": machine(), "policy": options.policy, "summary": summary(rows)}
                options.out.write_text(json.dumps(record | {"rows": rows}) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(summary(rows), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
