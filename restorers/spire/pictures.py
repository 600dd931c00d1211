"""What SPIRE trains on: clean crops with their captions, and both pipelines of Table 2, on the device that trains.

Degrading, encoding and reading words cost more than a step where pictures are drawn anew each time. So pictures are kept in a ring on the
device, a share of them new at each step, and each is drawn at several noise levels.
"""

from __future__ import annotations

import csv
import random
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from conservator.restorers.degradations import synthesis
from conservator.restorers.degradations.dct_jpeg import dct_jpeg
from conservator.restorers.degradations.pipelines import real_esrgan, spire
from conservator.restorers.degradations.pipelines.dice import Dice
from conservator.restorers.degradations.pipelines.operators import run
from conservator.restorers.degradations.pipelines.step import Step
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.spire import BLIND, instruction
from conservator.restorers.training.data import CropBank

__all__ = ["Bank", "Degraded", "Degrader", "Ring", "captioned", "on_device"]

_HELD_OUT = 16
"""One captioned crop of so many is kept from training, for the test of semantic prompts."""
_TEMPLATES = ("a photo of a {}", "a photo of the {}", "a {}", "{}")
_WIDE: dict[Kind, tuple[float, float]] = {
    Kind.DEFOCUS_BLUR: (3.0, 5.0),
    Kind.NOISE: (0.12, 0.25),
    Kind.JPEG: (8, 30),
}
"""Beyond Table 2, in its units."""

_WEAKENED = 0.2
"""Of the kinds that a partial prompt leaves, so many are asked for in part; of the others it says nothing."""


def captioned(folder: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """The captions of files, from the columns `file` and `caption` of the folder's manifest.csv; "" without one."""
    manifest = folder / "manifest.csv"
    known: dict[str, str] = {}
    if manifest.is_file():
        with manifest.open(newline="", encoding="utf-8") as file:
            known = {
                row["file"]: row.get("caption") or ""
                for row in csv.DictReader(file)
                if row.get("file")
            }
    return tuple(known.get(name, "").strip() for name in names)


class Bank:
    """Clean crops on a device.

    Attributes:
        images: (N, 3, S, S), uint8.
        captions: one a crop, "" for most.
        rows: crops to train on.
        held_out: captioned crops that are kept from it.
    """

    def __init__(self, folder: Path, device: torch.device, side: int = 320) -> None:
        """Decode a folder.

        Raises:
            UsageError: it holds no images.
        """
        bank = CropBank(folder, side)
        self.folder, self.names, self.device = folder, bank.names, device
        self.images = bank.images.to(device)
        self.captions = captioned(folder, bank.names)
        kept = [
            bool(caption) and zlib.crc32(name.encode()) % _HELD_OUT == 0
            for name, caption in zip(self.names, self.captions, strict=True)
        ]
        self.rows = [i for i, out in enumerate(kept) if not out]
        self.held_out = [i for i, out in enumerate(kept) if out]

    def take(
        self, count: int, size: int, rng: random.Random, rows: list[int] | None = None
    ) -> tuple[Tensor, list[int]]:
        """Random pieces (count, 3, size, size), [0, 1], half of them mirrored and half of them from shrunken crops; and their rows.

        Upright: what the pictures show is part of what is learned.
        """
        chosen = rng.choices(self.rows if rows is None else rows, k=count)
        side = self.images.shape[-1]
        size = min(size, side)
        span = round(size * rng.uniform(1.0, min(2.0, side / size)))
        half = (count + rng.randrange(2)) // 2
        whole = self._cut(chosen[:half], size, rng)
        shrunk = self._cut(chosen[half:], span, rng)
        if span != size:
            shrunk = synthesis.downsample(shrunk, span / size)
        pieces = torch.cat([whole, shrunk])
        mirrored = torch.tensor([rng.random() < 0.5 for _ in chosen], device=self.device)
        return torch.where(mirrored.view(-1, 1, 1, 1), pieces.flip(-1), pieces), chosen

    def _cut(self, rows: list[int], size: int, rng: random.Random) -> Tensor:
        room = self.images.shape[-1] - size + 1
        corners = [(rng.randrange(room), rng.randrange(room)) for _ in rows]
        corner = torch.tensor(corners, dtype=torch.long, device=self.device).view(-1, 2)
        top, left = corner.T
        at = torch.arange(size, device=self.device)
        index = torch.tensor(rows, dtype=torch.long, device=self.device)[:, None, None, None]
        channel = torch.arange(3, device=self.device)[None, :, None, None]
        down, across = (top[:, None] + at)[:, None, :, None], (left[:, None] + at)[:, None, None]
        return self.images[index, channel, down, across].float() / 255

    def caption(self, row: int, rng: random.Random, dropped: float) -> str:
        """A semantic prompt for a crop, "" where nobody wrote one and for a share of the others."""
        text = self.captions[row]
        if not text or rng.random() < dropped:
            return ""
        return rng.choice(_TEMPLATES).format(text)

    def export_held_out(self, out: Path) -> Path:
        """Copy the held-out crops and their captions to a folder, for the test of semantic prompts."""
        out.mkdir(parents=True, exist_ok=True)
        part = out / "manifest.csv.part"
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("file", "caption"))
            for row in self.held_out:
                shutil.copyfile(self.folder / self.names[row], out / self.names[row])
                writer.writerow((self.names[row], self.captions[row]))
        part.replace(out / "manifest.csv")
        return out


