"""Pictures inside a page: small lossy copies as data URIs, and how many bytes they may take."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from conservator.agent.report.pictures import Shown
from conservator.evals.sample import Image
from conservator.restorers.errors import ConservatorError
from conservator.tools.image_io import load

__all__ = ["Album", "pixels_of"]

SIDE = 640
"""Longest side in px: about what a card of the page is wide on a screen with two pixels a point."""

QUALITY = 82
BUDGET = 12_000_000
"""Characters of data URIs a page may hold, so that it stays under 15 MB with everything else."""


@dataclass
class Album:
    """Embeds pictures while the budget lasts.

    Attributes:
        left: characters that may still be used.
    """

    left: int = BUDGET

    def add(self, pictures: list[tuple[str, Image]]) -> tuple[Shown, ...]:
        """Embed all of these, or none when they do not fit any more."""
        shown = tuple(_shown(name, pixels) for name, pixels in pictures)
        size = sum(len(picture.uri) for picture in shown)
        if size > self.left:
            return ()
        self.left -= size
        return shown


def pixels_of(path: Path | None) -> Image | None:
    """A picture file's pixels; None when it is missing or cannot be read."""
    if path is None:
        return None
    try:
        return load(path).pixels
    except ConservatorError:
        return None


def _shown(name: str, pixels: Image) -> Shown:
    from PIL import Image as Pillow

    picture = Pillow.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    picture.thumbnail((SIDE, SIDE), Pillow.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "WEBP", quality=QUALITY, method=4)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return Shown(name, f"data:image/webp;base64,{data}", *picture.size)
