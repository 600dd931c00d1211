"""A summary as tables: lines x systems for a metric, the systems side by side, perception, failures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conservator.agent.report.table import Cell, Line, Table
from conservator.evals.metric import arrow, higher_is_better, written
from conservator.evals.summary import ORACLE, OVERALL, UNTOUCHED, lines_of
from conservator.evals.task import Task

__all__ = [
    "costs_table",
    "deciders_tables",
    "failures_table",
    "groups_tables",
    "is_ceiling",
    "line_of",
    "markdown",
    "metric_table",
    "metrics_table",
    "perception_tables",
    "rows_table",
    "systems_table",
]

_CEILINGS = (ORACLE, "classical")
_PERCEPTION = (
    *("presence_f1", "precision", "recall", "false_alarms", "level_accuracy", "within_one"),
    *("parameter_error", "support"),
)


def markdown(summary: Mapping[str, Any], task: Task, metrics: Sequence[str] | None = None) -> str:
    """A summary as Markdown.

    Args:
        summary: of `summarise`.
        task: for its published figures.
        metrics: get a table of their own; by default the primary one and those that papers published. The others of the
            run share one.
    """
    own = list(metrics) if metrics else _default_metrics(summary, task)
    tables = [
        systems_table(summary),
        *groups_tables(summary),
        costs_table(summary),
        *deciders_tables(summary),
        *(metric_table(summary, task, metric) for metric in own),
        *([] if metrics else [metrics_table(summary, own)]),
        *perception_tables(summary),
        failures_table(summary),
    ]
    words = f"{summary['samples']} samples in {len(summary['rows'])} rows; mean [95 % interval]"
    head = f"## {summary['task']}: {summary['title']}\n\n{words}"
    source = [f"Published figures: {task.source}"] if task.published and task.source else []
    return "\n\n".join([head, *(t.markdown() for t in tables if t.lines), *source]) + "\n"


def line_of(summary: Mapping[str, Any], system: str, kind: str, name: str) -> Mapping[str, Any]:
    """What a summary says of a system on a line of `lines_of`; empty when it has nothing."""
    data = summary["systems"].get(system, {})
    found: Mapping[str, Any] = (
        data.get(OVERALL, {}) if kind == OVERALL else data[kind].get(name, {})
    )
    return found


def is_ceiling(system: str) -> bool:
    """Whether a system is led by the ground truth, so that it competes with nobody."""
    return system.partition(":")[0] in _CEILINGS


def metric_table(summary: Mapping[str, Any], task: Task, metric: str) -> Table:
    """Lines x systems of one metric, the papers' figures in the last columns."""
    systems = _with_metric(summary, metric)
    papers = _papers(task, metric)
    lines = []
    for kind, name in lines_of(summary):
        cells = _best([_cell(summary, s, kind, name, metric) for s in systems], systems, metric)
        cells += [_published(task, paper, _aliases(kind, name), metric) for paper in papers]
        if any(cell.text != "-" for cell in cells):
            lines.append(Line(_title(kind, name), tuple(cells), strong=kind != "rows"))
    there = {alias for kind, name in lines_of(summary) for alias in _aliases(kind, name)}
    for line in task.published:
        cells = [_published(task, paper, (line,), metric) for paper in papers]
        if line not in there and any(cell.text != "-" for cell in cells):
            lines.append(Line(line, (*(Cell("-"),) * len(systems), *cells)))
    columns = (*systems, *(f"{paper} (published)" for paper in papers))
    heading = f"{metric} {arrow(metric)}".strip()
    return Table(heading, "row", columns, tuple(lines), published=len(papers))


def metrics_table(summary: Mapping[str, Any], without: Iterable[str] = ()) -> Table:
    """Every other metric x systems, over all rows."""
    left = [metric for metric in summary["metrics"] if metric not in set(without)]
    systems = [s for s in summary["systems"] if any(s in _with_metric(summary, m) for m in left)]
    lines = []
    for metric in left:
        cells = [_cell(summary, system, OVERALL, OVERALL, metric) for system in systems]
        name = f"{metric} {arrow(metric)}".strip()
        lines.append(Line(name, tuple(_best(cells, systems, metric))))
    return Table("Other metrics, all rows", "metric", tuple(systems), tuple(lines))


