"""How well systems see what is wrong: presence, level and parameter of every kind, from the findings of a run's records.

A kind is *there* when its true parameter is at level low or above, and *seen* when the parameter that was said is. A kind that a
system does not judge is not seen. Averages over kinds count every kind once, however often it occurs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from conservator.evals.sample import AnswerRecord
from conservator.restorers.degradations.vocabulary import (
    PARAMETERS,
    Kind,
    Level,
    level_of,
)

__all__ = ["COMMON", "sample_scores", "table"]

COMMON: dict[str, tuple[Kind, ...]] = {
    "noise": (Kind.NOISE,),
    "blur": (Kind.DEFOCUS_BLUR, Kind.MOTION_BLUR),
    "rain": (Kind.RAIN,),
    "haze": (Kind.HAZE,),
    "low light": (Kind.LOW_LIGHT,),
    "jpeg": (Kind.JPEG,),
    "low resolution": (Kind.LOW_RESOLUTION,),
}
"""The seven that the peers measure; blur is the mean of its two kinds."""
AVERAGED = ("presence_f1", "level_accuracy", "within_one")

Finding = Mapping[str, float | None]


@dataclass
class _Tally:
    """One kind's findings against the truth."""

    hits: int = 0
    misses: int = 0
    alarms: int = 0
    exact: int = 0
    near: int = 0
    errors: list[float] = field(default_factory=list)
    pictures: int = 0

    def add(self, kind: Kind, finding: Finding, confidence: float) -> None:
        true, said = _level(kind, finding["true"]), _level(kind, finding["said"])
        if (finding.get("confidence") or 0.0) < confidence:
            said = Level.ABSENT
        self.pictures += 1
        if true is Level.ABSENT:
            self.alarms += said > Level.ABSENT
            return
        self.hits += said > Level.ABSENT
        self.misses += said is Level.ABSENT
        self.exact += said is true
        self.near += abs(said - true) <= 1
        value, parameter = finding["said"], finding["true"]
        if parameter is not None:
            # Who says nothing says that nothing is wrong.
            self.errors.append(
                abs(parameter - (PARAMETERS[kind].identity if value is None else value))
            )

    def figures(self, kind: Kind) -> dict[str, Any]:
        there, seen = self.hits + self.misses, self.hits + self.alarms
        return {
            "precision": self.hits / seen if seen else None,
            "recall": self.hits / there if there else None,
            "presence_f1": _f1(self.hits, self.misses, self.alarms) if there else None,
            "false_alarms": self.alarms / (self.pictures - there)
            if self.pictures > there
            else None,
            "level_accuracy": self.exact / there if there else None,
            "within_one": self.near / there if there else None,
            "parameter_error": fmean(self.errors) if self.errors else None,
            "unit": PARAMETERS[kind].unit,
            "support": there,
            "pictures": self.pictures,
        }


def _level(kind: Kind, value: float | None) -> Level:
    return Level.ABSENT if value is None else level_of(kind, value)


def _f1(hits: int, misses: int, alarms: int) -> float:
    """2 TP / (2 TP + FP + FN); 1 when nothing is there and nothing was seen."""
    total = 2 * hits + misses + alarms
    return 2 * hits / total if total else 1.0


def sample_scores(findings: Mapping[str, Finding], *, confidence: float = 0.0) -> dict[str, float]:
    """`presence_f1` over the kinds of one sample and `level_accuracy` over those that are there.

    Nothing there and nothing seen is a presence F1 of 1; then there is no level to be accurate about.
    """
    if not findings:
        return {}
    whole = _Tally()
    for name, finding in findings.items():
        whole.add(Kind(name), finding, confidence)
    scores = {"presence_f1": _f1(whole.hits, whole.misses, whole.alarms)}
    if there := whole.hits + whole.misses:
        scores["level_accuracy"] = whole.exact / there
    return scores


def table(
    records: Iterable[AnswerRecord], *, confidence: float = 0.0, rows: Sequence[str] | None = None
) -> dict[str, Any]:
    """The table of a run.

    Args:
        records: of a run; those without findings are left out.
        confidence: what was said with less counts as not seen.
        rows: only these rows of the task.

    Returns:
        system -> `{"kinds": {kind: figures}, "average": {...}, "common": {"kinds": {name: figures}, "average": {...}}}`. Figures:
        `precision`, `recall`, `presence_f1`, `false_alarms` (share of the pictures without it), `level_accuracy` (exact),
        `within_one` (one level off at most), `parameter_error` (mean absolute, in `unit`; silence counts as nothing wrong),
        `support` (pictures with it), `pictures`. None where there is nothing to count. `average` is over the kinds that occur,
        `common` over those of `COMMON`.
    """
    tallies: dict[str, dict[Kind, _Tally]] = {}
    for record in records:
        if rows is not None and record.row not in rows:
            continue
        for name, finding in record.findings.items():
            kind = Kind(name)
            system = tallies.setdefault(record.system, {})
            system.setdefault(kind, _Tally()).add(kind, finding, confidence)
    return {system: _of_system(kinds) for system, kinds in tallies.items()}


def _of_system(tallies: Mapping[Kind, _Tally]) -> dict[str, Any]:
    kinds = {kind: tallies[kind].figures(kind) for kind in Kind if kind in tallies}
    there = [figures for figures in kinds.values() if figures["support"]]
    common = {
        name: _mean([kinds[k] for k in members if k in kinds and kinds[k]["support"]])
        for name, members in COMMON.items()
    }
    measured = {name: figures for name, figures in common.items() if figures}
    return {
        "kinds": {kind.value: figures for kind, figures in kinds.items()},
        "average": _mean(there),
        "common": {
            "kinds": measured,
            "average": _mean(list(measured.values())),
            "missing": [name for name in COMMON if name not in measured],
        },
    }


def _mean(figures: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of what can be averaged over kinds; parameters have different units and are left out."""
    found = {}
    for name in AVERAGED:
        values = [f[name] for f in figures if f.get(name) is not None]
        if values:
            found[name] = math.fsum(values) / len(values)
    return found