@dataclass
class Degraded:
    """A batch for the branch.

    Attributes:
        degraded: y, (B, 3, H, W), at the 256 values of uint8.
        target: what the prompt asks for; the clean picture unless it asks for a part.
        prompts: c_r.
    """

    degraded: Tensor
    target: Tensor
    prompts: list[str]


class Degrader:
    """Algorithm 1: Real-ESRGAN's pipeline or the parameterised one, half and half.

    Args:
        seed: of all draws.
        partial: share of parameterised pictures whose prompt asks for less than was done (an addition: a kind is not named, or a number
            is smaller than the true one, or only compression is named that is not there), with the rest in the target.
        wide: share of them with severities beyond Table 2 (an addition: photos are worse at times).
        numbers: False never writes a number.
    """

    def __init__(
        self, seed: int = 0, *, partial: float = 0.0, wide: float = 0.0, numbers: bool = True
    ) -> None:
        self.rng = random.Random(seed)
        self.partial, self.wide, self.numbers = partial, wide, numbers

    def degrade(self, clean: Tensor) -> Degraded:
        """Degrade (B, 3, H, W), [0, 1], on its device."""
        pairs = [self._one(picture[None]) for picture in clean]
        degraded = synthesis.quantise8(torch.cat([y for y, _, _ in pairs]))
        target = torch.cat([x for _, x, _ in pairs])
        return Degraded(degraded, target, [text for _, _, text in pairs])

    def _one(self, clean: Tensor) -> tuple[Tensor, Tensor, str]:
        dice = Dice(self.rng.getrandbits(48))
        height, width = clean.shape[-2:]
        if dice.chance(0.5):
            steps = real_esrgan.draw_steps(dice.child("pipeline"), height, width, same_size=True)
            return _all(clean, steps), clean, BLIND
        steps = spire.draw("", dice.child("pipeline"), height, width).steps
        if dice.chance(self.wide):
            steps = tuple(_widened(step, dice.child(f"wide {step.kind}")) for step in steps)
        asked: tuple[Step, ...] = steps
        kept: tuple[Step, ...] = ()
        if dice.chance(self.partial):
            asked, kept = _parted(steps, dice.child("partial"), weaken=self.numbers)
        target = _all(clean, kept) if kept else clean
        return _all(clean, steps), target, self._prompt(asked, kept, dice.child("prompt"))

    def _prompt(self, steps: tuple[Step, ...], kept: tuple[Step, ...], dice: Dice) -> str:
        """With or without each number, with equal chance; always where the number alone says that a part is asked for."""
        partly = {step.kind for step in kept}
        return " ".join(
            instruction(
                step.kind,
                step.value if self.numbers and (dice.chance(0.5) or step.kind in partly) else None,
            )
            for step in steps
            if step.kind is not None
        )


def on_device(x: Tensor, step: Step) -> Tensor:
    """Run one step of a pipeline where the picture is; fields are drawn there, so they differ between devices."""
    generator = torch.Generator(device=x.device).manual_seed(step.seed)
    parameters = step.parameters
    match step.operator:
        case "jpeg":
            return dct_jpeg(x, [float(parameters["quality"])])
        case "gaussian_noise":
            noisy = synthesis.gaussian_noise(x, [float(parameters["sigma_255"])], generator)
        case "grey_gaussian_noise":
            field = torch.randn((1, 1, *x.shape[-2:]), generator=generator, device=x.device)
            noisy = x + field * float(parameters["sigma_255"]) / 255
        case "poisson_noise":
            noisy = synthesis.poisson_noise(x, [float(parameters["scale"])], generator)
        case "grey_poisson_noise":
            luma = x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
            grey = (x * luma).sum(1, keepdim=True).clamp(0, 1)
            sample = torch.poisson(grey * 256, generator=generator) / 256
            noisy = x + (sample - grey) * float(parameters["scale"])
        case _:
            return run(x, step)
    return noisy.clamp(0, 1)


