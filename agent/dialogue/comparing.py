"""Two nodes beside each other: numbers, and a sheet."""

from __future__ import annotations

from pathlib import Path

from conservator.agent.dialogue.reply import Comparison
from conservator.agent.dialogue.wording import compared
from conservator.agent.sessions import RunFolder
from conservator.policies.acceptance import Measurement
from conservator.tools.compare import compare, png, sheet
from conservator.tools.look import Pixels, crops

__all__ = ["SHEETS", "brightness", "compare_nodes"]

SHEETS = "sheets"
"""Folder of the sheets, below the session's."""


def compare_nodes(
    nodes: tuple[str, str],
    pictures: tuple[Pixels, Pixels],
    measurements: tuple[Measurement, Measurement],
    folder: RunFolder,
) -> Comparison:
    """Compare two nodes, and draw the sheet.

    Args:
        nodes: their ids.
        pictures: (H, W, 3), float32, [0, 1].
        measurements: of both, made in the same way.
        folder: the session's, for the sheet.

    Raises:
        OutputError: the sheet cannot be written.
    """
    (before, after), (old, new) = pictures, measurements
    place = Path(SHEETS) / f"{nodes[0]}-{nodes[1]}.png"
    comparison = Comparison(
        first=nodes[0],
        second=nodes[1],
        guards=compare(before, after),
        brightness=(brightness(before), brightness(after)),
        severities={
            finding.kind.value: (finding.severity, now.severity)
            for finding in old.findings
            if (now := new.finding(finding.kind)) is not None
        },
        scores={
            name: (score, new.scores[name])
            for name, score in old.scores.items()
            if name in new.scores
        },
        sheet=folder.path / place,
    )
    page = sheet(
        before,
        after,
        crops=crops(before, 4, 192),
        title=f"{nodes[0]} (left) and {nodes[1]} (right)",
        lines=[line[:140] for line in compared(comparison)][1:],
    )
    comparison.sheet.parent.mkdir(exist_ok=True)
    folder.write_bytes(str(place), png(page))
    return comparison


def brightness(pixels: Pixels) -> float:
    """Mean luma, [0, 1]."""
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0, dtype="float64")
    return float(0.299 * red + 0.587 * green + 0.114 * blue)
