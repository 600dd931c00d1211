"""Tables, as Markdown, the terminal and HTML pages share them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Cell", "Line", "Table"]


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: the figure.
        note: what stands small beside it: an interval, or how many samples are missing.
        best: the best of its line among the systems that see no ground truth.
        partial: some of the line's samples are missing, so it cannot be the best.
        tone: `good` or `bad` where it says so.
    """

    text: str
    note: str = ""
    best: bool = False
    partial: bool = False
    tone: Literal["", "good", "bad"] = ""

    def __str__(self) -> str:
        text = f"**{self.text}**" if self.best else self.text
        return f"{text} {self.note}".strip()


@dataclass(frozen=True)
class Line:
    """One line of a table; `strong` for groups and totals."""

    name: str
    cells: tuple[Cell, ...]
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a heading.

    Attributes:
        title: of the table.
        corner: above the lines' names.
        columns: the others' headings.
        lines: its lines.
        note: one sentence below it.
        published: how many of the last columns are papers' figures.
        words: how many of the last columns are text, not numbers.
    """

    title: str
    corner: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    note: str = ""
    published: int = 0
    words: int = 0

    def markdown(self) -> str:
        """As Markdown with aligned columns, readable as it is."""
        head = [self.corner, *self.columns]
        body = [
            [f"**{line.name}**" if line.strong else line.name, *map(str, line.cells)]
            for line in self.lines
        ]
        cells = [[_escaped(text) for text in row] for row in [head, *body]]
        widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
        numbers = range(1, len(head) - self.words)
        rule = ["-" * (w - 1) + (":" if i in numbers else "-") for i, w in enumerate(widths)]
        rows = [
            "| "
            + " | ".join(
                text.rjust(width) if i in numbers else text.ljust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            )
            + " |"
            for row in [cells[0], rule, *cells[1:]]
        ]
        parts = [f"### {self.title}" if self.title else "", "\n".join(rows), self.note]
        return "\n\n".join(part for part in parts if part)


def _escaped(text: str) -> str:
    """One line that breaks no table and opens no tag; file names and reasons are data."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", line)
