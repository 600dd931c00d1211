"""Stores of training data that take long to make: numbered parts, each written whole or not at all; a stopped run goes on with the next one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

__all__ = ["missing_parts", "save_part"]


def missing_parts(folder: Path, name: str, count: int, size: int) -> Iterator[tuple[int, Path]]:
    """Number and path of each part of `size` items that is not there yet; as many parts as hold `count` items."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(-(-count // size)):
        path = folder / f"{name}-{number:03}.safetensors"
        if not path.is_file():
            yield number, path


def save_part(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write one part beside its place and rename it when it is complete."""
    part = path.with_name(path.name + ".part")
    save_file(dict(tensors), part, metadata=None if metadata is None else dict(metadata))
    part.replace(path)
