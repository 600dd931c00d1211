"""Opening a picture outside of the terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from conservator.agent.tui.graphics.choosing import served

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["kept_for_viewing", "open_in_viewer"]


def kept_for_viewing(picture: Image, name: str) -> Path:
    """A picture as a temporary PNG that the system clears away."""
    folder = Path(tempfile.mkdtemp(prefix="conservator-view-"))
    path = folder / f"{name}.png"
    picture.save(path, compress_level=1)
    return path


def open_in_viewer(path: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Open a file in the desktop's viewer; returns what is told the user."""
    command = _viewer(environment)
    if command is None:
        where = "a browser has no viewer" if served(environment) else "there is no desktop here"
        return f"{where}; the picture is in {path}"
    viewer = subprocess.Popen(
        [command, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    # Somebody has to hear of its end.
    threading.Thread(target=viewer.wait, name="conservator-viewer", daemon=True).start()
    return f"opened {path}"


def _viewer(environment: Mapping[str, str]) -> str | None:
    if served(environment):
        return None
    if sys.platform == "darwin":
        return shutil.which("open")
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return None
    return shutil.which("xdg-open", path=environment.get("PATH"))
