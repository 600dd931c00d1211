"""Writing the result where it was asked for: at once or not at all, and never over a file that is somebody else's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conservator.restorers.errors import OutputError
from conservator.tools.image_io import Picture, default_output, encoded, write_atomically

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.sessions import RunFolder

__all__ = ["DELIVERED", "place_picture"]

DELIVERED: Final = "delivered.json"
"""What the run writes, put down before it is written, so that a resumed run knows its own file."""


def place_picture(picture: Picture, context: RunContext) -> None:
    """Write the result to the request's output.

    A name that nobody wished for may have been taken meanwhile, by another run on the same photo; the next free one is taken then, and the
    request says so.

    Raises:
        OutputError: a file that is not the run's own is in the way, or the system refuses; nothing half-written is left.
    """
    folder = context.folder
    while (target := context.request.output) is not None:
        request, part = context.request, _part(target, folder)
        try:
            if _placed(encoded(picture, target.suffix), target, part, context):
                return
        finally:
            part.unlink(missing_ok=True)
        if not request.named_by_us or request.input is None:
            raise OutputError(f"{target}: exists; pass overwrite or another name")
        context.request = request.model_copy(update={"output": default_output(request.input)})
        if not folder.temporary:
            folder.write_request(context.request)


def _placed(data: bytes, target: Path, part: Path, context: RunContext) -> bool:
    """Write the bytes; False when somebody else's file has the name."""
    folder, overwrite = context.folder, context.request.overwrite
    digest = hashlib.sha256(data).hexdigest()
    earlier = folder.read_json(DELIVERED) or {}
    there = _digest(target) if earlier.get("path") == str(target) else ""
    own = bool(there) and there in (earlier.get("sha256"), earlier.get("before"))
    if own and there == digest:
        return True
    free = overwrite or own
    if not free and target.exists():
        return False
    if not folder.temporary:
        note = {"path": str(target), "sha256": digest, "before": there if own else None}
        folder.write_json(DELIVERED, note)
    try:
        write_atomically(target, data, overwrite=free, part=part)
    except OutputError:
        if not free and target.exists():
            return False
        raise
    return True


def _part(target: Path, folder: RunFolder) -> Path:
    """Beside the target, and this run's alone."""
    name = hashlib.sha256(str(folder.path).encode()).hexdigest()[:16]
    return target.with_name(f".{name}.part")


def _digest(path: Path) -> str:
    """sha256 of a file; "" when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
