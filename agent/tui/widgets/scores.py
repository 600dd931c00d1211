"""Quality over the attempts: a curve, and the numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static

from conservator.agent.tui.history import Row
from conservator.agent.tui.widgets.panel import Panel
from conservator.policies.attempt import ORIGINAL

if TYPE_CHECKING:
    from textual_plotext import PlotextPlot

__all__ = ["ScoresPanel"]

GAIN: Final = "gain"
"""The estimated gain in dB, beside the metrics."""


class ScoresPanel(Panel, can_focus=True):
    """What the metrics say to each node."""

    TITLE = "Scores"
    HELP = """\
The no-reference metrics of each node in the order of making, and the gain over the photo as it came in that the gain network estimates.
M plots another column. An arrow in the heading says which way is better. No single score decides."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "metric", "Metric", id="scores.metric", tooltip="Plot another column"),
    ]
    DEFAULT_CSS = """
    ScoresPanel { layout: vertical; height: 1fr; min-height: 5; }
    ScoresPanel Static { color: $text-muted; }
    ScoresPanel DataTable { height: auto; max-height: 50%; background: transparent; scrollbar-size: 1 1; }
    ScoresPanel PlotextPlot { height: 1fr; min-height: 5; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        """Nothing is measured yet."""
        super().__init__(id=id)
        self._rows: Sequence[Row] = ()
        self._metric = GAIN
        self._plot: PlotextPlot | None = None

    def compose(self) -> ComposeResult:
        """The table; the plot joins it when there is something to plot."""
        yield Static("nothing measured yet", markup=False)
        table: DataTable[Text] = DataTable(cursor_type="none")
        table.can_focus = False
        yield table

    def show(self, rows: Sequence[Row]) -> None:
        """Show these nodes."""
        self._rows = rows
        self.redraw()

    @property
    def columns(self) -> list[str]:
        """What can be plotted."""
        names = dict.fromkeys(name for row in self._rows for name in row.scores)
        gains = any(row.gain is not None for row in self._rows)
        return [*([GAIN] if gains else []), *names]

    @property
    def plotted(self) -> str:
        """The column that is plotted: the wanted one as soon as anything has it, the first one before."""
        columns = self.columns
        return self._metric if self._metric in columns or not columns else columns[0]

    def action_metric(self) -> None:
        """Plot the next column."""
        columns = self.columns
        if columns:
            self._metric = columns[(columns.index(self.plotted) + 1) % len(columns)]
            self.redraw()

    def redraw(self) -> None:
        """Table and plot."""
        columns = self.columns
        table = self.query_one(DataTable)
        table.display = bool(self._rows)
        self.query_one(Static).display = not self._rows
        table.clear(columns=True)
        shown = self._fitting(columns)
        table.add_column("")
        for name in shown:
            style = "bold" if name == self.plotted and len(columns) > 1 else "dim"
            table.add_column(Text(_heading(name), style, justify="right"))
        for row in self._rows:
            cells = [Text(_number(_value(row, name)), justify="right") for name in shown]
            table.add_row(Text(row.id), *cells)
        if len(self._rows) > 1:
            self._curve()

    def _fitting(self, columns: Sequence[str]) -> list[str]:
        """The columns there is room for, the plotted one among them."""
        names = max((len(row.id) for row in self._rows), default=0)
        room = self.content_size.width - names - 2
        shown: list[str] = []
        for name in dict.fromkeys((self.plotted, *columns)):
            room -= max(5, len(_heading(name))) + 2
            if name in columns and room >= 0:
                shown.append(name)
        return [name for name in columns if name in shown]

    def on_resize(self) -> None:
        """Without room there is no plot, and fewer columns."""
        if self._plot is not None:
            self._plot.display = self.content_size.height >= 10
        self.redraw()

    def _curve(self) -> None:
        if self._plot is None:
            # Takes a tenth of a second to import, and the first frame does not need it.
            from textual_plotext import PlotextPlot

            self._plot = PlotextPlot()
            self._plot.can_focus = False
            self._plot.display = self.content_size.height >= 10
            self.mount(self._plot)
        points = [
            (number, value)
            for number, row in enumerate(self._rows)
            if (value := _value(row, self.plotted)) is not None
        ]
        plot: Any = self._plot.plt
        plot.clear_data()
        if points:
            across, up = zip(*points, strict=True)
            plot.plot(across, up, marker="braille", color=_rgb(self.colour("primary")))
            plot.scatter(across, up, marker="dot", color=_rgb(self.colour("foreground")))
            plot.xticks(list(across), [self._rows[i].id for i in across])
            plot.yfrequency(3)
        self._plot.refresh()


def _value(row: Row, name: str) -> float | None:
    if name == GAIN:
        return 0.0 if row.id == ORIGINAL else row.gain
    return row.scores.get(name)


def _heading(name: str) -> str:
    return f"{name}{_arrow(name)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _arrow(name: str) -> str:
    from conservator.tools.iqa.catalogue import METRICS

    if name == GAIN:
        return "\u2191"
    card = METRICS.get(name)
    return "" if card is None else "\u2191" if card.higher_is_better else "\u2193"


def _rgb(colour: str) -> tuple[int, int, int]:
    from textual.color import Color, ColorParseError

    try:
        return Color.parse(colour).rgb
    except ColorParseError:
        return (200, 200, 200)
