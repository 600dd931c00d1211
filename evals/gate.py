"""A regression gate: a run must not fall below a baseline's intervals.

The baseline is a `summary.json`, or the folder of the run that made it. A mean that falls beyond the worse end of the baseline's
interval, by more than the tolerance, is a breach; so is anything that the baseline has and the run has not, and a failed answer
more than the baseline had.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conservator.evals.metric import higher_is_better, written
from conservator.evals.summary import OVERALL
from conservator.restorers.errors import UsageError

__all__ = ["Breach", "Verdict", "gate", "read_baseline"]


@dataclass(frozen=True)
class Breach:
    """One thing that got worse.

    Attributes:
        system: whose.
        line: row, `group NAME`, or `overall`; "" for what concerns the whole system.
        metric: "" for what is no metric.
        reason: one line with the numbers.
        value: of the run, None when it is missing.
        bound: the worst value that would have passed.
    """

    system: str
    line: str
    metric: str
    reason: str
    value: float | None = None
    bound: float | None = None

    def __str__(self) -> str:
        return f"{', '.join(filter(None, (self.system, self.line, self.metric)))}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """What the gate says.

    Attributes:
        breaches: none when it passes.
        checked: how many figures were compared.
    """

    breaches: tuple[Breach, ...]
    checked: int

    @property
    def passed(self) -> bool:
        """Whether there is no breach."""
        return not self.breaches

    def as_data(self) -> dict[str, Any]:
        """As JSON data."""
        breaches = [asdict(breach) for breach in self.breaches]
        return {"passed": self.passed, "checked": self.checked, "breaches": breaches}


def read_baseline(path: Path) -> dict[str, Any]:
    """A summary from its file or its run folder.

    Raises:
        UsageError: it cannot be read or is no summary.
    """
    file = path / "summary.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UsageError(f"{file} cannot be read: {words}; give a run's summary.json") from error
    if not isinstance(data, dict) or not {"task", "primary", "systems", "rows"} <= data.keys():
        raise UsageError(f"{file} is no summary; give the summary.json of a finished run")
    return data


def gate(
    summary: Mapping[str, Any],
    baseline: Mapping[str, Any],
    *,
    metrics: Sequence[str] | None = None,
    tolerance: float = 0.0,
    systems: Collection[str] | None = None,
) -> Verdict:
    """Compare a run with a baseline.

    Args:
        summary: of the run.
        baseline: of an earlier one.
        metrics: to look at, also `worsening_rate`, `target_met` and `share_of_oracle_gain`; by default the primary one.
        tolerance: how far beyond the interval is still allowed, in the metric's own unit.
        systems: only these; by default all of the baseline.

    Raises:
        UsageError: a metric whose direction nobody knows or that the baseline lacks, or an unknown system.
    """
    chosen = list(metrics or [baseline["primary"]])
    named = list(systems or baseline["systems"])
    unknown = [name for name in named if name not in baseline["systems"]]
    if unknown:
        known = ", ".join(baseline["systems"])
        raise UsageError(f"the baseline has no system {unknown[0]!r}; it has: {known}")
    for metric in chosen:
        _check(metric, baseline, named)
    breaches: list[Breach] = []
    checked = 0
    if summary["task"] != baseline["task"]:
        reason = (
            f"the run is of {summary['task']}, the baseline of {baseline['task']}: not comparable"
        )
        breaches.append(Breach("", "", "", reason))
    for system in named:
        then, now = baseline["systems"][system], summary["systems"].get(system)
        if now is None:
            breaches.append(Breach(system, "", "", "the baseline has this system, the run has not"))
            continue
        failed, before = now["counts"]["failed"], then["counts"]["failed"]
        checked += 1
        if failed > before:
            reason = f"{failed} failed answers, {before} in the baseline{_first(summary, system)}"
            breaches.append(Breach(system, "", "", reason))
        for line, old, new in _lines(then, now):
            if new is None:
                breaches.append(Breach(system, line, "", "in the baseline, not in the run"))
                continue
            for metric in chosen:
                was = _figure(old, metric)
                if was is not None:
                    checked += 1
                    breaches += _compared(
                        system, line, metric, was, _figure(new, metric), tolerance
                    )
    return Verdict(tuple(breaches), checked)


def _compared(
    system: str,
    line: str,
    metric: str,
    was: Mapping[str, Any],
    found: Mapping[str, Any] | None,
    tolerance: float,
) -> Iterator[Breach]:
    better = higher_is_better(metric)
    end = was["low"] if better else was["high"]
    end = was["mean"] if end is None else end
    bound = end - tolerance if better else end + tolerance
    if found is None:
        yield Breach(system, line, metric, "in the baseline, not in the run", None, bound)
        return
    value = found["mean"]
    if (value < bound) if better else (value > bound):
        side = "below" if better else "above"
        ends = (
            ""
            if was["low"] is None
            else f" [{written(metric, was['low'])}, {written(metric, was['high'])}]"
        )
        words = (
            f"{written(metric, value)} is {side} {written(metric, bound)}; "
            f"baseline {written(metric, was['mean'])}{ends}"
        )
        yield Breach(system, line, metric, words, value, bound)
    elif found["n"] < was["n"]:
        words = f"{found['n']} samples have a score, {was['n']} in the baseline"
        yield Breach(system, line, metric, words, value, bound)


def _lines(
    then: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any] | None]]:
    for row, line in then["rows"].items():
        # A row of which nothing was scored then cannot fall.
        if line["n"]:
            found = now["rows"].get(row)
            yield row, line, found if found and found["n"] else None
    for group, line in then["groups"].items():
        yield f"group {group}", line, now["groups"].get(group)
    yield OVERALL, then[OVERALL], now[OVERALL]


def _figure(line: Mapping[str, Any], metric: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = line["metrics"].get(metric) or line.get(metric)
    return found


def _check(metric: str, baseline: Mapping[str, Any], systems: Sequence[str]) -> None:
    if not any(_figure(baseline["systems"][s][OVERALL], metric) for s in systems):
        raise UsageError(
            f"the baseline has no metric {metric!r}; it has: {', '.join(baseline['metrics'])}"
        )
    if higher_is_better(metric) is None:
        raise UsageError(f"nobody knows which way {metric!r} is better; gate another metric")


def _first(summary: Mapping[str, Any], system: str) -> str:
    reasons = [f for f in summary["failures"] if f["system"] == system]
    return f"; first {reasons[0]['sample_id']}: {reasons[0]['reason']}" if reasons else ""
