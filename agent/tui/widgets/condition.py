"""The condition report: what was found on the photo, and what is left of it at the node that is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from conservator.agent.tui.widgets.panel import Panel
from conservator.agent.tui.words import kind_words, value_words

if TYPE_CHECKING:
    from conservator.policies.acceptance import Measurement
    from conservator.restorers.degradations.vocabulary import ConditionReport, Finding

__all__ = ["ConditionPanel"]

_ROOMY: Final = 46
"""Columns from which on strengths and certainty are shown as well."""
_SHADES: Final = ("success", "foreground", "warning", "error", "error")
"""Colours of the theme, one a level."""


class ConditionPanel(Panel):
    """What was found, worst first."""

    TITLE = "Condition"
    HELP = """\
What the instruments measured on the photo, worst first, and how sure they are; with a vision-language model its word is in it.
Behind the arrow: what is left at the node that the picture shows on the right."""

    def __init__(self, *, id: str | None = None) -> None:
        """Nothing is known yet."""
        super().__init__(id=id)
        self._report: ConditionReport | None = None
        self._now: Measurement | None = None
        self._words = "not looked at yet"

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(self._words, markup=False)

    def show(self, report: ConditionReport | None, now: Measurement | None = None) -> None:
        """Show a report, and what is left of it.

        Args:
            report: of the input; None before anybody looked.
            now: measured on another node; None for the input itself.
        """
        self._report, self._now = report, now
        self.redraw()

    def wait(self, words: str) -> None:
        """Say what stands in the way of a report."""
        self._words = words
        if self._report is None:
            self.query_one(Static).update(words)

    def on_resize(self) -> None:
        """More room, more columns."""
        self.redraw()

    def redraw(self) -> None:
        """Show what is known."""
        if self._report is not None:
            self.query_one(Static).update(self._table(self._report))

    def _table(self, report: ConditionReport) -> Table | Text:
        roomy = self.content_size.width >= _ROOMY
        present = report.present()
        risen = [f for f in self._risen(report) if f not in present]
        table = Table.grid(padding=(0, 1))
        for finding in (*present, *risen):
            table.add_row(*self._row(finding, roomy=roomy))
        if not present and not risen:
            table.add_row(Text("nothing found", self.colour("success")))
        if report.quality is not None:
            table.add_row(Text("quality"), *self._quality(report.quality))
        if report.scene:
            table.add_row(Text("shows"), Text(report.scene, "dim"))
        return table

    def _risen(self, report: ConditionReport) -> list[Finding]:
        """What was not there before."""
        now = () if self._now is None else self._now.findings
        return [
            before
            for before in report.findings
            if any(f.kind is before.kind and f.level > before.level for f in now)
        ]

    def _row(self, finding: Finding, *, roomy: bool) -> list[Text]:
        from conservator.restorers.degradations.vocabulary import PARAMETERS

        kind, level = finding.kind, finding.level
        cells = [Text(kind_words(kind)), Text(level.label, self.colour(_SHADES[level]))]
        if roomy:
            cells.append(Text(f"{PARAMETERS[kind].name} {value_words(kind, finding.value)}", "dim"))
            cells.append(Text(f"{finding.confidence:.0%}", "dim", justify="right"))
        now = None if self._now is None else self._now.finding(kind)
        if now is None:
            return cells
        left = f"{now.level.label} {value_words(kind, now.value)}" if roomy else now.level.label
        return [*cells, Text("\u2192", "dim"), Text(left, self.colour(_SHADES[now.level]))]

    def _quality(self, before: float) -> list[Text]:
        cells = [Text(f"{before:.2f}")]
        now = None if self._now is None else self._now.scores.get("quality")
        if now is not None:
            better = self.colour("success" if now > before else "error")
            cells = [Text(f"{before:.2f} \u2192 {now:.2f}", better)]
        return cells