def rows_table(summary: Mapping[str, Any], metrics: Sequence[str]) -> Table:
    """Rows x systems, all metrics in a cell; the first one says which is the best of a row. For model cards."""
    systems = [s for s in summary["systems"] if s in _with_metric(summary, metrics[0])]
    lines = []
    for row, facts in summary["rows"].items():
        found = [[_cell(summary, s, "rows", row, m) for s in systems] for m in metrics]
        first = _best(found[0], systems, metrics[0])
        cells = (
            replace(cell, note=" ".join([f"/ {c.text}" for c in others] + [cell.note]).strip())
            for cell, *others in zip(first, *found[1:], strict=True)
        )
        lines.append(Line(row, (Cell(str(facts["samples"])), *cells)))
    title = " / ".join(f"{metric} {arrow(metric)}".strip() for metric in metrics)
    return Table("", title, ("n", *systems), tuple(lines))


def systems_table(summary: Mapping[str, Any]) -> Table:
    """Every system: what it gained, what harm it did, how it ended."""
    primary = summary["primary"]
    columns = (
        *("n", f"{primary} {arrow(primary)}".strip(), "gain", "made worse", "of oracle's gain"),
        *("target met", "limit", "failed"),
    )
    lines = []
    for system, data in summary["systems"].items():
        line = data[OVERALL]
        cells = (
            Cell(str(line["n"])),
            _estimate(line["metrics"].get(primary), primary),
            _estimate(line.get("gain"), primary),
            _percent(line.get("worsening_rate")),
            _percent(line.get("share_of_oracle_gain")),
            _percent(line.get("target_met")),
            *(Cell(str(data["counts"][status])) for status in ("limit", "failed")),
        )
        lines.append(Line(system, cells))
    note = f"gain: {primary} over {UNTOUCHED} on the same samples, positive for better"
    return Table("Systems", "system", columns, tuple(lines), note)


def groups_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Systems x groups: what was gained, how often harm was done, and the share of the oracle's gain; none without groups."""
    if not summary["groups"]:
        return []
    primary = summary["primary"]
    tables = []
    for title, key in (
        (f"Gain in {primary} by group", "gain"),
        ("Made worse, by group", "worsening_rate"),
        ("Share of the oracle's gain, by group", "share_of_oracle_gain"),
    ):
        lines = []
        for system in summary["systems"]:
            found = [
                *(line_of(summary, system, "groups", g).get(key) for g in summary["groups"]),
                line_of(summary, system, OVERALL, OVERALL).get(key),
            ]
            cells = [_estimate(f, primary) if key == "gain" else _percent(f) for f in found]
            if any(found):
                lines.append(Line(system, tuple(cells)))
        if lines:
            tables.append(Table(title, "system", (*summary["groups"], "all rows"), tuple(lines)))
    return tables


def costs_table(summary: Mapping[str, Any]) -> Table:
    """What an answer of each system cost."""
    columns = ("s", "median s", "CPU s", "peak MB", "tools", "median tools", "VLM calls", "tokens")
    lines = []
    for system, cost in summary["cost"].items():
        if cost["n"]:
            cells = (
                f"{cost['seconds']['mean']:.2f}",
                f"{cost['seconds']['median']:.2f}",
                f"{cost['cpu_seconds']['mean']:.2f}",
                f"{cost['peak_mb']:.0f}",
                f"{cost['tools']['mean']:.2f}",
                f"{cost['tools']['median']:g}",
                f"{cost['vlm_calls']['mean']:.2f}",
                f"{cost['tokens']['mean']:.0f}",
            )
            lines.append(Line(system, tuple(map(Cell, cells))))
    note = "means an answer; peak MB: the largest of the worker process, whoever caused it"
    return Table("Costs", "system", columns, tuple(lines), note)


def deciders_tables(summary: Mapping[str, Any]) -> list[Table]:
    """Systems x parts of a run: who decided it in how many answers; none where no system says so."""
    told = {name: data["decided"] for name, data in summary["systems"].items() if "decided" in data}
    if not told:
        return []
    parts = list(dict.fromkeys(part for decided in told.values() for part in decided))
    lines = [
        Line(
            system,
            tuple(
                Cell(", ".join(f"{who} {n}" for who, n in decided.get(part, {}).items() if n))
                for part in parts
            ),
        )
        for system, decided in told.items()
    ]
    note = "answers in which each decided; a plan counts where steps of it are in the result"
    return [Table("Who decided", "system", tuple(parts), tuple(lines), note)]


