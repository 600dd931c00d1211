"""Where pictures come from: folders of pictures or of pairs, manifests, Hugging Face data sets.

A pair is recognised by the names of two subfolders (`DEGRADED_NAMES`, `CLEAN_NAMES`) and by the stems of the files in them. Sets
name their files in many ways, so a stem is also tried without what stands behind its last underscores (SOTS: `1400_3` belongs
to `1400`) and without a word of its role (`rain-001` and `norain-001`, `0801x4` and `0801`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conservator.evals.task import Needs
from conservator.restorers.degradations.recipe import Recipe
from conservator.restorers.errors import BackendMissingError, PromptError, UsageError

__all__ = [
    "CLEAN_NAMES",
    "DEGRADED_NAMES",
    "PICTURE_SUFFIXES",
    "Entry",
    "Source",
    "natural",
    "source",
    "source_below",
]

PICTURE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".avif")
)
"""Of the formats that `conservator.tools.image_io` reads."""

DEGRADED_NAMES = (
    *("degraded", "lq", "lr", "input", "hazy", "haze", "rain", "rainy", "low", "noisy", "noise"),
    *("blur", "blurry", "snow", "snowy"),
)
CLEAN_NAMES = (
    *("clean", "clear", "gt", "groundtruth", "target", "reference", "sharp", "high", "hq", "hr"),
    *("norain", "original", "gtmod12"),
)
TEST_FOLDERS = ("test", "testing", "eval15", "val", "valid", "validation")
"""Parts of a data set that are meant for measuring; entered when the folder itself holds neither pictures nor pairs."""

PICTURE_COLUMNS = ("picture", "degraded")
CLEAN_COLUMNS = ("reference", "clean")
ROW_COLUMNS = ("row", "kind")
MANIFESTS = ("manifest.csv", "manifest.parquet")

_ROLE = r"(?:no)?rain(?:y)?|input|target|degraded|clean|clear|hazy|haze|low|high|normal|noisy|noise|blur(?:ry)?|sharp|lq|hq|lr|hr|gt|real|mean|im"
_LEADING = re.compile(rf"^(?:{_ROLE})[-_ ]?(?=\d)", re.IGNORECASE)
_TRAILING = re.compile(rf"[-_ ](?:{_ROLE})$|(?<=\d)x\d$", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One picture of a source.

    Attributes:
        name: of the file below the source's folder, with `/`; names the sample.
        picture: the degraded one of a pair, else the only one.
        reference: the clean one of a pair.
        truth: kind -> parameter, from a manifest.
        row: the manifest's row or kind, "" when it has none.
    """

    name: str
    picture: Path
    reference: Path | None = None
    truth: Mapping[str, float] = field(default_factory=dict)
    row: str = ""


@dataclass(frozen=True)
class Source:
    """What was found.

    Attributes:
        entries: in natural order of their names (`2` before `10`), or in a manifest's.
        skipped: what else lies there and why it is left out, (name, reason).
    """

    entries: tuple[Entry, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key that puts `img2` before `img10`."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p)


def source(images: Path, needs: Needs) -> Source:
    """Read a folder, a manifest or a single picture.

    Clean pictures are also taken from the clean half of pairs, and real photos from the degraded half.

    Raises:
        UsageError: there is nothing of the kind; says what was looked for and what lies there.
        BackendMissingError: a Parquet manifest without pyarrow.
    """
    if images.is_file() and images.suffix.lower() in PICTURE_SUFFIXES and needs != "pairs":
        return Source((Entry(images.name, images),))
    if images.is_file():
        return _of_pairs(_manifest(images), needs, str(images))
    if not images.is_dir():
        raise UsageError(f"no folder, manifest or picture {images}; check --images")
    flat, skipped = _pictures(images)
    if flat and needs != "pairs":
        entries = [Entry(path.name, path) for path in flat]
        return Source(tuple(entries), tuple(skipped))
    paired = _pairs(images, flat)
    if paired is None:
        wanted = {
            "clean": "pictures (clean ones), or pairs whose clean halves are taken",
            "real": "pictures, or pairs whose degraded halves are taken",
            "pairs": "pairs",
        }[needs]
        raise UsageError(
            f"{images} holds no {wanted}; pairs are two subfolders such as degraded and clean, "
            f"input and target, hazy and gt, low and high, or a manifest.csv with columns degraded and clean; "
            f"there: {_inventory(images)}"
        )
    return _of_pairs(paired, needs, str(images))


def source_below(images: Path, name: str, needs: Needs) -> Source:
    """Read one of the standard sets in a folder: what the folder's manifest lists below `name`, else the subfolder.

    Raises:
        UsageError: neither is there, or it holds nothing of the kind.
    """
    for manifest in MANIFESTS:
        if (images / manifest).is_file():
            listed = _manifest(images / manifest)
            mine = [replace(e, name=Path(e.name).name) for e in listed.entries if _below(e, name)]
            if mine:
                return _of_pairs(Source(tuple(mine)), needs, f"{images / manifest}, {name}")
    folder = _subfolder(images, name)
    if folder is None:
        raise UsageError(f"no folder {name} in {images}")
    return source(folder, needs)


def _below(entry: Entry, folder: str) -> bool:
    return entry.name.startswith(f"{folder}/")


def _subfolder(images: Path, name: str) -> Path | None:
    """A folder below `images` by a set's name (`SOTS/outdoor`), whatever its case, hyphens and underscores."""
    found = images
    for part in name.split("/"):
        wanted = _plain(part)
        fits = [p for p in _children(found) if p.is_dir() and _plain(p.name) == wanted]
        exact = [p for p in fits if p.name == part]
        if not fits:
            return None
        found = (exact or fits)[0]
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_. ]", "", name).casefold()


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda p: natural(p.name))
    except OSError as error:
        raise UsageError(f"cannot read {folder}: {error.strerror or error}") from error


