"""Pictures of a Hugging Face data set, written to a cache folder as files.

`hf:NAME[:SPLIT[:IMAGE_COLUMN[:REFERENCE_COLUMN]]]`; what is left out is the first of test, validation and train, the first column of
pictures, and a second one with the name of a clean half. A picture's own bytes are kept, so that a JPEG stays the JPEG it was.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conservator.agent.settings import load_settings
from conservator.evals.log import slug
from conservator.evals.sources import CLEAN_NAMES, Entry, Source
from conservator.restorers.errors import (
    BackendMissingError,
    ConservatorError,
    NotAnImageError,
    OutputError,
    UsageError,
)

__all__ = ["PREFIX", "HubName", "hub_source"]

PREFIX = "hf:"
SPLITS = ("test", "validation", "train")
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


@dataclass(frozen=True)
class HubName:
    """A data set as written after `hf:`."""

    name: str
    split: str = ""
    image: str = ""
    reference: str = ""

    @classmethod
    def parse(cls, text: str) -> HubName:
        """Read `hf:NAME[:SPLIT[:IMAGE_COLUMN[:REFERENCE_COLUMN]]]`.

        Raises:
            UsageError: no name, or more parts than that.
        """
        parts = [part.strip() for part in text.removeprefix(PREFIX).split(":")]
        if not parts[0] or len(parts) > 4:
            raise UsageError(
                f"{text!r} is not a data set; write hf:NAME[:SPLIT[:IMAGE_COLUMN[:REFERENCE_COLUMN]]]"
            )
        return cls(*parts)


def hub_source(text: str, *, first: int | None = None) -> Source:
    """The pictures of a data set, as files.

    Args:
        text: see `HubName.parse`.
        first: at most so many pictures.

    Raises:
        BackendMissingError: the `datasets` package is missing, or the data set is not on this disk and cannot be fetched.
        UsageError: no such split or column, or a column that holds no pictures.
        OutputError: the cache cannot be written.
    """
    wanted = HubName.parse(text)
    table, split = _loaded(wanted)
    image, reference = _columns(table, wanted)
    folder = _cache() / slug(wanted.name) / slug(split)
    entries = []
    for index in range(min(len(table), len(table) if first is None else first)):
        line = table[index]
        picture = _written(folder / slug(image), index, line[image])
        clean = _written(folder / slug(reference), index, line[reference]) if reference else None
        entries.append(Entry(picture.name, picture, clean))
    return Source(tuple(entries))


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "conservator" / "datasets"


def _loaded(wanted: HubName) -> tuple[Any, str]:
    """The table with undecoded pictures, and its split."""
    try:
        import datasets
    except ImportError as error:
        raise BackendMissingError(
            f"hf:{wanted.name} needs the package datasets; pip install datasets"
        ) from error
    from conservator.tools.iqa.offline import no_network

    offline = load_settings().offline and not Path(wanted.name).exists()
    remedy = (
        "set CONSERVATOR_OFFLINE=false to fetch it"
        if offline
        else "check the name and the connection"
    )
    try:
        if offline:
            with no_network(f"data set {wanted.name}"):
                found = datasets.load_dataset(wanted.name)
        else:
            found = datasets.load_dataset(wanted.name)
    except (ConservatorError, OSError, ValueError, RuntimeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackendMissingError(
            f"data set {wanted.name} is not on this disk and could not be loaded ({said}); {remedy}, "
            "or give --images a folder"
        ) from error
    splits = list(found)
    split = wanted.split or next((name for name in SPLITS if name in splits), splits[0])
    if split not in splits:
        raise UsageError(
            f"data set {wanted.name} has no split {split!r}; splits: {', '.join(splits)}"
        )
    table = found[split]
    for column in _picture_columns(table):
        table = table.cast_column(column, datasets.Image(decode=False))
    return table, split


def _picture_columns(table: Any) -> list[str]:
    return [name for name, kind in table.features.items() if type(kind).__name__ == "Image"]


def _columns(table: Any, wanted: HubName) -> tuple[str, str]:
    columns = _picture_columns(table)
    for name in (wanted.image, wanted.reference):
        if name and name not in columns:
            raise UsageError(
                f"data set {wanted.name} has no column of pictures {name!r}; there: {', '.join(columns) or 'none'}"
            )
    if not columns:
        raise UsageError(
            f"data set {wanted.name} holds no pictures; columns: {', '.join(table.features)}"
        )
    if wanted.image:
        return wanted.image, wanted.reference
    clean = next((name for name in columns if name.casefold() in CLEAN_NAMES), "")
    rest = [name for name in columns if name != clean]
    return (rest[0], clean) if rest else (columns[0], "")


def _written(folder: Path, index: int, cell: Any) -> Path:
    """The file of one picture; written only when it is not there with the same bytes."""
    from conservator.tools.image_io import write_atomically
    from conservator.tools.image_io.formats import recognised

    named = str((cell or {}).get("path") or "")
    data: bytes = (cell or {}).get("bytes") or b""
    try:
        if not data and named:
            data = Path(named).read_bytes()
        form = recognised(data, named)
        suffix = _SUFFIXES.get(form, f".{form.lower()}")
    except NotAnImageError:
        # Listed all the same: it fails when it is decoded, with a reason.
        suffix = Path(named).suffix.lower() or ".png"
    except OSError as error:
        raise UsageError(f"{named} of the data set cannot be read: {error.strerror}") from error
    path = folder / f"{index:06d}{suffix}"
    try:
        if not (path.is_file() and path.read_bytes() == data):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, overwrite=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return path
