"""Treated pictures to learn from: degraded by known amounts, treated as an agent might, well and badly, and compared with the clean picture.

A treatment costs a tenth of a second, so a run makes some thousands once, in parts that are written one by one; a run that was
stopped goes on with the next part.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from conservator.restorers import catalog
from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind, severity_of, value_at
from conservator.restorers.errors import ConservatorError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.restorers.training.data import CropBank, Mixture
from conservator.restorers.training.parts import missing_parts, save_part
from conservator.restorers.training.validation import psnr
from conservator.tools.instruments.calibrate import MIXTURE, WholePhotos, handled

__all__ = ["SIDE", "Candidates", "gained", "gather", "read"]

SIDE = 192
WAYS = 4
"""Treatments of each picture."""
_PART = 50
_DRAWS = Mixture(weights=MIXTURE.weights, counts=(0.1, 0.36, 0.32, 0.22), partial=0.0)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pictures with their treatments.

    Attributes:
        before: (N, 3, S, S), uint8.
        after: (N, W, 3, S, S), uint8.
        gains: (N, W, 2), float32: PSNR in dB and SSIM of luma gained.
    """

    before: Tensor
    after: Tensor
    gains: Tensor


def gather(
    bank: CropBank,
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Write what is not there yet, part by part.

    Args:
        bank: clean pictures.
        folder: of the parts.
        count: pictures; rounded up to whole parts.
        seed: of pictures, degradations and treatments.
        say: receives progress, a line at a time.
    """
    for part, path in missing_parts(folder, "candidates", count, _PART):
        made = _part(bank, seed * 1000 + part)
        save_part(path, {"before": made.before, "after": made.after, "gains": made.gains})
        say(f"treated: {(part + 1) * _PART} of {count} pictures")


def read(folder: Path) -> Candidates:
    """All parts.

    Raises:
        UsageError: a part is damaged, or there is none.
    """
    parts: list[dict[str, Tensor]] = []
    for path in sorted(folder.glob("candidates-*.safetensors")):
        try:
            parts.append(load_file(path))
        except (SafetensorError, OSError) as error:
            raise UsageError(
                f"{path} does not read ({error}); delete it to make it anew"
            ) from error
    if not parts:
        raise UsageError(f"no treated pictures in {folder}; gather some first")
    columns = (torch.cat([part[name] for part in parts]) for name in ("before", "after", "gains"))
    return Candidates(*columns)


def gained(before: Tensor, after: Tensor, clean: Tensor) -> Tensor:
    """(B, 2): PSNR in dB and SSIM of luma gained, of (B, 3, H, W)."""
    structure = [_ssim(after, clean) - _ssim(before, clean)]
    return torch.stack([psnr(after, clean) - psnr(before, clean), *structure], dim=1)


def _ssim(image: Tensor, clean: Tensor) -> Tensor:
    from skimage import metrics

    similar: Any = metrics.structural_similarity
    light = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    lumas = ((x * light).sum(1).numpy() for x in (image, clean))
    scores = [similar(a, b, data_range=1.0) for a, b in zip(*lumas, strict=True)]
    return torch.tensor(scores, dtype=torch.float32)


def _part(bank: CropBank, seed: int) -> Candidates:
    maker = WholePhotos(_DRAWS, seed=seed)
    rng = maker.rng
    before: list[Tensor] = []
    after: list[Tensor] = []
    gains: list[Tensor] = []
    while len(before) < _PART:
        pairs = maker.pairs(bank.patches(1, SIDE, rng))
        present = pairs.present[0]
        degraded = synthesis.quantise8(pairs.degraded)
        if rng.random() < 0.1:
            degraded = handled(degraded, rng)
        treated = [
            x for _ in range(4 * WAYS) if (x := _treated(degraded, present, rng)) is not None
        ]
        treated = treated[:WAYS]
        if len(treated) < WAYS:
            continue
        results = torch.cat(treated)
        gains.append(gained(degraded.expand_as(results), results, pairs.clean.expand_as(results)))
        before.append(degraded[0])
        after.append(results)
    eight = [(torch.stack(x) * 255).round().to(torch.uint8) for x in (before, after)]
    return Candidates(eight[0], eight[1], torch.stack(gains))


def _treated(image: Tensor, present: dict[Kind, float], rng: random.Random) -> Tensor | None:
    """One or two calls, or a specialist for each kind; part of them blended with the input. None where a tool had nothing to do."""
    result = image
    if rng.random() < 0.4:
        calls = _specialists(present, rng)
    else:
        calls = [_call(present, rng) for _ in range(2 if rng.random() < 0.3 else 1)]
    for name, prompt in calls:
        try:
            made = (
                catalog.load(name, device="cpu")
                .restore(result, prompt, seed=rng.randrange(99))
                .image
            )
        except ConservatorError:
            return None
        if made.shape != image.shape:
            return None
        result = made.clamp(0, 1)
    if rng.random() < 0.2:
        result = torch.lerp(image, result, rng.uniform(0.3, 0.9))
    return synthesis.quantise8(result)


def _specialists(
    present: dict[Kind, float], rng: random.Random
) -> list[tuple[str, RestorationPrompt]]:
    """One call a kind, in any order: that it matters is to be learned too."""
    asked = _asked(present, rng)
    kinds = rng.sample(list(asked), len(asked))
    return [
        (
            "llmra" if rng.random() < 0.4 else rng.choice(_able(kind)),
            RestorationPrompt(degradations={kind: asked[kind]}),
        )
        for kind in kinds
    ]


def _able(kind: Kind) -> list[str]:
    """The classical tools for a kind, LLMRA where there is none."""
    able = [
        name
        for name, card in catalog.cards().items()
        if name.startswith("classical-") and kind in card.treats and card.scale == 1
    ]
    return able or ["llmra"]


def _asked(present: dict[Kind, float], rng: random.Random) -> dict[Kind, float]:
    """Mostly what an inspection would say, at times far off."""
    error = 0.07 if rng.random() < 0.8 else 0.3
    asked = {
        kind: value_at(kind, min(1.0, max(0.08, severity_of(kind, value) + rng.gauss(0, error))))
        for kind, value in present.items()
        if rng.random() < 0.8
    }
    if rng.random() < 0.15 or not asked:
        kind = rng.choice(list(Kind))
        asked.setdefault(kind, value_at(kind, rng.uniform(0.15, 0.9)))
    return asked


def _call(present: dict[Kind, float], rng: random.Random) -> tuple[str, RestorationPrompt]:
    """A restorer and what it is told."""
    asked = _asked(present, rng)
    way = rng.random()
    if way < 0.4:
        return "llmra", RestorationPrompt(degradations=asked)
    if way < 0.56:
        return "mofe-ir", RestorationPrompt(degradations=asked, blind=rng.random() < 0.6)
    kind = rng.choice(list(asked))
    return rng.choice(_able(kind)), RestorationPrompt(degradations={kind: asked[kind]})