def _inventory(folder: Path) -> str:
    names = [p.name + ("/" if p.is_dir() else "") for p in _children(folder)]
    if not names:
        return "nothing"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _pictures(folder: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """The pictures of one folder by suffix; what they really hold shows when they are decoded."""
    found: list[Path] = []
    skipped: list[tuple[str, str]] = []
    for path in _children(folder):
        if path.is_dir():
            skipped.append((f"{path.name}/", "a folder; folders inside are not entered"))
        elif path.name.startswith("."):
            skipped.append((path.name, "a hidden file"))
        elif path.suffix.lower() not in PICTURE_SUFFIXES:
            skipped.append((path.name, "not a picture"))
        else:
            found.append(path)
    return found, skipped


def _of_pairs(pairs: Source, needs: Needs, where: str) -> Source:
    """The pairs, or the half of them that is needed."""
    skipped = list(pairs.skipped)
    entries: list[Entry] = []
    seen: set[Path] = set()
    for entry in pairs.entries:
        if needs == "pairs":
            if entry.reference in (None, entry.picture):
                skipped.append((entry.name, "no clean picture to it"))
                continue
            entries.append(entry)
        elif needs == "real":
            entries.append(replace(entry, reference=None))
        else:
            clean = entry.reference or entry.picture
            if clean in seen:
                continue
            seen.add(clean)
            name = entry.name if entry.reference is None else clean.name
            entries.append(Entry(name, clean, row=entry.row))
    if not entries:
        reasons = "; ".join(f"{name}: {why}" for name, why in skipped[:3])
        raise UsageError(f"nothing to measure in {where}: {reasons or 'it is empty'}")
    return Source(tuple(entries), tuple(skipped))


# ── pairs in folders ────────────────────────────────────────────────────────
def _pairs(folder: Path, flat: list[Path]) -> Source | None:
    """Pairs of a folder in any of the layouts in use, None when it holds none."""
    for name in MANIFESTS:
        if (folder / name).is_file() and not flat:
            return _manifest(folder / name)
    halves = _halves(folder)
    if halves is not None:
        return _matched(*halves)
    if flat:
        # CDD11: a folder for each kind of damage and one `clear` beside them all.
        clean = _named(folder.parent, CLEAN_NAMES)
        if clean and clean[0] != folder:
            return _matched(folder, clean[0])
        return _side_by_side(flat)
    children = [p for p in _children(folder) if p.is_dir()]
    for name in TEST_FOLDERS:
        for child in children:
            if child.name.casefold() == name:
                return _pairs(child, _pictures(child)[0])
    # GoPro as published: a folder a scene.
    scenes = {child.name: halves for child in children if (halves := _halves(child))}
    if not scenes:
        return None
    parts = [(name, _matched(*halves)) for name, halves in scenes.items()]
    return Source(
        tuple(replace(e, name=f"{name}/{e.name}") for name, part in parts for e in part.entries),
        tuple((f"{name}/{what}", why) for name, part in parts for what, why in part.skipped),
    )


def _named(folder: Path, names: Iterable[str]) -> list[Path]:
    children = {_plain(p.name): p for p in _children(folder) if p.is_dir()}
    return [children[_plain(name)] for name in names if _plain(name) in children]


def _halves(folder: Path) -> tuple[Path, Path] | None:
    """The degraded and the clean subfolder."""
    clean, degraded = _named(folder, CLEAN_NAMES), _named(folder, DEGRADED_NAMES)
    if not clean or not degraded:
        return None
    if len(degraded) > 1:
        names = ", ".join(p.name for p in degraded)
        raise UsageError(
            f"{folder} holds several folders of degraded pictures: {names}; name one of them"
        )
    return degraded[0], clean[0]


def _matched(degraded: Path, clean: Path) -> Source:
    pictures, skipped = _pictures(degraded)
    references, others = _pictures(clean)
    skipped = [
        *((f"{degraded.name}/{n}", why) for n, why in skipped),
        *((f"{clean.name}/{n}", why) for n, why in others),
    ]
    by_stem = _by_stem(references)
    entries, used = [], set()
    for path in pictures:
        fits = next((by_stem[s] for s in _stems(path.stem) if s in by_stem), None)
        if fits is None:
            skipped.append((f"{degraded.name}/{path.name}", f"no picture in {clean.name}/ to it"))
            continue
        used.add(fits)
        entries.append(Entry(path.name, path, fits))
    skipped += [
        (f"{clean.name}/{path.name}", f"no picture in {degraded.name}/ to it")
        for path in references
        if path not in used
    ]
    return Source(tuple(entries), tuple(skipped))


def _side_by_side(pictures: list[Path]) -> Source | None:
    """Rain100L as published: `rain-001.png` and `norain-001.png` in one folder."""
    clean = [p for p in pictures if re.match(r"norain|clean|gt|target|sharp", p.stem, re.I)]
    by_stem, entries = _by_stem(clean), []
    for path in pictures:
        if path in clean:
            continue
        fits = next((by_stem[s] for s in _stems(path.stem) if s in by_stem), None)
        if fits is not None:
            entries.append(Entry(path.name, path, fits))
    return Source(tuple(entries)) if entries else None


def _by_stem(pictures: Iterable[Path]) -> dict[str, Path]:
    """Clean pictures by their stem, and by what is left of it without a word of its role."""
    found: dict[str, Path] = {}
    for path in pictures:
        found.setdefault(path.stem.casefold(), path)
    for path in pictures:
        found.setdefault(_bare(path.stem), path)
    return found


def _bare(stem: str) -> str:
    return _TRAILING.sub("", _LEADING.sub("", stem)).casefold()


def _stems(stem: str) -> Iterator[str]:
    """The stems under which the clean picture of a degraded one may be found, the most telling first."""
    yield stem.casefold()
    yield _bare(stem)
    while "_" in stem:
        stem = stem.rpartition("_")[0]
        yield stem.casefold()


# ── manifests ───────────────────────────────────────────────────────────────
def _manifest(path: Path) -> Source:
    """A CSV or Parquet file with a line a picture; relative paths are relative to it.

    Columns: `picture` or `degraded`, `reference` or `clean`, `row` or `kind`, `truth` (`noise:sigma=25+jpeg:quality=20`).
    """
    lines = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    known = {key for line in lines for key in line}
    if not known & {*PICTURE_COLUMNS, *CLEAN_COLUMNS}:
        raise UsageError(
            f"{path} has no column {' or '.join((*PICTURE_COLUMNS, *CLEAN_COLUMNS))}; "
            f"columns: {', '.join(sorted(known)) or 'none'}"
        )
    entries: list[Entry] = []
    skipped: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 2):
        picture, clean = _cell(line, PICTURE_COLUMNS), _cell(line, CLEAN_COLUMNS)
        first = picture or clean
        if not first:
            skipped.append((f"{path.name}:{number}", "names no picture"))
            continue
        truth: Mapping[str, float] = {}
        try:
            truth = _truth(line.get("truth", ""))
        except PromptError as error:
            raise UsageError(f"{path}:{number}: truth {line['truth']!r}: {error}") from error
        reference = path.parent / clean if picture and clean else None
        entries.append(
            Entry(first, path.parent / first, reference, truth, _cell(line, ROW_COLUMNS))
        )
    return Source(tuple(entries), tuple(skipped))


def _cell(line: Mapping[str, str], columns: Iterable[str]) -> str:
    return next((line[c] for c in columns if line.get(c)), "")


def _truth(text: str) -> dict[str, float]:
    if not text:
        return {}
    recipe = Recipe.parse(text)
    if recipe.pipeline:
        raise PromptError("a named recipe has no parameters; write noise:sigma=25+jpeg:quality=20")
    return {kind.value: value for kind, value in recipe.kinds}


def _csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [_clean_line(line) for line in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a CSV or Parquet manifest: {error}") from error


def _parquet(path: Path) -> list[dict[str, str]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise BackendMissingError(
            f"{path}: reading Parquet needs pyarrow; pip install pyarrow, or write a CSV"
        ) from error
    try:
        lines: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise UsageError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    return [_clean_line(line) for line in lines]


def _clean_line(line: Mapping[Any, Any]) -> dict[str, str]:
    """Column names in lower case, cells as stripped text; what is missing is ""."""
    return {
        str(key).strip().lower(): "" if value is None else str(value).strip()
        for key, value in line.items()
        if key is not None
    }
