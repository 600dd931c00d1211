"""Where a command may write, settled before it works."""

from __future__ import annotations

from pathlib import Path

from conservator.agent.errors import OutputError

__all__ = ["free_output", "new_file"]


def free_output(output: Path | None, picture: Path, tag: str, *, overwrite: bool) -> Path:
    """The picture file to write: `output`, or a free name beside `picture`.

    Raises:
        UnknownNameError: a suffix that is not written.
        OutputError: it exists and may not be replaced, or its folder is not there.
    """
    from conservator.tools.image_io import default_output
    from conservator.tools.image_io.formats import target_format

    if output is None:
        return default_output(picture, tag)
    target_format(output.suffix)
    return new_file(output, overwrite=overwrite)


def new_file(path: Path, *, overwrite: bool) -> Path:
    """`path`, if something may be written there.

    Raises:
        OutputError: it exists and may not be replaced, or its folder is not there.
    """
    if not path.parent.is_dir():
        raise OutputError(f"{path}: {path.parent} is not a folder; create it first")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give a file name")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; pass --overwrite or another name")
    return path
