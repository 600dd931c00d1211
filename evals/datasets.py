"""The samples of a task over a user's pictures: listed first, made into pixels one by one.

Listing decodes nothing, so a damaged file is listed too; it fails alone when it is made into pixels. A sample's draws are seeded
by the run's seed, its row and its file name: adding a file changes no other sample.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from conservator.evals.hub import PREFIX, hub_source
from conservator.evals.log import slug
from conservator.evals.sample import Image, Sample, SampleSpec
from conservator.evals.sources import Entry, Source, source, source_below
from conservator.evals.task import Needs, Row, Task
from conservator.restorers.degradations.recipe import Draws, Recipe, Step, apply
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import InputError, OutputError, UsageError
from conservator.restorers.prompts.model import RestorationPrompt
from conservator.tools.image_io import Picture, from_array, load, save

__all__ = ["Images", "Listing", "materialise", "places", "specs"]

Images = str | Path | Sequence[str | Path]
"""Where the pictures are: one folder, manifest or `hf:NAME...`, or several."""

BORDER = 0.1
"""Two pictures of a pair may differ by this share of a side: some sets cut a border off one of them (SOTS)."""

GRID = 8
"""JPEG's blocks, px: a crop begins on them, so that they lie in it as in the file."""


@dataclass(frozen=True)
class Listing:
    """The samples of a task.

    Attributes:
        samples: by row as in the task, then by file name.
        skipped: (name, reason): files that are no pictures, rows whose data set is not there.
    """

    samples: tuple[SampleSpec, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def specs(
    task: Task,
    images: Images,
    *,
    seed: int = 0,
    limit: int | None = None,
    crop: int | None = None,
    sample_ids: Collection[str] | None = None,
) -> Listing:
    """List the samples of a task.

    Args:
        task: what to measure.
        images: a folder of pictures, a folder of pairs, a folder of standard sets for tasks whose rows name them, a manifest
            (see `conservator.evals.sources`), or `hf:NAME...` (see `conservator.evals.hub`). Of several the pictures are
            taken together; their names begin with the folder's.
        seed: of the run.
        limit: pictures a row and folder, the same ones in every row.
        crop: only the centre of each picture, so many px a side; by default the whole.
        sample_ids: only these.

    Raises:
        UsageError: no row of the task finds its pictures, or an id that is not there; says what was expected.
        BackendMissingError: a data set that is not on this disk.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: give at least 1 picture a row")
    if crop is not None and crop < GRID:
        raise UsageError(f"crop {crop}: give at least {GRID} px")
    there = _named_places(images)
    named = " and ".join(there.values())
    digests, find = cache(_sha256), cache(_found)
    samples: list[SampleSpec] = []
    skipped: dict[tuple[str, str], None] = {}
    missing: dict[str, None] = {}
    names = {value for row in task.rows for value in (row.name, row.folder) if value}
    seeded = "" if task.fixed_draws else f"{seed}/"
    for row in task.rows:
        # A recipe starts from a clean picture, whatever the other rows need.
        needs: Needs = "clean" if row.recipe else row.needs or task.needs
        made, looked = 0, False
        for prefix, where in there.items():
            try:
                found = find(where, row.folder, needs, None if sample_ids else limit)
            except UsageError as error:
                if not row.folder or where.startswith(PREFIX) or not Path(where).is_dir():
                    raise
                skipped[f"row {row.name}", str(error)] = None
                missing[row.folder] = None
                continue
            looked = True
            entries, others = _of_row(found, row, names)
            before = "".join(f"{part}/" for part in (prefix, row.folder) if part)
            skipped.update({(before + name, why): None for name, why in (*found.skipped, *others)})
            made_here = [
                _spec(row, entry, needs, sample_id, seeded, digests).model_copy(
                    update={"crop": crop or 0}
                )
                for entry, sample_id in zip(entries, _ids(row, entries, prefix), strict=True)
                if sample_ids is None or sample_id in sample_ids
            ][: None if sample_ids else limit]
            samples += made_here
            made += len(made_here)
        if looked and not made and sample_ids is None:
            skipped[f"row {row.name}", "no picture is meant for it"] = None
    if not samples and missing and not sample_ids:
        raise UsageError(
            f"{named} holds none of the data sets of {task.key}; put at least one of these folders there: "
            f"{', '.join(missing)}"
        )
    unknown = sorted(set(sample_ids or ()) - {spec.sample_id for spec in samples})
    if unknown or not samples:
        what = f"sample {unknown[0]!r}" if unknown else "sample"
        raise UsageError(f"no {what} in {task.key} over {named}; `--dry-run` lists them")
    return Listing(tuple(samples), tuple(skipped))


def places(images: Images) -> tuple[str, ...]:
    """Where pictures are, as text."""
    return (str(images),) if isinstance(images, str | Path) else tuple(map(str, images))


def _named_places(images: Images) -> dict[str, str]:
    """What the names of a place's pictures begin with -> the place; "" where there is one only.

    Raises:
        UsageError: no place, or one given twice.
    """
    given = places(images)
    if not given or len(set(given)) < len(given):
        raise UsageError(
            f"images {', '.join(given) or '(none)'}: give at least one place, each once"
        )
    if len(given) == 1:
        return {"": given[0]}
    named: dict[str, str] = {}
    for where in given:
        name = base = Path(where).absolute().name or "images"
        number = 1
        while name in named:
            number += 1
            name = f"{base}-{number}"
        named[name] = where
    return named


def _found(where: str, folder: str, needs: Needs, limit: int | None) -> Source:
    if where.startswith(PREFIX):
        found = hub_source(where, first=limit)
        if needs == "pairs" and any(entry.reference is None for entry in found.entries):
            raise UsageError(
                f"{where} has no column of clean pictures; write hf:NAME:SPLIT:IMAGE_COLUMN:REFERENCE_COLUMN"
            )
        return found
    images = Path(where).expanduser().absolute()
    if folder and images.is_dir():
        return source_below(images, folder, needs)
    return source(images, needs)


def _of_row(found: Source, row: Row, names: set[str]) -> tuple[list[Entry], list[tuple[str, str]]]:
    """The entries that are meant for a row.

    A manifest's `row` or `kind` binds a picture to a row only where it names rows of the task; otherwise it is about something else.
    """
    if not any(entry.row in names for entry in found.entries):
        return list(found.entries), []
    mine = [e for e in found.entries if not e.row or e.row in (row.name, row.folder)]
    others = [
        (e.name, f"row {e.row!r} is not in the task")
        for e in found.entries
        if e.row and e.row not in names
    ]
    return mine, others


def _ids(row: Row, entries: list[Entry], prefix: str) -> list[str]:
    """`row/stem`; the whole file name where two share a stem, and a running number where even that repeats.

    Of several places it is `row/place/stem`.
    """
    stems = [entry.name.rpartition(".")[0] or entry.name for entry in entries]
    often = Counter(stems)
    names = [s if often[s] == 1 else entry.name for s, entry in zip(stems, entries, strict=True)]
    seen: Counter[str] = Counter()
    ids, before = [], f"{row.name}/{prefix}/" if prefix else f"{row.name}/"
    for name in names:
        seen[name] += 1
        ids.append(f"{before}{name}" + (f"-{seen[name]}" if seen[name] > 1 else ""))
    return ids


def _spec(
    row: Row, entry: Entry, needs: Needs, sample_id: str, seed: str, digests: Callable[[Path], str]
) -> SampleSpec:
    reference = "" if entry.reference is None else str(entry.reference)
    if needs == "clean":
        reference = "" if row.recipe else str(entry.picture)
    parts = [digests(entry.picture)]
    if reference and reference != str(entry.picture):
        parts.append(digests(Path(reference)))
    digest = parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()
    return SampleSpec(
        sample_id=sample_id,
        row=row.name,
        group=row.group,
        picture=str(entry.picture),
        reference=reference,
        recipe=row.recipe,
        enlarge=row.enlarge,
        seed=zlib.crc32(f"{seed}{_seeding(row)}/{entry.name}".encode()),
        truth={} if row.recipe else entry.truth or row.truth,
        digest=digest if all(parts) else "",
    )


def _seeding(row: Row) -> str:
    """What seeds a row: mio16's combination, so that every suite sees the same degraded pictures, else its name."""
    recipe = Recipe.parse(row.recipe) if row.recipe else None
    if recipe is not None and recipe.pipeline == "mio16" and recipe.variant:
        return recipe.variant
    return row.name


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


# ── pixels ──────────────────────────────────────────────────────────────────
def materialise(spec: SampleSpec, scratch: Path) -> Sample:
    """Decode a sample's files and degrade the picture where its recipe says so.

    Args:
        spec: from `specs`.
        scratch: folder for lossless copies of pictures that no file holds; made when missing.

    Raises:
        InputError: a file that cannot be decoded, or two pictures that do not show the same.
        OutputError: the copy cannot be written.
    """
    picture = load(spec.picture)
    if spec.recipe:
        return _degraded(spec, picture, scratch)
    known = {Kind(kind): value for kind, value in spec.truth.items()}
    truth = RestorationPrompt(degradations=known) if known else None
    clean: Image | None
    if spec.reference == spec.picture:
        degraded = clean = _cut(picture.pixels, spec.crop)
        truth = truth or RestorationPrompt()
    elif not spec.reference:
        degraded, clean = _cut(picture.pixels, spec.crop), None
    else:
        degraded, clean = _aligned(spec, picture.pixels, load(spec.reference).pixels)
        factor = clean.shape[0] // degraded.shape[0]
        side = spec.crop // factor
        degraded, clean = _cut(degraded, side), _cut(clean, side * factor, factor)
    path = Path(spec.picture)
    if degraded is not picture.pixels:
        # Eight bits hold what an eight-bit file decodes to, unless a colour profile moved it.
        deep = picture.depth != "uint8" or picture.icc_profile is not None
        path = _copy(degraded, spec, scratch, deep=deep)
    return Sample(spec, degraded, clean, truth, path)


def _degraded(spec: SampleSpec, picture: Picture, scratch: Path) -> Sample:
    clean = _cut(picture.pixels, spec.crop)
    draws = Recipe.parse(spec.recipe).draw(spec.seed, *clean.shape[:2])
    if spec.enlarge:
        draws = _enlarged(draws)
    x = torch.from_numpy(np.array(clean)).permute(2, 0, 1)[None]
    degraded = np.ascontiguousarray(apply(x, draws)[0].permute(1, 2, 0).numpy())
    path = _copy(degraded, spec, scratch)
    return Sample(spec, degraded, clean, draws.truth(), path, draws)


def _cut(image: Image, side: int, factor: int = 1) -> Image:
    """The centre, `side` px high and wide, less where the picture is smaller; 0 is the whole.

    It begins on the grid of JPEG's blocks, times `factor` in the clean picture of a pair that is so much larger.
    """
    if not side:
        return image
    grid = GRID * factor
    height, width = (min(side, length) for length in image.shape[:2])
    top, left = (
        (whole - kept) // 2 // grid * grid
        for whole, kept in zip(image.shape, (height, width), strict=False)
    )
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _enlarged(draws: Draws) -> Draws:
    size: dict[str, int | float | str] = {"height": draws.height, "width": draws.width}
    last = Step(operator="resize", parameters={**size, "mode": "bicubic"})
    return draws.model_copy(update={"steps": (*draws.steps, last)})


def _aligned(spec: SampleSpec, degraded: Image, clean: Image) -> tuple[Image, Image]:
    """What both pictures of a pair show; a clean one that is n times larger belongs to a small one to be enlarged."""
    height, width = degraded.shape[:2]
    down, across = clean.shape[0] / height, clean.shape[1] / width
    factor = round(down)
    if (
        factor >= 2
        and abs(down - factor) < BORDER * factor
        and abs(across - factor) < BORDER * factor
    ):
        # Sets cut the clean picture to a multiple from its top left corner before they shrink it.
        return degraded, np.ascontiguousarray(clean[: factor * height, : factor * width])
    if min(down, across) < 1 - BORDER or max(down, across) > 1 + BORDER:
        raise InputError(
            f"{spec.picture} is {width}x{height}, its clean picture {spec.reference} "
            f"{clean.shape[1]}x{clean.shape[0]}: neither nearly the same size nor a whole multiple"
        )
    h, w = min(height, clean.shape[0]), min(width, clean.shape[1])
    return _centre(degraded, h, w), _centre(clean, h, w)


def _centre(image: Image, height: int, width: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _copy(image: Image, spec: SampleSpec, scratch: Path, *, deep: bool = False) -> Path:
    """A lossless file of the pixels, named by the sample; the same file when it is made again."""
    scale, kind = (65535, np.uint16) if deep else (255, np.uint8)
    name = f"{slug(spec.sample_id)}-{zlib.crc32(spec.sample_id.encode()):08x}.png"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create {scratch}: {error.strerror or error}") from error
    return save(from_array(np.round(image * scale).astype(kind)), scratch / name, overwrite=True)