def perception_tables(summary: Mapping[str, Any]) -> list[Table]:
    """One table a system: kinds x how well they were seen, averages last."""
    tables = []
    for system, data in (summary.get("perception") or {}).items():
        lines = [
            Line(kind.replace("_", " "), tuple(_seen(figures, c) for c in _PERCEPTION))
            for kind, figures in data["kinds"].items()
        ]
        averages = {
            "average": data["average"],
            "average of the common kinds": data.get("common", {}).get("average", {}),
        }
        for name, figures in averages.items():
            if figures:
                cells = tuple(_seen(figures, column) for column in _PERCEPTION)
                lines.append(Line(name, cells, strong=True))
        columns = tuple(column.replace("_", " ") for column in _PERCEPTION)
        note = (
            "false alarms: share of the pictures without the kind; "
            "parameter error: mean absolute; support: pictures with the kind"
        )
        tables.append(Table(f"Perception of {system}", "kind", columns, tuple(lines), note))
    return tables


def failures_table(summary: Mapping[str, Any]) -> Table:
    """Every failed answer with its reason."""
    lines = [
        Line(failure["sample_id"], (Cell(failure["system"]), Cell(failure["reason"])))
        for failure in summary["failures"]
    ]
    return Table("Failed answers", "sample", ("system", "reason"), tuple(lines), words=2)


def _default_metrics(summary: Mapping[str, Any], task: Task) -> list[str]:
    published = {m for systems in task.published.values() for ms in systems.values() for m in ms}
    found = [m for m in summary["metrics"] if m == summary["primary"] or m in published]
    return found + sorted(published - set(found))


def _with_metric(summary: Mapping[str, Any], metric: str) -> list[str]:
    return [s for s, data in summary["systems"].items() if metric in data[OVERALL]["metrics"]]


def _papers(task: Task, metric: str) -> list[str]:
    lines = task.published.values()
    return list(dict.fromkeys(s for line in lines for s, m in line.items() if metric in m))


def _published(task: Task, paper: str, lines: Iterable[str], metric: str) -> Cell:
    for line in lines:
        value = task.published.get(line, {}).get(paper, {}).get(metric)
        if value is not None:
            return Cell(written(metric, value))
    return Cell("-")


def _aliases(kind: str, name: str) -> tuple[str, ...]:
    return (OVERALL, "average", "all") if kind == OVERALL else (name,)


def _title(kind: str, name: str) -> str:
    return {"rows": name, "groups": f"group {name}"}.get(kind, "all rows")


def _cell(summary: Mapping[str, Any], system: str, kind: str, name: str, metric: str) -> Cell:
    found = line_of(summary, system, kind, name).get("metrics", {}).get(metric)
    if found is None:
        return Cell("-")
    cell = Cell(written(metric, found["mean"])) if kind == "rows" else _estimate(found, metric)
    there = _samples(summary, kind, name)
    if found["n"] < there:
        return Cell(cell.text, f"{cell.note} ({found['n']} of {there})".strip(), partial=True)
    return cell


def _samples(summary: Mapping[str, Any], kind: str, name: str) -> int:
    rows = {"rows": [name], "groups": summary["groups"].get(name, [])}.get(kind, summary["rows"])
    return sum(int(summary["rows"][row]["samples"]) for row in rows)


def _best(cells: list[Cell], systems: Sequence[str], metric: str) -> list[Cell]:
    """Marks the best of a line as it is written, ties included; never a ceiling."""
    better = higher_is_better(metric)
    rivals = [
        (float(cell.text), i)
        for i, cell in enumerate(cells)
        if cell.text != "-" and not cell.partial and not is_ceiling(systems[i])
    ]
    if better is None or len(rivals) < 2:
        return cells
    top = (max if better else min)(value for value, _ in rivals)
    winners = {i for value, i in rivals if value == top}
    return [replace(cell, best=i in winners) for i, cell in enumerate(cells)]


def _estimate(found: Mapping[str, Any] | None, metric: str) -> Cell:
    if found is None:
        return Cell("-")
    if found["low"] is None:
        return Cell(written(metric, found["mean"]))
    ends = f"[{written(metric, found['low'])}, {written(metric, found['high'])}]"
    return Cell(written(metric, found["mean"]), ends)


def _percent(found: Mapping[str, Any] | None) -> Cell:
    if found is None:
        return Cell("-")
    low, high = found["low"], found["high"]
    ends = "" if low is None else f"[{100 * low:.0f}, {100 * high:.0f}]"
    return Cell(f"{100 * found['mean']:.0f} %", ends)


def _seen(figures: Mapping[str, Any], column: str) -> Cell:
    value = figures.get(column)
    if value is None:
        return Cell("-")
    if column == "parameter_error":
        return Cell(f"{value:.3g}", str(figures.get("unit", "")))
    return Cell(f"{value:.3f}" if isinstance(value, float) else str(value))
