"""Where stage 2 takes its inspected half from: whole pictures, degraded and inspected once, before training.

An inspection of a training patch is slow and says other things than one of a photo, so whole pictures are inspected, as the
product does, and each patch comes with what was said of its picture.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import OutputError, UsageError
from conservator.restorers.training.data import CropBank, Mixture, Pairs, Synthesiser

__all__ = ["InspectedPool", "Inspector"]

Inspector = Callable[[Tensor], list[dict[Kind, float]]]
"""(B, 3, H, W), [0, 1], on the CPU, to what an inspection believes is wrong with each: kind -> parameter."""

_DEGRADED_AT_ONCE = 16
_INSPECTED_AT_ONCE = 240
"""An inspector may start processes at each call; so few calls, and still a line of progress now and then."""
_GRID = 8
"""Patches begin on JPEG's grid, as photos and their tiles do."""


@dataclass(frozen=True, eq=False)
class InspectedPool:
    """Degraded pictures with the truth and with what was said of them.

    Attributes:
        degraded: (N, 3, S, S), uint8; a picture of a smaller side lies at the top left.
        clean: the same without degradation.
        sides: of the pictures, px.
        present: kind -> parameter of each; empty for a clean one.
        said: what the inspection said of each.
    """

    degraded: Tensor
    clean: Tensor
    sides: tuple[int, ...]
    present: tuple[dict[Kind, float], ...]
    said: tuple[dict[Kind, float], ...]

    @classmethod
    def make(
        cls,
        bank: CropBank,
        count: int,
        inspector: Inspector,
        *,
        seed: int = 0,
        device: str = "cpu",
        say: Callable[[str], None] = lambda text: None,
    ) -> InspectedPool:
        """Degrade and inspect `count` whole crops of a bank; a third is shrunk by 1.25, against the crops' own JPEG traces.

        Args:
            bank: clean crops; none comes twice before all came once.
            count: of pictures.
            inspector: is shown what is kept, 8 bits a sample.
            seed: of the choice and the degradations.
            device: where to degrade.
            say: receives progress, a line at a time.
        """
        rng = random.Random(seed)
        maker = Synthesiser(Mixture(partial=0.0), seed=seed, device=device)
        whole = bank.images.shape[-1]
        shrunk = whole * 4 // 5 // _GRID * _GRID
        sides = [whole] * (count - count // 3) + [shrunk] * (count // 3)
        rows: list[int] = []
        while len(rows) < count:
            rows += rng.sample(range(len(bank.images)), len(bank.images))
        degraded = torch.zeros(count, 3, whole, whole, dtype=torch.uint8)
        clean = torch.zeros_like(degraded)
        present: list[dict[Kind, float]] = []
        said: list[dict[Kind, float]] = []
        while len(said) < count:
            first, side = len(said), sides[len(said)]
            last = min(first + _INSPECTED_AT_ONCE, first + sides[first:].count(side))
            for start in range(first, last, _DEGRADED_AT_ONCE):
                part = slice(start, min(start + _DEGRADED_AT_ONCE, last))
                crops = bank.images[rows[part]].float() / 255
                if side != whole:
                    crops = synthesis.downsample(crops, whole / side)
                pairs = maker.pairs(crops.flip(-1) if rng.random() < 0.5 else crops)
                clean[part, :, :side, :side] = _bytes(pairs.clean)
                degraded[part, :, :side, :side] = _bytes(pairs.degraded)
                present += pairs.present
            said += inspector(degraded[first:last, :, :side, :side].float() / 255)
            say(f"{len(said)} of {count} pictures inspected")
        return cls(degraded, clean, tuple(sides), tuple(present), tuple(said))

    def patches(
        self, batch: int, size: int, rng: random.Random, device: torch.device
    ) -> tuple[Pairs, list[dict[Kind, float]]]:
        """Random patches, flipped and turned alike in both versions, with what was said of their pictures.

        Raises:
            UsageError: no picture is as large as that.
        """
        fitting = [row for row, side in enumerate(self.sides) if side >= size]
        if not fitting:
            raise UsageError(
                f"patches of {size} px do not fit into pictures of {max(self.sides, default=0)} px; "
                f"give smaller sizes"
            )
        rows = [rng.choice(fitting) for _ in range(batch)]
        both = torch.empty(2, batch, 3, size, size, dtype=torch.uint8)
        for i, row in enumerate(rows):
            top, left = (
                _GRID * rng.randrange((self.sides[row] - size) // _GRID + 1) for _ in range(2)
            )
            mirrored, turns = rng.random() < 0.5, rng.randrange(4)
            for version, pictures in enumerate((self.degraded, self.clean)):
                patch = pictures[row, :, top : top + size, left : left + size]
                patch = patch.flip(-1) if mirrored else patch
                both[version, i] = torch.rot90(patch, turns, (1, 2))
        degraded, clean = (x.to(device).float() / 255 for x in both)
        present = [dict(self.present[row]) for row in rows]
        pairs = Pairs(degraded, clean, clean, present, [dict(kinds) for kinds in present])
        return pairs, [dict(self.said[row]) for row in rows]

    def write(self, path: Path) -> None:
        """Keep the pool for a resumed run, atomically.

        Raises:
            OutputError: the place cannot be written.
        """
        pictures = [
            {"side": side, "present": present, "said": said}
            for side, present, said in zip(self.sides, self.present, self.said, strict=True)
        ]
        part = path.with_name(path.name + ".part")
        try:
            save_file(
                {"degraded": self.degraded, "clean": self.clean},
                part,
                metadata={"pictures": json.dumps(pictures)},
            )
            part.replace(path)
        except (SafetensorError, OSError) as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise OutputError(f"cannot keep the inspected pictures in {path}: {error}") from error

    @classmethod
    def read(cls, path: Path) -> InspectedPool:
        """The pool that `write` kept.

        Raises:
            UsageError: the file is damaged, or of something else.
        """
        try:
            with safe_open(path, "pt") as file:
                pictures = json.loads(file.metadata()["pictures"])
                degraded, clean = file.get_tensor("degraded"), file.get_tensor("clean")
            sides = tuple(int(picture["side"]) for picture in pictures)
            present, said = (
                tuple(_kinds(picture[what]) for picture in pictures) for what in ("present", "said")
            )
            if not len(degraded) == len(clean) == len(sides):
                raise ValueError(f"{len(degraded)} pictures, {len(sides)} descriptions")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"the inspected pictures {path} do not read ({error}); delete the file to make it anew"
            ) from error
        return cls(degraded, clean, sides, present, said)


def _bytes(pictures: Tensor) -> Tensor:
    return (pictures.clamp(0, 1) * 255).round().to("cpu", torch.uint8)


def _kinds(named: dict[str, float]) -> dict[Kind, float]:
    return {Kind(name): float(value) for name, value in named.items()}
