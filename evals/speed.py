"""Seconds and peak memory of every restorer against picture size, and the agent's own share of a run.

    python -m conservator.evals.speed --out evals/results/speed.json [--restorer NAME ...] [--size 512x768 ...] [--agent PHOTO]

Each measurement has its own process: its peak resident memory is the restorer's (imports included). The first call loads and
warms up; the second is timed. The pictures are scikit-image's coffee, degraded and scaled to size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from conservator.evals.restorer_table import machine
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Level, value_of
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["main"]

SIZES = ("512x768", "1024x1536", "2048x3072")
ALLOCATOR = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def _picture(height: int, width: int) -> Any:
    import torch
    from skimage import data

    photo = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None].float() / 255
    photo = torch.nn.functional.interpolate(photo, size=(height, width), mode="bicubic")
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0)) * 25 / 255
    return (photo + noise).clamp(0, 1)


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _measure(name: str, size: str) -> dict[str, Any]:
    height, width = (int(n) for n in size.split("x"))
    treats = catalog.card(name).treats
    prompt = RestorationPrompt(degradations={treats[0]: value_of(treats[0], Level.HIGH)})
    restorer = catalog.load(name)
    imports = _peak_mb()
    picture = _picture(height, width)
    started = time.perf_counter()
    restorer.restore(picture, prompt)
    first = time.perf_counter() - started
    again = restorer.restore(picture, prompt)
    megapixels = height * width / 1e6
    return {
        "restorer": name,
        "size": size,
        "seconds": round(again.seconds, 3),
        "first_seconds": round(first, 3),
        "seconds_per_mp": round(again.seconds / megapixels, 3),
        "peak_mb": _peak_mb(),
        "loaded_mb": imports,
        "dtype": again.details.get("dtype"),
    }


def _measure_agent(photo: Path) -> dict[str, Any]:
    from conservator.agent.api import restore

    restore(photo, dry_run=True)
    result = restore(photo)
    if result.path is not None:
        result.path.unlink()
    timing = result.timing
    parts = ("total", "restorers", "loading", "instruments", "metrics", "agent")
    return {
        "photo": photo.name,
        "tools": result.spent.tools,
        "seconds": {part: round(getattr(timing, part), 3) for part in parts},
        "overhead": round(timing.overhead, 4),
        "peak_mb": _peak_mb(),
    }


def main() -> int:
    """Measure each in a process of its own; write the JSON, print a line each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--restorer", action="append")
    parser.add_argument("--size", action="append", help="HEIGHTxWIDTH")
    parser.add_argument("--agent", type=Path, help="also measure a run of the agent on this photo")
    parser.add_argument("--one", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        row = (
            _measure_agent(Path(options.one[1]))
            if options.one[0] == "agent"
            else _measure(*options.one)
        )
        sys.stdout.write(json.dumps(row) + "\n")
        return 0
    names = options.restorer or [n for n, card in catalog.cards().items() if card.treats]
    jobs = [[name, size] for name in names for size in options.size or SIZES]
    if options.agent:
        jobs.append(["agent", str(options.agent)])
    rows: list[dict[str, Any]] = []
    for job in jobs:
        done = subprocess.run(
            [sys.executable, "-m", "conservator.evals.speed", "--one", *job],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.stderr.write(f"{' '.join(job)}: {done.stderr.strip().splitlines()[-1]}\n")
            continue
        rows.append(json.loads(done.stdout))
        sys.stderr.write(done.stdout)
    record = {
        "machine": machine()
        | {"allocator": {k: os.environ[k] for k in ALLOCATOR if k in os.environ} or "default"},
        "rows": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    slow = np.mean([row["seconds_per_mp"] for row in rows if "seconds_per_mp" in row] or [0])
    sys.stdout.write(f"{len(rows)} measured, {slow:.2f} s/MP on average\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
