"""The two pages: a run's report and a comparison's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conservator.agent.report.page import template
from conservator.agent.report.table import Table
from conservator.evals.compare import Comparison
from conservator.evals.log import RunFolder
from conservator.evals.metric import arrow, written
from conservator.evals.report import plots
from conservator.evals.report.cases import cases_of, focus_of, losses_of
from conservator.evals.report.embedding import SIDE, Album
from conservator.evals.sample import AnswerRecord
from conservator.evals.summary import OVERALL, UNTOUCHED, gains
from conservator.evals.tables import (
    costs_table,
    deciders_tables,
    failures_table,
    groups_tables,
    is_ceiling,
    metric_table,
    metrics_table,
    perception_tables,
    systems_table,
)
from conservator.evals.task import Task

__all__ = ["comparison_page", "report_page"]

SERIES = 8
Data = Mapping[str, Any]


@dataclass(frozen=True)
class _Plot:
    title: str
    words: str
    svg: Any


def report_page(run: RunFolder, records: Sequence[AnswerRecord], summary: Data, task: Task) -> str:
    """A run as one HTML file.

    Args:
        run: where its pictures are.
        records: its answers.
        summary: of these records.
        task: of the run.

    Raises:
        BackendMissingError: jinja2 is not installed.
    """
    cases, left_out = cases_of(run, records, summary, Album())
    primary = summary["primary"]
    others = [m for m in summary["metrics"] if m != primary]
    first = metric_table(summary, task, primary)
    config = run.config
    known = {"task", "status"}
    provenance = [
        (
            "What was asked",
            _json({k: v for k, v in config.items() if k not in known | {"provenance"}}),
        ),
        ("What it was measured with", _json(config.get("provenance", {}))),
        ("The task", _json(config.get("task", {}))),
    ]
    page = template(Path(__file__).parent, "report.html.j2", "plots.css")
    return page.render(
        name=run.path.resolve().name,
        summary=summary,
        wall=_wall(summary),
        facts=_facts(summary, config),
        results=[
            table
            for table in (
                systems_table(summary),
                *groups_tables(summary),
                first,
                costs_table(summary),
                *deciders_tables(summary),
            )
            if table.lines
        ],
        source=task.source if task.published else "",
        plots=_plots(records, summary),
        cases=cases,
        left_out=left_out,
        side=SIDE,
        focus=focus_of(summary),
        tables=[t for t in _other_tables(summary, task, others) if t.lines],
        perception=perception_tables(summary),
        failures=failures_table(summary) if summary["failures"] else None,
        provenance=[(title, text) for title, text in provenance if text not in ("{}", '""')],
    )


def comparison_page(comparison: Comparison) -> str:
    """A comparison as one HTML file.

    Raises:
        BackendMissingError: jinja2 is not installed.
    """
    cases, left_out = losses_of(comparison, Album())
    metric = comparison.metric
    facts = []
    for pair in comparison.pairs:
        found = pair.metrics.get(metric)
        if found is not None:
            name = pair.first if pair.first == pair.second else f"{pair.first} → {pair.second}"
            ends = (
                ""
                if found.low is None
                else f"95 % {written(metric, found.low)} to {written(metric, found.high)}, "
            )
            small = f"{ends}{found.n} samples, {100 * found.worse:.0f} % worse"
            value = f"{'+' if found.difference > 0 else ''}{written(metric, found.difference)}"
            facts.append((f"{name}: {metric} {arrow(metric)}".strip(), value, small))
    tables = [table for table in comparison.tables() if table.lines]
    page = template(Path(__file__).parent, "compare.html.j2")
    return page.render(
        first=comparison.first.name,
        second=comparison.second.name,
        facts=facts,
        notes=comparison.notes,
        tables=tables,
        cases=cases,
        left_out=left_out,
        metric=metric,
    )


def _wall(summary: Data) -> list[str]:
    """The report in a few sentences."""
    focus, metric = focus_of(summary), summary["primary"]
    if focus is None:
        return []
    line = summary["systems"][focus][OVERALL]
    found = line["metrics"].get(metric)
    words = []
    if found is not None:
        words.append(
            f"{focus} reached {metric} {written(metric, found['mean'])}{_ends(found, metric)} "
            f"over {line['n']} samples in {len(summary['rows'])} rows"
        )
        before = summary["systems"].get(UNTOUCHED, {}).get(OVERALL, {}).get("metrics", {})
        if metric in before:
            words[0] += f"; untouched, they have {written(metric, before[metric]['mean'])}"
        words[0] += "."
    did = []
    if "worsening_rate" in line:
        did.append(f"made {100 * line['worsening_rate']['mean']:.0f} % of them worse")
    if "share_of_oracle_gain" in line:
        did.append(
            f"reached {100 * line['share_of_oracle_gain']['mean']:.0f} % of the oracle's gain"
        )
    cost = summary["cost"].get(focus, {})
    if "seconds" in cost:
        did.append(f"took {cost['seconds']['mean']:.2g} s a picture")
    if did:
        words.append(f"It {', '.join(did[:-1])}{' and ' if did[1:] else ''}{did[-1]}.")
    failed = len(summary["failures"])
    if failed:
        words.append(f"{failed} {'answer' if failed == 1 else 'answers'} failed; see below.")
    return words


def _ends(found: Data, metric: str) -> str:
    if found["low"] is None:
        return ""
    return f" (95 % {written(metric, found['low'])} to {written(metric, found['high'])})"


def _facts(summary: Data, config: Data) -> list[tuple[str, str, str]]:
    counts = [data["counts"] for data in summary["systems"].values()]
    ended = ", ".join(
        f"{sum(c[name] for c in counts)} {name}"
        for name in ("done", "limit", "failed")
        if any(c[name] for c in counts)
    )
    provenance = config.get("provenance") or {}
    facts = [
        ("samples", str(summary["samples"]), f"in {len(summary['rows'])} rows"),
        ("systems", str(len(summary["systems"])), ""),
        ("answers", str(sum(c["answers"] for c in counts)), ended),
    ]
    if provenance.get("date"):
        revision = provenance.get("revision")
        small = f"revision {revision}" if revision else ""
        facts.append(("measured", str(provenance["date"])[:10], small))
    if config.get("status") != "done":
        facts.append(("status", "not finished", "figures will change"))
    return facts


def _other_tables(summary: Data, task: Task, metrics: Sequence[str]) -> list[Table]:
    full = [metric_table(summary, task, metric) for metric in metrics]
    return [metrics_table(summary, [summary["primary"]]), *full] if len(full) > 1 else full


def _plots(records: Sequence[AnswerRecord], summary: Data) -> list[_Plot]:
    from markupsafe import Markup

    metric, systems, cost = summary["primary"], list(summary["systems"]), summary["cost"]
    inks = _inks(systems)
    ordered = sorted(records, key=lambda r: r.key)
    unit = f"{metric} {arrow(metric)}".strip()
    gained = {s: list(gains(ordered, metric, s).values()) for s in systems if s != UNTOUCHED}
    estimates = {
        s: data[OVERALL]["gain"]
        for s, data in summary["systems"].items()
        if "gain" in data[OVERALL]
    }
    values = {
        s: [r.scores[metric] for r in ordered if r.system == s and metric in r.scores]
        for s in systems
    }
    means = {
        s: data[OVERALL]["metrics"][metric]
        for s, data in summary["systems"].items()
        if metric in data[OVERALL]["metrics"]
    }
    timed = [
        (s, cost[s]["seconds"]["mean"], means[s])
        for s in systems
        if s in means and s != UNTOUCHED and "seconds" in cost.get(s, {})
    ]
    level = (UNTOUCHED, means[UNTOUCHED]["mean"]) if UNTOUCHED in means else None
    paid = {s: cost[s] for s in systems if "seconds" in cost.get(s, {}) and s != UNTOUCHED}
    drawn = [
        (
            "Gain over the untouched input",
            "A dot is a sample, the diamond the mean with its 95 % interval. Left of the line the system did harm.",
            plots.strips(gained, estimates, f"gain of {metric}", inks),
        ),
        (
            f"Distribution of {metric}",
            "How many samples reached which value; the upright line is the median.",
            plots.distributions(values, unit, inks),
        ),
        (
            "Quality and time",
            "Further up is better where the metric rises; further left is faster.",
            plots.scatter(timed, unit, inks, level),
        ),
        (
            "Seconds a picture",
            "Mean wall time of an answer, without loading weights.",
            plots.bars(
                {s: c["seconds"]["mean"] for s, c in paid.items()}, "Seconds a picture", "s", inks
            ),
        ),
        (
            "Peak memory",
            "Of the worker process up to the answer, so systems that ran later may show an earlier one's.",
            plots.bars({s: c["peak_mb"] for s, c in paid.items()}, "Peak memory", "MB", inks),
        ),
        (
            "Restorer calls a picture",
            "Mean number of tools an answer used.",
            plots.bars(
                {s: c["tools"]["mean"] for s, c in paid.items()}, "Restorer calls", "", inks
            ),
        ),
    ]
    return [_Plot(title, words, Markup(svg)) for title, words, svg in drawn if svg]


def _inks(systems: Sequence[str]) -> dict[str, str]:
    """A colour a system; what competes with nobody stays grey."""
    inks: dict[str, str] = {}
    rivals = 0
    for system in systems:
        if system == UNTOUCHED:
            inks[system] = "var(--quiet)"
        elif is_ceiling(system):
            inks[system] = "var(--ceiling)"
        else:
            inks[system] = f"var(--series-{rivals % SERIES})"
            rivals += 1
    return inks


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)
