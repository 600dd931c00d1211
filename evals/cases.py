"""The single and composite test cases of the model cards, and where their images come from."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from conservator.restorers.degradations.recipe import Recipe, apply
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UsageError

__all__ = ["CASES", "Case", "Place", "Sample", "image_paths", "places", "read_rgb", "samples"]

Image = npt.NDArray[np.float32]
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Attributes:
        name: of the row.
        kinds: what is really wrong: kind -> parameter; for pairs the typical value.
        pairs: folder under `pairs/` of the development images, "" for synthetic degradation of `clean/kodak24`.
    """

    name: str
    kinds: dict[Kind, float]
    pairs: str = ""

    @property
    def recipe(self) -> str:
        """The degradation recipe of a synthetic case."""
        from conservator.restorers.degradations.vocabulary import PARAMETERS

        return "+".join(f"{k}:{PARAMETERS[k].name}={v:g}" for k, v in self.kinds.items())


CASES: tuple[Case, ...] = (
    Case("noise sigma 15", {Kind.NOISE: 15}),
    Case("noise sigma 25", {Kind.NOISE: 25}),
    Case("noise sigma 50", {Kind.NOISE: 50}),
    Case("rain (synthetic)", {Kind.RAIN: 75}),
    Case("rain (SIRR pairs)", {Kind.RAIN: 75}, pairs="sirr20"),
    Case("haze (synthetic)", {Kind.HAZE: 1.2}),
    Case("haze (SOTS pairs)", {Kind.HAZE: 1.2}, pairs="sots-indoor"),
    Case("low light (synthetic)", {Kind.LOW_LIGHT: 1.0}),
    Case("jpeg quality 10", {Kind.JPEG: 10}),
    Case("jpeg quality 20", {Kind.JPEG: 20}),
    Case("jpeg quality 40", {Kind.JPEG: 40}),
    Case("defocus radius 3", {Kind.DEFOCUS_BLUR: 3}),
    Case("motion sigma 3", {Kind.MOTION_BLUR: 3}),
    Case("snow", {Kind.SNOW: 0.05}),
    Case("pepper noise", {Kind.PEPPER_NOISE: 0.05}),
    Case("mask", {Kind.MASK: 0.05}),
    Case("dark + noise", {Kind.LOW_LIGHT: 0.8, Kind.NOISE: 25}),
    Case("rain + haze", {Kind.RAIN: 75, Kind.HAZE: 1.2}),
    Case("defocus + jpeg", {Kind.DEFOCUS_BLUR: 3, Kind.JPEG: 20}),
    Case("noise + jpeg", {Kind.NOISE: 25, Kind.JPEG: 20}),
    Case("rain + noise", {Kind.RAIN: 75, Kind.NOISE: 25}),
    Case("real camera noise (PolyU pairs)", {Kind.NOISE: 8}, pairs="polyu"),
)


@dataclass(frozen=True)
class Sample:
    """A degraded picture with its clean original, both (H, W, 3), float32, [0, 1]."""

    name: str
    degraded: Image
    clean: Image


@dataclass(frozen=True)
class Place:
    """Where a sample of a case comes from.

    Attributes:
        case: the row it belongs to.
        clean: the clean picture.
        degraded: the degraded one of a pair; None where it is synthesised.
    """

    case: Case
    clean: Path
    degraded: Path | None = None

    def sample(self) -> Sample:
        """Read it; a synthetic one is seeded by case and file name, so it is always the same."""
        clean = read_rgb(self.clean)
        if self.degraded is None:
            h, w = clean.shape[:2]
            seed = zlib.crc32(f"{self.case.name}/{self.clean.name}".encode())
            x = torch.from_numpy(np.array(clean)).permute(2, 0, 1)[None]
            draws = Recipe.parse(self.case.recipe).draw(seed, h, w)
            y = apply(x, draws)[0].permute(1, 2, 0).numpy()
            return Sample(self.clean.name, np.ascontiguousarray(y), clean)
        degraded = read_rgb(self.degraded)
        # Some sets cut a border off one of the two (SOTS); compare what both show.
        h, w = np.minimum(degraded.shape[:2], clean.shape[:2])
        return Sample(self.degraded.name, _centre(degraded, h, w), _centre(clean, h, w))


def image_paths(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name.

    Raises:
        UsageError: there is none.
    """
    paths = (
        sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if folder.is_dir()
        else []
    )
    if not paths:
        raise UsageError(f"no pictures in {folder}: give a folder of images")
    return paths


def read_rgb(path: Path) -> Image:
    """A picture as (H, W, 3), float32, [0, 1]."""
    from conservator.tools.image_io import load

    return load(path).pixels


def places(case: Case, dev: Path, limit: int | None = None) -> list[Place]:
    """The samples of a case, not read yet.

    Args:
        case: the row.
        dev: folder that holds `clean/kodak24`, `manifest.csv` and `pairs/`.
        limit: at most so many images.

    Raises:
        UsageError: a folder is missing or empty.
    """
    if not case.pairs:
        return [Place(case, path) for path in image_paths(dev / "clean" / "kodak24")[:limit]]
    prefix = f"pairs/{case.pairs}/"
    with (dev / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["degraded"].startswith(prefix)]
    if not rows:
        raise UsageError(f"no pairs of {case.pairs} in {dev / 'manifest.csv'}")
    return [Place(case, dev / row["clean"], dev / row["degraded"]) for row in rows[:limit]]


def samples(case: Case, dev: Path, limit: int | None = None) -> Iterator[Sample]:
    """The samples of a case, one after the other; see `places`."""
    return (place.sample() for place in places(case, dev, limit))


def _centre(image: Image, height: int, width: int) -> Image:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])