def _all(x: Tensor, steps: tuple[Step, ...]) -> Tensor:
    for step in steps:
        x = on_device(x, step)
    return x


def _widened(step: Step, dice: Dice) -> Step:
    """The same step, worse than Table 2's worst."""
    if step.kind is None or step.kind not in _WIDE:
        return step
    number = dice.uniform(*_WIDE[step.kind])
    if step.kind is Kind.JPEG:
        return _step(step, "quality", round(number), round(number))
    if step.kind is Kind.NOISE:
        return _step(step, "sigma_255", number * 255, number * 255)
    return _step(step, "sigma_px", number, 2 * number)


def _step(step: Step, name: str, parameter: float, value: float) -> Step:
    parameters = {**step.parameters, name: parameter}
    return step.model_copy(update={"parameters": parameters, "value": float(value)})


def _parted(
    steps: tuple[Step, ...], dice: Dice, *, weaken: bool
) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """What is asked for, and what then stays in the target.

    Noise and JPEG behind a lost resolution lie on the small picture's grid: they stay only where that stays too. Half of the pictures that
    were not compressed are asked to be rid of it, so that a name for what is not there changes nothing.
    """
    named = [step for step in steps if step.kind is not None]
    if not named:
        return steps, ()
    left = {step.kind for step in named if dice.chance(0.5)} or {dice.choice(named).kind}
    kinds = {step.kind for step in named}
    if Kind.LOW_RESOLUTION in kinds - left:
        left -= {Kind.NOISE, Kind.JPEG}
    asked: list[Step] = []
    kept: list[Step] = []
    for step in steps:
        weaker = None
        if step.kind in left and weaken and dice.chance(_WEAKENED):
            weaker = _weakened(step, dice.uniform(0.0, 0.9))
        if weaker is not None:
            asked.append(weaker[0])
            kept.append(weaker[1])
        elif step.kind in left or (step.kind is None and Kind.LOW_RESOLUTION in left):
            kept.append(step)
        elif step.kind is not None:
            asked.append(step)
    if Kind.JPEG not in kinds and dice.chance(0.5):
        asked.append(_absent_jpeg(dice.uniform(10, 92)))
    return tuple(asked), tuple(kept)


def _absent_jpeg(quality: float) -> Step:
    """What a prompt names and no picture has; never run."""
    quality = round(quality)
    return Step(
        operator="jpeg", parameters={"quality": quality}, kind=Kind.JPEG, value=float(quality)
    )


def _weakened(step: Step, share: float) -> tuple[Step, Step] | None:
    """A step that asks for a share of the strength, and what it leaves; None where strengths do not add up."""
    if step.value is None:
        return None
    if step.kind is Kind.NOISE:
        asked, left = share * step.value, (1 - share) * step.value
        return _step(step, "sigma_255", asked, asked), _step(step, "sigma_255", left, left)
    if step.kind is Kind.DEFOCUS_BLUR:
        # Variances of Gaussians add up.
        asked, left = share * step.value, (1 - share**2) ** 0.5 * step.value
        return _step(step, "sigma_px", asked / 2, asked), _step(step, "sigma_px", left / 2, left)
    return None


class Ring:
    """The last `size` samples, as tensors on one device; when it is full the oldest make room."""

    def __init__(self, size: int) -> None:
        self.size, self.count, self._next = size, 0, 0
        self._rows: dict[str, Tensor] = {}

    def add(self, **rows: Tensor) -> None:
        """Keep samples, one a row of each tensor, under the same names each time."""
        if not self._rows:
            self._rows = {
                name: torch.zeros((self.size, *x.shape[1:]), dtype=x.dtype, device=x.device)
                for name, x in rows.items()
            }
        count = len(next(iter(rows.values())))
        places = [(self._next + i) % self.size for i in range(count)]
        for name, x in rows.items():
            self._rows[name][places] = x
        self._next = (self._next + count) % self.size
        self.count = min(self.size, self.count + count)

    def take(self, count: int, rng: random.Random) -> dict[str, Tensor]:
        """Random samples, none twice while there are enough."""
        have = range(self.count)
        rows = rng.sample(have, count) if count <= self.count else rng.choices(have, k=count)
        return {name: x[rows] for name, x in self._rows.items()}
