"""SPIRE in its modes: prompts with and without numbers, with and without what the picture shows, and drawn in other ways."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from conservator.evals.sample import Image, Sample
from conservator.evals.sources import natural
from conservator.restorers.errors import PromptError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.runner import Runner

__all__ = ["SEMANTICS", "Mode", "caption_of", "drawn_in", "mode_of"]

SEMANTICS = ("none", "own", "other")


@dataclass(frozen=True)
class Mode:
    """How SPIRE is used.

    Attributes:
        numbers: the restoration prompt says its numbers.
        semantic: `own` and `other` tell it the caption of the picture, or of another picture of the folder.
        sampling: changes to the configuration's `Sampling`.
    """

    numbers: bool = True
    semantic: str = "none"
    sampling: tuple[tuple[str, Any], ...] = ()


def mode_of(restorer: str, text: str, options: dict[str, str]) -> Mode:
    """Take the mode out of a system's options.

    Raises:
        UsageError: another restorer's, or a value that makes no sense.
    """
    semantic = options.pop("semantic", "none")
    sampling: list[tuple[str, Any]] = []
    for name, kind in (("steps", int), ("guidance", float), ("fidelity", float), ("start", str)):
        if name in options:
            given = options.pop(name)
            try:
                sampling.append((name, kind(given)))
            except ValueError:
                raise UsageError(f"system {restorer}: {name}={given!r} is no number") from None
    mode = Mode(text != "types", semantic, tuple(sampling))
    if mode != Mode() and restorer != "spire":
        raise UsageError(
            f"system {restorer}: text=types, semantic, steps, guidance, fidelity and start are spire's"
        )
    if semantic not in SEMANTICS:
        raise UsageError(f"system {restorer}: semantic is one of {', '.join(SEMANTICS)}")
    if sampling:
        from dataclasses import replace

        from conservator.restorers.spire.config import CONFIGS
        from conservator.restorers.spire.diffusion import checked

        checked(replace(CONFIGS["compact"].sampling, **dict(sampling)))
    return mode


def caption_of(sample: Sample, which: str) -> str:
    """The caption of a sample's picture, or of the next captioned picture of its folder; "" for `none`.

    Raises:
        PromptError: the folder's manifest.csv (columns file and caption) has none.
    """
    if which == "none":
        return ""
    own = Path(sample.spec.picture)
    captions = _captions(own.parent)
    names = sorted(captions, key=natural)
    if own.name not in captions or len(names) < 2:
        raise PromptError(
            f"{own} has no caption; semantic={which} needs a manifest.csv beside it with the columns file and caption"
        )
    chosen = own.name if which == "own" else names[(names.index(own.name) + 1) % len(names)]
    return f"a photo of a {captions[chosen]}"


@cache
def _captions(folder: Path) -> dict[str, str]:
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        return {}
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["file"]: row["caption"] for row in rows if row.get("file") and row.get("caption")}


def drawn_in(
    mode: Mode,
    sample: Sample,
    prompt: RestorationPrompt,
    *,
    seed: int,
    weights: str = "",
    configuration: str = "compact",
) -> Image:
    """Restore a sample in a mode; the prompt's own semantic text is replaced.

    Raises:
        PromptError: there is no caption.
        WeightsError: SPIRE has no weights.
    """
    prompt = prompt.model_copy(update={"semantic": caption_of(sample, mode.semantic)})
    x = torch.from_numpy(sample.degraded.copy()).permute(2, 0, 1)[None]
    runner = _runner(configuration, weights, mode.numbers, mode.sampling)
    restored = runner.restore(x, prompt, seed=seed).image[0].permute(1, 2, 0)
    image: Image = restored.contiguous().numpy()
    return image


@cache
def _runner(
    configuration: str, weights: str, numbers: bool, sampling: tuple[tuple[str, Any], ...]
) -> Runner:
    from conservator.restorers.spire.restorer import SpireRestorer

    # None does as the weights were trained: without numbers for the ablation without.
    asked = None if numbers else False
    return Runner(
        SpireRestorer(configuration, weights or None, numbers=asked, sampling=dict(sampling))
    )
