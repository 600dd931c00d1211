"""What a session answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conservator.agent.dialogue.tree import Turn
from conservator.tools.compare import Guards

__all__ = ["Comparison", "Reply"]


@dataclass(frozen=True)
class Reply:
    """An answer to the user.

    Attributes:
        said: in plain words, line by line.
        turn: the node that was made, or that the session went to; None for neither.
        path: the file that was written: a picture, or the sheet of a comparison.
        ended: the user wants nothing more.
        satisfied: and the picture is as it should be.
        understood: False where nothing of what was said could be read.
    """

    said: tuple[str, ...] = ()
    turn: Turn | None = None
    path: Path | None = None
    ended: bool = False
    satisfied: bool = False
    understood: bool = True


@dataclass(frozen=True)
class Comparison:
    """Two nodes beside each other.

    Attributes:
        guards: how far `second` lies from `first`.
        brightness: mean luma of the two, [0, 1].
        severities: kind -> severity in the first and in the second.
        scores: metric -> the same.
        sheet: the picture of both.
    """

    first: str
    second: str
    guards: Guards
    brightness: tuple[float, float]
    severities: Mapping[str, tuple[float, float]]
    scores: Mapping[str, tuple[float, float]]
    sheet: Path
