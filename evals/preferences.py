"""Measures which restorer gains what on which kind and level, and writes `policies/preferences.yaml`.

    python -m conservator.evals.preferences --images DIR --out policies/preferences.yaml [--limit N] [--restorer NAME ...]

The mean gain in PSNR over the untouched input on pictures with that one degradation; the planner ranks by it. With `--restorer` only
those are measured, and the rest of the table stays.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from conservator.evals.provenance import provenance
from conservator.restorers import catalog
from conservator.restorers.degradations.synthesis import quantise8
from conservator.restorers.degradations.vocabulary import Kind, Level, value_of
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.training.data import CropBank, Synthesiser
from conservator.restorers.training.validation import psnr

__all__ = ["gains", "main"]

LEVELS = (Level.LOW, Level.MEDIUM, Level.HIGH, Level.VERY_HIGH)


def gains(
    clean: torch.Tensor,
    kind: Kind,
    level: Level,
    seed: int = 0,
    restorers: Collection[str] | None = None,
) -> dict[str, float]:
    """Restorer -> mean gain in dB on (B, 3, H, W) clean pictures degraded by one kind at one level; of all, or of some."""
    strength = {kind: value_of(kind, level)}
    maker = Synthesiser(seed=seed + 97 * level)
    degraded = quantise8(
        maker.apply(clean, [strength] * len(clean), [strength] * len(clean)).degraded
    )
    prompt = RestorationPrompt(degradations=strength)
    found: dict[str, float] = {}
    for name, card in catalog.cards().items():
        if restorers and name not in restorers:
            continue
        if kind not in card.treats or card.scale != 1 or not card.ready():
            continue
        restorer = catalog.load(name)
        gained = []
        for picture, original in zip(degraded[:, None], clean[:, None], strict=True):
            restored = restorer.restore(picture, prompt).image
            gained.append(float(psnr(restored, original) - psnr(picture, original)))
        found[name] = round(float(np.mean(gained)), 2)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every kind and level; write the YAML."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="clean images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--restorer", action="append", default=[], help="repeatable; default: all")
    options = parser.parse_args(arguments)
    unknown = set(options.restorer) - set(catalog.cards())
    if unknown:
        parser.error(f"no restorer {', '.join(sorted(unknown))}")
    before = {}
    if options.out.is_file():
        before = yaml.safe_load(options.out.read_text(encoding="utf-8"))
    kept = {name: before[name] for name in ("named_only", "trusted") if name in before}
    if not options.restorer:
        before = {}
    bank = CropBank(options.images, limit=None)
    step = max(1, len(bank.images) // options.limit)
    clean = bank.images[::step][: options.limit].float() / 255
    table: dict[str, dict[str, dict[str, float]]] = {}
    for kind in Kind:
        table[kind.value] = {}
        for level in LEVELS:
            known = before.get("gains", {}).get(kind.value, {}).get(level.label, {})
            found = known | gains(clean, kind, level, restorers=options.restorer)
            best_first = dict(sorted(found.items(), key=lambda item: -item[1]))
            table[kind.value][level.label] = best_first
            sys.stderr.write(f"{kind} {level.label}: {best_first}\n")
    at = provenance()
    day, revision = at["date"].partition("T")[0], at["revision"] or "unknown"
    note = f"{len(clean)} crops of {clean.shape[-1]} px, {day}, revision {revision}"
    if before:
        note = f"{before['measured']}; {', '.join(options.restorer)}: {note}"
    text = (
        "# Mean PSNR gain in dB over the untouched input, by kind, level and restorer. A gain of 0 or less keeps a restorer\n"
        "# from being called there. Written by: python -m conservator.evals.preferences\n"
        + yaml.safe_dump(
            {"lead": "llmra", **kept, "measured": note, "gains": table},
            sort_keys=False,
        )
    )
    part = options.out.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
