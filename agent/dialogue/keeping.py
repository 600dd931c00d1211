"""Writing a session's pictures where the user wants them, and never over a file that is somebody else's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from conservator.agent.sessions import RunFolder, RunRequest
from conservator.restorers.errors import UsageError
from conservator.tools.image_io import Picture, default_output, save

__all__ = ["SAVED_FILE", "keep_picture"]

SAVED_FILE: Final = "saved.json"
"""Path -> sha256 of what was written, so that a session may replace its own files."""


def keep_picture(
    picture: Picture,
    path: Path | None,
    *,
    overwrite: bool,
    request: RunRequest,
    folder: RunFolder,
) -> Path:
    """Write a picture.

    Args:
        picture: what to write.
        path: where; None for the session's output, else for a file beside the input.
        overwrite: replace a file that the session did not write.
        request: the session's input and output.
        folder: remembers what was written.

    Raises:
        UsageError: no path, and the input is no file.
        UnknownNameError: a suffix that is not written.
        OutputError: the file exists, or cannot be written.
    """
    written: dict[str, str] = folder.read_json(SAVED_FILE) or {}
    target = (_target(request, written) if path is None else path).absolute()
    own = target.exists() and _digest(target) == written.get(str(target))
    asked = overwrite or (request.overwrite and target == request.output)
    save(picture, target, overwrite=own or asked, source=request.input)
    folder.write_json(SAVED_FILE, {**written, str(target): _digest(target)})
    return target


def _target(request: RunRequest, written: dict[str, str]) -> Path:
    """Where to write when nobody says: what was written beside the input is written again, and no second file."""
    if request.output is not None:
        return request.output
    if request.input is None:
        raise UsageError("the photo has no file; give save a path")
    beside = [path for path in map(Path, written) if path.parent == request.input.parent]
    own = next((path for path in beside if _digest(path) == written[str(path)]), None)
    return own or default_output(request.input)


def _digest(path: Path) -> str:
    """sha256 of a file; "" when it is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
