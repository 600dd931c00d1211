"""What a run's answers say: means with intervals, harm done, share of the ceiling, costs, failures.

    summary = summarise(records, task, config)

A line of the table (a row, a group, or `overall`) is the mean of its rows' means, each row with equal weight. All that depends
on the clock or the machine stands under `cost`, so that two runs can be compared for identity without it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from conservator.evals.metric import higher_is_better
from conservator.evals.sample import AnswerRecord
from conservator.evals.statistics import TIE, ratio_of_gains, stratified
from conservator.evals.task import Task

__all__ = ["ORACLE", "OVERALL", "UNTOUCHED", "gains", "lines_of", "summarise", "without_cost"]

UNTOUCHED = "untouched"
ORACLE = "oracle"
OVERALL = "overall"
VERSION = 1

Data = dict[str, Any]


@dataclass(frozen=True)
class _Book:
    """A run's records, found by system and sample; sorted, so that the order of finishing changes no sum."""

    records: tuple[AnswerRecord, ...]
    task: Task
    asked: tuple[str, ...]

    @cached_property
    def answers(self) -> dict[str, dict[str, AnswerRecord]]:
        """System -> sample_id -> record."""
        found: dict[str, dict[str, AnswerRecord]] = {name: {} for name in self.systems}
        for record in sorted(self.records, key=lambda r: r.key):
            found[record.system][record.sample_id] = record
        return found

    @cached_property
    def systems(self) -> tuple[str, ...]:
        """In the order in which they were asked for, then others by name."""
        return _ordered({r.system for r in self.records}, self.asked)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The primary one first, the rest by name."""
        return _ordered({m for r in self.records for m in r.scores}, (self.task.primary,))

    @cached_property
    def rows(self) -> dict[str, str]:
        """Row -> group, in the task's order."""
        groups = {r.row: r.group for r in sorted(self.records, key=lambda r: r.key)}
        return {row: groups[row] for row in _ordered(groups, [row.name for row in self.task.rows])}

    @cached_property
    def lines(self) -> dict[str, tuple[str, ...]]:
        """Group -> its rows; the last, `OVERALL`, has them all."""
        groups: dict[str, list[str]] = defaultdict(list)
        for row, group in self.rows.items():
            if group:
                groups[group].append(row)
        return {**{g: tuple(rows) for g, rows in groups.items()}, OVERALL: tuple(self.rows)}

    @cached_property
    def oracle(self) -> str | None:
        """The ceiling's name in this run."""
        return next((s for s in self.systems if s.partition(":")[0] == ORACLE), None)

    def strata(self, system: str, rows: Iterable[str]) -> list[list[AnswerRecord]]:
        """The answers of a system, a list a row."""
        found: dict[str, list[AnswerRecord]] = {row: [] for row in rows}
        for record in self.answers[system].values():
            if record.row in found:
                found[record.row].append(record)
        return list(found.values())


def summarise(
    records: Sequence[AnswerRecord], task: Task, config: Mapping[str, Any] | None = None
) -> Data:
    """The content of `summary.json`.

    Args:
        records: every answer of the run, in any order.
        task: names rows, groups and the primary metric.
        config: of the run; its `systems` give the order, its `provenance` says with what it was measured.
    """
    asked = (config or {}).get("systems", ())
    book = _Book(tuple(records), task, tuple(s for s in asked if isinstance(s, str)))
    failures = [
        {"sample_id": r.sample_id, "system": r.system, "reason": r.reason}
        for system in book.systems
        for r in book.answers[system].values()
        if r.status == "failed"
    ]
    data: Data = {
        "version": VERSION,
        "task": task.key,
        "title": task.title,
        "primary": task.primary,
        "metrics": {m: {"higher_is_better": higher_is_better(m)} for m in book.metrics},
        "samples": len({r.sample_id for r in records}),
        "rows": {
            row: {
                "group": group,
                "samples": len({r.sample_id for r in records if r.row == row}),
            }
            for row, group in book.rows.items()
        },
        "groups": {group: list(rows) for group, rows in book.lines.items() if group != OVERALL},
        "systems": {system: _system(book, system) for system in book.systems},
        "failures": failures,
        "cost": {system: _cost(book.answers[system].values()) for system in book.systems},
    }
    if measured := (config or {}).get("provenance"):
        data["measured"] = measured
    if any(record.findings for record in records):
        from conservator.evals.perception import table

        data["perception"] = table([r for s in book.systems for r in book.answers[s].values()])
    return data


def gains(
    records: Iterable[AnswerRecord], metric: str, system: str, base: str = UNTOUCHED
) -> dict[str, float]:
    """Sample -> how much better than `base` a system is on it, positive for better; only where both have the metric.

    A metric that nobody has described counts as higher is better.
    """
    found: dict[str, dict[str, float]] = {system: {}, base: {}}
    for record in records:
        value = _finite(record, metric)
        if record.system in found and value is not None:
            found[record.system][record.sample_id] = value
    sign = -1 if higher_is_better(metric) is False else 1
    return {
        sample: sign * (value - found[base][sample])
        for sample, value in sorted(found[system].items())
        if sample in found[base]
    }


