"""Seconds and peak memory of every restorer against picture size, threads and tile, and where a run of the agent spends its time.

    python -m conservator.evals.speed --out evals/results/speed.json [--restorer NAME ...] [--size 512x768 ...]
        [--threads N ...] [--tile PX ...] [--agent PHOTO ...]

Each measurement has its own process: its peak resident memory is the restorer's (imports included). The first call loads and
warms up; the second, on the mirrored picture, is timed: a guide would remember the same one. The pictures are scikit-image's coffee with noise, scaled to size. `growth` is the exponent of
seconds against megapixels: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conservator.evals.provenance import provenance
from conservator.restorers import catalog
from conservator.restorers.degradations.vocabulary import Level, value_of
from conservator.restorers.prompts.model import RestorationPrompt

__all__ = ["growth", "main", "measure_agent", "measure_restorer"]

SIZES = ("512x768", "1024x1536", "2048x3072")


def _picture(height: int, width: int) -> Any:
    import torch
    from skimage import data

    photo = torch.from_numpy(data.coffee()).permute(2, 0, 1)[None].float() / 255
    photo = torch.nn.functional.interpolate(photo, size=(height, width), mode="bicubic")
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0)) * 25 / 255
    return (photo + noise).clamp(0, 1)


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def measure_restorer(name: str, size: str, tile: int | None = None) -> dict[str, Any]:
    """One restorer on one picture, in this process.

    Args:
        name: as in the catalogue.
        size: `HEIGHTxWIDTH`.
        tile: largest tile in px, in place of the card's.
    """
    import torch

    from conservator.restorers.runner import Runner

    height, width = (int(n) for n in size.split("x"))
    treats = catalog.card(name).treats
    prompt = RestorationPrompt(degradations={treats[0]: value_of(treats[0], Level.HIGH)})
    started = time.perf_counter()
    restorer = catalog.load(name)
    loading = time.perf_counter() - started
    if tile is not None and isinstance(restorer, Runner):
        restorer = restorer.with_tile(tile)
    loaded_mb = _peak_mb()
    picture = _picture(height, width)
    started = time.perf_counter()
    restorer.restore(picture, prompt)
    first = time.perf_counter() - started
    again = restorer.restore(picture.flip(-1), prompt)
    return {
        "restorer": name,
        "size": size,
        "megapixels": round(height * width / 1e6, 3),
        "threads": torch.get_num_threads(),
        "tile": tile if tile is not None else catalog.card(name).tile,
        "loading_seconds": round(loading, 3),
        "first_seconds": round(first, 3),
        "seconds": round(again.seconds, 3),
        "seconds_per_mp": round(again.seconds / (height * width / 1e6), 3),
        "loaded_mb": loaded_mb,
        "peak_mb": _peak_mb(),
        "dtype": again.details.get("dtype"),
    }


def measure_agent(photo: Path) -> dict[str, Any]:
    """A warm run of the agent on a photo, by part and by node."""
    import torch

    from conservator.agent.api import restore
    from conservator.tools.image_io import load

    pixels = np.round(load(photo).pixels * 255).astype(np.uint8)
    restore(pixels)
    result = restore(pixels)
    timing = result.timing
    parts = ("total", "restorers", "loading", "instruments", "metrics", "agent")
    return {
        "photo": photo.name,
        "megapixels": round(pixels.shape[0] * pixels.shape[1] / 1e6, 3),
        "threads": torch.get_num_threads(),
        "tools": result.spent.tools,
        "seconds": {part: round(getattr(timing, part), 3) for part in parts},
        "steps": {k: v for k, v in timing.parts.items() if k.startswith("node.")},
        "overhead": round(timing.overhead, 4),
        "peak_mb": _peak_mb(),
    }


def growth(rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Restorer -> exponent of seconds against megapixels, over its rows with the card's tile and most threads."""
    points: dict[str, dict[float, float]] = defaultdict(dict)
    for row in rows:
        if "restorer" in row and row["tile"] == catalog.card(row["restorer"]).tile:
            points[row["restorer"]][row["megapixels"]] = row["seconds"]
    return {
        name: round(
            float(
                np.polyfit(np.log(list(found)), np.log(np.maximum(list(found.values()), 1e-4)), 1)[
                    0
                ]
            ),
            2,
        )
        for name, found in points.items()
        if len(found) > 1
    }


def _in_a_process(arguments: Sequence[str], threads: int | None) -> dict[str, Any] | None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    done = subprocess.run(
        [sys.executable, "-m", "conservator.evals.speed", "--one", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        sys.stderr.write(f"{' '.join(arguments)}: {done.stderr.strip().splitlines()[-1]}\n")
        return None
    sys.stderr.write(done.stdout)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each in a process of its own; write the JSON, print how cost grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--restorer", action="append", choices=list(catalog.cards()))
    parser.add_argument("--size", action="append", help="HEIGHTxWIDTH")
    parser.add_argument("--threads", action="append", type=int, help="default: as torch chooses")
    parser.add_argument("--tile", action="append", type=int, help="besides the card's own, px")
    parser.add_argument("--agent", action="append", type=Path, help="also run the agent on it")
    parser.add_argument("--one", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        what, *rest = options.one
        measured = (
            measure_agent(Path(rest[0]))
            if what == "agent"
            else measure_restorer(what, rest[0], int(rest[1]) if len(rest) > 1 else None)
        )
        sys.stdout.write(json.dumps(measured) + "\n")
        return 0
    names = options.restorer or [
        name for name, card in catalog.cards().items() if card.treats and card.ready()
    ]
    jobs = [
        ([name, size, *([str(tile)] if tile else [])], threads)
        for name in names
        for size in options.size or SIZES
        for threads in options.threads or (None,)
        for tile in (None, *(options.tile or ()))
    ]
    jobs += [
        (["agent", str(photo)], threads)
        for photo in options.agent or ()
        for threads in options.threads or (None,)
    ]
    rows = [row for job in jobs if (row := _in_a_process(*job)) is not None]
    record = {"provenance": provenance(), "growth": growth(rows), "rows": rows}
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(record["growth"]) + "\n")
    return 0 if len(rows) == len(jobs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
