"""Writing: a free name, and a file that is there completely or not at all."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from conservator.restorers.errors import OutputError
from conservator.tools.image_io.encoding import encoded
from conservator.tools.image_io.formats import WRITABLE, target_format
from conservator.tools.image_io.picture import Picture

__all__ = ["default_output", "save", "write_atomically"]

logger = logging.getLogger(__name__)


def save(
    picture: Picture,
    path: str | PathLike[str],
    *,
    overwrite: bool = False,
    source: str | PathLike[str] | None = None,
    quality: int | None = None,
) -> Path:
    """Write a picture; the format follows the suffix, everything else the source (see `encoded`).

    Args:
        picture: what to write.
        path: where to; its folder must exist.
        overwrite: allow replacing an existing file, also the input.
        source: a file to protect beside `picture.path`.
        quality: see `encoded`.

    Raises:
        UnknownNameError: a suffix that is not written.
        OutputError: the file exists, or cannot be written; nothing is left behind.
    """
    target = Path(path)
    target_format(target.suffix)
    inputs = [Path(one) for one in (picture.path, source) if one is not None]
    _check_target(target, inputs, overwrite)
    write_atomically(target, encoded(picture, target.suffix, quality=quality), overwrite=overwrite)
    return target


def write_atomically(
    path: Path,
    data: bytes | Iterable[bytes],
    *,
    overwrite: bool = False,
    part: Path | None = None,
) -> None:
    """Write a file that appears complete or not at all, whatever interrupts it.

    Args:
        path: the file.
        data: its bytes.
        overwrite: replace a file of this name.
        part: where it is made, in the same folder; by default under a name of its own. A caller that gives a name can take
            away what a kill left of it.

    Raises:
        OutputError: the file exists and `overwrite` is False, or the system refuses.
    """
    chunks = [data] if isinstance(data, bytes) else data
    mode = "xb" if part is None else "wb"
    part = part or path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with part.open(mode) as stream:
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite and path.exists():
            shutil.copymode(path, part)
        if overwrite:
            part.replace(path)
        else:
            _place(part, path)
    except FileExistsError as error:
        raise OutputError(f"{path}: exists; pass overwrite or another name") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}); choose another folder") from error
    finally:
        _discard(part)


def default_output(path: str | PathLike[str], tag: str = "restored") -> Path:
    """A free name beside the input: `photo.restored.jpg`, `photo.restored-2.jpg`, ...

    Formats that are read but not written (GIF, AVIF) become PNG.
    """
    source = Path(path)
    suffix = source.suffix if source.suffix.lower() in WRITABLE else ".png"
    candidate, number = source.with_name(f"{source.stem}.{tag}{suffix}"), 2
    while candidate.exists() or candidate.is_symlink():
        candidate = source.with_name(f"{source.stem}.{tag}-{number}{suffix}")
        number += 1
    return candidate


def _check_target(target: Path, inputs: list[Path], overwrite: bool) -> None:
    """Refuse before the work of encoding what writing would refuse after it."""
    try:
        if not target.parent.is_dir():
            raise OutputError(f"{target}: {target.parent} is not a folder; create it first")
        if target.exists() and not target.is_file():
            raise OutputError(f"{target}: not a regular file; pass a file name")
        if overwrite or not (target.exists() or target.is_symlink()):
            return
        if any(one.exists() and target.exists() and target.samefile(one) for one in inputs):
            raise OutputError(f"{target}: is the input; pass overwrite or another name")
    except (OSError, ValueError) as error:
        raise OutputError(f"{target}: cannot be written ({error}); pass another name") from error
    raise OutputError(f"{target}: exists; pass overwrite or another name")


def _place(part: Path, path: Path) -> None:
    """Give the part file its name without replacing a file that appeared meanwhile."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # FAT and some network file systems have no hard links.
        if path.exists():
            raise FileExistsError(str(path)) from None
        part.replace(path)


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except (OSError, ValueError):
        logger.debug("no part file at %s", part)