def lines_of(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The lines of a summary's tables, as (kind, name): rows in order, each group behind its rows, `overall` last."""
    lines: list[tuple[str, str]] = []
    groups = {group: set(rows) for group, rows in summary["groups"].items()}
    for row in summary["rows"]:
        lines.append(("rows", row))
        for group, left in groups.items():
            if row in left:
                left.remove(row)
                if not left:
                    lines.append(("groups", group))
    return [*lines, (OVERALL, OVERALL)]


def without_cost(summary: Mapping[str, Any]) -> Data:
    """A summary without what depends on the clock: equal for equal runs."""
    return {key: value for key, value in summary.items() if key != "cost"}


def _system(book: _Book, system: str) -> Data:
    answers = list(book.answers[system].values())
    status = Counter(r.status for r in answers)
    outcomes = Counter(str(r.details["outcome"]) for r in answers if r.details.get("outcome"))
    return {
        "counts": {
            "answers": len(answers),
            **{name: status[name] for name in ("done", "limit", "failed")},
        },
        "outcomes": dict(sorted(outcomes.items())),
        **({"decided": decided} if (decided := _decided(answers)) else {}),
        OVERALL: _line(book, system, book.lines[OVERALL]),
        "groups": {
            group: _line(book, system, rows)
            for group, rows in book.lines.items()
            if group != OVERALL
        },
        "rows": {row: _line(book, system, (row,)) for row in book.rows},
    }


def _decided(answers: Iterable[AnswerRecord]) -> dict[str, dict[str, int]]:
    """Part of a run (condition, plan, verdict) -> who decided it -> in how many answers; an untouched result's plan was to do nothing."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for record in answers:
        who: Mapping[str, str] = record.details.get("decided", {})
        for part, name in who.items():
            counts[part][name] += part != "plan" or bool(record.details.get("steps"))
    return {part: dict(sorted(found.items())) for part, found in counts.items()}


def _line(book: _Book, system: str, rows: Sequence[str]) -> Data:
    strata = book.strata(system, rows)
    values = {
        metric: [
            [v for r in records if (v := _finite(r, metric)) is not None] for records in strata
        ]
        for metric in book.metrics
    }
    line: Data = {
        "n": sum(bool(r.scores) for records in strata for r in records),
        "metrics": {
            metric: stratified(found).as_data() for metric, found in values.items() if any(found)
        },
    }
    primary = book.task.primary
    if system != UNTOUCHED and UNTOUCHED in book.answers:
        gained = gains(
            [*book.answers[system].values(), *book.answers[UNTOUCHED].values()], primary, system
        )
        by_row = [[gained[r.sample_id] for r in rs if r.sample_id in gained] for rs in strata]
        if any(by_row):
            line["gain"] = stratified(by_row).as_data()
            if higher_is_better(primary) is not None:
                harm = [[float(gain < -TIE) for gain in row] for row in by_row]
                line["worsening_rate"] = stratified(harm).as_data()
            share = _share(book, strata)
            if share is not None:
                line["share_of_oracle_gain"] = share
    met = [
        [float(r.details["outcome"] == "met") for r in records if r.details.get("outcome")]
        for records in strata
    ]
    if any(met):
        line["target_met"] = stratified(met).as_data()
    return line


def _share(book: _Book, strata: Sequence[Sequence[AnswerRecord]]) -> Data | None:
    if book.oracle is None:
        return None
    base, ceiling = book.answers[UNTOUCHED], book.answers[book.oracle]
    triples = []
    for records in strata:
        found = []
        for record in records:
            three = [
                _finite(r, book.task.primary) if r else None
                for r in (base.get(record.sample_id), record, ceiling.get(record.sample_id))
            ]
            if None not in three:
                found.append((three[0] or 0.0, three[1] or 0.0, three[2] or 0.0))
        triples.append(found)
    share = ratio_of_gains(triples)
    return share.as_data() if share else None


def _cost(records: Iterable[AnswerRecord]) -> Data:
    """Of the answers that were given; a failure may have cost nothing at all."""
    costs = [r.cost for r in records if r.status != "failed"]
    if not costs:
        return {"n": 0}
    data: Data = {"n": len(costs)}
    for name in ("seconds", "cpu_seconds", "tools", "vlm_calls", "tokens"):
        values = [float(getattr(cost, name)) for cost in costs]
        data[name] = {
            "mean": round(float(np.mean(values)), 4),
            "median": round(float(np.median(values)), 4),
            "total": round(math.fsum(values), 4),
        }
    data["peak_mb"] = round(max(cost.peak_mb for cost in costs), 1)
    return data


def _finite(record: AnswerRecord, metric: str) -> float | None:
    value = record.scores.get(metric)
    return value if value is not None and math.isfinite(value) else None


def _ordered(names: Iterable[str], first: Iterable[str]) -> tuple[str, ...]:
    there = set(names)
    known = [name for name in dict.fromkeys(first) if name in there]
    return (*known, *sorted(there - set(known)))
